#include "max_blur_downsample/plan.h"
#include "tensors.h"

namespace shiftable {

namespace {

using Doubles = std::vector<double>;
using Ints = std::vector<int64_t>;

Tensor gathered(const char* op, Tensor values, Tensor image, const MaxArguments& max, const BlurArguments& blur,
                bool ceil_mode) {
  const DType dtype = dtype_of(op, image.scalar_type());
  const bool channels_last = is_channels_last(image);
  const Ints shape = shape_of(image);
  check(shape_of(values) == shape && values.scalar_type() == image.scalar_type(), op,
        "expected values of the image's shape ", shape_text(shape), " and dtype, got ", shape_text(shape_of(values)));
  const MaxBlurPlan plan = plan_max_blur(op, shape, channels_last, max, blur, ceil_mode);
  const Tensor from = dense(values, channels_last), at = dense(image, channels_last);
  Tensor result = empty_on(image, blurred_shape(shape, plan.blur), image.scalar_type(), channels_last);
  SHIFTABLE_CPU(max_blur_downsample_gather_cpu)(plan, dtype, from.const_data_ptr(), at.const_data_ptr(),
                                                result.mutable_data_ptr(), torch_threads());
  return result;
}

Tensor forward(Tensor image, Ints kernel_size, Doubles taps_y, Doubles taps_x, Ints stride, std::string border,
               std::optional<Ints> pad, Ints max_pad, Ints dilation, bool ceil_mode) {
  return gathered("max_blur_downsample", image, image, {kernel_size, max_pad, dilation},
                  {taps_y, taps_x, stride, border, pad}, ceil_mode);
}

Tensor gather(Tensor values, Tensor image, Ints kernel_size, Doubles taps_y, Doubles taps_x, Ints stride,
              std::string border, std::optional<Ints> pad, Ints max_pad, Ints dilation, bool ceil_mode) {
  return gathered("max_blur_downsample_gather", values, image, {kernel_size, max_pad, dilation},
                  {taps_y, taps_x, stride, border, pad}, ceil_mode);
}

Tensor transpose(Tensor grad, Tensor image, Ints kernel_size, Doubles taps_y, Doubles taps_x, Ints stride,
                 std::string border, std::optional<Ints> pad, Ints max_pad, Ints dilation, bool ceil_mode) {
  const char* op = "max_blur_downsample_transpose";
  const DType dtype = dtype_of(op, image.scalar_type());
  const bool channels_last = is_channels_last(image);
  const Ints shape = shape_of(image);
  const MaxBlurPlan plan = plan_max_blur(op, shape, channels_last, {kernel_size, max_pad, dilation},
                                         {taps_y, taps_x, stride, border, pad}, ceil_mode);
  check(shape_of(grad) == blurred_shape(shape, plan.blur) && grad.scalar_type() == image.scalar_type(), op,
        "expected a gradient of the image's dtype and shape ", shape_text(blurred_shape(shape, plan.blur)), ", got ",
        shape_text(shape_of(grad)));
  const Tensor from = dense(grad, channels_last), at = dense(image, channels_last);
  Tensor result = empty_on(image, shape, image.scalar_type(), channels_last);
  SHIFTABLE_CPU(max_blur_downsample_transpose_cpu)(plan, dtype, from.const_data_ptr(), at.const_data_ptr(),
                                                   result.mutable_data_ptr(), torch_threads());
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(shiftable, CPU, m) {
  m.impl("max_blur_downsample", TORCH_BOX(&forward));
  m.impl("max_blur_downsample_gather", TORCH_BOX(&gather));
  m.impl("max_blur_downsample_transpose", TORCH_BOX(&transpose));
}

}  // namespace shiftable
