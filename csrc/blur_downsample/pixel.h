// One pixel of the filter's result, and one of its transpose, whatever the border, stride and number of taps: what CUDA
// falls back on. Sums are in the order of the CPU's tables (core/axis.h), so results are the same.
#pragma once

#include "core/axis.h"
#include "core/gpu_numbers.h"
#include "core/window.h"

namespace shiftable {
namespace {

constexpr int64_t kMostTaps = 512;  // of a filter on a GPU: a kernel's arguments hold them

// One axis of a filter, as a kernel's argument.
template <typename A>
struct PixelAxis {
  int64_t stride, pad, inputs, outputs;
  int64_t lead, tail;  // outputs before `lead`, and from `tail` on, may read outside of the image
  int count;
  Border border;
  A taps[kMostTaps];

  explicit PixelAxis(const FilterAxis& axis)
      : stride(axis.stride),
        pad(axis.pad_before),
        inputs(axis.inputs),
        outputs(axis.outputs),
        count(static_cast<int>(axis.taps.size())),
        border(axis.border) {
    lead = window_count(0, pad, 0, 1, stride);  // windows that start before 0
    if (lead > outputs) lead = outputs;
    tail = inputs + pad < count ? 0 : (inputs + pad - count) / stride + 1;
    if (tail < lead) tail = lead;
    if (tail > outputs) tail = outputs;
    for (int k = 0; k < count; ++k) taps[k] = static_cast<A>(axis.taps[k]);
  }
};

inline void check_taps(const char* op, const FilterAxis& y, const FilterAxis& x) {
  for (const FilterAxis* axis : {&y, &x})
    if (const auto count = static_cast<int64_t>(axis->taps.size()); count > kMostTaps)
      throw std::invalid_argument(std::string(op) + ": expected at most " + std::to_string(kMostTaps) +
                                  " taps on CUDA, got " + std::to_string(count) + "; blur twice, or on the CPU");
}

// Adds value * weight to a sum; the first product is taken as it is.
template <typename A>
struct Sum {
  A value = 0;
  bool begun = false;

  SHIFTABLE_DEVICE void add(A number, A weight) {
    value = begun ? fused(number, weight, value) : number * weight;
    begun = true;
  }
};

// Calls visit(input, tap) for every tap of output o that reads a pixel, in order.
template <typename A, typename Visit>
SHIFTABLE_DEVICE void for_taps(const PixelAxis<A>& axis, int64_t o, const Visit& visit) {
  const int64_t start = window_start(o, axis.stride, axis.pad);
  for (int k = 0; k < axis.count; ++k) {
    const int64_t i = border_index(axis.border, start + k, axis.inputs);
    if (i != kOutside) visit(i, axis.taps[k]);
  }
}

// Calls visit(output, tap) for every tap that reads input i, in the order of outputs, then taps.
template <typename A, typename Visit>
SHIFTABLE_DEVICE void for_readers(const PixelAxis<A>& axis, int64_t i, const Visit& visit) {
  const auto searched = [&](int64_t from, int64_t to) {
    for (int64_t o = from; o < to; ++o) {
      const int64_t start = window_start(o, axis.stride, axis.pad);
      for (int k = 0; k < axis.count; ++k)
        if (border_index(axis.border, start + k, axis.inputs) == i) visit(o, axis.taps[k]);
    }
  };
  searched(0, axis.lead);
  // Those that read pixels alone: output o reads i with tap i + pad - o * stride.
  const int64_t last = i + axis.pad, before = last - axis.count + 1;
  int64_t o = before <= 0 ? 0 : (before + axis.stride - 1) / axis.stride;
  if (o < axis.lead) o = axis.lead;
  for (; o < axis.tail && o * axis.stride <= last; ++o) visit(o, axis.taps[last - o * axis.stride]);
  searched(axis.tail, axis.outputs);
}

// The result at (oy, ox) of an image whose pixel (y, x) is read(y, x).
template <typename A, typename Read>
SHIFTABLE_DEVICE A filtered_pixel(const PixelAxis<A>& down, const PixelAxis<A>& along, int64_t oy, int64_t ox,
                                  const Read& read) {
  Sum<A> row;
  for_taps(along, ox, [&](int64_t x, A weight) {
    Sum<A> column;
    for_taps(down, oy, [&](int64_t y, A tap) { column.add(read(y, x), tap); });
    row.add(column.value, weight);
  });
  return row.value;
}

// The transpose's result at (y, x), of a gradient that is read(oy, ox).
template <typename A, typename Read>
SHIFTABLE_DEVICE A transposed_pixel(const PixelAxis<A>& down, const PixelAxis<A>& along, int64_t y, int64_t x,
                                    const Read& read) {
  Sum<A> row;
  for_readers(along, x, [&](int64_t ox, A weight) {
    Sum<A> column;
    for_readers(down, y, [&](int64_t oy, A tap) { column.add(read(oy, ox), tap); });
    row.add(column.value, weight);
  });
  return row.value;
}

}  // namespace
}  // namespace shiftable
