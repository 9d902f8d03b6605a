#include "blur_downsample/cuda_fast.h"

namespace shiftable {

bool run_fast_bfloat16(const FastCall& call) { return run_fast_of<BFloat16>(call); }

}  // namespace shiftable
