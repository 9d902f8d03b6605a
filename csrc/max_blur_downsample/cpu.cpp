#include "max_blur_downsample/map.h"

namespace shiftable {
namespace {

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
