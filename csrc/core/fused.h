// The commonest filter, stride 2 over a plane, in registers: rows are summed, split into even and odd columns, and the
// columns filtered by shifting lanes, with no line in between. Same sums in the same order as rows.h.
#pragma once

#include "core/rows.h"
#include "core/window.h"

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
template <int K, typename T>
__attribute__((noinline)) void filter_rows_by_2(const T* const* rows, int64_t step, int64_t count,
                                                const float* row_weights, const AxisTables& columns, T* out,
                                                const T* limit) {
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
    // Two new rows for each: the last two, and after an odd border row perhaps one of them twice.
    prefetch(reinterpret_cast<const char*>(r[K - 2]) + 8192, 2 * width * static_cast<int64_t>(sizeof(T)));
    const auto column_sum = [&](int64_t source) SHIFTABLE_LAMBDA {
      if (source == kOutside) return 0.0f;
      float sum = static_cast<float>(r[0][source]) * row_weights[0];
      for (int k = 1; k < K; ++k) sum = fma(static_cast<float>(r[k][source]), row_weights[k], sum);
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
        sum_split<K>(r, weights, 2 * o, block.even, block.odd);
        return block;
      }
      if (2 * o < width) sum_split<K>(r, weights, 2 * o, block.even, block.odd);
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
template <int K, typename T>
__attribute__((noinline)) void transpose_rows_by_2(int count, const T* const* rows, const float* row_weights,
                                                   const AxisTables& columns, T* out, const T* limit) {
  constexpr int64_t L = kLanes<float>;
  constexpr int kPad = (K - 1) / 2, kEvenTap = kPad & 1, kOddTap = 1 - kEvenTap;  // the first tap that reaches them
  constexpr int kEvenFrom = kPad / 2, kOddFrom = (kPad + 1) / 2;
  const int64_t width = columns.axis.inputs, outputs = columns.axis.outputs;
  Vec<float> taps[K];
  for (int k = 0; k < K; ++k) taps[k] = splat(columns.taps32[k]);
  const Vec<int32_t> lanes = lane_numbers();
  const auto block_at = [&](int64_t o) SHIFTABLE_LAMBDA {
    Vec<float> sum = splat(0.0f);
    if (o >= outputs) return sum;
    sum = load_as(rows[0] + o, 0.0f) * splat(row_weights[0]);
    for (int k = 1; k < count; ++k) sum = fma(load_as(rows[k] + o, 0.0f), splat(row_weights[k]), sum);
    if (__builtin_expect(o + L > outputs, 0))
      sum = lanes < splat(static_cast<int32_t>(outputs - o)) ? sum : splat(0.0f);
    return sum;
  };
  Vec<float> before = splat(0.0f), now = block_at(0);
  for (int64_t t = 0; 2 * t < width; t += L) {
    const Vec<float> after = block_at(t + L);
    Vec<float> split[2] = {splat(0.0f), splat(0.0f)};
    add_outputs<K, kEvenTap, kEvenFrom, (K - 1 - kEvenTap) / 2>(before, now, after, taps, split[0]);
    add_outputs<K, kOddTap, kOddFrom, (K - 1 - kOddTap) / 2>(before, now, after, taps, split[1]);
    T* to = out + 2 * t;
    store_some<float>(to, interleaved<2, 0, float>(split), width - 2 * t, limit - to);
    if (2 * t + L < width)
      store_some<float>(to + L, interleaved<2, 1, float>(split), width - 2 * t - L, limit - to - L);
    before = now;
    now = after;
  }
  const AxisTable& table = columns.transpose;
  for (const int64_t x : columns.irregular) {
    float sum = 0;
    for (int64_t e = table.first[x]; e < table.first[x + 1]; ++e) {
      const int64_t o = table.index[e];
      float value = static_cast<float>(rows[0][o]) * row_weights[0];
      for (int k = 1; k < count; ++k) value = fma(static_cast<float>(rows[k][o]), row_weights[k], value);
      sum = e == table.first[x] ? value * table.weight32[e] : fma(value, table.weight32[e], sum);
    }
    out[x] = static_cast<T>(sum);
  }
}

// Whether the axis is one that the functions above know.
SHIFTABLE_INLINE bool is_by_2(const FilterAxis& axis, int64_t inner) {
  const auto taps = static_cast<int64_t>(axis.taps.size());
  return inner == 1 && axis.stride == 2 && taps >= 2 && taps <= 7 && axis.pad_before == (taps - 1) / 2 &&
         axis.outputs == (axis.inputs + 1) / 2;
}

// Whether whole blocks of `block` numbers can be read from each row.
template <typename T>
SHIFTABLE_INLINE bool readable_in_blocks(int count, const T* const* rows, int64_t size, int64_t block,
                                         const T* readable) {
  const T* last = rows[0];
  for (int k = 1; k < count; ++k) last = rows[k] > last ? rows[k] : last;
  return last + (size + block - 1) / block * block <= readable;
}

// Writes rows `o` .. of the result straight to `out`, at most `most`, where there is a case for them; returns how many.
template <typename Row, typename A, typename T>
SHIFTABLE_INLINE int64_t rows_by_2(const Row&, const AxisTables&, int64_t, int64_t, const T*, int64_t, const T*, T*,
                                   const T*, A) {
  return 0;
}

template <typename T>
SHIFTABLE_INLINE int64_t rows_by_2(const RowFilter<float>& filter, const AxisTables& vertical, int64_t o, int64_t most,
                                   const T* image, int64_t row_size, const T* readable, T* out, const T* limit, float) {
  const AxisTables& columns = filter.tables();
  const auto taps = static_cast<int>(columns.taps32.size());
  const AxisTable& table = vertical.forward;
  const int64_t first = table.first[o], block = 2 * kLanes<float>;
  if (!is_by_2(columns.axis, filter.inner()) || table.first[o + 1] - first != taps) return 0;
  const T* rows[7];
  for (int k = 0; k < taps; ++k) rows[k] = image + table.index[first + k] * row_size;
  // Inside the image the rows of the next output lie one stride further down.
  const int64_t stride = vertical.axis.stride, start = window_start(o, stride, vertical.axis.pad_before);
  const auto size = static_cast<int64_t>(vertical.taps32.size());
  int64_t count = 1;
  if (size == taps && start >= 0 && start + size <= vertical.axis.inputs) {
    count = (vertical.axis.inputs - size - start) / stride + 1;
    if (count > most) count = most;
  }
  const int64_t step = stride * row_size;
  while (count > 1 && rows[taps - 1] + (count - 1) * step + ceil_div(row_size, block) * block > readable) --count;
  if (!readable_in_blocks(taps, rows, row_size, block, readable)) return 0;
  const float* weights = table.weight32.data() + first;
  switch (taps) {
    case 2: filter_rows_by_2<2>(rows, step, count, weights, columns, out, limit); break;
    case 3: filter_rows_by_2<3>(rows, step, count, weights, columns, out, limit); break;
    case 4: filter_rows_by_2<4>(rows, step, count, weights, columns, out, limit); break;
    case 5: filter_rows_by_2<5>(rows, step, count, weights, columns, out, limit); break;
    case 6: filter_rows_by_2<6>(rows, step, count, weights, columns, out, limit); break;
    default: filter_rows_by_2<7>(rows, step, count, weights, columns, out, limit); break;
  }
  return count;
}

template <typename T>
SHIFTABLE_INLINE int64_t rows_by_2(const RowTranspose<float>& transpose, const AxisTables& vertical, int64_t y, int64_t,
                                   const T* grad, int64_t row_size, const T* readable, T* out, const T* limit, float) {
  constexpr int kMost = 16;
  const AxisTables& columns = transpose.tables();
  const AxisTable& table = vertical.transpose;
  const int64_t first = table.first[y];
  const auto count = static_cast<int>(table.first[y + 1] - first);
  if (!is_by_2(columns.axis, transpose.inner()) || count == 0 || count > kMost) return 0;
  const T* rows[kMost];
  for (int k = 0; k < count; ++k) rows[k] = grad + table.index[first + k] * row_size;
  if (!readable_in_blocks(count, rows, row_size, kLanes<float>, readable)) return 0;
  prefetch(reinterpret_cast<const char*>(rows[count - 1]) + 4096, row_size * static_cast<int64_t>(sizeof(T)) / 2);
  const float* weights = table.weight32.data() + first;
  switch (columns.taps32.size()) {
    case 2: transpose_rows_by_2<2>(count, rows, weights, columns, out, limit); break;
    case 3: transpose_rows_by_2<3>(count, rows, weights, columns, out, limit); break;
    case 4: transpose_rows_by_2<4>(count, rows, weights, columns, out, limit); break;
    case 5: transpose_rows_by_2<5>(count, rows, weights, columns, out, limit); break;
    case 6: transpose_rows_by_2<6>(count, rows, weights, columns, out, limit); break;
    default: transpose_rows_by_2<7>(count, rows, weights, columns, out, limit); break;
  }
  return 1;
}

}  // namespace
}  // namespace shiftable
