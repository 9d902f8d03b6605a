#include "take_windows/plan.h"
#include "tensors.h"

namespace shiftable {

namespace {

using Doubles = std::vector<double>;
using Ints = std::vector<int64_t>;

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

std::vector<Corner> corners_of(const char* op, const Tensor& corners) {
  check(is_float(corners.scalar_type()) || is_integer(corners.scalar_type()), op,
        "expected corners of an integer or floating dtype, got torch scalar type ",
        torch::headeronly::toString(corners.scalar_type()));
  const ScalarType exact = is_float(corners.scalar_type()) ? ScalarType::Double : ScalarType::Long;
  const Tensor values = torch::stable::contiguous(torch::stable::to(corners, exact));
  const int64_t count = values.numel() / 2;
  return exact == ScalarType::Double ? read_corners(op, static_cast<const double*>(values.const_data_ptr()), count)
                                     : read_corners(op, static_cast<const int64_t*>(values.const_data_ptr()), count);
}

Tensor forward(Tensor images, Tensor corners, Ints size, std::string border, std::optional<Doubles> fill,
               std::string interpolation, std::optional<Doubles> scale, std::optional<Doubles> bias, ScalarType dtype,
               bool channels_last) {
  const char* op = "take_windows";
  const DType in = dtype_of(op, images.scalar_type(), true), out = dtype_of(op, dtype, true);
  check(out != DType::uint8 || in == DType::uint8, op, "expected a floating dtype for a floating image, got uint8");
  const bool fractional = is_float(corners.scalar_type());
  const WindowPlan plan = plan_windows(op, shape_of(images), shape_of(corners), fractional, out == DType::uint8,
                                       {size, border, fill, scale, bias, interpolation});
  const std::vector<Corner> at = corners_of(op, corners);
  Tensor flat = empty_on(images, {plan.images * plan.windows, plan.channels, size[0], size[1]}, dtype, channels_last);
  if (flat.numel() > 0)
    SHIFTABLE_CPU(take_windows_cpu)(plan, at.data(), shape_of(corners).size() == 3, in, layout_of(images),
                                    images.const_data_ptr(), out, layout_of(flat), flat.mutable_data_ptr(),
                                    torch_threads());
  return torch::stable::view(flat, {plan.images, plan.windows, plan.channels, size[0], size[1]});
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
  const std::vector<Corner> at = corners_of(op, corners);
  const Tensor source = torch::stable::contiguous(grad);
  Tensor result = empty_on(grad, images, dtype, channels_last);
  if (result.numel() > 0)
    SHIFTABLE_CPU(take_windows_transpose_cpu)(plan, at.data(), shape_of(corners).size() == 3, in, layout_of(source),
                                              source.const_data_ptr(), out, layout_of(result),
                                              result.mutable_data_ptr(), torch_threads());
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(shiftable, CPU, m) {
  m.impl("take_windows", TORCH_BOX(&forward));
  m.impl("take_windows_transpose", TORCH_BOX(&transpose));
}

}  // namespace shiftable
