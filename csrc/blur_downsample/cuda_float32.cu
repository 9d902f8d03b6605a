#include "blur_downsample/cuda_fast.h"

namespace shiftable {

bool run_fast_float32(const FastCall& call) { return run_fast_of<float>(call); }

}  // namespace shiftable
