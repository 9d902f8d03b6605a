// Runs a separable map over every block of an image: sums of rows, then a row filter. Forward and transpose differ in
// their tables alone.
#pragma once

#include "core/parallel.h"
#include "core/rows.h"

namespace shiftable {
namespace {

// Rows that are summed before any is filtered, so that loads do not wait for stores that they straddle.
constexpr int64_t kRowsAtOnce = 8;

// How far ahead of the newest rows memory is asked for, in bytes: the processor's own prefetch follows neither the rows of
// a plane, which are short, nor several long rows side by side.
SHIFTABLE_INLINE int64_t prefetch_distance(int64_t inner) { return inner == 1 ? 8192 : 2048; }

// Output row `o` of the vertical map, written to `line`.
template <typename A, typename T>
SHIFTABLE_INLINE void sum_table_row(const AxisTable& rows, int64_t o, const T* source, int64_t row_size, int64_t fresh,
                                    int64_t ahead, const T* readable, A* line) {
  const int64_t first = rows.first[o];
  const auto n = static_cast<int>(rows.first[o + 1] - first);
  Scratch<const T*, 64> pointers(n);
  for (int k = 0; k < n; ++k) pointers.data()[k] = source + rows.index[first + k] * row_size;
  const A* weights = weights_of<A>(rows) + first;
  constexpr int64_t kStrip = 1024 / static_cast<int64_t>(sizeof(T));
  for (int64_t j = 0; j < row_size; j += kStrip) {
    const int64_t count = row_size - j < kStrip ? row_size - j : kStrip;
    for (int64_t k = n - fresh < 0 ? 0 : n - fresh; k < n; ++k)
      prefetch(reinterpret_cast<const char*>(pointers.data()[k] + j) + ahead, count * sizeof(T));
    sum_rows(n, pointers.data(), weights, count, readable, line + j, count + kLanes<A>);
    for (int k = 0; k < n; ++k) pointers.data()[k] += kStrip;
  }
}

// How the rows of all blocks, one after the other, are shared out: several parts a block where blocks are few.
struct RowParts {
  int64_t rows, parts;  // of a block
  int64_t items, grain;

  SHIFTABLE_INLINE RowParts(int64_t blocks, int64_t rows_of_block, int64_t block_pixels) : rows(rows_of_block) {
    constexpr int64_t kPartPixels = 65536;
    parts = block_pixels / kPartPixels;
    parts = parts < 1 ? 1 : parts > rows ? rows : parts;
    items = blocks * parts;
    grain = grain_for(block_pixels / parts);
  }
  SHIFTABLE_INLINE int64_t block(int64_t item) const { return item / parts; }
  SHIFTABLE_INLINE int64_t first_row(int64_t item) const { return item / parts * rows + item % parts * rows / parts; }
};

// Row: RowFilter<A> or RowTranspose<A>. `vertical` maps `rows_in` rows to its outputs; `fresh` of the rows that an output
// row reads were not read by the one before.
template <typename A, typename T, typename Row>
void separable(const AxisTable& vertical, int64_t rows_in, int64_t fresh, const Row& row, int64_t blocks, int64_t inner,
               const T* source, T* target, const Parallel& parallel) {
  const int64_t row_size = row.pixels() * inner, result_size = row.results() * inner;
  const int64_t rows_out = vertical.outputs();
  const RowParts parts(blocks, rows_out, rows_in * row_size + rows_out * result_size);
  const T* readable = source + blocks * rows_in * row_size;
  const int64_t line_size = row.line_size();
  const int64_t at_once = line_size * kRowsAtOnce * static_cast<int64_t>(sizeof(A)) <= 32768 ? kRowsAtOnce : 1;
  parallel(parts.items, parts.grain, [&](int64_t begin, int64_t end) {
    Scratch<A> lines(line_size * at_once);
    Scratch<A, 64> temporary(row.temporary_size());
    for (int64_t r = 0; r < at_once; ++r) row.clear(lines.data() + r * line_size);
    if (row.temporary_size() > 0) row.clear(temporary.data());
    const T* limit = target + parts.first_row(end) * result_size;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t start = parts.block(item) * rows_out, stop = parts.first_row(item + 1);
      const T* image = source + parts.block(item) * rows_in * row_size;
      for (int64_t o = parts.first_row(item); o < stop; o += at_once) {
        const int64_t count = stop - o < at_once ? stop - o : at_once;
        for (int64_t r = 0; r < count; ++r)
          sum_table_row(vertical, o + r - start, image, row_size, fresh, prefetch_distance(inner), readable,
                        row.line(lines.data() + r * line_size));
        for (int64_t r = 0; r < count; ++r)
          row.apply(row.line(lines.data() + r * line_size), temporary.data(), target + (o + r) * result_size, limit);
      }
    }
  });
}

}  // namespace
}  // namespace shiftable
