#include "on_gpu.h"
#include "take_windows/plan.h"

namespace shiftable {

namespace {

// The last four axes are (channel, y, x) behind an image axis of `outer` elements.
Layout layout_of(const Tensor& tensor) {
  const int64_t d = tensor.dim();
  return {tensor.stride(d - 4), tensor.stride(d - 3), tensor.stride(d - 2), tensor.stride(d - 1)};
}

bool is_float(ScalarType type) {
  return type == ScalarType::Float || type == ScalarType::Double || type == ScalarType::Half ||
         type == ScalarType::BFloat16;
}

bool is_integer(ScalarType type) {
  return type == ScalarType::Long || type == ScalarType::Int || type == ScalarType::Short || type == ScalarType::Char ||
         type == ScalarType::Byte;
}

// The corners as numbers of one of two types, on the CPU for its kernels and on the images' device for a GPU's.
class Corners {
 public:
  Corners(const char* op, const Tensor& corners, const Tensor& images) {
    check(is_float(corners.scalar_type()) || is_integer(corners.scalar_type()), op,
          "expected corners of an integer or floating dtype, got torch scalar type ",
          torch::headeronly::toString(corners.scalar_type()));
    const ScalarType exact = is_float(corners.scalar_type()) ? ScalarType::Double : ScalarType::Long;
    values_ = torch::stable::contiguous(torch::stable::to(corners, exact));
    const int64_t count = values_->numel() / 2;
    if (values_->is_cpu()) {  // a GPU's are not looked at: that would have to wait for them
      at_ = exact == ScalarType::Double
                ? read_corners(op, static_cast<const double*>(values_->const_data_ptr()), count)
                : read_corners(op, static_cast<const int64_t*>(values_->const_data_ptr()), count);
      // Not blocking: CUDA takes ordinary memory over before it returns, and nobody waits for the GPU.
      if (images.is_cuda()) values_ = torch::stable::to(*values_, images.device(), /*non_blocking=*/true);
    }
    check_device(op, *values_, images, "corners on the CPU or");
  }

  const Corner* on_cpu() const { return at_.data(); }
  const void* on_gpu() const { return values_->const_data_ptr(); }

 private:
  std::optional<Tensor> values_;
  std::vector<Corner> at_;
};

// The call of a kernel: on a GPU it takes the corners as they are.
#define SHIFTABLE_RUN_WINDOWS(function, op, images, plan, corners, ...)                          \
  do {                                                                                           \
    if ((images).is_cuda()) {                                                                    \
      const OnGpu gpu(op, images);                                                               \
      SHIFTABLE_CUDA_KERNEL(function##_cuda)(plan, (corners).on_gpu(), __VA_ARGS__, gpu.call()); \
    } else {                                                                                     \
      SHIFTABLE_CPU(function##_cpu)(plan, (corners).on_cpu(), __VA_ARGS__, torch_threads());     \
    }                                                                                            \
  } while (false)

Tensor forward(Tensor images, Tensor corners, Ints size, std::string border, std::optional<Doubles> fill,
               std::string interpolation, std::optional<Doubles> scale, std::optional<Doubles> bias, ScalarType dtype,
               bool channels_last) {
  const char* op = "take_windows";
  const DType in = dtype_of(op, images.scalar_type(), true), out = dtype_of(op, dtype, true);
  check(out != DType::uint8 || in == DType::uint8, op, "expected a floating dtype for a floating image, got uint8");
  const bool fractional = is_float(corners.scalar_type());
  const WindowPlan plan = plan_windows(op, shape_of(images), shape_of(corners), fractional, out == DType::uint8,
                                       {size, border, fill, scale, bias, interpolation});
  const Corners at(op, corners, images);
  Tensor flat = empty_on(images, {plan.images * plan.windows, plan.channels, size[0], size[1]}, dtype, channels_last);
  if (flat.numel() > 0)
    SHIFTABLE_RUN_WINDOWS(take_windows, op, images, plan, at, shape_of(corners).size() == 3, in, layout_of(images),
                          images.const_data_ptr(), out, layout_of(flat), flat.mutable_data_ptr());
  return torch::stable::view(flat, {plan.images, plan.windows, plan.channels, size[0], size[1]});
}

// Writes into `out`, (N, S, C, h, w), which says the windows' size, dtype and memory format.
void forward_out(Tensor images, Tensor corners, std::string border, std::optional<Doubles> fill,
                 std::string interpolation, std::optional<Doubles> scale, std::optional<Doubles> bias, Tensor out) {
  const char* op = "take_windows";
  const DType in = dtype_of(op, images.scalar_type(), true), to = dtype_of(op, out.scalar_type(), true);
  check(to != DType::uint8 || in == DType::uint8, op, "expected a floating out for a floating image, got uint8");
  const Ints shape = shape_of(out);
  check(shape.size() == 5, op, "expected out (N, S, C, h, w), got shape ", shape_text(shape));
  const bool fractional = is_float(corners.scalar_type());
  const WindowPlan plan = plan_windows(op, shape_of(images), shape_of(corners), fractional, to == DType::uint8,
                                       {{shape[3], shape[4]}, border, fill, scale, bias, interpolation});
  check(shape[0] == plan.images && shape[1] == plan.windows && shape[2] == plan.channels, op, "expected out of shape (",
        plan.images, ", ", plan.windows, ", ", plan.channels, ", h, w), got ", shape_text(shape));
  const Layout layout{out.stride(1), out.stride(2), out.stride(3), out.stride(4)};
  const int64_t pixels = shape[3] * shape[4], size = shape[2] * pixels;
  const bool planar = layout.x == 1 && layout.y == shape[4] && layout.channel == pixels;
  const bool channels_last = layout.channel == 1 && layout.x == shape[2] && layout.y == shape[2] * shape[4];
  check((planar || channels_last) && layout.image == size && (shape[0] == 1 || out.stride(0) == shape[1] * size), op,
        "expected out dense, contiguous or channels_last, got other strides");
  check_device(op, out, images, "out");
  const auto [out_begin, out_end] = memory_of(out);
  const auto [begin, end] = memory_of(images);
  check(out_end <= begin || end <= out_begin, op, "expected out in memory of its own, got memory of the images");
  if (out.numel() == 0) return;
  const Corners at(op, corners, images);
  SHIFTABLE_RUN_WINDOWS(take_windows, op, images, plan, at, shape_of(corners).size() == 3, in, layout_of(images),
                        images.const_data_ptr(), to, layout, out.mutable_data_ptr());
}

Tensor transpose(Tensor grad, Tensor corners, int64_t height, int64_t width, std::string border,
                 std::string interpolation, std::optional<Doubles> scale, ScalarType dtype, bool channels_last) {
  const char* op = "take_windows_transpose";
  const DType in = dtype_of(op, grad.scalar_type()), out = dtype_of(op, dtype);
  const Ints shape = shape_of(grad);
  check(shape.size() == 5, op, "expected a gradient (N, S, C, h, w), got shape ", shape_text(shape));
  const Ints images = {shape[0], shape[2], height, width};
  const WindowPlan plan =
      plan_windows(op, images, shape_of(corners), is_float(corners.scalar_type()), false,
                   {{shape[3], shape[4]}, border, std::nullopt, scale, std::nullopt, interpolation});
  check(plan.windows == shape[1], op, "expected corners for ", shape[1], " windows, got ", plan.windows);
  const Corners at(op, corners, grad);
  const Tensor source = torch::stable::contiguous(grad);
  Tensor result = empty_on(grad, images, dtype, channels_last);
  if (result.numel() > 0)
    SHIFTABLE_RUN_WINDOWS(take_windows_transpose, op, source, plan, at, shape_of(corners).size() == 3, in,
                          layout_of(source), source.const_data_ptr(), out, layout_of(result),
                          result.mutable_data_ptr());
  return result;
}

// -- registration --------------------------------------------------------------------------------

// Each serves both devices.
template <typename Library>
void register_all(Library& m) {
  m.impl("take_windows", TORCH_BOX(&forward));
  m.impl("take_windows_out", TORCH_BOX(&forward_out));
  m.impl("take_windows_transpose", TORCH_BOX(&transpose));
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(shiftable, CPU, m) { register_all(m); }
STABLE_TORCH_LIBRARY_IMPL(shiftable, CUDA, m) { register_all(m); }

}  // namespace shiftable
