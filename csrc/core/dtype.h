// The number types a kernel can read and write, without torch.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/portable.h"

namespace shiftable {

enum class DType : int { float32, float64, float16, bfloat16, uint8 };

// Two-byte floats that convert to and from float, rounding to nearest even; on a GPU by its own instructions.
struct BFloat16 {
  uint16_t bits;
  BFloat16() = default;
  SHIFTABLE_INLINE explicit BFloat16(float value) {
#if defined(__CUDA_ARCH__)
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#else
    uint32_t word;
    std::memcpy(&word, &value, 4);
    if ((word & 0x7fffffffu) > 0x7f800000u) {
      bits = static_cast<uint16_t>((word >> 16) | 0x40);  // a NaN stays a NaN
    } else {
      bits = static_cast<uint16_t>((word + 0x7fffu + ((word >> 16) & 1u)) >> 16);
    }
#endif
  }
  SHIFTABLE_INLINE explicit BFloat16(double value) : BFloat16(static_cast<float>(value)) {}
  SHIFTABLE_INLINE explicit operator float() const {
    const uint32_t word = static_cast<uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &word, 4);
    return value;
  }
  SHIFTABLE_INLINE explicit operator double() const { return static_cast<float>(*this); }
};

struct Half {
  uint16_t bits;
  Half() = default;
  SHIFTABLE_INLINE explicit Half(float value) {
#if defined(__CUDA_ARCH__)
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#else
    uint32_t word;
    std::memcpy(&word, &value, 4);
    const uint32_t sign = (word >> 16) & 0x8000u;
    word &= 0x7fffffffu;
    uint32_t magnitude;
    if (word >= 0x47800000u) {  // 65536 and above, infinity, NaN
      magnitude = word > 0x7f800000u ? 0x7e00u : 0x7c00u;
    } else if (word < 0x38800000u) {  // below 2^-14: adding 0.5 lines the subnormal bits up
      float shifted;
      std::memcpy(&shifted, &word, 4);
      shifted += 0.5f;
      std::memcpy(&magnitude, &shifted, 4);
      magnitude -= 0x3f000000u;
    } else {
      magnitude = (word - 0x38000000u + 0xfffu + ((word >> 13) & 1u)) >> 13;
    }
    bits = static_cast<uint16_t>(sign | magnitude);
#endif
  }
  SHIFTABLE_INLINE explicit Half(double value) : Half(static_cast<float>(value)) {}
  SHIFTABLE_INLINE explicit operator float() const {
#if defined(__CUDA_ARCH__)
    float number;
    asm("cvt.f32.f16 %0, %1;" : "=f"(number) : "h"(bits));
    return number;
#else
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
    uint32_t word = static_cast<uint32_t>(bits & 0x7fffu) << 13;
    float value;
    if (word >= 0x0f800000u) {  // infinity, NaN
      word += 0x70000000u;
      std::memcpy(&value, &word, 4);
    } else if (word < 0x00800000u) {  // zero and subnormal
      value = static_cast<float>(bits & 0x7fffu) * 5.9604644775390625e-8f;
    } else {
      word += 0x38000000u;
      std::memcpy(&value, &word, 4);
    }
    uint32_t all;
    std::memcpy(&all, &value, 4);
    all |= sign;
    std::memcpy(&value, &all, 4);
    return value;
#endif
  }
  SHIFTABLE_INLINE explicit operator double() const { return static_cast<float>(*this); }
};

template <typename T>
struct AccumulatorOf {
  using type = float;
};
template <>
struct AccumulatorOf<double> {
  using type = double;
};
template <typename T>
using accumulator_t = typename AccumulatorOf<T>::type;

// Calls f(T{}) with the C++ type of a floating dtype.
template <typename F>
SHIFTABLE_INLINE void with_float_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::float32: return f(float{});
    case DType::float64: return f(double{});
    case DType::float16: return f(Half{});
    case DType::bfloat16: return f(BFloat16{});
    case DType::uint8: return;  // plans refuse it before
  }
}

}  // namespace shiftable
