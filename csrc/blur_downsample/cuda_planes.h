// blur_downsample on a GPU, NCHW: planes whose rows are whole vectors.
//
// A thread makes kOut neighbouring results of some rows (the transpose: kIn pixels of some rows) and walks down the
// plane. Rows are loaded once, as vectors, with a few numbers beside them that lie in a neighbour's vectors and so in
// the cache; sums down the columns stay in registers until their last row has come, and are then summed along the row.
// Threads are numbered along rows, then down, then over planes: a block covers memory without gaps.
#pragma once

#include "core/gpu_axis.h"

namespace shiftable {
namespace {

struct PlaneWork {
  const void* from;  // the image; for the transpose the gradient
  void* to;
  const void* image;  // for the transpose with a prologue
  float* sums;        // likewise: a scale's and a bias' part of every thread
  const float *scale, *bias;
  float lowest;  // 0 for a ReLU, else minus infinity
  float taps_y[kMostFastTaps], taps_x[kMostFastTaps];
  int height, width, out_height, out_width;  // of the image, and of the filter's result
  int share;                                 // rows of the result (of the gradient) for a thread
  Border border;
  uint32_t threads, first_channel;
  Divider groups, parts, channels;
  EdgeTable edges;  // of rows, for the transpose

  struct Place {
    uint32_t plane;
    int group, part;
    uint32_t channel;
  };
  SHIFTABLE_DEVICE Place place(uint32_t thread) const {
    Place place;
    uint32_t group = thread;
    uint32_t part = groups.split(group);
    place.plane = parts.split(part);
    place.group = static_cast<int>(group);
    place.part = static_cast<int>(part);
    place.channel = first_channel + place.plane;
    channels.split(place.channel);
    return place;
  }
};

// How a thread of K taps, stride S and vectors of V numbers is laid out.
template <int K, int S, int V>
struct PlaneLayout {
  static constexpr int kOut = S == 2 || S == 4 ? V / S : V;  // results side by side
  static constexpr int kIn = kOut * S;                       // pixels under them
  static constexpr int kPacks = kIn / V;
  static constexpr int kBefore = (K - 1) / 2;       // pixels read before the first
  static constexpr int kNeed = (kOut - 1) * S + K;  // columns that the results read
  static constexpr int kAfter = kNeed - kBefore - kIn > 0 ? kNeed - kBefore - kIn : 0;
  static constexpr int kLive = (K + S - 1) / S;  // results that a row is part of
  static constexpr int kDelay = (K - 1) / S;     // steps of S rows from a result's first row to its last
  static constexpr int kLast = (K - 1) % S;      // and which row of the step that is
  // The transpose: pixel o * S + j is read by outputs from o - kLeft to o + kRight.
  static constexpr int kLeft = (K - 1 - kBefore) / S, kRight = (S - 1 + kBefore) / S;
  static constexpr int kReaders = kLeft + 1 + kRight;
  static constexpr int kWindow = kLeft + kOut + kRight;
  static constexpr int kPast = K - kBefore - S;  // pixels that are read past the end of a row of whole strides
  // What the border adds to a pixel comes from outputs that the pixel's own thread, the first or the last, looks at.
  static constexpr bool kTransposes = kBefore <= kIn - 1 && kPast - 1 <= kIn - 2 && kLeft <= kOut && kRight <= kOut;
};

template <int kCount>
constexpr int at_least_one = kCount > 0 ? kCount : 1;

template <bool kPrologue>
SHIFTABLE_DEVICE float prologue(float value, float scale, float bias, float lowest) {
  if (!kPrologue) return value;
  value = fused(value, scale, bias);
  return value < lowest ? lowest : value;  // a NaN stays
}

template <typename T, int K, int S, int V, bool kPrologue>
__global__ void __launch_bounds__(kBlock, 1) filter_planes(const __grid_constant__ PlaneWork work) {
  using L = PlaneLayout<K, S, V>;
  const uint32_t thread = thread_number();
  if (thread >= work.threads) return;
  const PlaneWork::Place place = work.place(thread);
  const int x0 = place.group * L::kIn, y0 = place.part * work.share;
  const int rows = minimum(work.share, work.out_height - y0);
  const T* plane = static_cast<const T*>(work.from) + int64_t{place.plane} * work.height * work.width;
  T* to = static_cast<T*>(work.to) + int64_t{place.plane} * work.out_height * work.out_width + y0 * work.out_width +
          place.group * L::kOut;
  const float scale = kPrologue ? work.scale[place.channel] : 1.0f, bias = kPrologue ? work.bias[place.channel] : 0.0f;

  int before[at_least_one<L::kBefore>], after[at_least_one<L::kAfter>];  // the columns beside the vectors
#pragma unroll
  for (int i = 0; i < L::kBefore; ++i) before[i] = near_index(work.border, x0 - L::kBefore + i, work.width);
#pragma unroll
  for (int i = 0; i < L::kAfter; ++i) after[i] = near_index(work.border, x0 + L::kIn + i, work.width);

  struct Row {
    Pack<T, V> middle[L::kPacks];
    T before[at_least_one<L::kBefore>], after[at_least_one<L::kAfter>];
    bool there = false;
  };
  const auto load = [&](int position, Row& row) {
    const int y = near_index(work.border, position, work.height);
    row.there = y >= 0;
    const T* from = plane + (y < 0 ? 0 : y) * work.width;
#pragma unroll
    for (int i = 0; i < L::kPacks; ++i) row.middle[i] = row.there ? load_pack<V>(from + x0 + i * V) : Pack<T, V>{};
#pragma unroll
    for (int i = 0; i < L::kBefore; ++i) row.before[i] = row.there && before[i] >= 0 ? load_one(from + before[i]) : T{};
#pragma unroll
    for (int i = 0; i < L::kAfter; ++i) row.after[i] = row.there && after[i] >= 0 ? load_one(from + after[i]) : T{};
  };
  const auto number = [&](T raw, bool there) {
    const float value = prologue<kPrologue>(as<float>(raw), scale, bias, work.lowest);
    return kPrologue && !there ? 0.0f : value;  // outside is 0 after the prologue
  };

  float sums[L::kLive][L::kNeed];
  Row current[S], next[S];
  const int steps = rows + L::kDelay;
  int position = y0 * S - L::kBefore;
#pragma unroll
  for (int j = 0; j < S; ++j)
    if (j < K) load(position + j, current[j]);
  for (int step = 0; step < steps; ++step) {
    position += S;
    if (step + 1 < steps) {
#pragma unroll
      for (int j = 0; j < S; ++j)
        if (j < K && (j <= L::kLast || step + 2 < steps)) load(position + j, next[j]);
    }
#pragma unroll
    for (int age = L::kLive - 1; age > 0; --age)
#pragma unroll
      for (int i = 0; i < L::kNeed; ++i) sums[age][i] = sums[age - 1][i];
#pragma unroll
    for (int j = 0; j < S; ++j) {
      if (j >= K) continue;
      const Row& row = current[j];
#pragma unroll
      for (int i = 0; i < L::kNeed; ++i) {
        const int column = i - L::kBefore;
        float value;
        if (column < 0)
          value = number(row.before[i], row.there && before[i] >= 0);
        else if (column < L::kIn)
          value = number(row.middle[column / V].number[column % V], row.there);
        else
          value = number(row.after[column - L::kIn], row.there && after[column - L::kIn] >= 0);
        if (j == 0) sums[0][i] = value * work.taps_y[0];
#pragma unroll
        for (int age = 0; age < L::kLive; ++age)
          if (age * S + j > 0 && age * S + j < K) sums[age][i] = fused(value, work.taps_y[age * S + j], sums[age][i]);
      }
      if (j == L::kLast && step >= L::kDelay) {
        float results[L::kOut];
#pragma unroll
        for (int o = 0; o < L::kOut; ++o) {
          results[o] = sums[L::kLive - 1][o * S] * work.taps_x[0];
#pragma unroll
          for (int k = 1; k < K; ++k) results[o] = fused(sums[L::kLive - 1][o * S + k], work.taps_x[k], results[o]);
        }
        store_pack(to, packed<T>(results));
        to += work.out_width;
      }
    }
#pragma unroll
    for (int j = 0; j < S; ++j) current[j] = next[j];
  }
}

template <typename T, int K, int S, int V, bool kPrologue>
__global__ void __launch_bounds__(kBlock, 1) transpose_planes(const __grid_constant__ PlaneWork work) {
  using L = PlaneLayout<K, S, V>;
  const uint32_t thread = thread_number();
  if (thread >= work.threads) return;
  const PlaneWork::Place place = work.place(thread);
  const int o0 = place.group * L::kOut, first = place.part * work.share;
  const int last = minimum(first + work.share, (work.height + S - 1) / S);  // steps of S rows; the last may be short
  const T* grad = static_cast<const T*>(work.from) + int64_t{place.plane} * work.out_height * work.out_width;
  const int64_t start = int64_t{place.plane} * work.height * work.width + o0 * S;
  T* to = static_cast<T*>(work.to) + start;
  const T* image = static_cast<const T*>(work.image) + (kPrologue ? start : 0);
  const float scale = kPrologue ? work.scale[place.channel] : 1.0f, bias = kPrologue ? work.bias[place.channel] : 0.0f;
  float scale_sum = 0, bias_sum = 0;

  const bool left = o0 == 0, right = o0 + L::kOut == work.out_width;
  const bool wraps = work.border == Border::circular;
  const bool wraps_left = left && wraps, wraps_right = right && wraps;
  const bool mirrors_left = left && work.border == Border::reflect,
             mirrors_right = right && work.border == Border::reflect;
  const bool repeats_left = left && work.border == Border::replicate,
             repeats_right = right && work.border == Border::replicate;

  int beside[at_least_one<L::kLeft + L::kRight>];  // outputs beside the vector
  const auto beside_index = [&](int o) {
    return near_index(wraps ? Border::circular : Border::constant, o, work.out_width);
  };
#pragma unroll
  for (int i = 0; i < L::kLeft; ++i) beside[i] = beside_index(o0 - L::kLeft + i);
#pragma unroll
  for (int i = 0; i < L::kRight; ++i) beside[L::kLeft + i] = beside_index(o0 + L::kOut + i);

  const auto load = [&](int oy, float (&row)[L::kWindow]) {
    const bool there = oy >= 0 && oy < work.out_height;
    const T* from = grad + (there ? oy : 0) * work.out_width;
    const Pack<T, L::kOut> middle = there ? load_pack<L::kOut>(from + o0) : Pack<T, L::kOut>{};
#pragma unroll
    for (int i = 0; i < L::kOut; ++i) row[L::kLeft + i] = as<float>(middle.number[i]);
#pragma unroll
    for (int i = 0; i < L::kLeft + L::kRight; ++i)
      row[i < L::kLeft ? i : i + L::kOut] = there && beside[i] >= 0 ? as<float>(load_one(from + beside[i])) : 0.0f;
  };
  // Sums along the row, in the order of outputs, then taps. Of output q of the window, pixel i is read by tap
  // i + kBefore - (q - kLeft) * S; what else reads it does so through the border.
  const auto along = [&](const float (&v)[L::kWindow], float (&results)[L::kIn]) {
#pragma unroll
    for (int i = 0; i < L::kIn; ++i) {
      float sum = 0;
      const auto add = [&](bool takes, int q, int k) {
        if (k >= 0 && k < K && takes) sum = fused(v[q], work.taps_x[k], sum);
      };
#pragma unroll
      for (int q = L::kLeft + L::kOut; q < L::kWindow; ++q) add(wraps_right, q, i + L::kBefore - (q - L::kLeft) * S);
#pragma unroll
      for (int q = 0; q < L::kWindow; ++q) {
        const int origin = L::kBefore - (q - L::kLeft) * S;  // the tap that reads pixel 0 of the thread
        const bool inside = q >= L::kLeft && q < L::kLeft + L::kOut;
        if (inside && i > 0) add(mirrors_left, q, origin - i);
        if (inside && i == 0)
#pragma unroll
          for (int p = -L::kBefore; p < 0; ++p) add(repeats_left, q, origin + p);
        add(inside || !(q < L::kLeft ? wraps_left : wraps_right), q, origin + i);
        if (inside && i < L::kIn - 1) add(mirrors_right, q, origin + 2 * (L::kIn - 1) - i);
        if (inside && i == L::kIn - 1)
#pragma unroll
          for (int p = 0; p < L::kPast; ++p) add(repeats_right, q, origin + L::kIn + p);
      }
#pragma unroll
      for (int q = 0; q < L::kLeft; ++q) add(wraps_left, q, i + L::kBefore - (q - L::kLeft) * S);
      results[i] = sum;
    }
  };

  float window[L::kReaders][L::kWindow];  // rows of the gradient
#pragma unroll
  for (int d = 0; d < L::kReaders - 1; ++d) load(first - L::kLeft + d, window[d]);
  for (int o = first; o < last; ++o) {
    load(o + L::kRight, window[L::kReaders - 1]);
#pragma unroll
    for (int j = 0; j < S; ++j) {
      const int y = o * S + j;
      if (y >= work.height) break;
      float v[L::kWindow];
#pragma unroll
      for (int q = 0; q < L::kWindow; ++q) v[q] = 0;
      if (work.edges.holds(y)) {
        const int slot = work.edges.slot_of(y), end = work.edges.first[slot + 1];
#pragma unroll 1
        for (int e = work.edges.first[slot]; e < end; ++e) {
          float row[L::kWindow];
          load(work.edges.output[e], row);
#pragma unroll
          for (int q = 0; q < L::kWindow; ++q) v[q] = fused(row[q], work.edges.weight[e], v[q]);
        }
      } else {
#pragma unroll
        for (int d = 0; d < L::kReaders; ++d) {
          const int k = j + L::kBefore - (d - L::kLeft) * S;
          if (k < 0 || k >= K) continue;
#pragma unroll
          for (int q = 0; q < L::kWindow; ++q) v[q] = fused(window[d][q], work.taps_y[k], v[q]);
        }
      }
      float results[L::kIn];
      along(v, results);
#pragma unroll
      for (int i = 0; i < L::kPacks; ++i) {
        float part[V];
        if constexpr (kPrologue) {
          const Pack<T, V> pixels = load_pack<V>(image + y * work.width + i * V);
#pragma unroll
          for (int e = 0; e < V; ++e) {
            const float pixel = as<float>(pixels.number[e]), before = fused(pixel, scale, bias);
            const float passed = work.lowest == 0 && before <= 0 ? 0.0f : results[i * V + e];
            part[e] = passed * scale;
            scale_sum = fused(passed, pixel, scale_sum);
            bias_sum += passed;
          }
        } else {
#pragma unroll
          for (int e = 0; e < V; ++e) part[e] = results[i * V + e];
        }
        store_pack(to + y * work.width + i * V, packed<T>(part));
      }
    }
#pragma unroll
    for (int d = 0; d < L::kReaders - 1; ++d)
#pragma unroll
      for (int q = 0; q < L::kWindow; ++q) window[d][q] = window[d + 1][q];
  }
  if constexpr (kPrologue) {
    store_one(work.sums + 2 * int64_t{thread}, scale_sum);
    store_one(work.sums + 2 * int64_t{thread} + 1, bias_sum);
  }
}

}  // namespace
}  // namespace shiftable
