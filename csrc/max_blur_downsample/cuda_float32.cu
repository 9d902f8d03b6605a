#include "max_blur_downsample/cuda_fast.h"

namespace shiftable {

bool run_fast_max_float32(const FastMaxCall& call) { return run_fast_max_of<float>(call); }

}  // namespace shiftable
