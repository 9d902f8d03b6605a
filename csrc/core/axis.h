// One axis of a separable linear map, as a table: which inputs each output reads, with what weight.
//
// Low-pass filtering with a border and its transpose (the gradient) are both such tables, so one
// loop, separable_gather, serves them all. Entries are never merged: a border that maps two taps
// onto one pixel keeps both, in the order of the taps, so the order of rounding is fixed.
#pragma once

#include <vector>

#include "core/border.h"
#include "core/window.h"

namespace shiftable {

struct AxisTable {
  std::vector<int64_t> first;  // entries of output o are first[o] .. first[o + 1] - 1
  std::vector<int64_t> index;  // input read by an entry
  std::vector<double> weight;  // its weight

  int64_t outputs() const { return static_cast<int64_t>(first.size()) - 1; }
};

// Output o reads inputs o*stride - pad_before + k through the border, weighted by taps[k].
inline AxisTable filter_axis(int64_t inputs, int64_t outputs, const std::vector<double>& taps, int64_t stride,
                             int64_t pad_before, Border border) {
  AxisTable table;
  table.first.push_back(0);
  for (int64_t o = 0; o < outputs; ++o) {
    const int64_t start = window_start(o, stride, pad_before);
    for (size_t k = 0; k < taps.size(); ++k) {
      const int64_t i = border_index(border, start + static_cast<int64_t>(k), inputs);
      if (i == kOutside) continue;
      table.index.push_back(i);
      table.weight.push_back(taps[k]);
    }
    table.first.push_back(static_cast<int64_t>(table.index.size()));
  }
  return table;
}

// The transposed map: input i of the result reads every output that read i, in their order.
inline AxisTable transpose_axis(const AxisTable& table, int64_t inputs) {
  AxisTable result;
  result.first.assign(inputs + 1, 0);
  for (int64_t i : table.index) ++result.first[i + 1];
  for (int64_t i = 0; i < inputs; ++i) result.first[i + 1] += result.first[i];
  result.index.resize(table.index.size());
  result.weight.resize(table.index.size());
  std::vector<int64_t> next(result.first.begin(), result.first.end() - 1);
  for (int64_t o = 0; o < table.outputs(); ++o) {
    for (int64_t e = table.first[o]; e < table.first[o + 1]; ++e) {
      const int64_t slot = next[table.index[e]]++;
      result.index[slot] = o;
      result.weight[slot] = table.weight[e];
    }
  }
  return result;
}

// Applies `rows` along the height, then `columns` along the width, of one block of memory laid
// out (height, width, inner): inner is 1 for a plane of an NCHW image and C for a whole
// channels_last image. `row` is scratch for width * inner accumulators.
template <typename Accumulator, typename In, typename Out>
void separable_gather(const In* source, int64_t width, int64_t inner, const AxisTable& rows, const AxisTable& columns,
                      Accumulator* row, Out* target) {
  const int64_t row_size = width * inner;
  for (int64_t oy = 0; oy < rows.outputs(); ++oy) {
    for (int64_t j = 0; j < row_size; ++j) row[j] = 0;
    for (int64_t e = rows.first[oy]; e < rows.first[oy + 1]; ++e) {
      const In* line = source + rows.index[e] * row_size;
      const auto weight = static_cast<Accumulator>(rows.weight[e]);
      for (int64_t j = 0; j < row_size; ++j) row[j] += weight * static_cast<Accumulator>(line[j]);
    }
    for (int64_t ox = 0; ox < columns.outputs(); ++ox, target += inner) {
      for (int64_t c = 0; c < inner; ++c) {
        Accumulator sum = 0;
        for (int64_t e = columns.first[ox]; e < columns.first[ox + 1]; ++e)
          sum += static_cast<Accumulator>(columns.weight[e]) * row[columns.index[e] * inner + c];
        target[c] = static_cast<Out>(sum);
      }
    }
  }
}

}  // namespace shiftable
