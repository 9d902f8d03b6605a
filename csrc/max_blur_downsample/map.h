// The max map and its winners, row by row.
#pragma once

#include <limits>

#include "core/separable.h"
#include "max_blur_downsample/plan.h"

namespace shiftable {
namespace {

template <typename A>
using Key = typename BitsOf<A>::type;
template <typename A>
using Keys = Vec<Key<A>>;

template <typename A>
SHIFTABLE_INLINE void store_keys(Key<A>* p, Keys<A> keys) {
  std::memcpy(p, &keys, sizeof(keys));
}

// Whole numbers in the order of the values: -0 equals 0, a NaN is largest of all, and kNone, for padding, is below even
// minus infinity.
template <typename A>
constexpr Key<A> kNone = std::numeric_limits<Key<A>>::min();

template <typename A>
SHIFTABLE_INLINE Keys<A> keys_of(Vec<A> value) {
  constexpr Key<A> kLargest = std::numeric_limits<Key<A>>::max();
  const auto bits = bit_copy<Keys<A>>(value + splat(A(0)));
  const Keys<A> ordered = bits ^ ((bits >> (8 * sizeof(A) - 1)) & splat(kLargest));
  return value == value ? ordered : splat(kLargest);
}

// The larger; a NaN is larger than any number.
template <typename A>
SHIFTABLE_INLINE Vec<A> larger(Vec<A> a, Vec<A> b) {
  const Vec<A> largest = larger_number(a, b);
  return a != a ? a : largest;
}

constexpr int64_t kMostLanes = 16;  // of any vector

// One axis of the max window over rows of `inner` numbers a pixel.
struct Windows {
  const MaxBlurPlan& plan;
  int64_t inner = plan.blur.inner;
  int64_t rows = plan.y.inputs, row_size = plan.x.inputs * inner;  // of an image
  int64_t map_rows = plan.blur.y->axis.inputs, map_size = plan.blur.x->axis.inputs * inner;
  int64_t extent_y = (plan.y.kernel_size - 1) * plan.y.dilation + 1;
  int64_t extent_x = (plan.x.kernel_size - 1) * plan.x.dilation + 1;
  int64_t margin = plan.x.pad * inner;     // of a padded row, on either side
  int64_t step = plan.x.dilation * inner;  // to the next pixel of a window
  // A padded row lies so in its buffer that its pixels start on a line of the cache; there is room for whole vectors.
  int64_t lead = (margin + 15) / 16 * 16;
  int64_t padded_size = (lead + row_size + margin + 4 * kMostLanes + 15) / 16 * 16;
  // Small windows without margins are looked at in one pass. Those of row after row are then the windows of one long
  // row, but for those that reach into the next row, whose results nobody reads: as many map rows as are wanted are
  // made at once, as far apart as image rows.
  bool one_pass = plan.x.pad == 0 && plan.y.pad == 0 && plan.x.kernel_size * plan.y.kernel_size <= 4;
  int64_t map_pitch = one_pass ? row_size : (map_size + 2 * kMostLanes + 15) / 16 * 16;

  // The image row under row ky of the windows of map row my; outside 0 .. rows - 1 for padding.
  SHIFTABLE_INLINE int64_t row(int64_t my, int64_t ky) const { return my - plan.y.pad + ky * plan.y.dilation; }
  SHIFTABLE_INLINE bool inside(int64_t y) const { return y >= 0 && y < rows; }
};

// Calls visit(j, whole) for every vector of 0 .. count - 1; `whole` is false where a load at j would pass `readable`.
template <typename A, typename T, typename Visit>
SHIFTABLE_INLINE void for_vectors(int64_t count, const T* row, const T* readable, const Visit& visit) {
  for (int64_t j = 0; j < count; j += kLanes<A>) visit(j, row + j + kLanes<A> <= readable);
}

// -- the map ---------------------------------------------------------------------------------------

// out[j] = the largest of rows[r][j + x * step] over `height` rows and `width` pixels; R and X are those numbers as
// constants, or 0. The rows end before `readable`; a whole vector is stored after `count`. A NaN is the largest only if
// kCareful; else returns whether there was one.
template <int R, int X, bool kCareful, typename A, typename T>
__attribute__((noinline)) bool max_of(int height, int width, const T* const* rows, int64_t step, int64_t count,
                                      const T* readable, int64_t ahead, A* out) {
  const int r_end = R > 0 ? R : height, x_end = X > 0 ? X : width;
  const T* newest = rows[r_end - 1];
  const int64_t safe = readable - newest - (x_end - 1) * step - kLanes<A>;  // the last place of a whole load
  NanSeen seen;
  const auto vector_at = [&](int64_t j, const auto& load_at) SHIFTABLE_LAMBDA {
    Vec<A> found = load_at(rows[0] + j);
    if constexpr (!kCareful) {
      const Vec<A> last = load_at(rows[r_end - 1] + j);
      seen.look_at(found, last);
#pragma GCC unroll 4
      for (int r = 1; r < r_end - 1; ++r) seen.look_at(load_at(rows[r] + j), last);
    }
#pragma GCC unroll 4
    for (int r = 0; r < r_end; ++r)
#pragma GCC unroll 4
      for (int x = r > 0 ? 0 : 1; x < x_end; ++x) {
        const Vec<A> value = load_at(rows[r] + j + x * step);
        found = kCareful ? larger<A>(value, found) : larger_number(value, found);
      }
    return found;
  };
  const auto whole = [](const T* p) SHIFTABLE_LAMBDA { return load_as(p, A{}); };
  const auto some = [&](const T* p) SHIFTABLE_LAMBDA { return load_some<A>(p, readable - p); };
  int64_t j = 0;
  for (const int64_t stop = safe + 1 < count ? safe + 1 : count; j < stop; j += kLanes<A>) {
    prefetch(reinterpret_cast<const char*>(newest + j) + ahead, kLanes<A> * static_cast<int64_t>(sizeof(T)));
    store(out + j, vector_at(j, whole));
  }
  for (; j < count; j += kLanes<A>) store(out + j, vector_at(j, some));  // near the end of the tensor
  if constexpr (kCareful) return false;
  // What only windows further left read.
  for (const int64_t stop = count + (x_end - 1) * step; j < stop; j += kLanes<A>)
    for (int r = 0; r < r_end; ++r) {
      const Vec<A> value = some(rows[r] + j);
      seen.look_at(value, value);
    }
  return seen.any();
}

// The same, with constants for the commonest windows.
template <typename A, typename T>
void max_windows(int height, int width, const T* const* rows, int64_t step, int64_t count, const T* readable,
                 int64_t ahead, A* out) {
  const auto run = [&](auto r, auto x) SHIFTABLE_LAMBDA {
    constexpr int kRows = decltype(r)::value, kPixels = decltype(x)::value;
    if (max_of<kRows, kPixels, false, A>(height, width, rows, step, count, readable, ahead, out))
      max_of<kRows, kPixels, true, A>(height, width, rows, step, count, readable, ahead, out);
  };
  constexpr std::integral_constant<int, 0> kAny;
  constexpr std::integral_constant<int, 1> kOne;
  constexpr std::integral_constant<int, 2> kTwo;
  constexpr std::integral_constant<int, 3> kThree;
  if (height == 1) return width == 2 ? run(kOne, kTwo) : width == 3 ? run(kOne, kThree) : run(kOne, kAny);
  if (width == 1) return height == 2 ? run(kTwo, kOne) : height == 3 ? run(kThree, kOne) : run(kAny, kOne);
  return height == 2 && width == 2 ? run(kTwo, kTwo) : run(kAny, kAny);
}

// The largest value of each window of map row `my`, and of the `more` rows after it where they are made in one pass;
// `padded` is a row whose left margin is minus infinity.
template <typename A, typename T>
void max_row(const Windows& w, const T* image, const T* readable, int64_t my, int64_t more, A* padded, A* map) {
  constexpr A kLowest = -std::numeric_limits<A>::infinity();
  Scratch<const T*, 64> under(w.plan.y.kernel_size);
  const T** rows = under.data();
  int height = 0;
  for (int64_t ky = 0; ky < w.plan.y.kernel_size; ++ky)
    if (const int64_t y = w.row(my, ky); w.inside(y)) rows[height++] = image + y * w.row_size;
  const auto width = static_cast<int>(w.plan.x.kernel_size);
  const int64_t ahead = prefetch_distance(w.inner);
  if (w.one_pass)
    return max_windows<A>(height, width, rows, w.step, more * w.row_size + w.map_size, readable, ahead, map);
  // Down the columns, then along the row.
  A* middle = padded + w.margin;
  if (height == 0)
    for (int64_t j = 0; j < w.row_size; j += kLanes<A>) store(middle + j, splat(kLowest));
  else
    max_windows<A>(height, 1, rows, 0, w.row_size, readable, ahead, middle);
  for (int64_t j = 0; j < w.margin + kLanes<A>; j += kLanes<A>) store(middle + w.row_size + j, splat(kLowest));
  const A* line = padded;
  max_windows<A>(1, width, &line, w.step, w.map_size, line + w.padded_size - w.lead + w.margin, 0, map);
}

// The keys of an image row, with kNone for padding.
template <typename A, typename T>
void key_row(const Windows& w, const T* row, const T* readable, Key<A>* padded) {
  for (int64_t j = 0; j < w.margin; ++j) padded[j] = kNone<A>;
  Key<A>* middle = padded + w.margin;
  for_vectors<A>(w.row_size, row, readable, [&](int64_t j, bool whole) SHIFTABLE_LAMBDA {
    const Keys<A> keys = keys_of<A>(whole ? load_as(row + j, A{}) : load_some<A>(row + j, w.row_size - j));
    store_keys<A>(middle + j, keys);
  });
  for (int64_t j = 0; j < w.margin + kLanes<A>; j += kLanes<A>) store_keys<A>(middle + w.row_size + j, splat(kNone<A>));
}

// Which pixel of each window is the largest, as ky * width + kx: the first such pixel in row-major order; -1 where the
// window lies wholly in the padding. keys[ky] is the row under row ky, or null in the padding. The window's height and
// width as constants, or 0.
template <int kHeight, int kWidth, typename A>
__attribute__((noinline)) void argmax_of(const Windows& w, const Key<A>* const* keys, Key<A>* winners) {
  const int64_t height = kHeight > 0 ? kHeight : w.plan.y.kernel_size,
                width = kWidth > 0 ? kWidth : w.plan.x.kernel_size;
  for (int64_t j = 0; j < w.map_size; j += kLanes<A>) {
    Keys<A> largest = splat(kNone<A>), winner = splat(Key<A>(-1));
#pragma GCC unroll 4
    for (int64_t ky = 0; ky < height; ++ky) {
      if (kHeight == 0 && keys[ky] == nullptr) continue;
#pragma GCC unroll 4
      for (int64_t kx = 0; kx < width; ++kx) {
        Keys<A> key;
        std::memcpy(&key, keys[ky] + j + kx * w.step, sizeof(key));
        const auto won = key > largest;
        largest = won ? key : largest;
        winner = won ? splat(static_cast<Key<A>>(ky * width + kx)) : winner;
      }
    }
    store_keys<A>(winners + j, winner);
  }
}

template <typename A>
void argmax_row(const Windows& w, const Key<A>* const* keys, Key<A>* winners) {
  const int64_t height = w.plan.y.kernel_size, width = w.plan.x.kernel_size;
  bool all = true;
  for (int64_t ky = 0; ky < height; ++ky) all = all && keys[ky] != nullptr;
  if (all && height == 2 && width == 2) return argmax_of<2, 2, A>(w, keys, winners);
  if (all && height == 3 && width == 3) return argmax_of<3, 3, A>(w, keys, winners);
  argmax_of<0, 0, A>(w, keys, winners);
}

// The smallest power of two that is not below n: a ring of so many slots finds a row without a division.
SHIFTABLE_INLINE int64_t ring_slots(int64_t n) {
  int64_t slots = 1;
  while (slots < n) slots *= 2;
  return slots;
}

// Rows under a window that moves down, each made once: slot y % slots holds row y.
template <typename A>
class KeyRing {
 public:
  SHIFTABLE_INLINE explicit KeyRing(const Windows& w)
      : w_(w),
        slots_(ring_slots(w.extent_y)),
        keys_(slots_ * w.padded_size),
        held_(slots_),
        under_(w.plan.y.kernel_size) {}

  void reset() {
    for (int64_t slot = 0; slot < slots_; ++slot) held_.data()[slot] = -1;
  }

  template <typename T>
  const Key<A>* const* rows(const T* image, const T* readable, int64_t my) {
    for (int64_t ky = 0; ky < w_.plan.y.kernel_size; ++ky) {
      const int64_t y = w_.row(my, ky);
      under_.data()[ky] = nullptr;
      if (!w_.inside(y)) continue;
      const int64_t slot = y & (slots_ - 1);
      Key<A>* row = keys_.data() + slot * w_.padded_size + w_.lead - w_.margin;
      if (held_.data()[slot] != y) {
        held_.data()[slot] = y;
        prefetch(reinterpret_cast<const char*>(image + y * w_.row_size) + prefetch_distance(w_.inner),
                 w_.row_size * sizeof(T));
        key_row<A>(w_, image + y * w_.row_size, readable, row);
      }
      under_.data()[ky] = row;
    }
    return under_.data();
  }

 private:
  const Windows& w_;
  int64_t slots_;
  Scratch<Key<A>, 64> keys_;
  Scratch<int64_t, 64> held_;
  Scratch<const Key<A>*, 64> under_;
};

// `values` read where `image` is largest, for the windows of map row `my`.
template <typename A, typename T>
void gather_row(const Windows& w, const T* values, const T* image, const T* readable, int64_t my, KeyRing<A>& ring,
                Key<A>* winners, A* map) {
  argmax_row<A>(w, ring.rows(image, readable, my), winners);
  for (int64_t j = 0; j < w.map_size; ++j) {
    const int64_t ky = winners[j] / w.plan.x.kernel_size, kx = winners[j] % w.plan.x.kernel_size;
    // A window of padding alone gives nothing, as the transpose gives it nothing.
    map[j] = winners[j] < 0 ? A(0) : static_cast<A>(values[w.row(my, ky) * w.row_size + j + kx * w.step - w.margin]);
  }
}

}  // namespace
}  // namespace shiftable
