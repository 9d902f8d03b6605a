#include <tuple>

#include "blur_downsample/plan.h"
#include "on_gpu.h"

namespace shiftable {

namespace {

// What all forms of the operator begin with: the image or gradient as it lies in memory, and the plan for it.
struct Call {
  const char* op;
  DType dtype;
  bool channels_last;
  Ints shape;  // of the image
  BlurPlan plan;

  Call(const char* name, const Tensor& tensor, const Ints& image_shape, const BlurArguments& arguments)
      : op(name),
        dtype(dtype_of(op, tensor.scalar_type())),
        channels_last(is_channels_last(tensor)),
        shape(image_shape),
        plan(plan_blur(op, shape, channels_last, arguments)) {}

  Ints result_shape() const { return blurred_shape(shape, plan); }
};

// -- forward -------------------------------------------------------------------------------------

Tensor forward(Tensor image, Doubles taps_y, Doubles taps_x, Ints stride, std::string border, Pad pad) {
  const Call call("blur_downsample", image, shape_of(image), {taps_y, taps_x, stride, border, pad});
  const Tensor source = dense(image, call.channels_last);
  Tensor result = empty_on(image, call.result_shape(), image.scalar_type(), call.channels_last);
  SHIFTABLE_RUN(blur_downsample, call.op, source, call.plan, call.dtype, source.const_data_ptr(),
                result.mutable_data_ptr());
  return result;
}

void forward_out(Tensor image, Doubles taps_y, Doubles taps_x, Ints stride, std::string border, Pad pad, Tensor out) {
  const Call call("blur_downsample", image, shape_of(image), {taps_y, taps_x, stride, border, pad});
  check_out(call.op, out, call.result_shape(), image, call.channels_last);
  const Tensor source = dense(image, call.channels_last);
  SHIFTABLE_RUN(blur_downsample, call.op, source, call.plan, call.dtype, source.const_data_ptr(),
                out.mutable_data_ptr());
}

// -- transpose -----------------------------------------------------------------------------------

Ints with_size(const char* op, Ints shape, int64_t height, int64_t width) {
  check(shape.size() == 3 || shape.size() == 4, op, "expected (N, C, H, W) or (C, H, W), got shape ",
        shape_text(shape));
  shape[shape.size() - 2] = height;
  shape[shape.size() - 1] = width;
  return shape;
}

void check_grad(const Call& call, const Tensor& grad) {
  check(call.result_shape() == shape_of(grad), call.op, "expected a gradient of shape ",
        shape_text(call.result_shape()), ", got ", shape_text(shape_of(grad)));
}

Tensor transpose(Tensor grad, int64_t height, int64_t width, Doubles taps_y, Doubles taps_x, Ints stride,
                 std::string border, Pad pad) {
  const char* op = "blur_downsample_transpose";
  const Call call(op, grad, with_size(op, shape_of(grad), height, width), {taps_y, taps_x, stride, border, pad});
  check_grad(call, grad);
  const Tensor source = dense(grad, call.channels_last);
  Tensor result = empty_on(grad, call.shape, grad.scalar_type(), call.channels_last);
  SHIFTABLE_RUN(blur_downsample_transpose, call.op, source, call.plan, call.dtype, source.const_data_ptr(),
                result.mutable_data_ptr());
  return result;
}

// `out` says the image's size.
void transpose_out(Tensor grad, Doubles taps_y, Doubles taps_x, Ints stride, std::string border, Pad pad, Tensor out) {
  const char* op = "blur_downsample_transpose";
  check(out.dim() == grad.dim() && grad.dim() >= 2, op, "expected out with as many axes as the gradient, got shape ",
        shape_text(shape_of(out)));
  const Ints shape = with_size(op, shape_of(grad), out.size(out.dim() - 2), out.size(out.dim() - 1));
  const Call call(op, grad, shape, {taps_y, taps_x, stride, border, pad});
  check_grad(call, grad);
  check_out(op, out, shape, grad, call.channels_last);
  const Tensor source = dense(grad, call.channels_last);
  SHIFTABLE_RUN(blur_downsample_transpose, call.op, source, call.plan, call.dtype, source.const_data_ptr(),
                out.mutable_data_ptr());
}

// -- with a prologue -----------------------------------------------------------------------------

// The prologue's numbers, read while the tensors live; they are of the type that sums are in.
Prologue prologue_of(const Call& call, const Tensor& image, const Tensor& scale, const Tensor& bias, bool relu) {
  const int64_t channels = call.shape[call.shape.size() - 3];
  const ScalarType wanted = call.dtype == DType::float64 ? ScalarType::Double : ScalarType::Float;
  for (const Tensor* tensor : {&scale, &bias}) {
    check_device(call.op, *tensor, image, "the prologue");
    check(shape_of(*tensor) == Ints{channels} && tensor->scalar_type() == wanted && tensor->is_contiguous(), call.op,
          "expected a prologue of shape (", channels, ",), dense and in ",
          wanted == ScalarType::Double ? "float64" : "float32", ", got shape ", shape_text(shape_of(*tensor)),
          " and torch scalar type ", torch::headeronly::toString(tensor->scalar_type()));
  }
  return {scale.const_data_ptr(), bias.const_data_ptr(), relu, channels};
}

void run_prologue(const Call& call, const Tensor& image, const Prologue& prologue, Tensor& result) {
  const Tensor source = dense(image, call.channels_last);
  SHIFTABLE_RUN(blur_downsample_prologue, call.op, source, call.plan, call.dtype, source.const_data_ptr(), prologue,
                result.mutable_data_ptr());
}

Tensor prologue(Tensor image, Tensor scale, Tensor bias, bool relu, Doubles taps_y, Doubles taps_x, Ints stride,
                std::string border, Pad pad) {
  const Call call("blur_downsample", image, shape_of(image), {taps_y, taps_x, stride, border, pad});
  const Prologue read = prologue_of(call, image, scale, bias, relu);
  Tensor result = empty_on(image, call.result_shape(), image.scalar_type(), call.channels_last);
  run_prologue(call, image, read, result);
  return result;
}

void prologue_out(Tensor image, Tensor scale, Tensor bias, bool relu, Doubles taps_y, Doubles taps_x, Ints stride,
                  std::string border, Pad pad, Tensor out) {
  const Call call("blur_downsample", image, shape_of(image), {taps_y, taps_x, stride, border, pad});
  const Prologue read = prologue_of(call, image, scale, bias, relu);
  check_out(call.op, out, call.result_shape(), image, call.channels_last);
  run_prologue(call, image, read, out);
}

// The gradients of the image, the scale and the bias.
std::tuple<Tensor, Tensor, Tensor> prologue_transpose(Tensor grad, Tensor image, Tensor scale, Tensor bias, bool relu,
                                                      Doubles taps_y, Doubles taps_x, Ints stride, std::string border,
                                                      Pad pad) {
  const char* op = "blur_downsample_prologue_transpose";
  const Call call(op, image, shape_of(image), {taps_y, taps_x, stride, border, pad});
  const Prologue read = prologue_of(call, image, scale, bias, relu);
  check_grad(call, grad);
  check_device(op, grad, image, "the gradient");
  check(grad.scalar_type() == image.scalar_type(), op,
        "expected a gradient of the image's dtype, got torch scalar type ",
        torch::headeronly::toString(grad.scalar_type()));
  const Tensor from = dense(grad, call.channels_last), source = dense(image, call.channels_last);
  Tensor result = empty_on(image, call.shape, image.scalar_type(), call.channels_last);
  Tensor scale_grad = empty_on(scale, shape_of(scale), scale.scalar_type(), false);
  Tensor bias_grad = empty_on(bias, shape_of(bias), bias.scalar_type(), false);
  SHIFTABLE_RUN(blur_downsample_prologue_transpose, op, source, call.plan, call.dtype, from.const_data_ptr(),
                source.const_data_ptr(), read, result.mutable_data_ptr(), scale_grad.mutable_data_ptr(),
                bias_grad.mutable_data_ptr());
  return {result, scale_grad, bias_grad};
}

// -- registration --------------------------------------------------------------------------------

// Each serves both devices.
template <typename Library>
void register_all(Library& m) {
  m.impl("blur_downsample", TORCH_BOX(&forward));
  m.impl("blur_downsample_out", TORCH_BOX(&forward_out));
  m.impl("blur_downsample_transpose", TORCH_BOX(&transpose));
  m.impl("blur_downsample_transpose_out", TORCH_BOX(&transpose_out));
  m.impl("blur_downsample_prologue", TORCH_BOX(&prologue));
  m.impl("blur_downsample_prologue_out", TORCH_BOX(&prologue_out));
  m.impl("blur_downsample_prologue_transpose", TORCH_BOX(&prologue_transpose));
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(shiftable, CPU, m) { register_all(m); }
STABLE_TORCH_LIBRARY_IMPL(shiftable, CUDA, m) { register_all(m); }

}  // namespace shiftable
