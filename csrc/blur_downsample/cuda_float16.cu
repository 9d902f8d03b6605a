#include "blur_downsample/cuda_fast.h"

namespace shiftable {

bool run_fast_float16(const FastCall& call) { return run_fast_of<Half>(call); }

}  // namespace shiftable
