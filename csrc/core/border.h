// What lies outside an image. The only place that knows.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/portable.h"

namespace shiftable {

// The pictures show a row "abcd" continued to both sides.
enum class Border : int {
  reflect,    // dcb|abcd|cba   the edge pixel is not repeated
  replicate,  // aaa|abcd|ddd
  circular,   // bcd|abcd|abc
  constant,   // ...|abcd|...   border_index answers kOutside
};

constexpr int64_t kOutside = -1;

SHIFTABLE_HOST_DEVICE int64_t floor_mod(int64_t i, int64_t n) {
  const int64_t r = i % n;
  return r < 0 ? r + n : r;
}

// The index in 0..n-1 that position i of an endless row reads, for any i and any n >= 1.
SHIFTABLE_HOST_DEVICE int64_t border_index(Border border, int64_t i, int64_t n) {
  if (i >= 0 && i < n) return i;
  switch (border) {
    case Border::reflect: {  // -1 -> 1, n -> n-2, with period 2(n-1)
      if (n == 1) return 0;
      const int64_t r = floor_mod(i, 2 * (n - 1));
      return r < n ? r : 2 * (n - 1) - r;
    }
    case Border::replicate:  // -1 -> 0, n -> n-1
      return i < 0 ? 0 : n - 1;
    case Border::circular:  // -1 -> n-1, n -> 0
      return floor_mod(i, n);
    case Border::constant: break;
  }
  return kOutside;
}

// The same for positions less than n outside of the row, in 32 bits and without a division.
SHIFTABLE_HOST_DEVICE int near_index(Border border, int i, int n) {
  if (static_cast<unsigned>(i) < static_cast<unsigned>(n)) return i;
  switch (border) {
    case Border::reflect: return i < 0 ? -i : 2 * (n - 1) - i;
    case Border::replicate: return i < 0 ? 0 : n - 1;
    case Border::circular: return i < 0 ? i + n : i - n;
    case Border::constant: break;
  }
  return -1;
}

// The same as sums, which take no branch: factor * i + offset before the row and behind it.
struct Fold {
  int low_factor, low_offset, high_factor, high_offset;
};

inline Fold fold_of(Border border, int n) {
  switch (border) {
    case Border::reflect: return {-1, 0, -1, 2 * (n - 1)};
    case Border::replicate: return {0, 0, 0, n - 1};
    case Border::circular: return {1, n, 1, -n};
    case Border::constant: break;
  }
  return {0, -1, 0, -1};
}

SHIFTABLE_HOST_DEVICE int folded(const Fold& fold, int i, int n) {
  const int low = fold.low_factor * i + fold.low_offset, high = fold.high_factor * i + fold.high_offset;
  return i < 0 ? low : i >= n ? high : i;
}

// Every border by name, in the order of the enumeration.
inline const std::vector<std::pair<std::string, Border>>& borders() {
  static const std::vector<std::pair<std::string, Border>> table = {
      {"reflect", Border::reflect},
      {"replicate", Border::replicate},
      {"circular", Border::circular},
      {"constant", Border::constant},
  };
  return table;
}

}  // namespace shiftable
