// Where a sliding window starts and how many fit. The only place that knows.
#pragma once

#include "core/portable.h"

namespace shiftable {

// The first position that output `o` reads; negative inside the padding.
SHIFTABLE_HOST_DEVICE int64_t window_start(int64_t o, int64_t stride, int64_t pad_before) {
  return o * stride - pad_before;
}

// Windows of `extent` positions that fit into n positions plus padding; at most 0 where none fits.
SHIFTABLE_HOST_DEVICE int64_t window_count(int64_t n, int64_t pad_before, int64_t pad_after, int64_t extent,
                                           int64_t stride) {
  const int64_t room = n + pad_before + pad_after - extent;
  return room < 0 ? 0 : room / stride + 1;
}

// The same, but a last window that starts inside the room and ends past it counts as well.
SHIFTABLE_HOST_DEVICE int64_t window_count_ceil(int64_t n, int64_t pad_before, int64_t pad_after, int64_t extent,
                                                int64_t stride) {
  const int64_t room = n + pad_before + pad_after - extent;
  return room < 0 ? 0 : room / stride + (room % stride != 0) + 1;
}

}  // namespace shiftable
