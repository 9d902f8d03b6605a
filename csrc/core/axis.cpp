#include "core/axis.h"

#include <array>

#include "core/window.h"

namespace shiftable {

namespace {

// Output o reads inputs o*stride - pad_before + k through the border, weighted by taps[k].
AxisTable forward_table(const FilterAxis& axis) {
  AxisTable table;
  table.first.push_back(0);
  for (int64_t o = 0; o < axis.outputs; ++o) {
    const int64_t start = window_start(o, axis.stride, axis.pad_before);
    for (size_t k = 0; k < axis.taps.size(); ++k) {
      const int64_t i = border_index(axis.border, start + static_cast<int64_t>(k), axis.inputs);
      if (i == kOutside) continue;
      table.index.push_back(i);
      table.weight.push_back(axis.taps[k]);
    }
    table.first.push_back(static_cast<int64_t>(table.index.size()));
  }
  return table;
}

// The transposed map: input i of the result reads every output that read i, in their order.
AxisTable transpose_table(const AxisTable& table, int64_t inputs) {
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

std::vector<float> rounded(const std::vector<double>& values) { return {values.begin(), values.end()}; }

std::shared_ptr<const AxisTables> build(const FilterAxis& axis) {
  auto tables = std::make_shared<AxisTables>();
  tables->axis = axis;
  tables->taps32 = rounded(axis.taps);
  tables->forward = forward_table(axis);
  tables->transpose = transpose_table(tables->forward, axis.inputs);
  tables->forward.weight32 = rounded(tables->forward.weight);
  tables->transpose.weight32 = rounded(tables->transpose.weight);

  std::vector<bool> touched(axis.inputs, false);
  const auto k = static_cast<int64_t>(axis.taps.size());
  const int64_t begin = window_start(0, axis.stride, axis.pad_before);
  const int64_t end = window_start(axis.outputs - 1, axis.stride, axis.pad_before) + k;
  const auto add_cells = [&](int64_t from, int64_t to) {
    for (int64_t position = from; position < to; ++position) {
      const int64_t source = border_index(axis.border, position, axis.inputs);
      tables->cells.push_back({position, source});
      if (source != kOutside) touched[source] = true;
    }
  };
  for (int64_t position = begin; position < end; ++position)
    tables->source.push_back(border_index(axis.border, position, axis.inputs));
  add_cells(begin, end < 0 ? end : 0);
  add_cells(begin > axis.inputs ? begin : axis.inputs, end);
  for (int64_t i = 0; i < axis.inputs; ++i)
    if (touched[i]) tables->irregular.push_back(i);
  return tables;
}

}  // namespace

std::shared_ptr<const AxisTables> tables_of(const FilterAxis& axis) {
  constexpr size_t kKept = 32;
  thread_local std::array<std::shared_ptr<const AxisTables>, kKept> kept;
  thread_local size_t next = 0;
  for (const auto& tables : kept)
    if (tables && tables->axis == axis) return tables;
  auto tables = build(axis);
  // Axes of millions of pixels are rare and their tables large.
  if (axis.inputs + axis.outputs <= 65536) kept[next++ % kKept] = tables;
  return tables;
}

}  // namespace shiftable
