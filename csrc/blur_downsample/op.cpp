#include "blur_downsample/plan.h"
#include "tensors.h"

namespace shiftable {

namespace {

using Doubles = std::vector<double>;
using Ints = std::vector<int64_t>;

Tensor forward(Tensor image, Doubles taps_y, Doubles taps_x, Ints stride, std::string border, std::optional<Ints> pad) {
  const char* op = "blur_downsample";
  const DType dtype = dtype_of(op, image.scalar_type());
  const bool channels_last = is_channels_last(image);
  const Ints shape = shape_of(image);
  const BlurPlan plan = plan_blur(op, shape, channels_last, {taps_y, taps_x, stride, border, pad});
  const Tensor source = dense(image, channels_last);
  Tensor result = empty_on(image, blurred_shape(shape, plan), image.scalar_type(), channels_last);
  SHIFTABLE_CPU(blur_downsample_cpu)(plan, dtype, source.const_data_ptr(), result.mutable_data_ptr(), torch_threads());
  return result;
}

Tensor transpose(Tensor grad, int64_t height, int64_t width, Doubles taps_y, Doubles taps_x, Ints stride,
                 std::string border, std::optional<Ints> pad) {
  const char* op = "blur_downsample_transpose";
  const DType dtype = dtype_of(op, grad.scalar_type());
  const bool channels_last = is_channels_last(grad);
  Ints shape = shape_of(grad);
  check(shape.size() == 3 || shape.size() == 4, op, "expected (N, C, H, W) or (C, H, W), got shape ",
        shape_text(shape));
  shape[shape.size() - 2] = height;
  shape[shape.size() - 1] = width;
  const BlurPlan plan = plan_blur(op, shape, channels_last, {taps_y, taps_x, stride, border, pad});
  check(blurred_shape(shape, plan) == shape_of(grad), op, "expected a gradient of shape ",
        shape_text(blurred_shape(shape, plan)), ", got ", shape_text(shape_of(grad)));
  const Tensor source = dense(grad, channels_last);
  Tensor result = empty_on(grad, shape, grad.scalar_type(), channels_last);
  SHIFTABLE_CPU(blur_downsample_transpose_cpu)(plan, dtype, source.const_data_ptr(), result.mutable_data_ptr(),
                                               torch_threads());
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(shiftable, CPU, m) {
  m.impl("blur_downsample", TORCH_BOX(&forward));
  m.impl("blur_downsample_transpose", TORCH_BOX(&transpose));
}

}  // namespace shiftable
