#include "max_blur_downsample/cuda_fast.h"

namespace shiftable {

bool run_fast_max_bfloat16(const FastMaxCall& call) { return run_fast_max_of<BFloat16>(call); }

}  // namespace shiftable
