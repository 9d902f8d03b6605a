// blur_downsample: a separable low-pass filter, then every stride-th pixel.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/axis.h"
#include "core/dtype.h"
#include "core/gpu_call.h"
#include "core/parallel.h"
#include "core/variants.h"

namespace shiftable {

// The filter as the user gave it; shared with max_blur_downsample.
struct BlurArguments {
  const std::vector<double>& taps_y;
  const std::vector<double>& taps_x;
  const std::vector<int64_t>& stride;  // (vertical, horizontal)
  const std::string& border;
  const std::optional<std::vector<int64_t>>& pad;  // (left, right, top, bottom); none: output ceil(n / stride)
};

struct BlurPlan {
  std::shared_ptr<const AxisTables> y, x;
  int64_t blocks;  // planes (NCHW) or images (channels_last)
  int64_t inner;   // 1 (NCHW) or channels (channels_last)
};

// Checks the arguments for an image of this shape, (N,C,H,W) or (C,H,W). `ceil_mode` lets a last
// window reach past the padding, where it reads through the border.
BlurPlan plan_blur(const char* op, const std::vector<int64_t>& shape, bool channels_last,
                   const BlurArguments& arguments, bool ceil_mode = false);

// The result's shape: the image's with the last two sizes replaced.
std::vector<int64_t> blurred_shape(const std::vector<int64_t>& shape, const BlurPlan& plan);

// What is done to pixels as they are read: y = scale * x + bias of their channel, then max(y, 0) with `relu`.
struct Prologue {
  const void* scale;  // one a channel, in the type that sums are in: float, or double for float64
  const void* bias;
  bool relu;
  int64_t channels;
};

SHIFTABLE_CPU_DECLARE(void blur_downsample_cpu(const BlurPlan& plan, DType dtype, const void* image, void* result,
                                               const Parallel& parallel);
                      void blur_downsample_transpose_cpu(const BlurPlan& plan, DType dtype, const void* grad,
                                                         void* result, const Parallel& parallel);
                      void blur_downsample_prologue_cpu(const BlurPlan& plan, DType dtype, const void* image,
                                                        const Prologue& prologue, void* result,
                                                        const Parallel& parallel);
                      // The gradients of the image, and of the scale and the bias, which are of the prologue's type.
                      void blur_downsample_prologue_transpose_cpu(const BlurPlan& plan, DType dtype, const void* grad,
                                                                  const void* image, const Prologue& prologue,
                                                                  void* result, void* scale_grad, void* bias_grad,
                                                                  const Parallel& parallel);)

// The same on a GPU: pointers are to its memory.
void blur_downsample_cuda(const BlurPlan& plan, DType dtype, const void* image, void* result, const GpuCall& gpu);
void blur_downsample_transpose_cuda(const BlurPlan& plan, DType dtype, const void* grad, void* result,
                                    const GpuCall& gpu);
void blur_downsample_prologue_cuda(const BlurPlan& plan, DType dtype, const void* image, const Prologue& prologue,
                                   void* result, const GpuCall& gpu);
void blur_downsample_prologue_transpose_cuda(const BlurPlan& plan, DType dtype, const void* grad, const void* image,
                                             const Prologue& prologue, void* result, void* scale_grad, void* bias_grad,
                                             const GpuCall& gpu);

}  // namespace shiftable
