// Chooses the kernel that filters rows, or transposes them, without anything in between, where there is one.
#pragma once

#include "core/pixels.h"
#include "core/planes.h"

namespace shiftable {
namespace {

// Calls f(K) with the number of taps as a constant.
template <typename F>
SHIFTABLE_INLINE void with_taps(int taps, const F& f) {
  switch (taps) {
    case 2: return f(std::integral_constant<int, 2>{});
    case 3: return f(std::integral_constant<int, 3>{});
    case 4: return f(std::integral_constant<int, 4>{});
    case 5: return f(std::integral_constant<int, 5>{});
    case 6: return f(std::integral_constant<int, 6>{});
    default: return f(std::integral_constant<int, 7>{});
  }
}

// The rows under one output row: `size` of them, and how far apart those of the next outputs lie.
template <typename T, typename A = float>
struct RowsOf {
  const T* const* rows;
  int size;
  const A* weights;
  int64_t step = 0;
  int64_t outputs = 1;  // that follow each other in the same way
};

// Whether there is a kernel for the axis: stride 2 over planes, or pixels of at least a vector of channels.
SHIFTABLE_INLINE bool has_kernel(const RowFilter<float>& filter) {
  const FilterAxis& axis = filter.tables().axis;
  if (filter.inner() == 1) return is_by_2(axis);
  return filter.inner() >= kLanes<float> && axis.stride > 1 && axis.taps.size() >= 2 && axis.taps.size() <= 7;
}
SHIFTABLE_INLINE bool has_kernel(const RowTranspose<float>& transpose) {
  return is_by_2(transpose.tables().axis) && (transpose.inner() == 1 || transpose.inner() >= kLanes<float>);
}
template <typename Row>
SHIFTABLE_INLINE bool has_kernel(const Row&) {
  return false;
}

// Filters rows straight to `out`; returns how many output rows it wrote, 0 where there is no kernel for the case.
template <typename T, typename Out, typename Read>
int64_t filter_at_once(const RowFilter<float>& filter, const RowsOf<T>& under, const T* readable, Out* out,
                       const Out* limit, const Read& read, const Ahead& ahead) {
  const AxisTables& columns = filter.tables();
  const int taps = static_cast<int>(columns.taps32.size());
  const int64_t inner = filter.inner(), row_size = filter.pixels() * inner;
  if (under.size != taps || !has_kernel(filter)) return 0;
  if (inner == 1) {
    // Whole blocks are read, also past the end of a row.
    const T* last = last_of(taps, under.rows) + ceil_div(row_size, 2 * kLanes<float>) * 2 * kLanes<float>;
    int64_t count = under.outputs;
    while (count > 0 && last + (count - 1) * under.step > readable) --count;
    if (count == 0) return 0;
    with_taps(taps, [&](auto k) SHIFTABLE_LAMBDA {
      filter_rows_by_2<decltype(k)::value>(under.rows, under.step, count, under.weights, columns, out, limit, read,
                                           ahead);
    });
    return count;
  }
  with_taps(taps, [&](auto k) SHIFTABLE_LAMBDA {
    if (columns.axis.stride == 2)
      filter_pixels<decltype(k)::value, 2>(under.rows, under.weights, columns, inner, out, read, ahead);
    else
      filter_pixels<decltype(k)::value, 0>(under.rows, under.weights, columns, inner, out, read, ahead);
  });
  return 1;
}

// The same for one row of the transpose.
template <typename T, typename Out>
int64_t transpose_at_once(const RowTranspose<float>& transpose, const RowsOf<T>& under, const T* readable, Out* out,
                          const Out* limit) {
  const AxisTables& columns = transpose.tables();
  const int64_t inner = transpose.inner(), row_size = transpose.pixels() * inner;
  if (under.size == 0 || !has_kernel(transpose)) return 0;
  if (inner == 1) {
    const T* last = last_of(under.size, under.rows) + ceil_div(row_size, kLanes<float>) * kLanes<float>;
    if (last > readable) return 0;
    prefetch(reinterpret_cast<const char*>(under.rows[under.size - 1]) + 4096,
             row_size * static_cast<int64_t>(sizeof(T)) / 2);
    with_taps(static_cast<int>(columns.taps32.size()), [&](auto k) SHIFTABLE_LAMBDA {
      transpose_rows_by_2<decltype(k)::value>(under.size, under.rows, under.weights, columns, out, limit);
    });
    return 1;
  }
  with_taps(static_cast<int>(columns.taps32.size()), [&](auto k) SHIFTABLE_LAMBDA {
    transpose_pixels<decltype(k)::value>(under.size, under.rows, under.weights, columns, inner, out);
  });
  return 1;
}

}  // namespace
}  // namespace shiftable
