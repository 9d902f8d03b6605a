#include "blur_downsample/plan.h"
#include "core/axis.h"

namespace shiftable {

namespace {

AxisTable table_of(const BlurAxis& axis, Border border) {
  return filter_axis(axis.inputs, axis.outputs, axis.taps, axis.stride, axis.pad_before, border);
}

// Runs one separable map over every block; forward and transpose differ in their tables alone.
void gather_blocks(const AxisTable& rows, const AxisTable& columns, int64_t height, int64_t width, const BlurPlan& plan,
                   DType dtype, const void* source, void* target, const Parallel& parallel) {
  const int64_t in_size = height * width * plan.inner;
  const int64_t out_size = rows.outputs() * columns.outputs() * plan.inner;
  with_float_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = accumulator_t<T>;
    parallel(plan.blocks, grain_for(in_size + out_size), [&](int64_t begin, int64_t end) {
      std::vector<A> row(width * plan.inner);
      for (int64_t b = begin; b < end; ++b)
        separable_gather(static_cast<const T*>(source) + b * in_size, width, plan.inner, rows, columns, row.data(),
                         static_cast<T*>(target) + b * out_size);
    });
  });
}

}  // namespace

void blur_downsample_cpu(const BlurPlan& plan, DType dtype, const void* image, void* result, const Parallel& parallel) {
  gather_blocks(table_of(plan.y, plan.border), table_of(plan.x, plan.border), plan.y.inputs, plan.x.inputs, plan, dtype,
                image, result, parallel);
}

void blur_downsample_transpose_cpu(const BlurPlan& plan, DType dtype, const void* grad, void* result,
                                   const Parallel& parallel) {
  gather_blocks(transpose_axis(table_of(plan.y, plan.border), plan.y.inputs),
                transpose_axis(table_of(plan.x, plan.border), plan.x.inputs), plan.y.outputs, plan.x.outputs, plan,
                dtype, grad, result, parallel);
}

}  // namespace shiftable
