// max_blur_downsample on a GPU for the windows that networks have: 2 pixels without padding, 3 with one on either side,
// in front of a blur that halves.
//
// Threads walk as those of blur_downsample do, and keep the last M rows, or columns, of the windows: with each new one
// comes a row of the max map, of which they make results. The map is never written.
#pragma once

#include "core/gpu_axis.h"
#include "max_blur_downsample/pixel.h"

namespace shiftable {
namespace {

struct MapWork {
  const void* image;
  const void* grad;  // for the transpose
  void* to;
  float taps_y[kMostFastTaps], taps_x[kMostFastTaps];
  int height, width, inner, map_height, map_width, out_height, out_width;
  int share;  // rows of the result (the transpose: of the image) for a thread
  Border border;
  uint32_t threads;
  Divider vectors, groups, parts;
  EdgeTable edges_y, edges_x;  // of the map, for the transpose

  struct Place {
    uint32_t block;
    int part, group, vector;
  };
  SHIFTABLE_DEVICE Place place(uint32_t thread) const {
    uint32_t vector = thread;
    uint32_t group = vectors.split(vector);
    uint32_t part = groups.split(group);
    const uint32_t block = parts.split(part);
    return {block, static_cast<int>(part), static_cast<int>(group), static_cast<int>(vector)};
  }
};

// The larger of each pair, exact in the numbers' own type.
template <typename T, int N>
SHIFTABLE_DEVICE Pack<T, N> larger_pack(const Pack<T, N>& a, const Pack<T, N>& b) {
  Pack<T, N> result;
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(T) == 2 && N % 2 == 0) {
#pragma unroll
    for (int i = 0; i < N; i += 2) {
      const uint32_t x = a.number[i].bits | uint32_t{a.number[i + 1].bits} << 16;
      const uint32_t y = b.number[i].bits | uint32_t{b.number[i + 1].bits} << 16;
      uint32_t z;
      if constexpr (std::is_same_v<T, Half>)
        asm("max.NaN.f16x2 %0, %1, %2;" : "=r"(z) : "r"(x), "r"(y));
      else
        asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(z) : "r"(x), "r"(y));
      result.number[i].bits = static_cast<uint16_t>(z);
      result.number[i + 1].bits = static_cast<uint16_t>(z >> 16);
    }
    return result;
  }
#endif
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const float x = as<float>(a.number[i]), y = as<float>(b.number[i]);
    result.number[i] = x > y || x != x ? a.number[i] : b.number[i];
  }
  return result;
}

template <typename T, int N>
SHIFTABLE_DEVICE Pack<T, N> lowest_pack() {
  Pack<T, N> pack;
#pragma unroll
  for (int i = 0; i < N; ++i) pack.number[i] = static_cast<T>(kLowest<float>);
  return pack;
}

constexpr int kLowestRow = -(1 << 30);  // no row, nor column

// -- planes ------------------------------------------------------------------------------------------

// A thread's columns, of K taps, windows of M pixels and vectors of V numbers.
template <int K, int M, int V>
struct MapLayout {
  static constexpr int kPad = (M - 1) / 2;
  static constexpr int kOut = V / 2, kIn = V;
  static constexpr int kBefore = (K - 1) / 2, kNeed = (kOut - 1) * 2 + K;  // columns of the map
  static constexpr int kEnd = kBefore + kIn + 2 * kPad - M + 1;            // the first past it, at the right edge
  static constexpr int kLeft = kBefore + kPad, kColumns = kNeed + M - 1;   // columns of the image
  static constexpr int kRight = kColumns - kLeft - kIn > 0 ? kColumns - kLeft - kIn : 0;
  static constexpr int kLive = (K + 1) / 2, kDelay = (K - 1) / 2, kLast = (K - 1) % 2;
  // Only the first and the last thread of a row look past its ends, and what the border puts there is theirs as well.
  static constexpr bool kFits = kLeft <= kIn && kRight <= kIn && 2 * kBefore < kNeed && kNeed - 1 <= 2 * (kEnd - 1);
};

// A row as it is read: a vector, and the numbers beside it.
template <typename T, int V, int kLeft, int kRight>
struct MapRow {
  Pack<T, V> middle;
  T left[kLeft > 0 ? kLeft : 1], right[kRight > 0 ? kRight : 1];

  // Of column x0 on; what lies outside of the image is lower than all numbers.
  SHIFTABLE_DEVICE void load(const T* plane, int y, int x0, const MapWork& work) {
    const bool there = y >= 0 && y < work.height, not_first = x0 > 0, not_last = x0 + V < work.width;
    const T* row = plane + (there ? y : 0) * work.width + x0;
    middle = there ? load_pack<V>(row) : lowest_pack<T, V>();
#pragma unroll
    for (int i = 0; i < kLeft; ++i)
      left[i] = there && not_first ? load_one(row - kLeft + i) : static_cast<T>(kLowest<float>);
#pragma unroll
    for (int i = 0; i < kRight; ++i)
      right[i] = there && not_last ? load_one(row + V + i) : static_cast<T>(kLowest<float>);
  }
  SHIFTABLE_DEVICE float at(int column) const {
    if (column < kLeft) return as<float>(left[column]);
    if (column < kLeft + V) return as<float>(middle.number[column - kLeft]);
    return as<float>(right[column - kLeft - V]);
  }
};

template <typename T, int K, int M, int V>
__global__ void __launch_bounds__(kBlock, 1) filter_map(const __grid_constant__ MapWork work) {
  using L = MapLayout<K, M, V>;
  const uint32_t thread = thread_number();
  if (thread >= work.threads) return;
  const MapWork::Place place = work.place(thread);
  const int x0 = place.group * L::kIn, y0 = place.part * work.share, count = minimum(work.share, work.out_height - y0);
  const T* plane = static_cast<const T*>(work.image) + int64_t{place.block} * work.height * work.width;
  T* to =
      static_cast<T*>(work.to) + (int64_t{place.block} * work.out_height + y0) * work.out_width + place.group * L::kOut;
  const bool first = x0 == 0, last = x0 + L::kIn == work.width;

  // The largest of each window's row, and beyond the map what the border puts there.
  const auto largest_of = [&](const MapRow<T, V, L::kLeft, L::kRight>& raw, float (&row)[L::kNeed]) {
#pragma unroll
    for (int i = 0; i < L::kNeed; ++i) {
      row[i] = raw.at(i);
#pragma unroll
      for (int dx = 1; dx < M; ++dx) row[i] = larger(raw.at(i + dx), row[i]);
    }
    if (first) {
#pragma unroll
      for (int i = 0; i < L::kBefore; ++i)
        row[i] = work.border == Border::constant  ? 0.0f
                 : work.border == Border::reflect ? row[2 * L::kBefore - i]
                                                  : row[L::kBefore];
    }
    if (last) {
#pragma unroll
      for (int i = L::kEnd; i < L::kNeed; ++i)
        row[i] = work.border == Border::constant  ? 0.0f
                 : work.border == Border::reflect ? row[2 * (L::kEnd - 1) - i]
                                                  : row[L::kEnd - 1];
    }
  };

  // The last M rows of windows, that of row `next` - 1 last. Two rows that come next have been asked for: every other
  // row goes to the same place.
  float window[M][L::kNeed];
  MapRow<T, V, L::kLeft, L::kRight> raw[2];
  int next = kLowestRow, asked[2] = {kLowestRow, kLowestRow};
  const auto move_to = [&](int my, MapRow<T, V, L::kLeft, L::kRight>& row, int& row_asked) {
    const int top = my - L::kPad;
    if (next != top + M - 1) next = top;
#pragma unroll 1
    for (; next < top + M; ++next) {
      if (row_asked != next) row.load(plane, next, x0, work);
#pragma unroll
      for (int r = 0; r < M - 1; ++r)
#pragma unroll
        for (int i = 0; i < L::kNeed; ++i) window[r][i] = window[r + 1][i];
      largest_of(row, window[M - 1]);
      row_asked = next + 2;
      row.load(plane, row_asked, x0, work);
    }
  };

  float sums[L::kLive][L::kNeed];
  const int steps = count + L::kDelay;
  for (int step = 0; step < steps; ++step) {
#pragma unroll
    for (int age = L::kLive - 1; age > 0; --age)
#pragma unroll
      for (int i = 0; i < L::kNeed; ++i) sums[age][i] = sums[age - 1][i];
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      if (j > L::kLast && step + 1 == steps) continue;
      const int my = near_index(work.border, (y0 + step) * 2 - L::kBefore + j, work.map_height);
      if (my >= 0) move_to(my, raw[j], asked[j]);
#pragma unroll
      for (int i = 0; i < L::kNeed; ++i) {
        float value = window[0][i];
#pragma unroll
        for (int r = 1; r < M; ++r) value = larger(window[r][i], value);
        if (my < 0) value = 0;
        if (j == 0) sums[0][i] = value * work.taps_y[0];
#pragma unroll
        for (int age = 0; age < L::kLive; ++age)
          if (age * 2 + j > 0 && age * 2 + j < K) sums[age][i] = fused(value, work.taps_y[age * 2 + j], sums[age][i]);
      }
      if (j == L::kLast && step >= L::kDelay) {
        float results[L::kOut];
#pragma unroll
        for (int o = 0; o < L::kOut; ++o) {
          results[o] = sums[L::kLive - 1][o * 2] * work.taps_x[0];
#pragma unroll
          for (int k = 1; k < K; ++k) results[o] = fused(sums[L::kLive - 1][o * 2 + k], work.taps_x[k], results[o]);
        }
        store_pack(to, packed<T>(results));
        to += work.out_width;
      }
    }
  }
}

// -- pixels ------------------------------------------------------------------------------------------

// A thread owns the channels of a vector, a row of the result and some of its columns, along which it walks: of each
// column it takes the largest under every one of K map rows, and of the last M columns the map's numbers.
template <typename T, int K, int M, int V>
__global__ void __launch_bounds__(kBlock, 1) filter_map_pixels(const __grid_constant__ MapWork work) {
  constexpr int kPad = (M - 1) / 2, kBefore = (K - 1) / 2;
  constexpr int kLive = (K + 1) / 2, kDelay = (K - 1) / 2, kLast = (K - 1) % 2;
  constexpr int kRows = K + M - 1;  // of the image, under K map rows that follow each other
  const uint32_t thread = thread_number();
  if (thread >= work.threads) return;
  const MapWork::Place place = work.place(thread);  // a part is a row here, a group some columns
  const int oy = place.part, x0 = place.group * work.share, count = minimum(work.share, work.out_width - x0);
  const int row_size = work.width * work.inner;
  const T* image = static_cast<const T*>(work.image) + int64_t{place.block} * work.height * row_size + place.vector * V;
  T* to = static_cast<T*>(work.to) +
          ((int64_t{place.block} * work.out_height + oy) * work.out_width + x0) * work.inner + place.vector * V;

  // Map rows follow each other but at the border, where each is looked up.
  const int top = oy * 2 - kBefore;
  const bool in_order = top >= 0 && top + K <= work.map_height;
  int map_rows[K], rows[kRows];
#pragma unroll
  for (int k = 0; k < K; ++k) map_rows[k] = near_index(work.border, top + k, work.map_height);
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const int y = top - kPad + r;
    rows[r] = y >= 0 && y < work.height ? y * row_size : -1;
  }
  // The largest of column x under each map row.
  const auto column_of = [&](int x, Pack<T, V>(&largest)[K]) {
    const bool inside = x >= 0 && x < work.width;
    const T* column = image + (inside ? x : 0) * work.inner;
    if (in_order) {
      Pack<T, V> raw[kRows];
#pragma unroll
      for (int r = 0; r < kRows; ++r)
        raw[r] = inside && rows[r] >= 0 ? load_pack<V>(column + rows[r]) : lowest_pack<T, V>();
#pragma unroll
      for (int k = 0; k < K; ++k) {
        largest[k] = raw[k];
#pragma unroll
        for (int r = 1; r < M; ++r) largest[k] = larger_pack(raw[k + r], largest[k]);
      }
      return;
    }
#pragma unroll
    for (int k = 0; k < K; ++k) {
      largest[k] = lowest_pack<T, V>();
#pragma unroll 1
      for (int r = 0; r < M; ++r) {
        const int y = map_rows[k] - kPad + r;
        if (inside && map_rows[k] >= 0 && y >= 0 && y < work.height)
          largest[k] = larger_pack(load_pack<V>(column + y * row_size), largest[k]);
      }
    }
  };

  Pack<T, V> window[M][K];  // the last M columns, that before column `next` last
  int next = kLowestRow;
  float sums[kLive][V];
  const int steps = count + kDelay;
  for (int step = 0; step < steps; ++step) {
#pragma unroll
    for (int age = kLive - 1; age > 0; --age)
#pragma unroll
      for (int e = 0; e < V; ++e) sums[age][e] = sums[age - 1][e];
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      if (j > kLast && step + 1 == steps) continue;
      const int mx = near_index(work.border, (x0 + step) * 2 - kBefore + j, work.map_width);
      if (mx >= 0) {
        const int left = mx - kPad;
        if (next != left + M - 1) next = left;
#pragma unroll 1
        for (; next < left + M; ++next) {
#pragma unroll
          for (int c = 0; c < M - 1; ++c)
#pragma unroll
            for (int k = 0; k < K; ++k) window[c][k] = window[c + 1][k];
          column_of(next, window[M - 1]);
        }
      }
      float v[V];
#pragma unroll
      for (int k = 0; k < K; ++k) {
        Pack<T, V> largest = window[0][k];
#pragma unroll
        for (int c = 1; c < M; ++c) largest = larger_pack(window[c][k], largest);
        const bool there = mx >= 0 && map_rows[k] >= 0;  // outside of the map is 0
#pragma unroll
        for (int e = 0; e < V; ++e) {
          const float value = there ? as<float>(largest.number[e]) : 0.0f;
          v[e] = k == 0 ? value * work.taps_y[0] : fused(value, work.taps_y[k], v[e]);
        }
      }
#pragma unroll
      for (int e = 0; e < V; ++e) {
        if (j == 0) sums[0][e] = v[e] * work.taps_x[0];
#pragma unroll
        for (int age = 0; age < kLive; ++age)
          if (age * 2 + j > 0 && age * 2 + j < K) sums[age][e] = fused(v[e], work.taps_x[age * 2 + j], sums[age][e]);
      }
      if (j == kLast && step >= kDelay) {
        store_pack(to, packed<T>(sums[kLive - 1]));
        to += work.inner;
      }
    }
  }
}

// -- transpose -------------------------------------------------------------------------------------

// Whole numbers in the order of the values: a NaN is largest of all, kNone, for padding, below even minus infinity.
constexpr int kNone = std::numeric_limits<int>::min();

SHIFTABLE_DEVICE int key_of(float value) {
  const float number = value + 0.0f;  // -0 equals 0
#if defined(__CUDA_ARCH__)
  const int bits = __float_as_int(number);
#else
  int bits;
  std::memcpy(&bits, &number, 4);
#endif
  return value == value ? bits ^ ((bits >> 31) & 0x7fffffff) : 0x7fffffff;
}

// A pixel of a window in the order of who wins: by value, of equals the one that comes first.
template <typename T, bool kShort = sizeof(T) == 2>
struct Rank {
  int key, position;

  SHIFTABLE_DEVICE static Rank of(float value) { return {key_of(value), 0}; }
  SHIFTABLE_DEVICE static Rank none() { return {kNone, 0}; }
  SHIFTABLE_DEVICE Rank moved(int by) const { return {key, position + by}; }
  SHIFTABLE_DEVICE bool over(const Rank& other) const { return key > other.key; }  // where other comes first
  SHIFTABLE_DEVICE int place() const { return position; }
};

// Numbers of 16 bits leave the last bits of their keys to the place.
template <typename T>
struct Rank<T, true> {
  int bits;

  SHIFTABLE_DEVICE static Rank of(float value) { return {key_of(value) | 15}; }
  SHIFTABLE_DEVICE static Rank none() { return {kNone | 15}; }
  SHIFTABLE_DEVICE Rank moved(int by) const { return {bits - by}; }
  SHIFTABLE_DEVICE bool over(const Rank& other) const { return bits > other.bits; }
  SHIFTABLE_DEVICE int place() const { return 15 - (bits & 15); }
};

// Calls add(row, weight) for the rows of the gradient that read map row `my`, in order.
template <int K, typename Add>
SHIFTABLE_DEVICE void for_grad_rows(const MapWork& work, int my, const Add& add) {
  constexpr int kBefore = (K - 1) / 2, kAbove = (K - 1 - kBefore) / 2, kReaders = kAbove + 1 + (1 + kBefore) / 2;
  if (work.edges_y.holds(my)) {
    const int slot = work.edges_y.slot_of(my), end = work.edges_y.first[slot + 1];
    for (int e = work.edges_y.first[slot]; e < end; ++e) add(work.edges_y.output[e], work.edges_y.weight[e]);
    return;
  }
#pragma unroll
  for (int d = 0; d < kReaders; ++d) {
    const int o = my / 2 - kAbove + d, k = my + kBefore - o * 2;
    if (o >= 0 && o < work.out_height && k >= 0 && k < K) add(o, work.taps_y[k]);
  }
}

// The map's gradient at (my, mx), a column that the border touches. Such are few: their code stays out of the way.
template <typename T, int K, int kLanes>
__device__ __noinline__ Pack<float, kLanes> edge_grad(const MapWork& work, const T* grad, int my, int mx) {
  Pack<float, kLanes> result{};
  const int slot = work.edges_x.slot_of(mx), end = work.edges_x.first[slot + 1];
  for (int i = work.edges_x.first[slot]; i < end; ++i) {
    float column[kLanes] = {};
    for_grad_rows<K>(work, my, [&](int oy, float weight) {
      const Pack<T, kLanes> number =
          load_pack<kLanes>(grad + (oy * work.out_width + work.edges_x.output[i]) * work.inner);
#pragma unroll
      for (int e = 0; e < kLanes; ++e) column[e] = fused(as<float>(number.number[e]), weight, column[e]);
    });
#pragma unroll
    for (int e = 0; e < kLanes; ++e) result.number[e] = fused(column[e], work.edges_x.weight[i], result.number[e]);
  }
  return result;
}

template <typename T, int K, int M, int V, bool kPlanes>
__global__ void __launch_bounds__(kBlock, 1) transpose_map(const __grid_constant__ MapWork work) {
  constexpr int kPad = (M - 1) / 2, kBefore = (K - 1) / 2;
  constexpr int kColumns = kPlanes ? V : 4, kLanes = kPlanes ? 1 : V;
  // Columns of the map from x0 - 1 on, of the image from x0 - (M - 1) on, of the gradient from x0 / 2 + kFirst on.
  constexpr int kMap = kColumns + M - 1, kImage = kMap + M - 1;
  constexpr int kFirst = -((K - kBefore) / 2), kGrads = (kColumns - 1 + kPad + kBefore) / 2 - kFirst + 1;
  static_assert(kPad - (M - 1) == -1, "the map's columns start beside the thread's own");
  const uint32_t thread = thread_number();
  if (thread >= work.threads) return;
  const MapWork::Place place = work.place(thread);
  const int x0 = place.group * kColumns, y0 = place.part * work.share;
  const int y1 = minimum(y0 + work.share, work.height);
  const int64_t start = int64_t{place.block} * work.height * work.width * work.inner + place.vector * V * !kPlanes;
  const T* image = static_cast<const T*>(work.image) + start;
  T* to = static_cast<T*>(work.to) + start;
  const T* grad = static_cast<const T*>(work.grad) +
                  int64_t{place.block} * work.out_height * work.out_width * work.inner + place.vector * V * !kPlanes;

  // A row of the image as it is read: of planes a vector and what lies beside it, else a vector for each column.
  struct Row {
    Pack<T, V> middle;
    Pack<T, kLanes> column[kImage];
    bool there = false;
  };
  const auto is_beside = [](int c) { return !kPlanes || c < M - 1 || c >= M - 1 + kColumns; };
  const auto is_inside = [&](const Row& row, int c) {
    const int x = x0 - (M - 1) + c;
    return row.there && x >= 0 && x < work.width;
  };
  const auto load_row = [&](int y, Row& row) {
    row.there = y >= 0 && y < work.height;
    const T* from = image + (row.there ? y : 0) * work.width * work.inner;
    if (kPlanes) row.middle = row.there ? load_pack<V>(from + x0) : Pack<T, V>{};
#pragma unroll
    for (int c = 0; c < kImage; ++c)
      if (is_beside(c))
        row.column[c] =
            is_inside(row, c) ? load_pack<kLanes>(from + (x0 - (M - 1) + c) * work.inner) : Pack<T, kLanes>{};
  };
  // The winner of each window's row, of the last M rows.
  Rank<T> winners[M][kMap][kLanes];
  const auto take_row = [&](const Row& row) {
    Rank<T> line[kImage][kLanes];
#pragma unroll
    for (int c = 0; c < kImage; ++c)
#pragma unroll
      for (int e = 0; e < kLanes; ++e) {
        const T number = is_beside(c) ? row.column[c].number[e] : row.middle.number[c - (M - 1)];
        line[c][e] = is_inside(row, c) ? Rank<T>::of(as<float>(number)) : Rank<T>::none();
      }
#pragma unroll
    for (int c = 0; c < kMap; ++c)
#pragma unroll
      for (int e = 0; e < kLanes; ++e) {
#pragma unroll
        for (int r = 0; r < M - 1; ++r) winners[r][c][e] = winners[r + 1][c][e];
        Rank<T> winner = line[c][e];
#pragma unroll
        for (int dx = 1; dx < M; ++dx)
          if (const Rank<T> next = line[c + dx][e].moved(dx); next.over(winner)) winner = next;
        winners[M - 1][c][e] = winner;
      }
  };

  float given[M][kColumns][kLanes] = {};  // to the pixels of rows my - kPad and below
  const int first = y0 + kPad - (M - 1);
  Row row;  // asked for while the one before is looked at
  load_row(first - kPad, row);
#pragma unroll 1
  for (int my = first - (M - 1); my < y1 + kPad; ++my) {  // the first few fill the windows
    take_row(row);
    load_row(my - kPad + M, row);
    if (my < first) continue;
    if (my >= 0 && my < work.map_height) {
      float v[kGrads][kLanes] = {};  // sums down the gradient's columns
      for_grad_rows<K>(work, my, [&](int oy, float weight) {
#pragma unroll
        for (int q = 0; q < kGrads; ++q) {
          const int ox = x0 / 2 + kFirst + q;
          if (ox < 0 || ox >= work.out_width) continue;
          const Pack<T, kLanes> number = load_pack<kLanes>(grad + (oy * work.out_width + ox) * work.inner);
#pragma unroll
          for (int e = 0; e < kLanes; ++e) v[q][e] = fused(as<float>(number.number[e]), weight, v[q][e]);
        }
      });
#pragma unroll
      for (int c = 0; c < kMap; ++c) {
        const int mx = x0 - 1 + c;
        if (mx < 0 || mx >= work.map_width) continue;
        float map_grad[kLanes] = {};
        if (work.edges_x.holds(mx)) {
          const Pack<float, kLanes> found = edge_grad<T, K, kLanes>(work, grad, my, mx);
#pragma unroll
          for (int e = 0; e < kLanes; ++e) map_grad[e] = found.number[e];
        } else {
#pragma unroll
          for (int q = 0; q < kGrads; ++q) {
            const int k = c - 1 + kBefore - 2 * (q + kFirst);
            if (k < 0 || k >= K) continue;
#pragma unroll
            for (int e = 0; e < kLanes; ++e) map_grad[e] = fused(v[q][e], work.taps_x[k], map_grad[e]);
          }
        }
#pragma unroll
        for (int e = 0; e < kLanes; ++e) {
          Rank<T> winner = winners[0][c][e];
#pragma unroll
          for (int r = 1; r < M; ++r)
            if (const Rank<T> next = winners[r][c][e].moved(r * M); next.over(winner)) winner = next;
          const int won = winner.place();
          // Windows come from left to right: a pixel's gradients are added in their order.
#pragma unroll
          for (int r = 0; r < M; ++r)
#pragma unroll
            for (int dx = 0; dx < M; ++dx) {
              const int column = c - (M - 1) + dx;  // of the pixel that is dx from the window's left
              if (column < 0 || column >= kColumns) continue;
              if (won == r * M + dx) given[r][column][e] += map_grad[e];
            }
        }
      }
    }
    const int y = my - kPad;
    if (y >= y0) {
      T* target = to + (y * work.width + x0) * work.inner;
      if constexpr (kPlanes) {
        float results[V];
#pragma unroll
        for (int i = 0; i < V; ++i) results[i] = given[0][i][0];
        store_pack(target, packed<T>(results));
      } else {
#pragma unroll
        for (int i = 0; i < kColumns; ++i)
          if (x0 + i < work.width) store_pack(target + i * work.inner, packed<T>(given[0][i]));
      }
    }
#pragma unroll
    for (int i = 0; i < kColumns; ++i)
#pragma unroll
      for (int e = 0; e < kLanes; ++e) {
#pragma unroll
        for (int r = 0; r < M - 1; ++r) given[r][i][e] = given[r + 1][i][e];
        given[M - 1][i][e] = 0;
      }
  }
}

}  // namespace
}  // namespace shiftable
