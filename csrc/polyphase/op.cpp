#include "on_gpu.h"
#include "polyphase/plan.h"

namespace shiftable {

namespace {

Tensor norms(Tensor image, Doubles taps_y, Doubles taps_x, Ints stride, std::string border, std::string norm) {
  const char* op = "polyphase_norms";
  const DType dtype = dtype_of(op, image.scalar_type());
  const bool channels_last = is_channels_last(image);
  const PolyphasePlan plan = plan_polyphase(op, shape_of(image), channels_last, {taps_y, taps_x, stride, border});
  const Norm which = norm_named(op, norm);
  const Tensor source = dense(image, channels_last);
  const Ints shape = image.dim() == 4 ? Ints{plan.samples, plan.phases()} : Ints{plan.phases()};
  Tensor result = empty_on(image, shape, dtype == DType::float64 ? ScalarType::Double : ScalarType::Float, false);
  SHIFTABLE_RUN(polyphase_norms, op, source, plan, which, dtype, source.const_data_ptr(), result.mutable_data_ptr());
  return result;
}

// What the operator and its transpose begin with; `shape` is the image's.
struct Call {
  const char* op;
  DType dtype;
  bool channels_last;
  Ints shape;
  PolyphasePlan plan;
  Tensor phase;

  Call(const char* name, const Tensor& tensor, const Ints& image_shape, const Tensor& phases,
       const PolyphaseArguments& arguments)
      : op(name),
        dtype(dtype_of(op, tensor.scalar_type())),
        channels_last(is_channels_last(tensor)),
        shape(image_shape),
        plan(plan_component(op, shape, channels_last, arguments, shape_of(phases))),
        phase(torch::stable::contiguous(phases)) {
    check(phase.scalar_type() == ScalarType::Long, op, "expected phase of dtype int64, got torch scalar type ",
          torch::headeronly::toString(phase.scalar_type()));
    check_device(op, phase, tensor, "phase");
    if (phase.is_cpu()) check_phases(op, plan, phases_begin(), phase.numel());  // a GPU's would have to be waited for
  }

  const int64_t* phases_begin() const { return static_cast<const int64_t*>(phase.const_data_ptr()); }
};

Tensor forward(Tensor image, Tensor phase, Doubles taps_y, Doubles taps_x, Ints stride, std::string border) {
  const Call call("polyphase_downsample", image, shape_of(image), phase, {taps_y, taps_x, stride, border});
  const Tensor source = dense(image, call.channels_last);
  Tensor result = empty_on(image, component_shape(call.shape, call.plan), image.scalar_type(), call.channels_last);
  SHIFTABLE_RUN(polyphase_downsample, call.op, source, call.plan, call.phases_begin(), call.phase.numel(), call.dtype,
                source.const_data_ptr(), result.mutable_data_ptr());
  return result;
}

Tensor transpose(Tensor grad, Tensor phase, int64_t height, int64_t width, Doubles taps_y, Doubles taps_x, Ints stride,
                 std::string border) {
  const char* op = "polyphase_downsample_transpose";
  Ints shape = shape_of(grad);
  check(shape.size() == 3 || shape.size() == 4, op, "expected (N, C, H, W) or (C, H, W), got shape ",
        shape_text(shape));
  shape[shape.size() - 2] = height;
  shape[shape.size() - 1] = width;
  const Call call(op, grad, shape, phase, {taps_y, taps_x, stride, border});
  check(component_shape(shape, call.plan) == shape_of(grad), op, "expected a gradient of shape ",
        shape_text(component_shape(shape, call.plan)), ", got ", shape_text(shape_of(grad)));
  const Tensor source = dense(grad, call.channels_last);
  Tensor result = empty_on(grad, shape, grad.scalar_type(), call.channels_last);
  SHIFTABLE_RUN(polyphase_downsample_transpose, op, source, call.plan, call.phases_begin(), call.phase.numel(),
                call.dtype, source.const_data_ptr(), result.mutable_data_ptr());
  return result;
}

// Each serves both devices.
template <typename Library>
void register_all(Library& m) {
  m.impl("polyphase_norms", TORCH_BOX(&norms));
  m.impl("polyphase_downsample", TORCH_BOX(&forward));
  m.impl("polyphase_downsample_transpose", TORCH_BOX(&transpose));
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(shiftable, CPU, m) { register_all(m); }
STABLE_TORCH_LIBRARY_IMPL(shiftable, CUDA, m) { register_all(m); }

}  // namespace shiftable
