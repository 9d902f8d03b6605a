// One axis of a separable linear map, as a table: which inputs each output reads, with what weight.
//
// Low-pass filtering with a border and its transpose (the gradient) are both such tables. Entries are never merged: a
// border that maps two taps onto one pixel keeps both, in the order of the taps (of the transpose: in the order of the
// outputs), so the order of rounding is fixed.
#pragma once

#include <memory>
#include <vector>

#include "core/border.h"

namespace shiftable {

// One axis of a filter, checked.
struct FilterAxis {
  std::vector<double> taps;
  int64_t stride;
  int64_t pad_before;
  int64_t inputs;   // pixels of the image along this axis
  int64_t outputs;  // pixels of the result
  Border border;

  bool operator==(const FilterAxis& other) const {
    return stride == other.stride && pad_before == other.pad_before && inputs == other.inputs &&
           outputs == other.outputs && border == other.border && taps == other.taps;
  }
};

struct AxisTable {
  std::vector<int64_t> first;   // entries of output o are first[o] .. first[o + 1] - 1
  std::vector<int64_t> index;   // input read by an entry
  std::vector<double> weight;   // its weight
  std::vector<float> weight32;  // the same, rounded

  int64_t outputs() const { return static_cast<int64_t>(first.size()) - 1; }
};

struct AxisTables {
  FilterAxis axis;
  std::vector<float> taps32;
  AxisTable forward;    // outputs of the filter from its inputs
  AxisTable transpose;  // inputs from outputs
  // Inputs whose transpose involves the border; the others follow from the taps alone.
  std::vector<int64_t> irregular;
  // Positions outside 0 .. inputs - 1 that the filter reads, and the pixel each one is (or kOutside).
  struct Cell {
    int64_t position, source;
  };
  std::vector<Cell> cells;
  // The pixel under every position that the filter reads, from -pad_before on, or kOutside.
  std::vector<int64_t> source;
};

// The tables of an axis; the last few are kept for each thread, since building one costs microseconds.
std::shared_ptr<const AxisTables> tables_of(const FilterAxis& axis);

}  // namespace shiftable
