#include "blur_downsample/plan.h"

#include <cmath>

#include "core/check.h"
#include "core/window.h"

namespace shiftable {

namespace {

constexpr int64_t kLargest = int64_t{1} << 20;  // pixels of pad or stride: tables and margins grow with them

FilterAxis plan_axis(const char* op, const char* name, int64_t inputs, const std::vector<double>& taps, int64_t stride,
                     std::optional<std::pair<int64_t, int64_t>> pad, bool ceil_mode, Border border) {
  const auto k = static_cast<int64_t>(taps.size());
  check(k >= 1, op, "expected at least one tap along the ", name, ", got none");
  for (double tap : taps) check(std::isfinite(tap), op, "expected finite taps along the ", name, ", got ", tap);
  check(1 <= stride && stride <= kLargest, op, "expected stride from 1 to 2^20 along the ", name, ", got ", stride);
  // Without padding given: (k-1)/2 before and k/2 after, so that ceil(inputs / stride) windows fit.
  const auto [before, after] = pad.value_or(std::pair<int64_t, int64_t>{(k - 1) / 2, k / 2});
  const auto bounded = [](int64_t side) { return -kLargest <= side && side <= kLargest; };
  check(bounded(before) && bounded(after), op, "expected pad within 2^20 pixels along the ", name, ", got ", before,
        " and ", after);
  const int64_t outputs =
      ceil_mode ? window_count_ceil(inputs, before, after, k, stride) : window_count(inputs, before, after, k, stride);
  check(outputs >= 1, op, "expected ", k, " taps to fit into the ", name, ", got ", inputs, " pixels padded by ",
        before, " and ", after, "; use fewer taps or more pad");
  return {taps, stride, before, inputs, outputs, border};
}

}  // namespace

BlurPlan plan_blur(const char* op, const std::vector<int64_t>& shape, bool channels_last,
                   const BlurArguments& arguments, bool ceil_mode) {
  const size_t d = shape.size();
  check(d == 3 || d == 4, op, "expected an image (N, C, H, W) or (C, H, W), got shape ", shape_text(shape));
  check(shape[d - 2] >= 1 && shape[d - 1] >= 1, op, "expected H >= 1 and W >= 1, got shape ", shape_text(shape));
  check(arguments.stride.size() == 2, op, "expected stride as an int or a pair, got ", arguments.stride.size(),
        " values");
  std::optional<std::pair<int64_t, int64_t>> pad_y, pad_x;
  if (arguments.pad) {
    const auto& pad = *arguments.pad;
    check(pad.size() == 4, op, "expected pad (left, right, top, bottom), got ", pad.size(), " values");
    pad_x = {pad[0], pad[1]};
    pad_y = {pad[2], pad[3]};
  }
  BlurPlan plan;
  const Border border = named(op, "border", arguments.border, borders());
  plan.y =
      tables_of(plan_axis(op, "height", shape[d - 2], arguments.taps_y, arguments.stride[0], pad_y, ceil_mode, border));
  plan.x =
      tables_of(plan_axis(op, "width", shape[d - 1], arguments.taps_x, arguments.stride[1], pad_x, ceil_mode, border));
  const int64_t images = d == 4 ? shape[0] : 1;
  const int64_t channels = shape[d - 3];
  plan.blocks = channels_last ? images : images * channels;
  plan.inner = channels_last ? channels : 1;
  return plan;
}

std::vector<int64_t> blurred_shape(const std::vector<int64_t>& shape, const BlurPlan& plan) {
  std::vector<int64_t> result = shape;
  result[shape.size() - 2] = plan.y->axis.outputs;
  result[shape.size() - 1] = plan.x->axis.outputs;
  return result;
}

}  // namespace shiftable
