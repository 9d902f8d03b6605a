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

// -- the max map, row by row ---------------------------------------------------------------------

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

// -- forward: rows of the map, kept while the blur reads them -------------------------------------

// The most recent rows of the map, found by number: a border may ask for rows far apart.
template <typename A>
class MapCache {
 public:
  SHIFTABLE_INLINE MapCache(int64_t row_size, int64_t taps)
      : row_size_(row_size), slots_(2 * taps + 1), rows_(slots_ * row_size), held_(slots_), used_(slots_) {}

  void reset() {
    for (int64_t slot = 0; slot < slots_; ++slot) held_.data()[slot] = -1, used_.data()[slot] = 0;
  }

  // The row, made if it is not there, in place of the one that was not asked for the longest.
  template <typename Make>
  SHIFTABLE_INLINE const A* row(int64_t my, Make& make) {
    int64_t oldest = 0;
    ++now_;
    for (int64_t slot = 0; slot < slots_; ++slot) {
      if (held_.data()[slot] == my) {
        used_.data()[slot] = now_;
        return rows_.data() + slot * row_size_;
      }
      if (used_.data()[slot] < used_.data()[oldest]) oldest = slot;
    }
    held_.data()[oldest] = my;
    used_.data()[oldest] = now_;
    A* found = rows_.data() + oldest * row_size_;
    make(my, 1, found);
    return found;
  }

 private:
  int64_t row_size_, slots_, now_ = 0;
  Scratch<A, 64> rows_;
  Scratch<int64_t, 256> held_, used_;
};

// Rows of the map that follow each other, each made once, one after the other in memory. When they reach the end, the
// last few move to the front.
template <typename A>
class MapRows {
 public:
  SHIFTABLE_INLINE MapRows(int64_t pitch, int64_t taps) : pitch_(pitch), capacity_(kBytes / (pitch * kSize)) {
    if (capacity_ < 2 * taps) capacity_ = 2 * taps;
    rows_.reserve(capacity_ * pitch + 2 * kLanes<A>);
  }

  void reset() { end_ = first_ = 0; }

  // The most output rows whose map rows fit in.
  int64_t outputs(int64_t taps, int64_t stride) const { return (capacity_ - taps) / stride + 1; }

  // Row `first`, with `count` - 1 more behind it; `first` never falls.
  template <typename Make>
  SHIFTABLE_INLINE const A* rows(int64_t first, int64_t count, Make& make) {
    if (end_ < first) first_ = end_ = first;
    if (first + count - first_ > capacity_) {
      std::memmove(rows_.data(), rows_.data() + (first - first_) * pitch_, (end_ - first) * pitch_ * kSize);
      first_ = first;
    }
    if (end_ < first + count) {
      make(end_, first + count - end_, rows_.data() + (end_ - first_) * pitch_);
      end_ = first + count;
    }
    return rows_.data() + (first - first_) * pitch_;
  }

 private:
  static constexpr int64_t kBytes = 16384, kSize = sizeof(A);  // half of a first-level cache
  int64_t pitch_, capacity_, first_ = 0, end_ = 0;             // rows first_ .. end_ - 1 are there
  Scratch<A, 64> rows_;
};

template <typename Out>
SHIFTABLE_INLINE int64_t filter_map(const RowFilter<float>& filter, const RowsOf<float>& under, const float* readable,
                                    Out* out, const Out* limit, const Ahead& ahead) {
  return filter_at_once(filter, under, readable, out, limit, Plain{}, ahead);
}
template <typename Out>
SHIFTABLE_INLINE int64_t filter_map(const RowFilter<double>&, const RowsOf<double, double>&, const double*, Out*,
                                    const Out*, const Ahead&) {
  return 0;
}

SHIFTABLE_INLINE int64_t smallest(int64_t a, int64_t b, int64_t c) { return a < b ? (a < c ? a : c) : b < c ? b : c; }

// Blurs the map whose rows make(block's image, its values, my, row) writes.
template <typename A, typename T, typename MakeRow>
void blur_map(const MaxBlurPlan& plan, const Windows& w, const T* image, const T* values, T* result,
              const Parallel& parallel, const MakeRow& make_row) {
  const AxisTable& vertical = plan.blur.y->forward;
  const FilterAxis& axis = plan.blur.y->axis;
  const RowFilter<A> filter(*plan.blur.x, w.inner);
  const int64_t image_size = w.rows * w.row_size, result_size = filter.results() * w.inner;
  const RowParts parts(plan.blur.blocks, vertical.outputs(), 2 * image_size);
  const T* readable = image + plan.blur.blocks * image_size;
  const auto taps = static_cast<int64_t>(axis.taps.size());
  const int64_t pitch = w.map_pitch;
  parallel(parts.items, parts.grain, [&](int64_t begin, int64_t end) {
    MapCache<A> cache(pitch + 3 * kLanes<A>, taps);
    MapRows<A> map(pitch, taps);
    Scratch<A> line(filter.line_size());
    Scratch<A, 64> temporary(filter.temporary_size());
    Scratch<const A*, 64> rows(taps);
    auto make = make_row(readable);
    const T* limit = result + parts.first_row(end) * result_size;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t block = parts.block(item), start = block * vertical.outputs(), stop = parts.first_row(item + 1);
      make.start(image + block * image_size, values + block * image_size);
      cache.reset();
      map.reset();
      for (int64_t o = parts.first_row(item), done; o < stop; o += done) {
        const int64_t first = vertical.first[o - start], top = window_start(o - start, axis.stride, axis.pad_before);
        const auto n = static_cast<int>(vertical.first[o - start + 1] - first);
        RowsOf<A, A> under{rows.data(), n, weights_of<A>(vertical) + first, axis.stride * pitch, 1};
        if (top >= 0 && top + taps <= axis.inputs) {
          const int64_t most = map.outputs(taps, axis.stride), alike = rows_alike(axis, o - start);
          under.outputs = w.inner > 1 ? 1 : smallest(most, alike, stop - o);
          const A* from = map.rows(top, (under.outputs - 1) * axis.stride + taps, make);
          for (int64_t k = 0; k < taps; ++k) rows.data()[k] = from + k * pitch;
        } else {
          for (int k = 0; k < n; ++k) rows.data()[k] = cache.row(vertical.index[first + k], make);
        }
        const A* map_end =
            n == 0 ? nullptr : last_of(n, rows.data()) + (under.outputs - 1) * under.step + pitch + 2 * kLanes<A>;
        T* out = result + o * result_size;
        // The image rows that come next.
        const int64_t next = w.row(top + (under.outputs - 1) * axis.stride + taps, w.plan.y.kernel_size - 1);
        const Ahead ahead{reinterpret_cast<const char*>(image + block * image_size + next * w.row_size),
                          w.row_size * static_cast<int64_t>(sizeof(T)), static_cast<int64_t>(sizeof(T))};
        done = filter_map(filter, under, map_end, out, limit, ahead);
        for (; done < under.outputs; ++done, out += result_size) {
          A* sums = filter.line(line.data());
          sum_rows(n, rows.data(), under.weights, w.map_size, map_end, sums, w.map_size + kLanes<A>);
          filter.apply(sums, temporary.data(), out, limit);
          for (int k = 0; k < n; ++k) rows.data()[k] += under.step;
        }
      }
    }
  });
}

template <typename A, typename T>
struct MaxRows {
  const Windows& w;
  const T* readable;
  Scratch<A> padded{w.padded_size};
  const T* image = nullptr;

  SHIFTABLE_INLINE MaxRows(const Windows& windows, const T* end) : w(windows), readable(end) {
    for (int64_t j = 0; j < w.lead; ++j) padded.data()[j] = -std::numeric_limits<A>::infinity();
  }
  SHIFTABLE_INLINE void start(const T* block, const T*) { image = block; }
  SHIFTABLE_INLINE void operator()(int64_t my, int64_t count, A* map) {
    const int64_t at_once = w.one_pass ? count : 1;
    for (int64_t r = 0; r < count; r += at_once)
      max_row<A>(w, image, readable, my + r, at_once - 1, padded.data() + w.lead - w.margin, map + r * w.map_pitch);
  }
};

template <typename A, typename T>
struct GatheredRows {
  const Windows& w;
  const T* readable;
  KeyRing<A> ring{w};
  Scratch<Key<A>> winners{w.map_size + kLanes<A>};
  const T* image = nullptr;
  const T* values = nullptr;

  SHIFTABLE_INLINE GatheredRows(const Windows& windows, const T* end) : w(windows), readable(end) {}
  SHIFTABLE_INLINE void start(const T* block, const T* block_values) {
    image = block;
    values = block_values;
    ring.reset();
  }
  SHIFTABLE_INLINE void operator()(int64_t my, int64_t count, A* map) {
    for (int64_t r = 0; r < count; ++r)
      gather_row<A>(w, values, image, readable, my + r, ring, winners.data(), map + r * w.map_pitch);
  }
};

// -- transpose -----------------------------------------------------------------------------------

// Rows of the map, each its windows' winners and the gradient that goes to them, with margins in which nothing wins.
template <typename A>
class WinnerRing {
 public:
  SHIFTABLE_INLINE explicit WinnerRing(const Windows& w)
      : margin_(((w.extent_x - 1) * w.inner + 15) / 16 * 16),  // rows start on lines of the cache
        size_((w.map_size + 2 * margin_ + 4 * kLanes<A> + 15) / 16 * 16),
        slots_(ring_slots(w.extent_y)),
        winners_(slots_ * size_),
        grads_(slots_ * size_) {
    for (int64_t i = 0; i < slots_ * size_; ++i) winners_.data()[i] = -1, grads_.data()[i] = 0;
  }
  SHIFTABLE_INLINE Key<A>* winners(int64_t my) { return winners_.data() + (my & (slots_ - 1)) * size_ + margin_; }
  SHIFTABLE_INLINE A* grads(int64_t my) { return grads_.data() + (my & (slots_ - 1)) * size_ + margin_; }

 private:
  int64_t margin_, size_, slots_;
  Scratch<Key<A>, 64> winners_;
  Scratch<A, 64> grads_;
};

// Where a window has its pixel at one of its places: who won there, what the winner is given, and the place's number.
template <typename A>
struct Place {
  const Key<A>* winners;
  const A* grads;
  Key<A> number;
};

// Adds up what each pixel of a row won, in the order of the places; N of them, or any `count` for 0.
template <int N, typename A, typename T>
__attribute__((noinline)) void collect(const Place<A>* places, int64_t count, int64_t size, T* out, const T* limit) {
  for (int64_t j = 0; j < size; j += kLanes<A>) {
    Vec<A> sum = splat(A(0));
#pragma GCC unroll 9
    for (int64_t e = 0; e < (N > 0 ? N : count); ++e) {
      Keys<A> winner;
      std::memcpy(&winner, places[e].winners + j, sizeof(winner));
      sum = winner == splat(places[e].number) ? sum + load(places[e].grads + j) : sum;
    }
    store_some<A>(out + j, sum, size - j, limit - (out + j));
  }
}

// Gives each pixel of image row y the gradients of the windows that it won, map rows and columns in order.
template <typename A, typename T>
void scatter_row(const Windows& w, WinnerRing<A>& ring, int64_t y, T* out, const T* limit) {
  const int64_t height = w.plan.y.kernel_size, width = w.plan.x.kernel_size;
  Scratch<Place<A>, 1024> places(height * width);
  int64_t count = 0;
  for (int64_t ky = height - 1; ky >= 0; --ky) {
    const int64_t my = y + w.plan.y.pad - ky * w.plan.y.dilation;
    if (my < 0 || my >= w.map_rows) continue;
    for (int64_t kx = width - 1; kx >= 0; --kx)
      places.data()[count++] = {ring.winners(my) + w.margin - kx * w.step, ring.grads(my) + w.margin - kx * w.step,
                                static_cast<Key<A>>(ky * width + kx)};
  }
  if (count == 4) return collect<4>(places.data(), count, w.row_size, out, limit);
  if (count == 9) return collect<9>(places.data(), count, w.row_size, out, limit);
  collect<0>(places.data(), count, w.row_size, out, limit);
}

template <typename A, typename T>
void transpose(const MaxBlurPlan& plan, const Windows& w, const T* grad, const T* image, T* result,
               const Parallel& parallel) {
  const AxisTable& vertical = plan.blur.y->transpose;
  const RowTranspose<A> row(*plan.blur.x, w.inner);
  const int64_t image_size = w.rows * w.row_size, grad_row = row.pixels() * w.inner;
  const int64_t grad_size = plan.blur.y->axis.outputs * grad_row;
  const RowParts parts(plan.blur.blocks, w.rows, 2 * image_size);
  const T* readable = image + plan.blur.blocks * image_size;
  const T* grad_readable = grad + plan.blur.blocks * grad_size;
  parallel(parts.items, parts.grain, [&](int64_t begin, int64_t end) {
    KeyRing<A> keys(w);
    WinnerRing<A> map(w);
    Scratch<A> line(row.line_size());
    Scratch<A, 64> temporary(row.temporary_size());
    Scratch<const T*, 64> pointers(most_entries(vertical));
    row.clear(line.data());
    if (row.temporary_size() > 0) row.clear(temporary.data());
    const T* limit = result + parts.first_row(end) * w.row_size;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t block = parts.block(item), start = block * w.rows;
      const T* block_image = image + block * image_size;
      keys.reset();
      int64_t done = -1;  // map rows up to here were made
      for (int64_t y = parts.first_row(item) - start; y < parts.first_row(item + 1) - start; ++y) {
        const int64_t lowest = at_least_0(y + plan.y.pad - w.extent_y + 1);
        const int64_t highest = y + plan.y.pad < w.map_rows ? y + plan.y.pad : w.map_rows - 1;
        for (int64_t my = done < lowest ? lowest : done + 1; my <= highest; ++my) {
          argmax_row<A>(w, keys.rows(block_image, readable, my), map.winners(my));
          RowsUnder<A, T> under(vertical, my, grad + block * grad_size, grad_row, pointers.data());
          // Past the row lies the margin, where no window wins: what is stored there is never read.
          A* out = map.grads(my);
          const A* out_limit = out + w.map_size + kLanes<A>;
          if (write_at_once(row, *plan.blur.y, my, 1, under, grad_row, grad_readable, out, out_limit, Plain{}) == 0) {
            under.sum(grad_row, 1, prefetch_distance(w.inner), grad_readable, row.line(line.data()), Plain{});
            row.apply(row.line(line.data()), temporary.data(), out, out_limit);
          }
          store_keys<A>(map.winners(my) + w.map_size, splat(Key<A>(-1)));
          done = my;
        }
        scatter_row<A>(w, map, y, result + (start + y) * w.row_size, limit);
      }
    }
  });
}

}  // namespace

namespace SHIFTABLE_VARIANT {

void max_blur_downsample_gather_cpu(const MaxBlurPlan& plan, DType dtype, const void* values, const void* image,
                                    void* result, const Parallel& parallel) {
  const Windows w{plan};
  with_float_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = accumulator_t<T>;
    const auto run = [&](auto make_row) {
      blur_map<A>(plan, w, static_cast<const T*>(image), static_cast<const T*>(values), static_cast<T*>(result),
                  parallel, make_row);
    };
    if (values == image)
      run([&](const T* readable) { return MaxRows<A, T>(w, readable); });
    else
      run([&](const T* readable) { return GatheredRows<A, T>(w, readable); });
  });
}

void max_blur_downsample_transpose_cpu(const MaxBlurPlan& plan, DType dtype, const void* grad, const void* image,
                                       void* result, const Parallel& parallel) {
  const Windows w{plan};
  with_float_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = accumulator_t<T>;
    transpose<A>(plan, w, static_cast<const T*>(grad), static_cast<const T*>(image), static_cast<T*>(result), parallel);
  });
}

}  // namespace SHIFTABLE_VARIANT
}  // namespace shiftable
