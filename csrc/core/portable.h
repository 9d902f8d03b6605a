// What the compilers (g++, clang++ and nvcc) need to read the same source.
#pragma once

#include <cstdint>

// On the host these are static: the kernels are compiled once for each kind of processor, and a shared inline function
// could be taken from the copy that the processor at hand cannot run.
#if defined(__CUDACC__)
#define SHIFTABLE_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define SHIFTABLE_HOST_DEVICE static inline
#endif

// Inlined at every level of optimisation, for the same reason.
#if defined(__CUDACC__)
#define SHIFTABLE_INLINE SHIFTABLE_HOST_DEVICE
#define SHIFTABLE_LAMBDA
#elif defined(_MSC_VER)
#define SHIFTABLE_INLINE __forceinline
#define SHIFTABLE_LAMBDA
#else
#define SHIFTABLE_INLINE inline __attribute__((always_inline))
#define SHIFTABLE_LAMBDA __attribute__((always_inline))
#endif
