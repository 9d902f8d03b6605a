// Random numbers, shapes and buffers for programs that run the kernels on all sorts of them.
#pragma once

#include <cstdlib>
#include <memory>
#include <vector>

#include "core/dtype.h"
#include "take_windows/plan.h"

namespace shiftable {

inline uint32_t state = 1;
inline int64_t random_from(int64_t low, int64_t high) {
  state = state * 1664525u + 1013904223u;
  return low + (state >> 8) % (high - low + 1);
}

inline int64_t size_of(DType dtype) {
  return dtype == DType::float64 ? 8 : dtype == DType::float32 ? 4 : dtype == DType::uint8 ? 1 : 2;
}

// Bytes on the heap, of exactly this size, each 0x3c: a number of every type.
struct Buffer {
  int64_t size;
  std::unique_ptr<unsigned char[]> bytes;
  Buffer(int64_t count, DType dtype) : size(count * size_of(dtype)), bytes(new unsigned char[size]) {
    for (int64_t i = 0; i < size; ++i) bytes[i] = 0x3c;
  }
  void* get() { return bytes.get(); }
};

inline int64_t count_of(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  return count;
}

inline Layout layout_of(int64_t channels, int64_t height, int64_t width, bool channels_last) {
  const int64_t size = channels * height * width;
  return channels_last ? Layout{size, 1, channels * width, channels} : Layout{size, height * width, width, 1};
}

}  // namespace shiftable
