// torch tensors, seen through the stable ABI, as the kernels want them. Only op.cpp files include this.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <string>
#include <vector>

#include "core/check.h"
#include "core/dtype.h"
#include "core/parallel.h"

namespace shiftable {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline std::vector<int64_t> shape_of(const Tensor& tensor) {
  const auto sizes = tensor.sizes();
  return {sizes.begin(), sizes.end()};
}

// A 4-D tensor whose memory runs (N, H, W, C) and not also (N, C, H, W).
inline bool is_channels_last(const Tensor& tensor) {
  if (tensor.dim() != 4 || tensor.is_contiguous()) return false;
  const int64_t order[] = {1, 3, 2, 0};
  int64_t expected = 1;
  for (int64_t d : order) {
    if (tensor.size(d) != 1 && tensor.stride(d) != expected) return false;
    expected *= tensor.size(d);
  }
  return true;
}

// The tensor itself where it is dense in its own format, else an NCHW copy.
inline Tensor dense(const Tensor& tensor, bool channels_last) {
  return torch::stable::contiguous(tensor, channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous);
}

inline Tensor empty_on(const Tensor& like, const std::vector<int64_t>& shape, ScalarType dtype, bool channels_last) {
  return torch::stable::empty(shape, dtype, std::nullopt, like.device(), std::nullopt,
                              channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous);
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
    torch::stable::parallel_for(0, count, grain, [=](int64_t begin, int64_t end) { body(context, begin, end); });
  }};
}

}  // namespace shiftable
