// blur_downsample: a separable low-pass filter, then every stride-th pixel.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/border.h"
#include "core/dtype.h"
#include "core/parallel.h"

namespace shiftable {

// The filter as the user gave it; shared with max_blur_downsample.
struct BlurArguments {
  std::vector<double> taps_y, taps_x;
  std::vector<int64_t> stride;  // (vertical, horizontal)
  std::string border;
  std::optional<std::vector<int64_t>> pad;  // (left, right, top, bottom); none: output ceil(n / stride)
};

// One axis of the filter, checked.
struct BlurAxis {
  std::vector<double> taps;
  int64_t stride;
  int64_t pad_before;
  int64_t inputs;   // pixels of the image along this axis
  int64_t outputs;  // pixels of the result
};

struct BlurPlan {
  BlurAxis y, x;
  Border border;
  int64_t blocks;  // planes (NCHW) or images (channels_last)
  int64_t inner;   // 1 (NCHW) or channels (channels_last)
};

// Checks the arguments for an image of this shape, (N,C,H,W) or (C,H,W). `ceil_mode` lets a last
// window reach past the padding, where it reads through the border.
BlurPlan plan_blur(const char* op, const std::vector<int64_t>& shape, bool channels_last,
                   const BlurArguments& arguments, bool ceil_mode = false);

// The result's shape: the image's with the last two sizes replaced.
std::vector<int64_t> blurred_shape(const std::vector<int64_t>& shape, const BlurPlan& plan);

void blur_downsample_cpu(const BlurPlan& plan, DType dtype, const void* image, void* result, const Parallel& parallel);
void blur_downsample_transpose_cpu(const BlurPlan& plan, DType dtype, const void* grad, void* result,
                                   const Parallel& parallel);

}  // namespace shiftable
