#include "max_blur_downsample/plan.h"
#include "on_gpu.h"

namespace shiftable {

namespace {

// What all forms of the operator begin with: the image as it lies in memory, and the plan for it.
struct Call {
  const char* op;
  DType dtype;
  bool channels_last;
  Ints shape;  // of the image
  MaxBlurPlan plan;

  Call(const char* name, const Tensor& image, const MaxArguments& max, const BlurArguments& blur, bool ceil_mode)
      : op(name),
        dtype(dtype_of(op, image.scalar_type())),
        channels_last(is_channels_last(image)),
        shape(shape_of(image)),
        plan(plan_max_blur(op, shape, channels_last, max, blur, ceil_mode)) {}

  Ints result_shape() const { return blurred_shape(shape, plan.blur); }
};

// Blurs `values` where `image` is largest; both are the image itself for the operator proper.
void run(const Call& call, const Tensor& values, const Tensor& image, Tensor& result) {
  const Tensor at = dense(image, call.channels_last);
  const Tensor from = values.get() == image.get() ? at : dense(values, call.channels_last);
  SHIFTABLE_RUN(max_blur_downsample_gather, call.op, at, call.plan, call.dtype, from.const_data_ptr(),
                at.const_data_ptr(), result.mutable_data_ptr());
}

Tensor new_result(const Call& call, const Tensor& image) {
  return empty_on(image, call.result_shape(), image.scalar_type(), call.channels_last);
}

Tensor forward(Tensor image, Ints kernel_size, Doubles taps_y, Doubles taps_x, Ints stride, std::string border, Pad pad,
               Ints max_pad, Ints dilation, bool ceil_mode) {
  const Call call("max_blur_downsample", image, {kernel_size, max_pad, dilation}, {taps_y, taps_x, stride, border, pad},
                  ceil_mode);
  Tensor result = new_result(call, image);
  run(call, image, image, result);
  return result;
}

void forward_out(Tensor image, Ints kernel_size, Doubles taps_y, Doubles taps_x, Ints stride, std::string border,
                 Pad pad, Ints max_pad, Ints dilation, bool ceil_mode, Tensor out) {
  const Call call("max_blur_downsample", image, {kernel_size, max_pad, dilation}, {taps_y, taps_x, stride, border, pad},
                  ceil_mode);
  check_out(call.op, out, call.result_shape(), image, call.channels_last);
  run(call, image, image, out);
}

Tensor gather(Tensor values, Tensor image, Ints kernel_size, Doubles taps_y, Doubles taps_x, Ints stride,
              std::string border, Pad pad, Ints max_pad, Ints dilation, bool ceil_mode) {
  const Call call("max_blur_downsample_gather", image, {kernel_size, max_pad, dilation},
                  {taps_y, taps_x, stride, border, pad}, ceil_mode);
  check(shape_of(values) == call.shape && values.scalar_type() == image.scalar_type(), call.op,
        "expected values of the image's shape ", shape_text(call.shape), " and dtype, got ",
        shape_text(shape_of(values)));
  check_device(call.op, values, image, "values");
  Tensor result = new_result(call, image);
  run(call, values, image, result);
  return result;
}

// -- transpose -----------------------------------------------------------------------------------

void run_transpose(const Call& call, const Tensor& grad, const Tensor& image, Tensor& result) {
  check(shape_of(grad) == call.result_shape() && grad.scalar_type() == image.scalar_type(), call.op,
        "expected a gradient of the image's dtype and shape ", shape_text(call.result_shape()), ", got ",
        shape_text(shape_of(grad)));
  check_device(call.op, grad, image, "the gradient");
  const Tensor from = dense(grad, call.channels_last), at = dense(image, call.channels_last);
  SHIFTABLE_RUN(max_blur_downsample_transpose, call.op, at, call.plan, call.dtype, from.const_data_ptr(),
                at.const_data_ptr(), result.mutable_data_ptr());
}

Tensor transpose(Tensor grad, Tensor image, Ints kernel_size, Doubles taps_y, Doubles taps_x, Ints stride,
                 std::string border, Pad pad, Ints max_pad, Ints dilation, bool ceil_mode) {
  const Call call("max_blur_downsample_transpose", image, {kernel_size, max_pad, dilation},
                  {taps_y, taps_x, stride, border, pad}, ceil_mode);
  Tensor result = empty_on(image, call.shape, image.scalar_type(), call.channels_last);
  run_transpose(call, grad, image, result);
  return result;
}

void transpose_out(Tensor grad, Tensor image, Ints kernel_size, Doubles taps_y, Doubles taps_x, Ints stride,
                   std::string border, Pad pad, Ints max_pad, Ints dilation, bool ceil_mode, Tensor out) {
  const Call call("max_blur_downsample_transpose", image, {kernel_size, max_pad, dilation},
                  {taps_y, taps_x, stride, border, pad}, ceil_mode);
  check_out(call.op, out, call.shape, image, call.channels_last);
  run_transpose(call, grad, image, out);
}

// -- registration --------------------------------------------------------------------------------

// Each serves both devices.
template <typename Library>
void register_all(Library& m) {
  m.impl("max_blur_downsample", TORCH_BOX(&forward));
  m.impl("max_blur_downsample_out", TORCH_BOX(&forward_out));
  m.impl("max_blur_downsample_gather", TORCH_BOX(&gather));
  m.impl("max_blur_downsample_transpose", TORCH_BOX(&transpose));
  m.impl("max_blur_downsample_transpose_out", TORCH_BOX(&transpose_out));
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(shiftable, CPU, m) { register_all(m); }
STABLE_TORCH_LIBRARY_IMPL(shiftable, CUDA, m) { register_all(m); }

}  // namespace shiftable
