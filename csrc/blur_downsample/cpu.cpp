#include "blur_downsample/plan.h"
#include "core/separable.h"

namespace shiftable {
namespace SHIFTABLE_VARIANT {

void blur_downsample_cpu(const BlurPlan& plan, DType dtype, const void* image, void* result, const Parallel& parallel) {
  const int64_t stride = plan.y->axis.stride;
  with_float_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = accumulator_t<T>;
    separable<A>(*plan.y, plan.y->forward, plan.y->axis.inputs, stride < 2 ? 1 : 2, RowFilter<A>(*plan.x, plan.inner),
                 plan.blocks, plan.inner, static_cast<const T*>(image), static_cast<T*>(result), Plain{}, parallel);
  });
}

void blur_downsample_transpose_cpu(const BlurPlan& plan, DType dtype, const void* grad, void* result,
                                   const Parallel& parallel) {
  with_float_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = accumulator_t<T>;
    separable<A>(*plan.y, plan.y->transpose, plan.y->axis.outputs, 1, RowTranspose<A>(*plan.x, plan.inner), plan.blocks,
                 plan.inner, static_cast<const T*>(grad), static_cast<T*>(result), Plain{}, parallel);
  });
}

}  // namespace SHIFTABLE_VARIANT
}  // namespace shiftable
