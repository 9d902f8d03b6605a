// Filters over rows whose pixels are whole vectors of channels (channels_last), in registers: the rows under an output
// are summed a pixel at a time, and the last few sums kept while the window slides. Same sums in the same order as
// rows.h.
#pragma once

#include "core/row_filter.h"

namespace shiftable {
namespace {

// Outputs before the next block of channels takes its turn: long enough for the window to slide, short enough for the
// rows to stay in the cache.
constexpr int64_t kOutputsAtOnce = 16;

// How far ahead of the newest rows memory is asked for, in bytes: at least so many pixels.
SHIFTABLE_INLINE int64_t pixels_ahead(int64_t inner, int64_t number) {
  constexpr int64_t kLeast = 2048, kPixels = 8;
  return kPixels * inner * number > kLeast ? kPixels * inner * number : kLeast;
}

// Vectors of channels side by side, so many that a window of `kWindow` sums fits into the registers.
template <int kWindow>
constexpr int kVectors = kVectorBytes == 64 && kWindow <= 5 ? 4 : 2;

// Outputs `from` .. `to` - 1 of V vectors of channels from channel `c` on. With kStride 2 neighbouring windows share
// their sums; with 0 any stride, and they do not.
template <int K, int kStride, int V, typename T, typename Out, typename Read>
__attribute__((noinline)) void filter_pixels_of(const T* const* rows, const float* row_weights,
                                                const AxisTables& columns, int64_t from, int64_t to, int64_t inner,
                                                int64_t c, Out* out, const Read& read, const Ahead& ahead) {
  constexpr int64_t L = kLanes<float>;
  constexpr int kKept = kStride > 0 && kStride < K ? K - kStride : 0;
  const T* r[K];
  Vec<float> weights[K], taps[K], window[K][V];
  for (int k = 0; k < K; ++k) {
    r[k] = rows[k] + c;
    weights[k] = splat(row_weights[k]);
    taps[k] = splat(columns.taps32[k]);
  }
  const int64_t stride = kStride > 0 ? kStride : columns.axis.stride;
  const int64_t* sources = columns.source.data();
  const auto sum_column = [&](int64_t source, Vec<float>* found) SHIFTABLE_LAMBDA {
    const int64_t at = source * inner;
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      if (__builtin_expect(source == kOutside, 0)) {
        found[v] = splat(0.0f);
        continue;
      }
      found[v] = read.vector(load_as(r[0] + at + v * L, 0.0f), c + v * L) * weights[0];
#pragma GCC unroll 8
      for (int k = 1; k < K; ++k)
        found[v] = fma(read.vector(load_as(r[k] + at + v * L, 0.0f), c + v * L), weights[k], found[v]);
    }
    const char* next = ahead.from + (at + c) * ahead.number;
    prefetch(next, V * L * ahead.number);
    prefetch(next + ahead.row, V * L * ahead.number);
  };
#pragma GCC unroll 8
  for (int k = 0; k < kKept; ++k) sum_column(sources[from * stride + k], window[k]);
  for (int64_t o = from; o < to; ++o) {
#pragma GCC unroll 8
    for (int k = kKept; k < K; ++k) sum_column(sources[o * stride + k], window[k]);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      Vec<float> sum = window[0][v] * taps[0];
#pragma GCC unroll 8
      for (int k = 1; k < K; ++k) sum = fma(window[k][v], taps[k], sum);
      store_as(out + o * inner + c + v * L, sum);
    }
#pragma GCC unroll 8
    for (int k = 0; k < kKept; ++k)
      for (int v = 0; v < V; ++v) window[k][v] = window[k + K - kKept][v];
  }
}

// One output row of K rows and K taps; `inner` is at least a vector.
template <int K, int kStride, typename T, typename Out, typename Read>
void filter_pixels(const T* const* rows, const float* row_weights, const AxisTables& columns, int64_t inner, Out* out,
                   const Read& read, const Ahead& ahead) {
  constexpr int64_t L = kLanes<float>;
  constexpr int V = kVectors<K>;
  const int64_t outputs = columns.axis.outputs;
  for (int64_t from = 0; from < outputs; from += kOutputsAtOnce) {
    const int64_t to = outputs - from < kOutputsAtOnce ? outputs : from + kOutputsAtOnce;
    int64_t c = 0;
    for (; c + V * L <= inner; c += V * L)
      filter_pixels_of<K, kStride, V>(rows, row_weights, columns, from, to, inner, c, out, read, ahead);
    // The last vector may overlap the one before: it writes the same values again.
    for (; c < inner; c += L)
      filter_pixels_of<K, kStride, 1>(rows, row_weights, columns, from, to, inner, c + L <= inner ? c : inner - L, out,
                                      read, ahead);
  }
}

// The transpose at stride 2 with (K - 1) / 2 columns of padding before: input x reads outputs (x + pad) / 2 - m with
// tap (x + pad) % 2 + 2 m. Outputs q of `from` .. `to` - 1 give inputs 2 q - pad and 2 q - pad + 1.
template <int K, int V, typename T, typename Out>
__attribute__((noinline)) void transpose_pixels_of(int count, const T* const* rows, const float* row_weights,
                                                   const AxisTables& columns, int64_t from, int64_t to, int64_t inner,
                                                   int64_t c, Out* out) {
  constexpr int64_t L = kLanes<float>;
  constexpr int kPad = (K - 1) / 2, kWindow = (K + 1) / 2, kEven = (K - 1) / 2, kOdd = (K - 2) / 2;
  constexpr int64_t kNumber = sizeof(T);
  const int64_t inputs = columns.axis.inputs, outputs = columns.axis.outputs, ahead = pixels_ahead(inner, kNumber);
  Vec<float> taps[K], window[kWindow][V];  // window[m] is output q - m
  for (int k = 0; k < K; ++k) taps[k] = splat(columns.taps32[k]);
  const auto sum_column = [&](int64_t q, Vec<float>* found) SHIFTABLE_LAMBDA {
    const bool inside = q >= 0 && q < outputs;
    const int64_t at = q * inner + c;
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      found[v] = splat(0.0f);
      if (!inside) continue;
      found[v] = load_as(rows[0] + at + v * L, 0.0f) * splat(row_weights[0]);
      for (int k = 1; k < count; ++k)
        found[v] = fma(load_as(rows[k] + at + v * L, 0.0f), splat(row_weights[k]), found[v]);
    }
    prefetch(reinterpret_cast<const char*>(rows[count - 1] + at) + ahead, V * L * kNumber);
  };
#pragma GCC unroll 4
  for (int m = 1; m < kWindow; ++m) sum_column(from - m, window[m]);
  for (int64_t q = from; q < to; ++q) {
    sum_column(q, window[0]);
    const int64_t x = 2 * q - kPad;
    Out* to_even = out + x * inner + c;
    const bool has_even = x >= 0, has_odd = x + 1 < inputs;
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      Vec<float> even = window[kEven][v] * taps[2 * kEven], odd = window[kOdd][v] * taps[2 * kOdd + 1];
#pragma GCC unroll 4
      for (int m = kEven - 1; m >= 0; --m) even = fma(window[m][v], taps[2 * m], even);
#pragma GCC unroll 4
      for (int m = kOdd - 1; m >= 0; --m) odd = fma(window[m][v], taps[2 * m + 1], odd);
      if (has_even) store_as(to_even + v * L, even);
      if (has_odd) store_as(to_even + inner + v * L, odd);
    }
#pragma GCC unroll 4
    for (int m = kWindow - 1; m > 0; --m)
      for (int v = 0; v < V; ++v) window[m][v] = window[m - 1][v];
  }
}

// One pixel of the transpose by its table: the few that the border has a part in.
template <typename T, typename Out>
__attribute__((noinline)) void transpose_pixel(int count, const T* const* rows, const float* row_weights,
                                               const AxisTable& table, int64_t x, int64_t inner, Out* out) {
  constexpr int64_t L = kLanes<float>;
  for (int64_t channel = 0; channel < inner; channel += L) {
    const int64_t c = channel + L <= inner ? channel : inner - L;
    Vec<float> sum = splat(0.0f);
    for (int64_t e = table.first[x]; e < table.first[x + 1]; ++e) {
      const int64_t at = table.index[e] * inner + c;
      Vec<float> column = load_as(rows[0] + at, 0.0f) * splat(row_weights[0]);
      for (int k = 1; k < count; ++k) column = fma(load_as(rows[k] + at, 0.0f), splat(row_weights[k]), column);
      sum = e == table.first[x] ? column * splat(table.weight32[e]) : fma(column, splat(table.weight32[e]), sum);
    }
    store_as(out + x * inner + c, sum);
  }
}

template <int K, typename T, typename Out>
void transpose_pixels(int count, const T* const* rows, const float* row_weights, const AxisTables& columns,
                      int64_t inner, Out* out) {
  constexpr int64_t L = kLanes<float>;
  constexpr int V = kVectors<(K + 1) / 2>;
  constexpr int64_t kPad = (K - 1) / 2;
  const int64_t end = (columns.axis.inputs + kPad + 1) / 2;
  for (int64_t from = kPad / 2; from < end; from += kOutputsAtOnce) {
    const int64_t to = end - from < kOutputsAtOnce ? end : from + kOutputsAtOnce;
    int64_t c = 0;
    for (; c + V * L <= inner; c += V * L)
      transpose_pixels_of<K, V>(count, rows, row_weights, columns, from, to, inner, c, out);
    for (; c < inner; c += L)
      transpose_pixels_of<K, 1>(count, rows, row_weights, columns, from, to, inner, c + L <= inner ? c : inner - L,
                                out);
  }
  for (const int64_t x : columns.irregular) transpose_pixel(count, rows, row_weights, columns.transpose, x, inner, out);
}

}  // namespace
}  // namespace shiftable
