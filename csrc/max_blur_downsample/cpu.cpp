#include <limits>

#include "core/separable.h"
#include "max_blur_downsample/plan.h"

namespace shiftable {
namespace {

template <typename A>
using Key = typename BitsOf<A>::type;
template <typename A>
using Keys = Vec<Key<A>>;

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
  return ((a > b) | (a != a)) ? a : b;
}

// One axis of the max window over rows of `inner` numbers a pixel.
struct Windows {
  const MaxBlurPlan& plan;
  int64_t inner = plan.blur.inner;
  int64_t rows = plan.y.inputs, row_size = plan.x.inputs * inner;  // of an image
  int64_t map_rows = plan.blur.y->axis.inputs, map_size = plan.blur.x->axis.inputs * inner;
  int64_t extent_y = (plan.y.kernel_size - 1) * plan.y.dilation + 1;
  int64_t extent_x = (plan.x.kernel_size - 1) * plan.x.dilation + 1;
  int64_t margin = plan.x.pad * inner;                // of a padded row, on either side
  int64_t step = plan.x.dilation * inner;             // to the next pixel of a window
  int64_t padded_size = row_size + 2 * margin + 128;  // and room for a whole vector

  // The image row under row ky of the windows of map row my; outside 0 .. rows - 1 for padding.
  SHIFTABLE_INLINE int64_t row(int64_t my, int64_t ky) const { return my - plan.y.pad + ky * plan.y.dilation; }
  SHIFTABLE_INLINE bool inside(int64_t y) const { return y >= 0 && y < rows; }
};

// Calls visit(j, whole) for every vector of 0 .. count - 1; `whole` is false where a load at j would pass `readable`.
template <typename A, typename T, typename Visit>
SHIFTABLE_INLINE void for_vectors(int64_t count, const T* row, const T* readable, const Visit& visit) {
  for (int64_t j = 0; j < count; j += kLanes<A>) visit(j, row + j + kLanes<A> <= readable);
}

// Loads a vector, the end of the tensor's last row number by number.
template <typename A, typename T>
SHIFTABLE_INLINE Vec<A> load_near_end(const T* p, bool whole, int64_t wanted) {
  if (__builtin_expect(whole, 1)) return load_as(p, A{});
  Vec<A> v = splat(A(0));
  for (int64_t i = 0; i < wanted && i < kLanes<A>; ++i) v[i] = static_cast<A>(p[i]);
  return v;
}

// -- the max map, row by row ---------------------------------------------------------------------

// The largest value of each window of map row `my`, through `padded`, whose left margin is minus infinity.
template <typename A, typename T>
void max_row(const Windows& w, const T* image, const T* readable, int64_t my, A* padded, A* map) {
  constexpr A kLowest = -std::numeric_limits<A>::infinity();
  Scratch<const T*, 64> under(w.plan.y.kernel_size);
  const T** rows = under.data();
  int count = 0;
  for (int64_t ky = 0; ky < w.plan.y.kernel_size; ++ky)
    if (const int64_t y = w.row(my, ky); w.inside(y)) rows[count++] = image + y * w.row_size;
  A* middle = padded + w.margin;
  if (count == 0) {
    for (int64_t j = 0; j < w.row_size; j += kLanes<A>) store(middle + j, splat(kLowest));
  } else {
    const T* newest = rows[count - 1];
    prefetch(reinterpret_cast<const char*>(newest) + prefetch_distance(w.inner), w.row_size * sizeof(T));
    for_vectors<A>(w.row_size, newest, readable, [&](int64_t j, bool whole) SHIFTABLE_LAMBDA {
      Vec<A> largest = load_near_end<A>(rows[0] + j, whole, w.row_size - j);
      for (int k = 1; k < count; ++k)
        largest = larger<A>(load_near_end<A>(rows[k] + j, whole, w.row_size - j), largest);
      store(middle + j, largest);
    });
  }
  for (int64_t j = 0; j < w.margin + kLanes<A>; j += kLanes<A>) store(middle + w.row_size + j, splat(kLowest));
  for (int64_t j = 0; j < w.map_size; j += kLanes<A>) {
    Vec<A> largest = load(padded + j);
    for (int64_t kx = 1; kx < w.plan.x.kernel_size; ++kx) largest = larger<A>(load(padded + j + kx * w.step), largest);
    store(map + j, largest);
  }
}

// The keys of an image row, with kNone for padding.
template <typename A, typename T>
void key_row(const Windows& w, const T* row, const T* readable, Key<A>* padded) {
  for (int64_t j = 0; j < w.margin; ++j) padded[j] = kNone<A>;
  Key<A>* middle = padded + w.margin;
  for_vectors<A>(w.row_size, row, readable, [&](int64_t j, bool whole) SHIFTABLE_LAMBDA {
    const Keys<A> keys = keys_of<A>(load_near_end<A>(row + j, whole, w.row_size - j));
    std::memcpy(middle + j, &keys, sizeof(keys));
  });
  for (int64_t j = 0; j < w.margin + kLanes<A>; ++j) middle[w.row_size + j] = kNone<A>;
}

// Which pixel of each window is the largest, as ky * kernel width + kx: the first such pixel in row-major order; -1
// where the window lies wholly in the padding. keys[ky] is the row under row ky, or null in the padding.
template <typename A>
void argmax_row(const Windows& w, const Key<A>* const* keys, Key<A>* winners) {
  const int64_t width = w.plan.x.kernel_size;
  for (int64_t j = 0; j < w.map_size; j += kLanes<A>) {
    Keys<A> largest = splat(kNone<A>), winner = splat(Key<A>(-1));
    for (int64_t ky = 0; ky < w.plan.y.kernel_size; ++ky) {
      if (keys[ky] == nullptr) continue;
      for (int64_t kx = 0; kx < width; ++kx) {
        Keys<A> key;
        std::memcpy(&key, keys[ky] + j + kx * w.step, sizeof(key));
        const auto won = key > largest;
        largest = won ? key : largest;
        winner = won ? splat(static_cast<Key<A>>(ky * width + kx)) : winner;
      }
    }
    std::memcpy(winners + j, &winner, sizeof(winner));
  }
}

// Rows under a window that moves down, each made once: slot y % extent holds row y.
template <typename A>
class KeyRing {
 public:
  SHIFTABLE_INLINE explicit KeyRing(const Windows& w)
      : w_(w), keys_(w.extent_y * w.padded_size), held_(w.extent_y), under_(w.plan.y.kernel_size) {}

  void reset() {
    for (int64_t slot = 0; slot < w_.extent_y; ++slot) held_.data()[slot] = -1;
  }

  template <typename T>
  const Key<A>* const* rows(const T* image, const T* readable, int64_t my) {
    for (int64_t ky = 0; ky < w_.plan.y.kernel_size; ++ky) {
      const int64_t y = w_.row(my, ky);
      under_.data()[ky] = nullptr;
      if (!w_.inside(y)) continue;
      const int64_t slot = y % w_.extent_y;
      Key<A>* row = keys_.data() + slot * w_.padded_size;
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
    make(my, found);
    return found;
  }

 private:
  int64_t row_size_, slots_, now_ = 0;
  Scratch<A, 64> rows_;
  Scratch<int64_t, 256> held_, used_;
};

// Blurs the map whose rows make(block's image, its values, my, row) writes.
template <typename A, typename T, typename MakeRow>
void blur_map(const MaxBlurPlan& plan, const Windows& w, const T* image, const T* values, T* result,
              const Parallel& parallel, const MakeRow& make_row) {
  const AxisTable& vertical = plan.blur.y->forward;
  const RowFilter<A> filter(*plan.blur.x, w.inner);
  const int64_t image_size = w.rows * w.row_size, result_size = filter.results() * w.inner;
  const RowParts parts(plan.blur.blocks, vertical.outputs(), 2 * image_size);
  const T* readable = image + plan.blur.blocks * image_size;
  const int64_t map_row = (w.map_size + 2 * kLanes<A> + 15) / 16 * 16;
  const int64_t line_size = filter.line_size();
  const int64_t at_once = line_size * kRowsAtOnce * static_cast<int64_t>(sizeof(A)) <= 32768 ? kRowsAtOnce : 1;
  parallel(parts.items, parts.grain, [&](int64_t begin, int64_t end) {
    const auto taps = static_cast<int64_t>(plan.blur.y->axis.taps.size());
    MapCache<A> cache(map_row, taps);
    Scratch<A> lines(line_size * at_once);
    Scratch<A, 64> temporary(filter.temporary_size());
    Scratch<const A*, 64> rows(taps);
    auto make = make_row(readable);
    const T* limit = result + parts.first_row(end) * result_size;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t block = parts.block(item), start = block * vertical.outputs(), stop = parts.first_row(item + 1);
      make.start(image + block * image_size, values + block * image_size);
      cache.reset();
      for (int64_t o = parts.first_row(item); o < stop; o += at_once) {
        const int64_t count = stop - o < at_once ? stop - o : at_once;
        for (int64_t r = 0; r < count; ++r) {
          const int64_t first = vertical.first[o + r - start];
          const auto n = static_cast<int>(vertical.first[o + r - start + 1] - first);
          for (int k = 0; k < n; ++k) rows.data()[k] = cache.row(vertical.index[first + k], make);
          const A* last = nullptr;
          for (int k = 0; k < n; ++k) last = rows.data()[k] > last ? rows.data()[k] : last;
          sum_rows(n, rows.data(), weights_of<A>(vertical) + first, w.map_size, last == nullptr ? last : last + map_row,
                   filter.line(lines.data() + r * line_size), w.map_size + kLanes<A>);
        }
        for (int64_t r = 0; r < count; ++r)
          filter.apply(filter.line(lines.data() + r * line_size), temporary.data(), result + (o + r) * result_size,
                       limit);
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
    for (int64_t j = 0; j < w.margin; ++j) padded.data()[j] = -std::numeric_limits<A>::infinity();
  }
  SHIFTABLE_INLINE void start(const T* block, const T*) { image = block; }
  SHIFTABLE_INLINE void operator()(int64_t my, A* map) { max_row<A>(w, image, readable, my, padded.data(), map); }
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
  SHIFTABLE_INLINE void operator()(int64_t my, A* map) {
    gather_row<A>(w, values, image, readable, my, ring, winners.data(), map);
  }
};

// -- transpose -----------------------------------------------------------------------------------

// Rows of the map, each its windows' winners and the gradient that goes to them, with margins in which nothing wins.
template <typename A>
class MapRing {
 public:
  SHIFTABLE_INLINE explicit MapRing(const Windows& w)
      : margin_((w.extent_x - 1) * w.inner),
        size_(w.map_size + 2 * margin_ + 4 * kLanes<A>),
        slots_(w.extent_y),
        winners_(slots_ * size_),
        grads_(slots_ * size_) {
    for (int64_t i = 0; i < slots_ * size_; ++i) winners_.data()[i] = -1, grads_.data()[i] = 0;
  }
  SHIFTABLE_INLINE Key<A>* winners(int64_t my) { return winners_.data() + my % slots_ * size_ + margin_; }
  SHIFTABLE_INLINE A* grads(int64_t my) { return grads_.data() + my % slots_ * size_ + margin_; }

 private:
  int64_t margin_, size_, slots_;
  Scratch<Key<A>, 64> winners_;
  Scratch<A, 64> grads_;
};

// Gives each pixel of image row y the gradients of the windows that it won, map rows and columns in order.
template <typename A, typename T>
void scatter_row(const Windows& w, MapRing<A>& ring, int64_t y, T* out, const T* limit) {
  const int64_t height = w.plan.y.kernel_size, width = w.plan.x.kernel_size;
  struct Entry {
    const Key<A>* winners;
    const A* grads;
    Key<A> number;
  };
  Scratch<Entry, 1024> entries(height * width);
  int64_t count = 0;
  for (int64_t ky = height - 1; ky >= 0; --ky) {
    const int64_t my = y + w.plan.y.pad - ky * w.plan.y.dilation;
    if (my < 0 || my >= w.map_rows) continue;
    for (int64_t kx = width - 1; kx >= 0; --kx)
      entries.data()[count++] = {ring.winners(my) + w.margin - kx * w.step, ring.grads(my) + w.margin - kx * w.step,
                                 static_cast<Key<A>>(ky * width + kx)};
  }
  for (int64_t j = 0; j < w.row_size; j += kLanes<A>) {
    Vec<A> sum = splat(A(0));
    for (int64_t e = 0; e < count; ++e) {
      const Entry& entry = entries.data()[e];
      Keys<A> winner;
      std::memcpy(&winner, entry.winners + j, sizeof(winner));
      sum = winner == splat(entry.number) ? sum + load(entry.grads + j) : sum;
    }
    store_some<A>(out + j, sum, w.row_size - j, limit - (out + j));
  }
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
    MapRing<A> map(w);
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
          RowsUnder<A, T>(vertical, my, grad + block * grad_size, grad_row, pointers.data())
              .sum(grad_row, 1, prefetch_distance(w.inner), grad_readable, row.line(line.data()));
          // Past the row lies the margin, where no window wins: what is stored there is never read.
          row.apply(row.line(line.data()), temporary.data(), map.grads(my), map.grads(my) + w.map_size + kLanes<A>);
          for (int64_t j = 0; j < kLanes<A>; ++j) map.winners(my)[w.map_size + j] = -1;
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
