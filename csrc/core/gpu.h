// What the CUDA kernels are written with. nvcc compiles them for a GPU; with SHIFTABLE_CUDA_EMULATION defined any C++
// compiler does, for the processor at hand, against an emulation.h that gives CUDA's words a meaning there.
#pragma once

#if defined(SHIFTABLE_CUDA_EMULATION)
#include "emulation.h"
#else
#include <cuda_runtime.h>
#endif

#include <cmath>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "core/dtype.h"
#include "core/gpu_call.h"
#include "core/portable.h"

#define SHIFTABLE_DEVICE __device__ __forceinline__

namespace shiftable {
namespace {

// -- launches --------------------------------------------------------------------------------------

constexpr int kBlock = 128;                                    // threads
constexpr int64_t kMostThreads = (int64_t{1} << 31) - kBlock;  // of a launch: threads are numbered in 32 bits

// Starts `kernel(arguments)` on as many blocks as `threads` need, and throws what the launch reports.
template <typename... Parameters>
void launch(const char* op, void (*kernel)(Parameters...), int64_t threads, const GpuCall& gpu,
            const std::common_type_t<Parameters>&... arguments) {
  if (threads == 0) return;
  const auto blocks = static_cast<unsigned>((threads + kBlock - 1) / kBlock);
#if defined(SHIFTABLE_CUDA_EMULATION)
  emulation::launch(reinterpret_cast<const void*>(kernel), blocks, kBlock, [&] { kernel(arguments...); });
  (void)op, (void)gpu;
#else
  void* pointers[] = {const_cast<void*>(static_cast<const void*>(&arguments))...};
  const cudaError_t error = cudaLaunchKernel(reinterpret_cast<const void*>(kernel), dim3(blocks), dim3(kBlock),
                                             pointers, 0, static_cast<cudaStream_t>(gpu.stream));
  if (error != cudaSuccess)
    throw std::runtime_error(std::string(op) + ": the CUDA kernel did not start: " + cudaGetErrorString(error));
#endif
}

// The number of this thread in its launch.
SHIFTABLE_DEVICE uint32_t thread_number() { return blockIdx.x * kBlock + threadIdx.x; }

// Division of numbers below 2^31 by one that the host knows: a multiplication and a shift.
struct Divider {
  uint32_t divisor, multiplier, shift;

  Divider() = default;
  explicit Divider(int64_t by) : divisor(static_cast<uint32_t>(by)), shift(0) {
    while ((int64_t{1} << shift) < by) ++shift;
    multiplier = static_cast<uint32_t>((((uint64_t{1} << 32) * ((uint64_t{1} << shift) - by)) / by) + 1);
  }
  // Returns n / divisor and leaves the remainder in n.
  SHIFTABLE_DEVICE uint32_t split(uint32_t& n) const {
    const uint32_t quotient = (__umulhi(n, multiplier) + n) >> shift;
    n -= quotient * divisor;
    return quotient;
  }
};

// -- numbers ---------------------------------------------------------------------------------------

SHIFTABLE_DEVICE float fused(float a, float b, float c) { return fmaf(a, b, c); }
SHIFTABLE_DEVICE double fused(double a, double b, double c) { return ::fma(a, b, c); }

// N numbers that lie side by side, read and written at once.
template <typename T, int N>
struct alignas(sizeof(T) * N) Pack {
  T number[N];
};

#if !defined(SHIFTABLE_CUDA_EMULATION)
template <int kBytes>
struct WordOf;
template <>
struct WordOf<1> {
  using type = unsigned char;
};
template <>
struct WordOf<2> {
  using type = unsigned short;
};
template <>
struct WordOf<4> {
  using type = unsigned;
};
template <>
struct WordOf<8> {
  using type = uint2;
};
template <>
struct WordOf<16> {
  using type = uint4;
};
#endif

// Reads through the read-only cache.
template <int N, typename T>
SHIFTABLE_DEVICE Pack<T, N> load_pack(const T* p) {
#if defined(SHIFTABLE_CUDA_EMULATION)
  emulation::check_alignment(p, sizeof(Pack<T, N>));
  return *reinterpret_cast<const Pack<T, N>*>(p);
#else
  union {
    typename WordOf<sizeof(T) * N>::type word;
    Pack<T, N> pack;
  } read;
  read.word = __ldg(reinterpret_cast<const typename WordOf<sizeof(T) * N>::type*>(p));
  return read.pack;
#endif
}

template <typename T>
SHIFTABLE_DEVICE T load_one(const T* p) {
  return load_pack<1>(p).number[0];
}

// Writes; with kOnce as what will not be read soon, so that it need not stay in the cache.
template <bool kOnce = false, typename T, int N>
SHIFTABLE_DEVICE void store_pack(T* p, const Pack<T, N>& pack) {
#if defined(SHIFTABLE_CUDA_EMULATION)
  emulation::check_alignment(p, sizeof(pack));
  emulation::note_write(p, sizeof(pack));
  *reinterpret_cast<Pack<T, N>*>(p) = pack;
#else
  using Word = typename WordOf<sizeof(T) * N>::type;
  const Word word = *reinterpret_cast<const Word*>(&pack);
  if (kOnce)
    __stcs(reinterpret_cast<Word*>(p), word);
  else
    *reinterpret_cast<Word*>(p) = word;
#endif
}

template <typename A, typename T>
SHIFTABLE_DEVICE A as(T value) {
  return static_cast<A>(value);
}

template <typename T>
SHIFTABLE_DEVICE void store_one(T* p, T value) {
  store_pack(p, Pack<T, 1>{{value}});
}

// Numbers of a wider type as a pack of T.
template <typename T, int N, typename A>
SHIFTABLE_DEVICE Pack<T, N> packed(const A (&values)[N]) {
  Pack<T, N> pack;
#if defined(__CUDA_ARCH__)
  if constexpr (N % 2 == 0 && std::is_same_v<A, float> && (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>)) {
    uint32_t pairs[N / 2];  // two conversions in one instruction
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
      if constexpr (std::is_same_v<T, Half>)
        asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pairs[i]) : "f"(values[2 * i + 1]), "f"(values[2 * i]));
      else
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pairs[i]) : "f"(values[2 * i + 1]), "f"(values[2 * i]));
    }
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
      pack.number[2 * i].bits = static_cast<uint16_t>(pairs[i]);
      pack.number[2 * i + 1].bits = static_cast<uint16_t>(pairs[i] >> 16);
    }
    return pack;
  }
#endif
#pragma unroll
  for (int i = 0; i < N; ++i) pack.number[i] = static_cast<T>(values[i]);
  return pack;
}

// -- rules that a launch follows -------------------------------------------------------------------

SHIFTABLE_DEVICE int minimum(int a, int b) { return a < b ? a : b; }

inline bool aligned(const void* p, int64_t bytes) { return reinterpret_cast<uintptr_t>(p) % bytes == 0; }

// How many threads fill a GPU. Under emulation it varies, so that threads have more to do on small tensors, too.
#if defined(SHIFTABLE_CUDA_EMULATION)
inline int64_t enough_threads() { return emulation::enough_threads; }
#else
inline int64_t enough_threads() { return int64_t{1} << 18; }
#endif

// Rows (or columns) that one thread makes of `count`: as many as leave threads enough, in equal shares.
inline int64_t share_of(int64_t count, int64_t others, int64_t most) {
  int64_t share = most < count ? most : count;
  while (share > 1 && others * ((count + share - 1) / share) < enough_threads()) share = (share + 1) / 2;
  const int64_t parts = (count + share - 1) / share;
  return (count + parts - 1) / parts;
}

}  // namespace
}  // namespace shiftable
