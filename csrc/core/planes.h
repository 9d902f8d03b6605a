// The commonest filter, stride 2 over the rows of a plane, in registers: rows are summed, split into even and odd
// columns, and the columns filtered by shifting lanes, with no line in between. Same sums in the same order as rows.h.
#pragma once

#include "core/row_filter.h"
#include "core/window.h"

namespace shiftable {
namespace {

// Sums of 2 L columns of K rows from column x on, even columns and odd.
template <int K, typename T, typename Read>
SHIFTABLE_INLINE void sum_split(const T* const* rows, const Vec<float>* weights, int64_t x, const Read& read,
                                Vec<float>& even, Vec<float>& odd) {
  constexpr int64_t L = kLanes<float>;
  Vec<float> sums[2];
  for (int side = 0; side < 2; ++side) {
    const int64_t at = x + side * L;
    sums[side] = read.vector(load_as(rows[0] + at, 0.0f), 0) * weights[0];
#pragma GCC unroll 8
    for (int k = 1; k < K; ++k) sums[side] = fma(read.vector(load_as(rows[k] + at, 0.0f), 0), weights[k], sums[side]);
  }
  even = phase<2, 0, float>(sums);
  odd = phase<2, 1, float>(sums);
}

// A bfloat16 is the upper half of a float: even columns are shifted up, odd ones are in place.
template <int K, typename Read>
SHIFTABLE_INLINE void sum_split(const BFloat16* const* rows, const Vec<float>* weights, int64_t x, const Read& read,
                                Vec<float>& even, Vec<float>& odd) {
#pragma GCC unroll 8
  for (int k = 0; k < K; ++k) {
    Words words;
    std::memcpy(&words, rows[k] + x, sizeof(words));
    const Vec<float> low = read.vector(bit_copy<Vec<float>>(words << 16), 0);
    const Vec<float> high = read.vector(bit_copy<Vec<float>>(words & 0xffff0000u), 0);
    even = k == 0 ? low * weights[0] : fma(low, weights[k], even);
    odd = k == 0 ? high * weights[0] : fma(high, weights[k], odd);
  }
}

// Lanes `kBy` .. `kBy` + L - 1 of `before` and `after` in a row, for kBy of -L .. 0; of `at` itself for 0.
template <int kBy, int... kLane>
SHIFTABLE_INLINE Vec<float> shifted_of(Vec<float> before, Vec<float> after, std::integer_sequence<int, kLane...>) {
  return __builtin_shufflevector(before, after, (kBy + kLane)...);
}
// Lane i of the result is lane i + kBy of `now`, continued into its neighbours.
template <int kBy>
SHIFTABLE_INLINE Vec<float> shifted(Vec<float> before, Vec<float> now, Vec<float> after) {
  constexpr int L = static_cast<int>(kLanes<float>);
  constexpr auto kAll = std::make_integer_sequence<int, L>{};
  if constexpr (kBy == 0) return now;
  if constexpr (kBy > 0) return shifted_of<kBy>(now, after, kAll);
  return shifted_of < kBy<0 ? L + kBy : 0>(before, now, kAll);
}

template <int... kLane>
SHIFTABLE_INLINE Vec<int32_t> lane_numbers_of(std::integer_sequence<int, kLane...>) {
  return Vec<int32_t>{kLane...};
}
SHIFTABLE_INLINE Vec<int32_t> lane_numbers() {
  return lane_numbers_of(std::make_integer_sequence<int, static_cast<int>(kLanes<float>)>{});
}

struct Split {
  Vec<float> even, odd;
};

// Adds taps T .. K - 1, whose window starts `kPad` columns before the even column of a lane.
template <int K, int kPad, int T>
SHIFTABLE_INLINE void add_taps(const Split& before, const Split& now, const Split& after, const Vec<float>* taps,
                               Vec<float>& sum) {
  if constexpr (T < K) {
    constexpr int kOffset = T - kPad, kOdd = kOffset & 1, kBy = (kOffset - kOdd) / 2;
    const Vec<float> value =
        kOdd ? shifted<kBy>(before.odd, now.odd, after.odd) : shifted<kBy>(before.even, now.even, after.even);
    sum = T == 0 ? value * taps[0] : fma(value, taps[T], sum);
    add_taps<K, kPad, T + 1>(before, now, after, taps, sum);
  }
}

// `count` output rows, each `step` numbers further down the image: K rows, K taps, stride 2, (K - 1) / 2 columns of
// padding before. Reads whole vectors past the rows' end; the caller sees that they are there.
template <int K, typename T, typename Out, typename Read>
__attribute__((noinline)) void filter_rows_by_2(const T* const* rows, int64_t step, int64_t count,
                                                const float* row_weights, const AxisTables& columns, Out* out,
                                                const Out* limit, const Read& read, Ahead ahead) {
  constexpr int64_t L = kLanes<float>;
  constexpr int kPad = (K - 1) / 2;
  const int64_t width = columns.axis.inputs, outputs = columns.axis.outputs;
  const T* r[K];
  Vec<float> weights[K], taps[K];
  for (int k = 0; k < K; ++k) {
    r[k] = rows[k];
    weights[k] = splat(row_weights[k]);
    taps[k] = splat(columns.taps32[k]);
  }
  const Vec<int32_t> lanes = lane_numbers();
  const AxisTables::Cell* cells = columns.cells.data();
  const auto cell_count = static_cast<int64_t>(columns.cells.size());

  for (int64_t row = 0; row < count; ++row, out += outputs) {
    prefetch(ahead.from, 2 * ahead.row);  // two new rows for each
    ahead.from += 2 * ahead.row;
    const auto column_sum = [&](int64_t source) SHIFTABLE_LAMBDA {
      if (source == kOutside) return 0.0f;
      float sum = read.scalar(static_cast<float>(r[0][source]), 0) * row_weights[0];
      for (int k = 1; k < K; ++k) sum = fma(read.scalar(static_cast<float>(r[k][source]), 0), row_weights[k], sum);
      return sum;
    };
    // The block from output `o` on, with the columns outside the image that it reads put in their lanes.
    const auto with_cells = [&](int64_t o, Split block) SHIFTABLE_LAMBDA {
      for (int64_t i = 0; i < cell_count; ++i) {
        const int64_t odd = cells[i].position & 1, lane = (cells[i].position - odd) / 2 - o;
        if (lane < 0 || lane >= L) continue;
        const Vec<float> value = splat(column_sum(cells[i].source));
        const auto here = lanes == splat(static_cast<int32_t>(lane));
        block.even = here & splat(static_cast<int32_t>(odd - 1)) ? value : block.even;
        block.odd = here & splat(static_cast<int32_t>(-odd)) ? value : block.odd;
      }
      return block;
    };
    const auto block_at = [&](int64_t o) SHIFTABLE_LAMBDA {
      Split block{splat(0.0f), splat(0.0f)};
      if (__builtin_expect(2 * (o + L) <= width, 1)) {
        sum_split<K>(r, weights, 2 * o, read, block.even, block.odd);
        return block;
      }
      if (2 * o < width) sum_split<K>(r, weights, 2 * o, read, block.even, block.odd);
      return with_cells(o, block);
    };

    Split before{splat(0.0f), splat(0.0f)}, now, after = before;
    if constexpr (kPad > 0) before = with_cells(-L, before);
    now = block_at(0);
    for (int64_t o = 0; o < outputs; o += L) {
      if constexpr (K > 3) after = block_at(o + L);
      Vec<float> sum = splat(0.0f);
      add_taps<K, kPad, 0>(before, now, after, taps, sum);
      store_some<float>(out + o, sum, outputs - o, limit - (out + o));
      before = now;
      if constexpr (K > 3)
        now = after;
      else if (o + L < outputs)
        now = block_at(o + L);
    }
    for (int k = 0; k < K; ++k) r[k] += step;
  }
}

// Adds, for columns 2 t + kOdd of the result, outputs t + U - m with tap R + 2 m, from m = M down to 0.
template <int K, int R, int U, int M>
SHIFTABLE_INLINE void add_outputs(Vec<float> before, Vec<float> now, Vec<float> after, const Vec<float>* taps,
                                  Vec<float>& sum) {
  if constexpr (M >= 0) {
    const Vec<float> value = shifted<U - M>(before, now, after);
    sum = M == (K - 1 - R) / 2 ? value * taps[R + 2 * M] : fma(value, taps[R + 2 * M], sum);
    add_outputs<K, R, U, M - 1>(before, now, after, taps, sum);
  }
}

// The transpose of filter_rows_by_2: `count` rows of the gradient to one row of the image.
template <int K, typename T, typename Out>
__attribute__((noinline)) void transpose_rows_by_2(int count, const T* const* rows, const float* row_weights,
                                                   const AxisTables& columns, Out* out, const Out* limit) {
  constexpr int64_t L = kLanes<float>;
  constexpr int kPad = (K - 1) / 2, kEvenTap = kPad & 1, kOddTap = 1 - kEvenTap;  // the first tap that reaches them
  constexpr int kEvenFrom = kPad / 2, kOddFrom = (kPad + 1) / 2;
  const int64_t width = columns.axis.inputs, outputs = columns.axis.outputs;
  Vec<float> taps[K];
  for (int k = 0; k < K; ++k) taps[k] = splat(columns.taps32[k]);
  const Vec<int32_t> lanes = lane_numbers();
  // What the border needs again: the first block of sums, and the two last.
  alignas(64) float ends[3][L];
  const auto end_of = [&](int64_t o) SHIFTABLE_LAMBDA { return ends[o < L ? 0 : 1 + (o / L & 1)]; };
  const auto block_at = [&](int64_t o) SHIFTABLE_LAMBDA {
    Vec<float> sum = splat(0.0f);
    if (o >= outputs) return sum;
    sum = load_as(rows[0] + o, 0.0f) * splat(row_weights[0]);
    for (int k = 1; k < count; ++k) sum = fma(load_as(rows[k] + o, 0.0f), splat(row_weights[k]), sum);
    if (__builtin_expect(o + L > outputs, 0))
      sum = lanes < splat(static_cast<int32_t>(outputs - o)) ? sum : splat(0.0f);
    store(end_of(o), sum);
    return sum;
  };
  Vec<float> before = splat(0.0f), now = block_at(0);
  for (int64_t t = 0; 2 * t < width; t += L) {
    const Vec<float> after = block_at(t + L);
    Vec<float> split[2] = {splat(0.0f), splat(0.0f)};
    add_outputs<K, kEvenTap, kEvenFrom, (K - 1 - kEvenTap) / 2>(before, now, after, taps, split[0]);
    add_outputs<K, kOddTap, kOddFrom, (K - 1 - kOddTap) / 2>(before, now, after, taps, split[1]);
    Out* to = out + 2 * t;
    const int64_t wanted = width - 2 * t;
    if (__builtin_expect(limit - to >= 2 * L, 1)) {
      store_pairs(to, split[0], split[1]);
    } else {
      store_some<float>(to, interleaved<2, 0, float>(split), wanted, limit - to);
      if (wanted > L) store_some<float>(to + L, interleaved<2, 1, float>(split), wanted - L, limit - to - L);
    }
    before = now;
    now = after;
  }
  const AxisTable& table = columns.transpose;
  for (const int64_t x : columns.irregular) {
    float sum = 0;
    for (int64_t e = table.first[x]; e < table.first[x + 1]; ++e) {
      const int64_t o = table.index[e];
      const float value = end_of(o)[o % L];
      sum = e == table.first[x] ? value * table.weight32[e] : fma(value, table.weight32[e], sum);
    }
    out[x] = static_cast<Out>(sum);
  }
}

// Whether the axis is one that the functions above know.
SHIFTABLE_INLINE bool is_by_2(const FilterAxis& axis) {
  const auto taps = static_cast<int64_t>(axis.taps.size());
  return axis.stride == 2 && taps >= 2 && taps <= 7 && axis.pad_before == (taps - 1) / 2 &&
         axis.outputs == (axis.inputs + 1) / 2;
}

// The row furthest on in memory.
template <typename T>
SHIFTABLE_INLINE const T* last_of(int count, const T* const* rows) {
  const T* last = rows[0];
  for (int k = 1; k < count; ++k) last = rows[k] > last ? rows[k] : last;
  return last;
}

}  // namespace
}  // namespace shiftable
