// What both compilers (g++ and nvcc) need to read the same arithmetic.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define SHIFTABLE_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define SHIFTABLE_HOST_DEVICE inline
#endif
