// What the module _C hands to the module _eager: the kernels for the processor at hand, so that they exist once, and
// torch's threads (at::parallel_for, a template, would run on one where OpenMP is not switched on).
#pragma once

#include "max_blur_downsample/plan.h"

namespace shiftable {

struct EagerKernels {
  decltype(&shiftable::plan_blur) plan_blur;
  decltype(&shiftable::plan_max_blur) plan_max_blur;
  decltype(&shiftable::blurred_shape) blurred_shape;
  decltype(&baseline::blur_downsample_cpu) blur;
  decltype(&baseline::blur_downsample_transpose_cpu) blur_transpose;
  decltype(&baseline::max_blur_downsample_gather_cpu) max_blur;
  decltype(&baseline::max_blur_downsample_transpose_cpu) max_blur_transpose;
  Parallel threads;  // torch's
};

constexpr const char* kEagerKernels = "shiftable.EagerKernels";  // the capsule's name

}  // namespace shiftable
