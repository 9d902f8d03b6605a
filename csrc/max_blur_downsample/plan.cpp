#include "max_blur_downsample/plan.h"

#include "core/check.h"
#include "core/window.h"

namespace shiftable {

namespace {

MaxAxis plan_axis(const char* op, const char* name, int64_t inputs, int64_t kernel_size, int64_t pad,
                  int64_t dilation) {
  constexpr int64_t kLargest = int64_t{1} << 31;  // so that no product wraps
  check(1 <= kernel_size && kernel_size <= kLargest, op, "expected kernel_size from 1 to 2^31 along the ", name,
        ", got ", kernel_size);
  check(1 <= dilation && dilation <= kLargest, op, "expected dilation from 1 to 2^31 along the ", name, ", got ",
        dilation);
  const int64_t extent = (kernel_size - 1) * dilation + 1;
  check(pad >= 0 && pad <= extent / 2, op, "expected max_pad from 0 to half the window (", extent / 2, ") along the ",
        name, ", got ", pad);
  check(window_count(inputs, pad, pad, extent, 1) >= 1, op, "expected a max window of ", extent,
        " pixels to fit into the ", name, ", got ", inputs, " pixels padded by ", pad);
  return {kernel_size, pad, dilation, inputs};
}

}  // namespace

MaxBlurPlan plan_max_blur(const char* op, const std::vector<int64_t>& shape, bool channels_last,
                          const MaxArguments& max, const BlurArguments& blur, bool ceil_mode) {
  const size_t d = shape.size();
  check(d == 3 || d == 4, op, "expected an image (N, C, H, W) or (C, H, W), got shape ", shape_text(shape));
  check(shape[d - 2] >= 1 && shape[d - 1] >= 1, op, "expected H >= 1 and W >= 1, got shape ", shape_text(shape));
  check(max.kernel_size.size() == 2 && max.max_pad.size() == 2 && max.dilation.size() == 2, op,
        "expected kernel_size, max_pad and dilation as an int or a pair");
  MaxBlurPlan plan;
  plan.y = plan_axis(op, "height", shape[d - 2], max.kernel_size[0], max.max_pad[0], max.dilation[0]);
  plan.x = plan_axis(op, "width", shape[d - 1], max.kernel_size[1], max.max_pad[1], max.dilation[1]);
  std::vector<int64_t> map = shape;
  const auto map_size = [](const MaxAxis& a) {
    return window_count(a.inputs, a.pad, a.pad, (a.kernel_size - 1) * a.dilation + 1, 1);
  };
  map[d - 2] = map_size(plan.y);
  map[d - 1] = map_size(plan.x);
  plan.blur = plan_blur(op, map, channels_last, blur, ceil_mode);
  return plan;
}

}  // namespace shiftable
