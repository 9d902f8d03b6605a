// max_blur_downsample on a GPU for the windows that networks have: 2 pixels without padding, 3 with one on either side,
// in front of a blur that halves.
//
// A thread walks down an image with a few columns, of one plane or of a vector of channels. It keeps the last rows of
// the window (their largest along the row; for the transpose also which pixel that is), from which each new row gives a
// row of the max map; of those it makes results as in blur_downsample. The map is never written.
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

constexpr int kLowestRow = -(1 << 30);  // no row

// A thread's columns: kOut results of planes, from vectors of V numbers, or one of V channels.
template <int K, int M, int V, bool kPlanes>
struct MapLayout {
  static constexpr int kPad = (M - 1) / 2;
  static constexpr int kLanes = kPlanes ? 1 : V;
  static constexpr int kOut = kPlanes ? V / 2 : 1, kIn = 2 * kOut;
  static constexpr int kBefore = (K - 1) / 2, kNeed = (kOut - 1) * 2 + K;  // columns of the map
  static constexpr int kEnd = kBefore + kIn + 2 * kPad - M + 1;            // the first past it, at the right edge
  static constexpr int kLeft = kBefore + kPad, kColumns = kNeed + M - 1;   // columns of the image
  static constexpr int kRight = kColumns - kLeft - kIn > 0 ? kColumns - kLeft - kIn : 0;
  static constexpr int kLive = (K + 1) / 2, kDelay = (K - 1) / 2, kLast = (K - 1) % 2;
  // Only the first and the last thread of a row look past its ends, and what the border puts there is theirs as well.
  static constexpr bool kFits =
      !kPlanes || (kLeft <= kIn && kRight <= kIn && 2 * kBefore < kNeed && kNeed - 1 <= 2 * (kEnd - 1));
};

// The rows of planes: a vector, and the numbers beside it.
template <typename T, int K, int M, int V>
struct PlaneRows {
  using L = MapLayout<K, M, V, true>;
  const T* image;
  Border border;
  int height, width, x0;
  bool left_edge, right_edge;

  struct Raw {
    Pack<T, V> middle;
    T left[L::kLeft > 0 ? L::kLeft : 1], right[L::kRight > 0 ? L::kRight : 1];
  };

  SHIFTABLE_DEVICE PlaneRows(const MapWork& work, const MapWork::Place& place)
      : image(static_cast<const T*>(work.image) + int64_t{place.block} * work.height * work.width),
        border(work.border),
        height(work.height),
        width(work.width),
        x0(place.group * L::kIn),
        left_edge(x0 == 0),
        right_edge(x0 + L::kIn == work.width) {}

  SHIFTABLE_DEVICE void load(int y, Raw& raw) const {
    const bool there = y >= 0 && y < height;
    const T* row = image + (there ? y : 0) * width + x0;
    raw.middle = there ? load_pack<V>(row) : lowest_pack<T, V>();
#pragma unroll
    for (int i = 0; i < L::kLeft; ++i)
      raw.left[i] = there && !left_edge ? load_one(row - L::kLeft + i) : static_cast<T>(kLowest<float>);
#pragma unroll
    for (int i = 0; i < L::kRight; ++i)
      raw.right[i] = there && !right_edge ? load_one(row + L::kIn + i) : static_cast<T>(kLowest<float>);
  }

  // The largest of each window's row, and beyond the map what the border puts there.
  SHIFTABLE_DEVICE void reduce(const Raw& raw, float (&row)[L::kNeed][1]) const {
    float line[L::kColumns];
#pragma unroll
    for (int c = 0; c < L::kColumns; ++c) {
      if (c < L::kLeft)
        line[c] = as<float>(raw.left[c]);
      else if (c < L::kLeft + L::kIn)
        line[c] = as<float>(raw.middle.number[c - L::kLeft]);
      else
        line[c] = as<float>(raw.right[c - L::kLeft - L::kIn]);
    }
#pragma unroll
    for (int i = 0; i < L::kNeed; ++i) {
      row[i][0] = line[i];
#pragma unroll
      for (int dx = 1; dx < M; ++dx) row[i][0] = larger(line[i + dx], row[i][0]);
    }
    if (left_edge) {
#pragma unroll
      for (int i = 0; i < L::kBefore; ++i)
        row[i][0] = border == Border::constant  ? 0.0f
                    : border == Border::reflect ? row[2 * L::kBefore - i][0]
                                                : row[L::kBefore][0];
    }
    if (right_edge) {
#pragma unroll
      for (int i = L::kEnd; i < L::kNeed; ++i)
        row[i][0] = border == Border::constant  ? 0.0f
                    : border == Border::reflect ? row[2 * (L::kEnd - 1) - i][0]
                                                : row[L::kEnd - 1][0];
    }
  }
};

// The rows of pixels: a vector of channels for every pixel of every window.
template <typename T, int K, int M, int V>
struct PixelRows {
  using L = MapLayout<K, M, V, false>;
  static constexpr int kNowhere = -(1 << 30);
  const T* image;
  int height, width, inner;
  int start[L::kNeed];  // the window's first column, or kNowhere

  struct Raw {
    Pack<T, V> column[L::kNeed];
    bool there;
  };

  SHIFTABLE_DEVICE PixelRows(const MapWork& work, const MapWork::Place& place)
      : image(static_cast<const T*>(work.image) + int64_t{place.block} * work.height * work.width * work.inner +
              place.vector * V),
        height(work.height),
        width(work.width),
        inner(work.inner) {
#pragma unroll
    for (int i = 0; i < L::kNeed; ++i) {
      const int mx = near_index(work.border, place.group * 2 - L::kBefore + i, work.map_width);
      start[i] = mx < 0 ? kNowhere : mx - L::kPad;
    }
  }

  SHIFTABLE_DEVICE void load(int y, Raw& raw) const {
    const bool there = y >= 0 && y < height;
    const T* row = image + (there ? y : 0) * width * inner;
#pragma unroll
    for (int i = 0; i < L::kNeed; ++i) {
      raw.column[i] = lowest_pack<T, V>();
#pragma unroll
      for (int dx = 0; dx < M; ++dx) {
        const int x = start[i] + dx;
        if (there && x >= 0 && x < width) raw.column[i] = larger_pack(load_pack<V>(row + x * inner), raw.column[i]);
      }
    }
  }

  SHIFTABLE_DEVICE void reduce(const Raw& raw, float (&row)[L::kNeed][V]) const {
#pragma unroll
    for (int i = 0; i < L::kNeed; ++i)
#pragma unroll
      for (int e = 0; e < V; ++e) row[i][e] = start[i] == kNowhere ? 0.0f : as<float>(raw.column[i].number[e]);
  }
};

template <typename T, int K, int M, int V, bool kPlanes>
__global__ void __launch_bounds__(kBlock, 1) filter_map(const __grid_constant__ MapWork work) {
  using L = MapLayout<K, M, V, kPlanes>;
  using Rows = std::conditional_t<kPlanes, PlaneRows<T, K, M, V>, PixelRows<T, K, M, V>>;
  constexpr int kLanes = L::kLanes;
  const uint32_t thread = thread_number();
  if (thread >= work.threads) return;
  const MapWork::Place place = work.place(thread);
  const Rows image(work, place);
  const int y0 = place.part * work.share, count = minimum(work.share, work.out_height - y0);
  T* to = static_cast<T*>(work.to) +
          ((int64_t{place.block} * work.out_height + y0) * work.out_width + place.group * L::kOut) * work.inner +
          place.vector * V;

  // The last M rows of the window, the one before row `next` last; the row `next` itself has been asked for.
  float window[M][L::kNeed][kLanes];
  typename Rows::Raw raw;
  int next = kLowestRow, asked = kLowestRow;
  const auto map_row = [&](int my, float (&row)[L::kNeed][kLanes]) {
    const int first = my - L::kPad;
    if (next != first + M - 1) next = first;
    for (; next < first + M; ++next) {
      if (asked != next) image.load(next, raw);
#pragma unroll
      for (int r = 0; r < M - 1; ++r)
#pragma unroll
        for (int i = 0; i < L::kNeed; ++i)
#pragma unroll
          for (int e = 0; e < kLanes; ++e) window[r][i][e] = window[r + 1][i][e];
      image.reduce(raw, window[M - 1]);
      if (kPlanes) {
        asked = next + 1;
        image.load(asked, raw);
      }
    }
#pragma unroll
    for (int i = 0; i < L::kNeed; ++i)
#pragma unroll
      for (int e = 0; e < kLanes; ++e) {
        row[i][e] = window[0][i][e];
#pragma unroll
        for (int r = 1; r < M; ++r) row[i][e] = larger(window[r][i][e], row[i][e]);
      }
  };

  float sums[L::kLive][L::kNeed][kLanes];
  const int steps = count + L::kDelay;
  for (int step = 0; step < steps; ++step) {
#pragma unroll
    for (int age = L::kLive - 1; age > 0; --age)
#pragma unroll
      for (int i = 0; i < L::kNeed; ++i)
#pragma unroll
        for (int e = 0; e < kLanes; ++e) sums[age][i][e] = sums[age - 1][i][e];
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      if (j > L::kLast && step + 1 == steps) continue;
      const int my = near_index(work.border, (y0 + step) * 2 - L::kBefore + j, work.map_height);
      float row[L::kNeed][kLanes];
      if (my >= 0) map_row(my, row);
#pragma unroll
      for (int i = 0; i < L::kNeed; ++i)
#pragma unroll
        for (int e = 0; e < kLanes; ++e) {
          const float value = my >= 0 ? row[i][e] : 0.0f;
          if (j == 0) sums[0][i][e] = value * work.taps_y[0];
#pragma unroll
          for (int age = 0; age < L::kLive; ++age)
            if (age * 2 + j > 0 && age * 2 + j < K)
              sums[age][i][e] = fused(value, work.taps_y[age * 2 + j], sums[age][i][e]);
        }
      if (j == L::kLast && step >= L::kDelay) {
        float results[L::kOut * kLanes];
#pragma unroll
        for (int o = 0; o < L::kOut; ++o)
#pragma unroll
          for (int e = 0; e < kLanes; ++e) {
            float sum = sums[L::kLive - 1][o * 2][e] * work.taps_x[0];
#pragma unroll
            for (int k = 1; k < K; ++k) sum = fused(sums[L::kLive - 1][o * 2 + k][e], work.taps_x[k], sum);
            results[o * kLanes + e] = sum;
          }
        store_pack(to, packed<T>(results));
        to += work.out_width * work.inner;
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

  // The winner of each window's row, of the last M rows.
  Rank<T> winners[M][kMap][kLanes];
  const auto take_row = [&](int y) {
    Rank<T> line[kImage][kLanes];
    const bool there = y >= 0 && y < work.height;
    const T* row = image + (there ? y : 0) * work.width * work.inner;
    if constexpr (kPlanes) {
      const Pack<T, V> middle = there ? load_pack<V>(row + x0) : Pack<T, V>{};
#pragma unroll
      for (int i = 0; i < V; ++i)
        line[M - 1 + i][0] = there ? Rank<T>::of(as<float>(middle.number[i])) : Rank<T>::none();
    }
#pragma unroll
    for (int c = 0; c < kImage; ++c) {
      if (kPlanes && c >= M - 1 && c < M - 1 + kColumns) continue;
      const int x = x0 - (M - 1) + c;
      const bool inside = there && x >= 0 && x < work.width;
      const Pack<T, kLanes> pixel = inside ? load_pack<kLanes>(row + x * work.inner) : Pack<T, kLanes>{};
#pragma unroll
      for (int e = 0; e < kLanes; ++e) line[c][e] = inside ? Rank<T>::of(as<float>(pixel.number[e])) : Rank<T>::none();
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
  for (int r = 0; r < M - 1; ++r) take_row(first - kPad + r);
  for (int my = first; my < y1 + kPad; ++my) {
    take_row(my - kPad + M - 1);
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
      T* row = to + (y * work.width + x0) * work.inner;
      if constexpr (kPlanes) {
        float results[V];
#pragma unroll
        for (int i = 0; i < V; ++i) results[i] = given[0][i][0];
        store_pack(row, packed<T>(results));
      } else {
#pragma unroll
        for (int i = 0; i < kColumns; ++i)
          if (x0 + i < work.width) store_pack(row + i * work.inner, packed<T>(given[0][i]));
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
