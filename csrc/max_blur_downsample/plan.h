// max_blur_downsample: the largest value of every window at stride 1, then blur_downsample.
#pragma once

#include "blur_downsample/plan.h"

namespace shiftable {

struct MaxArguments {
  std::vector<int64_t> kernel_size, max_pad, dilation;  // each (vertical, horizontal)
};

// One axis of the max window, checked.
struct MaxAxis {
  int64_t kernel_size;
  int64_t pad;       // positions before and after the image, never the largest
  int64_t dilation;  // distance of neighbouring window positions
  int64_t inputs;    // pixels of the image; the max map's size is the blur's `inputs`
};

struct MaxBlurPlan {
  MaxAxis y, x;
  BlurPlan blur;  // of the max map
};

MaxBlurPlan plan_max_blur(const char* op, const std::vector<int64_t>& shape, bool channels_last,
                          const MaxArguments& max, const BlurArguments& blur, bool ceil_mode);

// Blurs `values` read where `image` is largest; with values == image, the operator itself.
SHIFTABLE_CPU_DECLARE(void max_blur_downsample_gather_cpu(const MaxBlurPlan& plan, DType dtype, const void* values,
                                                          const void* image, void* result, const Parallel& parallel);
                      void max_blur_downsample_transpose_cpu(const MaxBlurPlan& plan, DType dtype, const void* grad,
                                                             const void* image, void* result,
                                                             const Parallel& parallel);)

// The same on a GPU: pointers are to its memory.
void max_blur_downsample_gather_cuda(const MaxBlurPlan& plan, DType dtype, const void* values, const void* image,
                                     void* result, const GpuCall& gpu);
void max_blur_downsample_transpose_cuda(const MaxBlurPlan& plan, DType dtype, const void* grad, const void* image,
                                        void* result, const GpuCall& gpu);

}  // namespace shiftable
