// Runs a separable map over every block of an image: sums of rows, then a row filter. Forward and transpose differ in
// their tables alone.
#pragma once

#include "core/fused.h"
#include "core/parallel.h"

namespace shiftable {
namespace {

// Rows that are summed before any is filtered, so that loads do not wait for stores that they straddle.
constexpr int64_t kRowsAtOnce = 8;

// How far ahead of the newest rows memory is asked for, in bytes.
SHIFTABLE_INLINE int64_t prefetch_distance(int64_t inner) { return inner == 1 ? 8192 : 2048; }

// Rows are summed in strips of this length, so that all of a strip stays in the cache.
constexpr int64_t kStripBytes = 1024;

// The rows that output row `o` of a vertical map reads, and their weights.
template <typename A, typename T>
struct RowsUnder {
  const T** rows;
  const A* weights;
  int count;

  SHIFTABLE_INLINE RowsUnder(const AxisTable& table, int64_t o, const T* source, int64_t row_size, const T** pointers)
      : rows(pointers), weights(weights_of<A>(table) + table.first[o]) {
    const int64_t first = table.first[o];
    count = static_cast<int>(table.first[o + 1] - first);
    for (int k = 0; k < count; ++k) rows[k] = source + table.index[first + k] * row_size;
  }

  // Sums them into `line`, each number as `read` sees it; the `fresh` last of them are new.
  template <typename Read>
  SHIFTABLE_INLINE void sum(int64_t row_size, int64_t fresh, int64_t ahead, const T* readable, A* line,
                            const Read& read) {
    constexpr int64_t kStrip = kStripBytes / static_cast<int64_t>(sizeof(T));
    for (int64_t j = 0; j < row_size; j += kStrip) {
      const int64_t size = row_size - j < kStrip ? row_size - j : kStrip;
      for (int k = count < fresh ? 0 : static_cast<int>(count - fresh); k < count; ++k)
        prefetch(reinterpret_cast<const char*>(rows[k]) + ahead, size * sizeof(T));
      sum_rows(count, rows, weights, size, readable, line + j, size + kLanes<A>, read.from(j));
      for (int k = 0; k < count; ++k) rows[k] += kStrip;
    }
  }
};

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

// Output rows from `o` on that read rows each one stride further down: 1 where the border has a part in it.
SHIFTABLE_INLINE int64_t rows_alike(const FilterAxis& axis, int64_t o) {
  const auto taps = static_cast<int64_t>(axis.taps.size());
  const int64_t start = window_start(o, axis.stride, axis.pad_before), room = axis.inputs - taps - start;
  return start < 0 || room < 0 ? 1 : room / axis.stride + 1;
}

// Writes output rows from `o` on, at most `most`, where there is a kernel that needs no line; returns how many.
template <typename T, typename Read>
SHIFTABLE_INLINE int64_t write_at_once(const RowFilter<float>& filter, const AxisTables& axis, int64_t o, int64_t most,
                                       const RowsUnder<float, T>& under, int64_t row_size, const T* readable, T* out,
                                       const T* limit, const Read& read) {
  if (under.count == 0) return 0;
  const int64_t alike = rows_alike(axis.axis, o);
  const RowsOf<T> rows{under.rows, under.count, under.weights, axis.axis.stride * row_size,
                       alike < most ? alike : most};
  constexpr int64_t kNumber = sizeof(T);
  const T* newest = under.rows[under.count > 1 ? under.count - 2 : 0];
  const int64_t inner = filter.inner(), distance = inner == 1 ? prefetch_distance(1) : pixels_ahead(inner, kNumber);
  const Ahead ahead{reinterpret_cast<const char*>(newest) + distance, row_size * kNumber, kNumber};
  return filter_at_once(filter, rows, readable, out, limit, read, ahead);
}

template <typename T, typename Out>
SHIFTABLE_INLINE int64_t write_at_once(const RowTranspose<float>& transpose, const AxisTables&, int64_t, int64_t,
                                       const RowsUnder<float, T>& under, int64_t, const T* readable, Out* out,
                                       const Out* limit, const Plain&) {
  return transpose_at_once(transpose, RowsOf<T>{under.rows, under.count, under.weights}, readable, out, limit);
}

template <typename Row, typename T, typename Out, typename Read>
SHIFTABLE_INLINE int64_t write_at_once(const Row&, const AxisTables&, int64_t, int64_t, const RowsUnder<double, T>&,
                                       int64_t, const T*, Out*, const Out*, const Read&) {
  return 0;
}

// Row: RowFilter<A> or RowTranspose<A>. `vertical`, of `axis`, maps `rows_in` rows to its outputs; `fresh` of the rows
// that an output row reads were not read by the one before.
template <typename A, typename T, typename Row, typename Prologue>
void separable(const AxisTables& axis, const AxisTable& vertical, int64_t rows_in, int64_t fresh, const Row& row,
               int64_t blocks, int64_t inner, const T* source, T* target, const Prologue& prologue,
               const Parallel& parallel) {
  const int64_t row_size = row.pixels() * inner, result_size = row.results() * inner;
  const int64_t rows_out = vertical.outputs();
  const RowParts parts(blocks, rows_out, rows_in * row_size + rows_out * result_size);
  const T* readable = source + blocks * rows_in * row_size;
  const int64_t line_size = row.line_size();
  int64_t at_once = line_size * kRowsAtOnce * static_cast<int64_t>(sizeof(A)) <= 32768 ? kRowsAtOnce : 1;
  if (has_kernel(row)) at_once = 1;  // only the odd row at the border then needs a line
  const int64_t most_rows = most_entries(vertical);
  parallel(parts.items, parts.grain, [&](int64_t begin, int64_t end) {
    Scratch<A> lines(line_size * at_once);
    Scratch<A, 64> temporary(row.temporary_size());
    Scratch<const T*, 64> pointers(most_rows);
    bool cleared = false;
    const T* limit = target + parts.first_row(end) * result_size;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t start = parts.block(item) * rows_out, stop = parts.first_row(item + 1);
      const T* image = source + parts.block(item) * rows_in * row_size;
      const auto read = prologue.of_block(parts.block(item));
      for (int64_t o = parts.first_row(item), count; o < stop; o += count) {
        T* out = target + o * result_size;
        const RowsUnder<A, T> under(vertical, o - start, image, row_size, pointers.data());
        count = write_at_once(row, axis, o - start, stop - o, under, row_size, readable, out, limit, read);
        if (count > 0) continue;
        if (!cleared) {
          for (int64_t r = 0; r < at_once; ++r) row.clear(lines.data() + r * line_size);
          if (row.temporary_size() > 0) row.clear(temporary.data());
          cleared = true;
        }
        count = stop - o < at_once ? stop - o : at_once;
        for (int64_t r = 0; r < count; ++r)
          RowsUnder<A, T>(vertical, o + r - start, image, row_size, pointers.data())
              .sum(row_size, fresh, prefetch_distance(inner), readable, row.line(lines.data() + r * line_size), read);
        for (int64_t r = 0; r < count; ++r)
          row.apply(row.line(lines.data() + r * line_size), temporary.data(), out + r * result_size, limit);
      }
    }
  });
}

}  // namespace
}  // namespace shiftable
