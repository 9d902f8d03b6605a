// What the fast CUDA kernels know of an axis: the taps, and the pixels near its ends whose transpose involves the
// border.
#pragma once

#include "core/axis.h"
#include "core/gpu.h"

namespace shiftable {
namespace {

constexpr int kMostFastTaps = 7, kMostFastStride = 4;

// Which outputs read the pixels near the ends of an axis, those before `low` and those from `high` on, with what
// weight, in the order of the sum: entries first[slot] .. first[slot + 1] - 1. No border touches the pixels between.
struct EdgeTable {
  static constexpr int kMostInputs = 16, kMostEntries = 96;
  int low, high;
  int first[kMostInputs + 1];
  int output[kMostEntries];
  float weight[kMostEntries];

  SHIFTABLE_DEVICE bool holds(int i) const { return i < low || i >= high; }
  SHIFTABLE_DEVICE int slot_of(int i) const { return i < low ? i : i - high + low; }
};

// Fills the table in; false where the axis has more of them.
inline bool fill(EdgeTable& edges, const AxisTables& tables) {
  const int64_t n = tables.axis.inputs;
  int64_t low = n, high = n, after_last = 0;
  // Between `low` and `high` lies the widest run of pixels that no border touches.
  const auto run_ends = [&](int64_t at) {
    if (at - after_last > high - low) low = after_last, high = at;
    after_last = at + 1;
  };
  for (const int64_t i : tables.irregular) run_ends(i);
  run_ends(n);
  const int64_t slots = low + n - high;
  if (slots > EdgeTable::kMostInputs) return false;
  edges.low = static_cast<int>(low);
  edges.high = static_cast<int>(high);
  int entries = 0;
  for (int64_t slot = 0; slot < slots; ++slot) {
    const int64_t i = slot < low ? slot : slot - low + high;
    edges.first[slot] = entries;
    for (int64_t e = tables.transpose.first[i]; e < tables.transpose.first[i + 1]; ++e, ++entries) {
      if (entries == EdgeTable::kMostEntries) return false;
      edges.output[entries] = static_cast<int>(tables.transpose.index[e]);
      edges.weight[entries] = tables.transpose.weight32[e];
    }
  }
  edges.first[slots] = entries;
  return true;
}

// Whether two axes are filtered alike by a fast kernel: as many taps, the same stride and the default's pad before.
inline bool is_fast(const FilterAxis& y, const FilterAxis& x) {
  const auto taps = static_cast<int64_t>(y.taps.size());
  return taps == static_cast<int64_t>(x.taps.size()) && taps >= 2 && taps <= kMostFastTaps && y.stride == x.stride &&
         y.stride <= kMostFastStride && y.pad_before == (taps - 1) / 2 && x.pad_before == (taps - 1) / 2;
}

// Whether positions outside of the image lie nearer than its size, as near_index wants.
inline bool is_near(const FilterAxis& axis) {
  const int64_t past =
      (axis.outputs - 1) * axis.stride - axis.pad_before + static_cast<int64_t>(axis.taps.size()) - axis.inputs;
  return axis.pad_before < axis.inputs && past <= axis.inputs - 1;
}

// Calls f(K, S) with the number of taps and the stride as constants.
template <typename F>
bool with_taps_and_stride(const FilterAxis& axis, const F& f) {
  const auto with_stride = [&](auto taps) {
    switch (axis.stride) {
      case 1: return f(taps, std::integral_constant<int, 1>{});
      case 2: return f(taps, std::integral_constant<int, 2>{});
      case 3: return f(taps, std::integral_constant<int, 3>{});
      case 4: return f(taps, std::integral_constant<int, 4>{});
      default: return false;
    }
  };
  switch (axis.taps.size()) {
    case 2: return with_stride(std::integral_constant<int, 2>{});
    case 3: return with_stride(std::integral_constant<int, 3>{});
    case 4: return with_stride(std::integral_constant<int, 4>{});
    case 5: return with_stride(std::integral_constant<int, 5>{});
    case 6: return with_stride(std::integral_constant<int, 6>{});
    case 7: return with_stride(std::integral_constant<int, 7>{});
    default: return false;
  }
}

}  // namespace
}  // namespace shiftable
