// One row of a filter, and of its transpose, by way of a line: right for every case.
#pragma once

#include "core/rows.h"

namespace shiftable {
namespace {

// Copies `bytes` bytes 16 at a time, past their end where `room` allows it; the source may be read so far.
SHIFTABLE_INLINE void copy_pixel(char* to, const char* from, int64_t bytes, int64_t room) {
  for (int64_t at = 0; at < bytes; at += 16) {
    if (room - at >= 16) {
      std::memcpy(to + at, from + at, 16);
    } else {
      for (int64_t i = at; i < bytes; ++i) to[i] = from[i];
      return;
    }
  }
}

// Sums over the entries of a table, one output pixel at a time: right for any filter.
template <typename A, typename T>
__attribute__((noinline)) void sum_pixels(const AxisTable& table, int64_t from, int64_t to, const A* line,
                                          const A* line_end, int64_t inner, T* out, const T* limit) {
  const A* weights = weights_of<A>(table);
  for (int64_t o = from; o < to; ++o) {
    const int64_t first = table.first[o];
    const auto n = static_cast<int>(table.first[o + 1] - first);
    if (inner == 1) {
      A sum = 0;
      for (int k = 0; k < n; ++k) {
        const A value = line[table.index[first + k]];
        sum = k == 0 ? value * weights[first] : fma(value, weights[first + k], sum);
      }
      out[o] = static_cast<T>(sum);
      continue;
    }
    Scratch<const A*, 64> pixels(n);
    for (int k = 0; k < n; ++k) pixels.data()[k] = line + table.index[first + k] * inner;
    sum_rows(n, pixels.data(), weights + first, inner, line_end, out + o * inner, limit - (out + o * inner));
  }
}

SHIFTABLE_INLINE int64_t at_least_0(int64_t n) { return n > 0 ? n : 0; }
SHIFTABLE_INLINE int64_t ceil_div(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

// How a row of vertical sums becomes a row of the result. Both classes below keep a line: `before` pixels of margin,
// the row, and more margin.
template <typename A>
class RowFilter {
 public:
  SHIFTABLE_INLINE RowFilter(const AxisTables& tables, int64_t inner)
      : tables_(tables), axis_(tables.axis), inner_(inner), taps_(static_cast<int64_t>(axis_.taps.size())) {
    const int64_t end = (axis_.outputs - 1) * axis_.stride + taps_ - axis_.pad_before;
    before_ = (at_least_0(axis_.pad_before) * inner + 15) / 16 * 16;  // the row itself starts on a line of the cache
    size_ = before_ + (axis_.inputs + at_least_0(end - axis_.inputs)) * inner + kSlack + taps_;
    size_ = (size_ + 15) / 16 * 16;  // lines one after the other start on lines of the cache
  }

  const AxisTables& tables() const { return tables_; }
  int64_t inner() const { return inner_; }
  int64_t pixels() const { return axis_.inputs; }
  int64_t results() const { return axis_.outputs; }
  int64_t line_size() const { return size_; }
  int64_t temporary_size() const { return narrow() ? axis_.outputs * axis_.stride * inner_ + kSlack : 0; }
  SHIFTABLE_INLINE A* line(A* buffer) const { return buffer + before_; }
  SHIFTABLE_INLINE void clear(A*) const {}

  // Filters the row at `line`. Whole vectors may be stored up to `limit`.
  template <typename T>
  void apply(A* line, A* temporary, T* out, const T* limit) const {
    const A* end = line - before_ + size_;
    const int64_t stride = axis_.stride;
    if (stride > 4 || (inner_ >= kLanes<A> && stride > 1))
      return sum_pixels(tables_.forward, 0, axis_.outputs, line, end, inner_, out, limit);
    for (const auto& cell : tables_.cells)
      for (int64_t c = 0; c < inner_; ++c)
        line[cell.position * inner_ + c] = cell.source == kOutside ? A(0) : line[cell.source * inner_ + c];
    const A* start = line - axis_.pad_before * inner_;
    if (stride == 1) return dense(start, axis_.outputs * inner_, end, out, limit - out);
    if (inner_ == 1) return planar(start, out, limit);
    // Few channels: at stride 1, then every stride-th pixel.
    T* all = reinterpret_cast<T*>(temporary);
    const int64_t span = ((axis_.outputs - 1) * stride + 1) * inner_;
    dense(start, span, end, all, span + kLanes<A>);
    for (int64_t o = 0; o < axis_.outputs; ++o) {
      char* to = reinterpret_cast<char*>(out + o * inner_);
      copy_pixel(to, reinterpret_cast<const char*>(all + o * stride * inner_), inner_ * sizeof(T),
                 reinterpret_cast<const char*>(limit) - to);
    }
  }

 private:
  static constexpr int64_t kSlack = 10 * kLanes<A>;

  bool narrow() const { return inner_ > 1 && inner_ < kLanes<A> && axis_.stride > 1 && axis_.stride <= 4; }

  template <typename T>
  void dense(const A* start, int64_t count, const A* end, T* out, int64_t room) const {
    Scratch<const A*, 64> rows(taps_);
    for (int64_t k = 0; k < taps_; ++k) rows.data()[k] = start + k * inner_;
    sum_rows(static_cast<int>(taps_), rows.data(), taps_of<A>(tables_), count, end, out, room);
  }

  template <typename T>
  void planar(const A* start, T* out, const T* limit) const {
    if (axis_.stride == 3) return planar_of<3, 0>(start, out, limit);
    if (axis_.stride == 4) return planar_of<4, 0>(start, out, limit);
    switch (taps_) {
      case 2: return planar_of<2, 2>(start, out, limit);
      case 3: return planar_of<2, 3>(start, out, limit);
      case 4: return planar_of<2, 4>(start, out, limit);
      case 5: return planar_of<2, 5>(start, out, limit);
      case 6: return planar_of<2, 6>(start, out, limit);
      case 7: return planar_of<2, 7>(start, out, limit);
      default: return planar_of<2, 0>(start, out, limit);
    }
  }

  // Adds tap g * S + R, for R = 0 .. S - 1, to the sum: all read the same S vectors.
  template <int S, int R>
  static SHIFTABLE_INLINE void add_phases(const Vec<A>* group, const A* taps, int64_t g, int64_t count, Vec<A>& sum) {
    if constexpr (R < S) {
      const int64_t k = g * S + R;
      if (k < count) {
        const Vec<A> value = phase<S, R, A>(group);
        sum = k == 0 ? value * splat(taps[0]) : fma(value, splat(taps[k]), sum);
      }
      add_phases<S, R + 1>(group, taps, g, count, sum);
    }
  }

  // K taps, or any number for K = 0.
  template <int S, int K, typename T>
  __attribute__((noinline)) void planar_of(const A* start, T* out, const T* limit) const {
    constexpr int64_t L = kLanes<A>;
    const int64_t count = K > 0 ? K : taps_, outputs = axis_.outputs;
    const A* taps = taps_of<A>(tables_);
    for (int64_t o = 0; o < outputs; o += L) {
      Vec<A> sum = splat(A(0));
#pragma GCC unroll 8
      for (int64_t g = 0; g < (count + S - 1) / S; ++g) {
        Vec<A> group[S];
        for (int i = 0; i < S; ++i) group[i] = load(start + (o + g) * S + i * L);
        add_phases<S, 0>(group, taps, g, count, sum);
      }
      store_some<A>(out + o, sum, outputs - o, limit - (out + o));
    }
  }

  const AxisTables& tables_;
  const FilterAxis& axis_;
  int64_t inner_, taps_, before_, size_;
};

template <typename A>
class RowTranspose {
 public:
  SHIFTABLE_INLINE RowTranspose(const AxisTables& tables, int64_t inner)
      : tables_(tables), axis_(tables.axis), inner_(inner), taps_(static_cast<int64_t>(axis_.taps.size())) {
    const int64_t s = spread();
    // Position p of the spread line holds output p / s; input x reads positions (x + pad - k) / stride * s.
    const int64_t begin = floor_to(axis_.pad_before - taps_ + 1), end = floor_to(axis_.inputs - 1 + axis_.pad_before);
    before_ = (at_least_0(-begin) * inner_ + kSlack + 15) / 16 * 16;
    size_ = before_ + (at_least_0(end) + axis_.outputs * s + 1) * inner_ + 2 * kSlack;
    size_ = (size_ + 15) / 16 * 16;
  }

  const AxisTables& tables() const { return tables_; }
  int64_t inner() const { return inner_; }
  int64_t pixels() const { return axis_.outputs; }
  int64_t results() const { return axis_.inputs; }
  int64_t line_size() const { return size_; }
  int64_t temporary_size() const { return spread() > 1 ? size_ : 0; }
  SHIFTABLE_INLINE A* line(A* buffer) const { return buffer + before_; }

  // The margins are zero: no output lies there.
  SHIFTABLE_INLINE void clear(A* buffer) const { std::memset(buffer, 0, size_ * sizeof(A)); }

  template <typename T>
  void apply(A* line, A* temporary, T* out, const T* limit) const {
    const A* end = line - before_ + size_;
    const int64_t stride = axis_.stride, inputs = axis_.inputs;
    // What the vertical sums wrote past their row.
    store(line + axis_.outputs * inner_, splat(A(0)));
    if (stride > 4 || (inner_ >= kLanes<A> && stride > 1))
      return sum_pixels(tables_.transpose, 0, inputs, line, end, inner_, out, limit);
    if (inner_ == 1 && stride > 1) {
      planar(line, out, limit);
    } else {
      A* spread_line = line;
      if (spread() > 1) {  // few channels: zeros between the outputs, then at stride 1
        spread_line = temporary + before_;
        for (int64_t o = 0; o < axis_.outputs; ++o)
          for (int64_t c = 0; c < inner_; ++c) spread_line[o * stride * inner_ + c] = line[o * inner_ + c];
        end = temporary + size_;
      }
      dense(spread_line, end, out, limit - out);
    }
    for (const int64_t x : tables_.irregular)
      sum_pixels(tables_.transpose, x, x + 1, line, end_of(line), inner_, out, out + (x + 1) * inner_);
  }

 private:
  static constexpr int64_t kSlack = 2 * kLanes<A>;

  int64_t spread() const {
    return inner_ > 1 && inner_ < kLanes<A> && axis_.stride > 1 && axis_.stride <= 4 ? axis_.stride : 1;
  }
  int64_t floor_to(int64_t position) const {
    const int64_t s = spread() > 1 || axis_.stride == 1 ? 1 : axis_.stride;
    return position >= 0 ? position / s : -ceil_div(-position, s);
  }
  const A* end_of(const A* line) const { return line - before_ + size_; }

  // In the order of the outputs: the last tap first.
  template <typename T>
  void dense(const A* line, const A* end, T* out, int64_t room) const {
    Scratch<const A*, 64> rows(taps_);
    Scratch<A, 64> taps(taps_);
    for (int64_t i = 0; i < taps_; ++i) {
      rows.data()[i] = line + (axis_.pad_before - taps_ + 1 + i) * inner_;
      taps.data()[i] = taps_of<A>(tables_)[taps_ - 1 - i];
    }
    sum_rows(static_cast<int>(taps_), rows.data(), taps.data(), axis_.inputs * inner_, end, out, room);
  }

  template <typename T>
  void planar(const A* line, T* out, const T* limit) const {
    if (axis_.stride == 3) return planar_of<3, 0>(line, out, limit);
    if (axis_.stride == 4) return planar_of<4, 0>(line, out, limit);
    switch (taps_) {
      case 2: return planar_of<2, 2>(line, out, limit);
      case 3: return planar_of<2, 3>(line, out, limit);
      case 4: return planar_of<2, 4>(line, out, limit);
      case 5: return planar_of<2, 5>(line, out, limit);
      case 6: return planar_of<2, 6>(line, out, limit);
      case 7: return planar_of<2, 7>(line, out, limit);
      default: return planar_of<2, 0>(line, out, limit);
    }
  }

  // Inputs x with (x + pad) % S == R read the outputs (x + pad) / S - m with tap R + m * S: one vector for each R,
  // from output u on.
  template <int S, int R>
  static SHIFTABLE_INLINE void phases(const A* line, const A* taps, int64_t count, int64_t u, Vec<A>* found) {
    if constexpr (R < S) {
      found[R] = splat(A(0));
      if (R < count) {
        const int64_t last = (count - 1 - R) / S;
        found[R] = load(line + u - last) * splat(taps[R + last * S]);
#pragma GCC unroll 4
        for (int64_t m = last - 1; m >= 0; --m) found[R] = fma(load(line + u - m), splat(taps[R + m * S]), found[R]);
      }
      phases<S, R + 1>(line, taps, count, u, found);
    }
  }

  template <int S, int I, typename T>
  static SHIFTABLE_INLINE void store_phases(const Vec<A>* found, int64_t x, int64_t inputs, T* out, const T* limit) {
    if constexpr (I < S) {
      const int64_t at = x + I * kLanes<A>;
      if (at < inputs) store_some<A>(out + at, interleaved<S, I, A>(found), inputs - at, limit - (out + at));
      store_phases<S, I + 1>(found, x, inputs, out, limit);
    }
  }

  // K taps, or any number for K = 0.
  template <int S, int K, typename T>
  __attribute__((noinline)) void planar_of(const A* line, T* out, const T* limit) const {
    const A* taps = taps_of<A>(tables_);
    const int64_t inputs = axis_.inputs, pad = axis_.pad_before;
    int64_t u = ceil_div(pad, S), x = u * S - pad;  // the first x whose vector starts with R = 0
    sum_pixels(tables_.transpose, 0, x < inputs ? x : inputs, line, end_of(line), 1, out, limit);
    for (; x < inputs; u += kLanes<A>, x += S * kLanes<A>) {
      Vec<A> found[S];
      phases<S, 0>(line, taps, K > 0 ? K : taps_, u, found);
      store_phases<S, 0>(found, x, inputs, out, limit);
    }
  }

  const AxisTables& tables_;
  const FilterAxis& axis_;
  int64_t inner_, taps_, before_, size_;
};

}  // namespace
}  // namespace shiftable
