// blur_downsample on a GPU, channels_last: pixels of whole vectors of channels.
//
// A thread owns the channels of a vector, a row of the result and some of its columns, along which it walks: it sums
// each column of pixels under its row down, and what comes of it into the results that it is part of, which stay in
// registers. Threads are numbered over channels, then along the row, then over rows and images.
#pragma once

#include "blur_downsample/cuda_planes.h"

namespace shiftable {
namespace {

struct PixelWork {
  const void* from;  // the image; for the transpose the gradient
  void* to;
  const void* image;  // for the transpose with a prologue
  float* sums;        // likewise: a scale's and a bias' parts, of every thread's channels
  const float *scale, *bias;
  float lowest;  // 0 for a ReLU, else minus infinity
  float taps_y[kMostFastTaps], taps_x[kMostFastTaps];
  int height, width, inner, out_height, out_width;  // of the image, and of the filter's result
  int share;                                        // columns of the result (of the gradient) for a thread
  Border border;
  uint32_t threads;
  Divider vectors, parts, rows;
  EdgeTable edges_y, edges_x;  // for the transpose

  struct Place {
    uint32_t image;
    int row, part, channel;
  };
  template <int V>
  SHIFTABLE_DEVICE Place place(uint32_t thread) const {
    uint32_t vector = thread;
    uint32_t part = vectors.split(vector);
    uint32_t row = parts.split(part);
    const uint32_t image = rows.split(row);
    return {image, static_cast<int>(row), static_cast<int>(part), static_cast<int>(vector) * V};
  }
};

template <int V, bool kPrologue>
struct Channels {
  float scale[kPrologue ? V : 1], bias[kPrologue ? V : 1];

  SHIFTABLE_DEVICE Channels(const PixelWork& work, int channel) {
#pragma unroll
    for (int e = 0; e < (kPrologue ? V : 0); ++e) {
      scale[e] = work.scale[channel + e];
      bias[e] = work.bias[channel + e];
    }
  }
};

template <typename T, int K, int S, int V, bool kPrologue>
__global__ void __launch_bounds__(kBlock, 1) filter_pixels(const __grid_constant__ PixelWork work) {
  constexpr int kBefore = (K - 1) / 2, kLive = (K + S - 1) / S, kDelay = (K - 1) / S, kLast = (K - 1) % S;
  const uint32_t thread = thread_number();
  if (thread >= work.threads) return;
  const PixelWork::Place place = work.place<V>(thread);
  const int x0 = place.part * work.share, columns = minimum(work.share, work.out_width - x0);
  const int row_size = work.width * work.inner;
  const T* image = static_cast<const T*>(work.from) + int64_t{place.image} * work.height * row_size + place.channel;
  T* to = static_cast<T*>(work.to) +
          ((int64_t{place.image} * work.out_height + place.row) * work.out_width + x0) * work.inner + place.channel;
  const Channels<V, kPrologue> channels(work, place.channel);

  int rows[K];  // where the rows start, or less than 0
#pragma unroll
  for (int k = 0; k < K; ++k) {
    const int y = near_index(work.border, place.row * S - kBefore + k, work.height);
    rows[k] = y < 0 ? -1 : y * row_size;
  }
  float sums[kLive][V];
  const int steps = columns + kDelay;
  for (int step = 0; step < steps; ++step) {
#pragma unroll
    for (int age = kLive - 1; age > 0; --age)
#pragma unroll
      for (int e = 0; e < V; ++e) sums[age][e] = sums[age - 1][e];
    // The pixels of several columns are asked for before the first is used, as registers allow.
    constexpr int kAtOnce = S * K <= 16 ? S : 1;
    int columns_at[S];
#pragma unroll
    for (int j = 0; j < S; ++j) {
      const int x = near_index(work.border, (x0 + step) * S - kBefore + j, work.width);
      columns_at[j] = x < 0 || (j > kLast && step + 1 == steps) ? -1 : x * work.inner;
    }
    Pack<T, V> raw[kAtOnce][K];
#pragma unroll
    for (int j = 0; j < S; ++j) {
      if (j % kAtOnce == 0) {
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i)
#pragma unroll
          for (int k = 0; k < K; ++k)
            if (j + i < K)
              raw[i][k] = columns_at[j + i] >= 0 && rows[k] >= 0 ? load_pack<V>(image + rows[k] + columns_at[j + i])
                                                                 : Pack<T, V>{};
      }
      if (j >= K || (j > kLast && step + 1 == steps)) continue;
#pragma unroll
      for (int e = 0; e < V; ++e) {
        float v = 0;
#pragma unroll
        for (int k = 0; k < K; ++k) {
          float value = as<float>(raw[j % kAtOnce][k].number[e]);
          if constexpr (kPrologue) {
            value = prologue<true>(value, channels.scale[e], channels.bias[e], work.lowest);
            if (columns_at[j] < 0 || rows[k] < 0) value = 0;  // outside is 0 after the prologue
          }
          v = k == 0 ? value * work.taps_y[0] : fused(value, work.taps_y[k], v);
        }
        if (j == 0) sums[0][e] = v * work.taps_x[0];
#pragma unroll
        for (int age = 0; age < kLive; ++age)
          if (age * S + j > 0 && age * S + j < K) sums[age][e] = fused(v, work.taps_x[age * S + j], sums[age][e]);
      }
      if (j == kLast && step >= kDelay) {
        store_pack(to, packed<T>(sums[kLive - 1]));
        to += work.inner;
      }
    }
  }
}

template <typename T, int K, int S, int V, bool kPrologue>
__global__ void __launch_bounds__(kBlock, 1) transpose_pixels(const __grid_constant__ PixelWork work) {
  constexpr int kBefore = (K - 1) / 2;
  constexpr int kLeft = (K - 1 - kBefore) / S, kRight = (S - 1 + kBefore) / S, kReaders = kLeft + 1 + kRight;
  const uint32_t thread = thread_number();
  if (thread >= work.threads) return;
  const PixelWork::Place place = work.place<V>(thread);
  const int y = place.row, first = place.part * work.share;
  const int last = minimum(first + work.share, (work.width + S - 1) / S);  // steps of S pixels; the last may be short
  const int grad_row = work.out_width * work.inner;
  const T* grad = static_cast<const T*>(work.from) + int64_t{place.image} * work.out_height * grad_row + place.channel;
  const int64_t start = (int64_t{place.image} * work.height + y) * work.width * work.inner + place.channel;
  T* to = static_cast<T*>(work.to) + start;
  const T* image = static_cast<const T*>(work.image) + (kPrologue ? start : 0);
  const Channels<V, kPrologue> channels(work, place.channel);
  float scale_sums[kPrologue ? V : 1] = {}, bias_sums[kPrologue ? V : 1] = {};

  // The rows of the gradient that read this row, or less than 0, and their weights.
  const bool at_edge = work.edges_y.holds(y);
  int rows[kReaders];
  float weights[kReaders];
#pragma unroll
  for (int d = 0; d < kReaders; ++d) {
    const int o = y / S - kLeft + d, k = y + kBefore - o * S;
    const bool reads = o >= 0 && o < work.out_height && k >= 0 && k < K;
    rows[d] = reads ? o * grad_row : -1;
    weights[d] = reads ? work.taps_y[k] : 0.0f;
  }
  // Sums down column o of the gradient.
  const auto down = [&](int o, float (&v)[V]) {
#pragma unroll
    for (int e = 0; e < V; ++e) v[e] = 0;
    if (o < 0 || o >= work.out_width) return;
    const T* column = grad + o * work.inner;
    if (!at_edge) {
      Pack<T, V> raw[kReaders];
#pragma unroll
      for (int d = 0; d < kReaders; ++d) raw[d] = rows[d] >= 0 ? load_pack<V>(column + rows[d]) : Pack<T, V>{};
#pragma unroll
      for (int d = 0; d < kReaders; ++d)
#pragma unroll
        for (int e = 0; e < V; ++e) v[e] = fused(as<float>(raw[d].number[e]), weights[d], v[e]);
      return;
    }
    const int slot = work.edges_y.slot_of(y), end = work.edges_y.first[slot + 1];
#pragma unroll 1
    for (int i = work.edges_y.first[slot]; i < end; ++i) {
      const Pack<T, V> raw = load_pack<V>(column + work.edges_y.output[i] * grad_row);
#pragma unroll
      for (int e = 0; e < V; ++e) v[e] = fused(as<float>(raw.number[e]), work.edges_y.weight[i], v[e]);
    }
  };
  // What is left to do with the pixel at column x.
  const auto finish = [&](int x, float (&results)[V]) {
    if constexpr (kPrologue) {
      const Pack<T, V> pixels = load_pack<V>(image + x * work.inner);
#pragma unroll
      for (int e = 0; e < V; ++e) {
        const float pixel = as<float>(pixels.number[e]), before = fused(pixel, channels.scale[e], channels.bias[e]);
        const float passed = work.lowest == 0 && before <= 0 ? 0.0f : results[e];
        results[e] = passed * channels.scale[e];
        scale_sums[e] = fused(passed, pixel, scale_sums[e]);
        bias_sums[e] += passed;
      }
    }
    store_pack(to + x * work.inner, packed<T>(results));
  };

  float window[kReaders][V];  // columns of the gradient
#pragma unroll 1
  for (int o = first - kReaders + 1; o < last; ++o) {  // the first few fill the window
#pragma unroll
    for (int d = 0; d < kReaders - 1; ++d)
#pragma unroll
      for (int e = 0; e < V; ++e) window[d][e] = window[d + 1][e];
    down(o + kRight, window[kReaders - 1]);
    if (o < first) continue;
#pragma unroll
    for (int j = 0; j < S; ++j) {
      const int x = o * S + j;
      if (x >= work.width || work.edges_x.holds(x)) continue;
      float results[V];
#pragma unroll
      for (int e = 0; e < V; ++e) results[e] = 0;
#pragma unroll
      for (int d = 0; d < kReaders; ++d) {
        const int k = j + kBefore - (d - kLeft) * S;
        if (k < 0 || k >= K) continue;
#pragma unroll
        for (int e = 0; e < V; ++e) results[e] = fused(window[d][e], work.taps_x[k], results[e]);
      }
      finish(x, results);
    }
  }
  // Pixels near the ends of the row, which the border touches.
  const int begin = first * S, end = minimum(last * S, work.width);
#pragma unroll 1
  for (int x = begin; x < end; ++x) {
    if (!work.edges_x.holds(x)) {
      x = minimum(work.edges_x.high, end) - 1;
      continue;
    }
    float results[V], v[V];
#pragma unroll
    for (int e = 0; e < V; ++e) results[e] = 0;
    const int slot = work.edges_x.slot_of(x), stop = work.edges_x.first[slot + 1];
#pragma unroll 1
    for (int i = work.edges_x.first[slot]; i < stop; ++i) {
      down(work.edges_x.output[i], v);
#pragma unroll
      for (int e = 0; e < V; ++e) results[e] = fused(v[e], work.edges_x.weight[i], results[e]);
    }
    finish(x, results);
  }
  if constexpr (kPrologue) {
    float* part = work.sums + int64_t{thread} * 2 * V;
#pragma unroll
    for (int e = 0; e < V; ++e) {
      store_one(part + e, scale_sums[e]);
      store_one(part + V + e, bias_sums[e]);
    }
  }
}

}  // namespace
}  // namespace shiftable
