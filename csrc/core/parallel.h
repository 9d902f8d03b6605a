// How a kernel that knows nothing of torch runs on torch's threads: op.cpp hands it one of these.
#pragma once

#include <cstdint>
#include <functional>

namespace shiftable {

// Calls body(begin, end) over disjoint parts of 0..count, each of at least `grain` items.
using Parallel = std::function<void(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body)>;

// Items that make up enough work (touched pixels) to be worth a thread.
inline int64_t grain_for(int64_t pixels_per_item) {
  constexpr int64_t kPixelsPerThread = 32768;
  return pixels_per_item <= 0 ? kPixelsPerThread : (kPixelsPerThread + pixels_per_item - 1) / pixels_per_item;
}

}  // namespace shiftable
