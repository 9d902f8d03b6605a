// The commonest filter, stride 2 over a plane, in registers: rows are summed, split into even and odd columns, and the
// columns filtered by shifting lanes, with no line in between. Same sums in the same order as rows.h.
#pragma once

#include "core/rows.h"

namespace shiftable {
namespace {

// Sums of 2 L columns of K rows from column x on, even columns and odd.
template <int K, typename T>
SHIFTABLE_INLINE void sum_split(const T* const* rows, const Vec<float>* weights, int64_t x, Vec<float>& even,
                                Vec<float>& odd) {
  constexpr int64_t L = kLanes<float>;
  Vec<float> sums[2];
  for (int side = 0; side < 2; ++side) {
    const int64_t at = x + side * L;
    sums[side] = load_as(rows[0] + at, 0.0f) * weights[0];
#pragma GCC unroll 8
    for (int k = 1; k < K; ++k) sums[side] = fma(load_as(rows[k] + at, 0.0f), weights[k], sums[side]);
  }
  even = phase<2, 0, float>(sums);
  odd = phase<2, 1, float>(sums);
}

// A bfloat16 is the upper half of a float: even columns are shifted up, odd ones are in place.
template <int K>
SHIFTABLE_INLINE void sum_split(const BFloat16* const* rows, const Vec<float>* weights, int64_t x, Vec<float>& even,
                                Vec<float>& odd) {
#pragma GCC unroll 8
  for (int k = 0; k < K; ++k) {
    Words words;
    std::memcpy(&words, rows[k] + x, sizeof(words));
    const auto low = bit_copy<Vec<float>>(words << 16), high = bit_copy<Vec<float>>(words & 0xffff0000u);
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

// One output row: K rows, K taps, stride 2, (K - 1) / 2 columns of padding before. Reads whole vectors past the rows' end;
// the caller sees that they are there.
template <int K, typename T>
__attribute__((noinline)) void filter_rows_by_2(const T* const* rows, const float* row_weights,
                                                const AxisTables& columns, T* out, const T* limit) {
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
  Vec<float> lanes;
  for (int i = 0; i < L; ++i) lanes[i] = static_cast<float>(i);

  const auto column_sum = [&](int64_t source) SHIFTABLE_LAMBDA {
    if (source == kOutside) return 0.0f;
    float sum = static_cast<float>(r[0][source]) * row_weights[0];
    for (int k = 1; k < K; ++k) sum = fma(static_cast<float>(r[k][source]), row_weights[k], sum);
    return sum;
  };
  // Puts the columns outside the image where the block from output `o` on, or its margin, reads them.
  const auto put_cells = [&](int64_t o, Split& block) SHIFTABLE_LAMBDA {
    for (const auto& cell : columns.cells) {
      const int64_t odd = cell.position & 1, lane = (cell.position - odd) / 2 - o;
      if (lane < 0 || lane >= L) continue;
      const Vec<float> value = splat(column_sum(cell.source));
      Vec<float>& side = odd ? block.odd : block.even;
      side = lanes == splat(static_cast<float>(lane)) ? value : side;
    }
  };
  const auto block_at = [&](int64_t o, Split& block) SHIFTABLE_LAMBDA {
    if (2 * o < width) {
      sum_split<K>(r, weights, 2 * o, block.even, block.odd);
    } else {
      block.even = block.odd = splat(0.0f);
    }
    if (__builtin_expect(2 * (o + L) > width, 0)) put_cells(o, block);
  };

  Split before{splat(0.0f), splat(0.0f)}, now, after = before;
  if constexpr (kPad > 0) put_cells(-L, before);
  block_at(0, now);
  for (int64_t o = 0; o < outputs; o += L) {
    if constexpr (K > 3) block_at(o + L, after);
    Vec<float> sum = splat(0.0f);
    add_taps<K, kPad, 0>(before, now, after, taps, sum);
    store_some<float>(out + o, sum, outputs - o, limit - (out + o));
    before = now;
    if constexpr (K > 3)
      now = after;
    else if (o + L < outputs)
      block_at(o + L, now);
  }
}

// Filters the rows straight to `out` where there is a case for it; otherwise does nothing and returns false.
template <typename Row, typename A, typename T>
SHIFTABLE_INLINE bool filtered_by_2(const Row&, int, const T* const*, const A*, const T*, T*, const T*) {
  return false;
}

template <typename T>
SHIFTABLE_INLINE bool filtered_by_2(const RowFilter<float>& filter, int count, const T* const* rows,
                                    const float* row_weights, const T* readable, T* out, const T* limit) {
  constexpr int64_t L = kLanes<float>;
  const AxisTables& columns = filter.tables();
  const FilterAxis& axis = columns.axis;
  const auto taps = static_cast<int64_t>(axis.taps.size());
  if (filter.inner() != 1 || axis.stride != 2 || taps != count || taps < 2 || taps > 7 ||
      axis.pad_before != (taps - 1) / 2 || axis.outputs != (axis.inputs + 1) / 2)
    return false;
  const T* last = rows[0];
  for (int k = 1; k < count; ++k) last = rows[k] > last ? rows[k] : last;
  if (last + (axis.inputs + 2 * L - 1) / (2 * L) * (2 * L) > readable) return false;
  prefetch(reinterpret_cast<const char*>(rows[count - 2]) + 8192, 2 * axis.inputs * sizeof(T));
  switch (taps) {
    case 2: filter_rows_by_2<2>(rows, row_weights, columns, out, limit); break;
    case 3: filter_rows_by_2<3>(rows, row_weights, columns, out, limit); break;
    case 4: filter_rows_by_2<4>(rows, row_weights, columns, out, limit); break;
    case 5: filter_rows_by_2<5>(rows, row_weights, columns, out, limit); break;
    case 6: filter_rows_by_2<6>(rows, row_weights, columns, out, limit); break;
    default: filter_rows_by_2<7>(rows, row_weights, columns, out, limit); break;
  }
  return true;
}

}  // namespace
}  // namespace shiftable
