#include <cmath>
#include <limits>

#include "core/axis.h"
#include "max_blur_downsample/plan.h"

namespace shiftable {

namespace {

AxisTable table_of(const BlurAxis& axis, Border border) {
  return filter_axis(axis.inputs, axis.outputs, axis.taps, axis.stride, axis.pad_before, border);
}

// Where the window of map position (my, mx), channel c, is largest, as an index into the block:
// the first such pixel in row-major order; a NaN counts as largest; kOutside where the window
// lies wholly in the padding.
template <typename T>
int64_t argmax(const T* image, const MaxBlurPlan& plan, int64_t my, int64_t mx, int64_t c) {
  using A = accumulator_t<T>;
  const int64_t inner = plan.blur.inner;
  int64_t best = kOutside;
  A largest = 0;
  for (int64_t ky = 0; ky < plan.y.kernel_size; ++ky) {
    const int64_t y = my - plan.y.pad + ky * plan.y.dilation;
    if (y < 0 || y >= plan.y.inputs) continue;
    for (int64_t kx = 0; kx < plan.x.kernel_size; ++kx) {
      const int64_t x = mx - plan.x.pad + kx * plan.x.dilation;
      if (x < 0 || x >= plan.x.inputs) continue;
      const int64_t at = (y * plan.x.inputs + x) * inner + c;
      const A value = static_cast<A>(image[at]);
      if (best == kOutside || value > largest || (std::isnan(value) && !std::isnan(largest))) {
        best = at;
        largest = value;
      }
    }
  }
  return best;
}

// Calls visit(position in the map, argmax in the image) for every position of one block.
template <typename T, typename Visit>
void for_each_argmax(const T* image, const MaxBlurPlan& plan, Visit&& visit) {
  int64_t position = 0;
  for (int64_t my = 0; my < plan.blur.y.inputs; ++my)
    for (int64_t mx = 0; mx < plan.blur.x.inputs; ++mx)
      for (int64_t c = 0; c < plan.blur.inner; ++c) visit(position++, argmax(image, plan, my, mx, c));
}

struct BlockSizes {
  int64_t image, map, result;
};

BlockSizes block_sizes(const MaxBlurPlan& plan) {
  const auto& [y, x] = std::pair{plan.blur.y, plan.blur.x};
  const int64_t inner = plan.blur.inner;
  return {plan.y.inputs * plan.x.inputs * inner, y.inputs * x.inputs * inner, y.outputs * x.outputs * inner};
}

}  // namespace

void max_blur_downsample_gather_cpu(const MaxBlurPlan& plan, DType dtype, const void* values, const void* image,
                                    void* result, const Parallel& parallel) {
  const AxisTable rows = table_of(plan.blur.y, plan.blur.border), columns = table_of(plan.blur.x, plan.blur.border);
  const BlockSizes size = block_sizes(plan);
  with_float_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = accumulator_t<T>;
    parallel(plan.blur.blocks, grain_for(size.map * plan.y.kernel_size * plan.x.kernel_size),
             [&](int64_t begin, int64_t end) {
               std::vector<A> row(plan.blur.x.inputs * plan.blur.inner), map(size.map);
               for (int64_t b = begin; b < end; ++b) {
                 const T* from = static_cast<const T*>(values) + b * size.image;
                 for_each_argmax(static_cast<const T*>(image) + b * size.image, plan, [&](int64_t at, int64_t best) {
                   map[at] = best == kOutside ? -std::numeric_limits<A>::infinity() : static_cast<A>(from[best]);
                 });
                 separable_gather(map.data(), plan.blur.x.inputs, plan.blur.inner, rows, columns, row.data(),
                                  static_cast<T*>(result) + b * size.result);
               }
             });
  });
}

void max_blur_downsample_transpose_cpu(const MaxBlurPlan& plan, DType dtype, const void* grad, const void* image,
                                       void* result, const Parallel& parallel) {
  const AxisTable rows = transpose_axis(table_of(plan.blur.y, plan.blur.border), plan.blur.y.inputs);
  const AxisTable columns = transpose_axis(table_of(plan.blur.x, plan.blur.border), plan.blur.x.inputs);
  const BlockSizes size = block_sizes(plan);
  with_float_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = accumulator_t<T>;
    parallel(plan.blur.blocks, grain_for(size.map * plan.y.kernel_size * plan.x.kernel_size),
             [&](int64_t begin, int64_t end) {
               std::vector<A> row(plan.blur.x.outputs * plan.blur.inner), map(size.map), sum(size.image);
               for (int64_t b = begin; b < end; ++b) {
                 separable_gather(static_cast<const T*>(grad) + b * size.result, plan.blur.x.outputs, plan.blur.inner,
                                  rows, columns, row.data(), map.data());
                 std::fill(sum.begin(), sum.end(), A(0));
                 // One thread owns the block, so this scatter adds in a fixed order.
                 for_each_argmax(static_cast<const T*>(image) + b * size.image, plan, [&](int64_t at, int64_t best) {
                   if (best != kOutside) sum[best] += map[at];
                 });
                 T* to = static_cast<T*>(result) + b * size.image;
                 for (int64_t i = 0; i < size.image; ++i) to[i] = static_cast<T>(sum[i]);
               }
             });
  });
}

}  // namespace shiftable
