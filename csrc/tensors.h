// torch tensors, seen through the stable ABI, as the kernels want them. Only op.cpp files include this.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <optional>
#include <string>
#include <vector>

#include "core/check.h"
#include "core/dtype.h"
#include "core/parallel.h"

namespace shiftable {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// How the arguments of an operator arrive.
using Doubles = std::vector<double>;
using Ints = std::vector<int64_t>;
using Pad = std::optional<Ints>;

inline std::vector<int64_t> shape_of(const Tensor& tensor) {
  const auto sizes = tensor.sizes();
  return {sizes.begin(), sizes.end()};
}

// Whether memory runs (N, C, H, W), or (N, H, W, C), without gaps. Axes of one pixel may have any stride.
inline bool is_dense(const Tensor& tensor, bool channels_last) {
  const int64_t d = tensor.dim();
  int64_t expected = 1;
  const auto follows = [&](int64_t axis) {
    const bool dense = tensor.size(axis) == 1 || tensor.stride(axis) == expected;
    expected *= tensor.size(axis);
    return dense;
  };
  if (channels_last) return d == 4 && follows(1) && follows(3) && follows(2) && follows(0);
  for (int64_t axis = d - 1; axis >= 0; --axis)
    if (!follows(axis)) return false;
  return true;
}

// A 4-D tensor whose memory runs (N, H, W, C) and not also (N, C, H, W).
inline bool is_channels_last(const Tensor& tensor) { return !tensor.is_contiguous() && is_dense(tensor, true); }

// The tensor itself where it is dense in this format, else a copy that is.
inline Tensor dense(const Tensor& tensor, bool channels_last) {
  if (is_dense(tensor, channels_last)) return tensor;
  return torch::stable::contiguous(tensor, channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous);
}

// Memory for a result. (aoti_torch_empty_strided goes straight to the allocator, torch::stable::empty by way of the
// dispatcher, which costs more than a small filter.)
inline Tensor empty_on(const Tensor& like, const std::vector<int64_t>& shape, ScalarType dtype, bool channels_last) {
  const size_t d = shape.size();
  std::vector<int64_t> strides(d);
  int64_t next = 1;
  const auto place = [&](size_t axis, int64_t least) {
    strides[axis] = next;
    next *= shape[axis] > least ? shape[axis] : least;
  };
  if (channels_last)
    for (const size_t axis : {1, 3, 2, 0}) place(axis, 0);
  else
    for (size_t axis = d; axis-- > 0;) place(axis, 1);  // as torch, which counts an empty axis as one here alone
  AtenTensorHandle handle = nullptr;
  int32_t device_type = 0, device_index = 0;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device_type));
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_index(like.get(), &device_index));
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(static_cast<int64_t>(d), shape.data(), strides.data(),
                                                         static_cast<int32_t>(dtype), device_type, device_index,
                                                         &handle));
  return Tensor(handle);
}

// Every tensor of a call lies on one device.
inline void check_device(const char* op, const Tensor& tensor, const Tensor& image, const char* name) {
  int32_t types[2] = {0, 0};
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(tensor.get(), &types[0]));
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(image.get(), &types[1]));
  check(types[0] == types[1] && tensor.get_device_index() == image.get_device_index(), op, "expected ", name,
        " on the image's device, got another; move it with .to(image.device)");
}

// Bytes from a tensor's first number to behind its last.
inline std::pair<const char*, const char*> memory_of(const Tensor& tensor) {
  const char* begin = static_cast<const char*>(tensor.const_data_ptr());
  int64_t last = 0;
  for (int64_t axis = 0; axis < tensor.dim(); ++axis) {
    if (tensor.size(axis) == 0) return {begin, begin};
    last += (tensor.size(axis) - 1) * tensor.stride(axis);
  }
  return {begin, begin + (last + 1) * tensor.element_size()};
}

// Checks an `out` that is to hold a result in the memory format of the image that it is made from.
inline void check_out(const char* op, const Tensor& out, const std::vector<int64_t>& shape, const Tensor& image,
                      bool channels_last) {
  check_device(op, out, image, "out");
  check(shape_of(out) == shape && out.scalar_type() == image.scalar_type(), op, "expected out of shape ",
        shape_text(shape), " and the image's dtype, got shape ", shape_text(shape_of(out)), " and torch scalar type ",
        torch::headeronly::toString(out.scalar_type()));
  check(is_dense(out, channels_last), op, "expected out dense and ", channels_last ? "channels_last" : "contiguous",
        ", as the result for this image is, got other strides");
  const auto [out_begin, out_end] = memory_of(out);
  const auto [begin, end] = memory_of(image);
  check(out_end <= begin || end <= out_begin, op, "expected out in memory of its own, got memory of the image");
}

inline DType dtype_of(const char* op, ScalarType type, bool allow_uint8 = false) {
  switch (type) {
    case ScalarType::Float: return DType::float32;
    case ScalarType::Double: return DType::float64;
    case ScalarType::Half: return DType::float16;
    case ScalarType::BFloat16: return DType::bfloat16;
    case ScalarType::Byte:
      if (allow_uint8) return DType::uint8;
      [[fallthrough]];
    default:
      reject(op, "expected dtype float32, float64, float16", allow_uint8 ? ", bfloat16 or uint8" : " or bfloat16",
             ", got torch scalar type ", torch::headeronly::toString(type));
  }
}

inline Parallel torch_threads() {
  return {[](int64_t count, int64_t grain, void (*body)(const void*, int64_t, int64_t), const void* context) {
    if (count <= grain) return body(context, 0, count);  // one thread: no need to ask
    torch::stable::parallel_for(0, count, grain, [=](int64_t begin, int64_t end) { body(context, begin, end); });
  }};
}

}  // namespace shiftable
