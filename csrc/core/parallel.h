// How a kernel that knows nothing of torch runs on torch's threads: op.cpp hands it one of these.
#pragma once

#include "core/portable.h"

namespace shiftable {

struct Parallel {
  // Calls body(context, begin, end) over disjoint parts of 0..count, each of at least `grain` items.
  void (*run)(int64_t count, int64_t grain, void (*body)(const void* context, int64_t begin, int64_t end),
              const void* context);

  template <typename Body>
  SHIFTABLE_INLINE void operator()(int64_t count, int64_t grain, const Body& body) const {
    run(
        count, grain,
        [](const void* context, int64_t begin, int64_t end) { (*static_cast<const Body*>(context))(begin, end); },
        &body);
  }
};

// Items that make up enough work (touched pixels) to be worth a thread.
SHIFTABLE_HOST_DEVICE int64_t grain_for(int64_t pixels_per_item) {
  constexpr int64_t kPixelsPerThread = 32768;
  return pixels_per_item <= 0 ? kPixelsPerThread : (kPixelsPerThread + pixels_per_item - 1) / pixels_per_item;
}

}  // namespace shiftable
