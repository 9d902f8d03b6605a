// The GPUs that the CUDA runtime linked into this build can see.
#pragma once

namespace shiftable {

// How many; 0 without CUDA in the build, without a driver, or with one that is too old.
#ifdef SHIFTABLE_HAS_CUDA
int cuda_device_count();
#else
inline int cuda_device_count() { return 0; }
#endif

}  // namespace shiftable
