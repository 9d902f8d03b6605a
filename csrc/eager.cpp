// The Python module shiftable._eager: the two pooling operators for plain tensors on the CPU, called without the
// dispatcher, which costs more than a small filter does. Optional: it is built against torch's ordinary ABI and serves
// that torch alone. Beside any other, and for every other tensor, the registered operators do the same.
#include "eager.h"

#include <ATen/PythonTorchFunctionTLS.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/utils/pybind.h>
#include <torch/custom_class.h>

namespace shiftable {
namespace {

using at::Tensor;
using Ints = std::vector<int64_t>;
using Doubles = std::vector<double>;

const EagerKernels* kernels = nullptr;  // set when the module is loaded

// The arguments of a call that are not tensors; `max` for max_blur_downsample.
struct Filter : torch::CustomClassHolder {
  struct Max {
    Ints kernel_size, max_pad, dilation;
    bool ceil_mode;
  };
  Doubles taps_y, taps_x;
  Ints stride;
  std::string border;
  std::optional<Ints> pad;
  std::optional<Max> max;

  BlurArguments blur() const { return {taps_y, taps_x, stride, border, pad}; }
  at::OptionalIntArrayRef pad_or_none() const {
    return pad ? at::OptionalIntArrayRef(*pad) : at::OptionalIntArrayRef();
  }
};
using FilterPointer = c10::intrusive_ptr<Filter>;

std::optional<DType> dtype_of(const Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat: return DType::float32;
    case at::kDouble: return DType::float64;
    case at::kHalf: return DType::float16;
    case at::kBFloat16: return DType::bfloat16;
    default: return std::nullopt;
  }
}

// A tensor that nothing but autograd has a say in: on the CPU, of a dtype that the kernels read, no subclass, and no
// mode, transform or tracer at work.
bool is_plain(const Tensor& tensor) {
  using c10::DispatchKey, c10::DispatchKeySet;
  static const uint64_t silent =
      (c10::autograd_dispatch_keyset | c10::autocast_dispatch_keyset |
       DispatchKeySet({DispatchKey::ADInplaceOrView, DispatchKey::BackendSelect, DispatchKey::CPU}))
          .raw_repr();
  const auto local = c10::impl::tls_local_dispatch_key_set();
  const DispatchKeySet keys = (tensor.key_set() | local.included_) - local.excluded_;
  return (keys.raw_repr() & ~silent) == 0 && dtype_of(tensor) && !at::impl::torch_function_mode_enabled();
}

bool is_channels_last(const Tensor& tensor) {
  return tensor.dim() == 4 && !tensor.is_contiguous() && tensor.is_contiguous(at::MemoryFormat::ChannelsLast);
}
at::MemoryFormat format(bool channels_last) {
  return channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
}
Tensor empty(at::IntArrayRef shape, const Tensor& like, bool channels_last) {
  return at::detail::empty_cpu(shape, like.scalar_type(), false, format(channels_last));
}

// -- without autograd ----------------------------------------------------------------------------

Tensor blur(const Tensor& image, const Filter& filter) {
  const bool channels_last = is_channels_last(image);
  const Ints shape = image.sizes().vec();
  const BlurPlan plan = kernels->plan_blur("blur_downsample", shape, channels_last, filter.blur(), false);
  const Tensor source = image.contiguous(format(channels_last));
  Tensor result = empty(kernels->blurred_shape(shape, plan), image, channels_last);
  kernels->blur(plan, *dtype_of(image), source.const_data_ptr(), result.mutable_data_ptr(), kernels->threads);
  return result;
}

Tensor blur_transpose(const Tensor& grad, const Ints& shape, const Filter& filter) {
  const bool channels_last = is_channels_last(grad);
  const BlurPlan plan = kernels->plan_blur("blur_downsample_transpose", shape, channels_last, filter.blur(), false);
  const Tensor source = grad.contiguous(format(channels_last));
  Tensor result = empty(shape, grad, channels_last);
  kernels->blur_transpose(plan, *dtype_of(grad), source.const_data_ptr(), result.mutable_data_ptr(), kernels->threads);
  return result;
}

MaxBlurPlan plan_of(const Tensor& image, bool channels_last, const Filter& filter) {
  const Filter::Max& max = *filter.max;
  return kernels->plan_max_blur("max_blur_downsample", image.sizes().vec(), channels_last,
                                {max.kernel_size, max.max_pad, max.dilation}, filter.blur(), max.ceil_mode);
}

Tensor max_blur(const Tensor& image, const Filter& filter) {
  const bool channels_last = is_channels_last(image);
  const MaxBlurPlan plan = plan_of(image, channels_last, filter);
  const Tensor source = image.contiguous(format(channels_last));
  Tensor result = empty(kernels->blurred_shape(image.sizes().vec(), plan.blur), image, channels_last);
  kernels->max_blur(plan, *dtype_of(image), source.const_data_ptr(), source.const_data_ptr(), result.mutable_data_ptr(),
                    kernels->threads);
  return result;
}

Tensor max_blur_transpose(const Tensor& grad, const Tensor& image, const Filter& filter) {
  const bool channels_last = is_channels_last(image);
  const MaxBlurPlan plan = plan_of(image, channels_last, filter);
  const Tensor from = grad.contiguous(format(channels_last)), at = image.contiguous(format(channels_last));
  Tensor result = empty(image.sizes(), image, channels_last);
  kernels->max_blur_transpose(plan, *dtype_of(image), from.const_data_ptr(), at.const_data_ptr(),
                              result.mutable_data_ptr(), kernels->threads);
  return result;
}

// -- with autograd -------------------------------------------------------------------------------

// Whether a gradient can be computed here; else the registered operators do it, which have gradients of their own.
bool is_last(const Tensor& grad) { return !at::GradMode::is_enabled() && is_plain(grad); }

template <typename Signature>
auto registered(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").template typed<Signature>();
}

struct Blur : torch::autograd::Function<Blur> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& image, const FilterPointer& filter) {
    context->saved_data["filter"] = c10::IValue::make_capsule(filter);
    context->saved_data["shape"] = image.sizes().vec();
    return blur(image, *filter);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const auto held = context->saved_data["filter"].toCapsule();
    const auto& filter = static_cast<const Filter&>(*held);
    const Ints shape = context->saved_data["shape"].toIntVector();
    if (is_last(grads[0])) return {blur_transpose(grads[0], shape, filter), Tensor()};
    static const auto transpose =
        registered<Tensor(const Tensor&, c10::SymInt, c10::SymInt, at::ArrayRef<double>, at::ArrayRef<double>,
                          at::IntArrayRef, c10::string_view, at::OptionalIntArrayRef)>(
            "shiftable::blur_downsample_transpose");
    const size_t d = shape.size();
    return {transpose.call(grads[0], shape[d - 2], shape[d - 1], filter.taps_y, filter.taps_x, filter.stride,
                           filter.border, filter.pad_or_none()),
            Tensor()};
  }
};

struct MaxBlur : torch::autograd::Function<MaxBlur> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& image, const FilterPointer& filter) {
    context->saved_data["filter"] = c10::IValue::make_capsule(filter);
    context->save_for_backward({image});
    return max_blur(image, *filter);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const auto held = context->saved_data["filter"].toCapsule();
    const auto& filter = static_cast<const Filter&>(*held);
    const Tensor image = context->get_saved_variables()[0];
    if (is_last(grads[0]) && is_plain(image)) return {max_blur_transpose(grads[0], image, filter), Tensor()};
    static const auto transpose =
        registered<Tensor(const Tensor&, const Tensor&, at::IntArrayRef, at::ArrayRef<double>, at::ArrayRef<double>,
                          at::IntArrayRef, c10::string_view, at::OptionalIntArrayRef, at::IntArrayRef, at::IntArrayRef,
                          bool)>("shiftable::max_blur_downsample_transpose");
    const Filter::Max& max = *filter.max;
    return {transpose.call(grads[0], image, max.kernel_size, filter.taps_y, filter.taps_x, filter.stride, filter.border,
                           filter.pad_or_none(), max.max_pad, max.dilation, max.ceil_mode),
            Tensor()};
  }
};

// The result, or none for a tensor that the registered operators must see.
std::optional<Tensor> call(const Tensor& image, const FilterPointer& filter) {
  if (!is_plain(image)) return std::nullopt;
  const py::gil_scoped_release others_may_run;
  if (at::GradMode::is_enabled() && image.requires_grad())
    return filter->max ? MaxBlur::apply(image, filter) : Blur::apply(image, filter);
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  return filter->max ? max_blur(image, *filter) : blur(image, *filter);
}

FilterPointer make_filter(const Doubles& taps_y, const Doubles& taps_x, const Ints& stride, const std::string& border,
                          const std::optional<Ints>& pad) {
  auto filter = c10::make_intrusive<Filter>();
  filter->taps_y = taps_y;
  filter->taps_x = taps_x;
  filter->stride = stride;
  filter->border = border;
  filter->pad = pad;
  return filter;
}

}  // namespace
}  // namespace shiftable

PYBIND11_MODULE(_eager, m) {
  using namespace shiftable;
  m.doc() = "The pooling operators for plain CPU tensors, without the dispatcher.";
  const py::capsule handed = py::module_::import("shiftable._C").attr("eager_kernels");
  kernels = static_cast<const EagerKernels*>(PyCapsule_GetPointer(handed.ptr(), kEagerKernels));
  if (kernels == nullptr) throw py::error_already_set();
  py::class_<Filter, FilterPointer>(m, "Filter")
      .def(py::init(&make_filter))
      .def(py::init([](const Ints& kernel_size, const Doubles& taps_y, const Doubles& taps_x, const Ints& stride,
                       const std::string& border, const std::optional<Ints>& pad, const Ints& max_pad,
                       const Ints& dilation, bool ceil_mode) {
        auto filter = make_filter(taps_y, taps_x, stride, border, pad);
        filter->max = Filter::Max{kernel_size, max_pad, dilation, ceil_mode};
        return filter;
      }));
  m.def("call", &call);
}
