// Vectors of the width that this file is compiled for, in the compilers' vector extensions.
// Everything here is local to the file that includes it: see portable.h.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "core/dtype.h"
#include "core/portable.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace shiftable {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <typename A, int kBytes = kVectorBytes>
struct Simd {
  typedef A type __attribute__((vector_size(kBytes)));
};
template <typename A>
using Vec = typename Simd<A>::type;
template <typename A>
constexpr int64_t kLanes = kVectorBytes / sizeof(A);

using Words = Simd<uint32_t>::type;  // kLanes<float> of 32 bits

// Whole numbers as wide as A.
template <typename A>
struct BitsOf {
  using type = int32_t;
};
template <>
struct BitsOf<double> {
  using type = int64_t;
};

template <typename To, typename From>
SHIFTABLE_INLINE To bit_copy(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(To));
  return to;
}

// The value in every lane. (Minus zero changes no number, not even -0, and is a broadcast to every compiler.)
template <typename A>
SHIFTABLE_INLINE Vec<A> splat(A value) {
  return value - Vec<A>{};
}

// a * b + c, rounded once where the processor can: every variant but baseline on x86-64. Asked for by name, since left
// to themselves compilers fuse which of two products they like.
SHIFTABLE_INLINE float fma(float a, float b, float c) {
#if defined(__FMA__) || defined(__aarch64__)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

SHIFTABLE_INLINE double fma(double a, double b, double c) {
#if defined(__FMA__) || defined(__aarch64__)
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}

SHIFTABLE_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
#if defined(__AVX512F__)
  return (Vec<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (Vec<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
  return (Vec<float>)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}

SHIFTABLE_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
#if defined(__AVX512F__)
  return (Vec<double>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__FMA__)
  return (Vec<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined(__aarch64__)
  return (Vec<double>)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#else
  return a * b + c;
#endif
}

// The larger of two numbers, b where they are equal or either is a NaN: what the processors' own instructions do.
SHIFTABLE_INLINE Vec<float> larger_number(Vec<float> a, Vec<float> b) {
#if defined(__AVX512F__)
  return (Vec<float>)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (Vec<float>)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__x86_64__)
  return (Vec<float>)_mm_max_ps((__m128)a, (__m128)b);
#else
  return a > b ? a : b;
#endif
}
SHIFTABLE_INLINE Vec<double> larger_number(Vec<double> a, Vec<double> b) { return a > b ? a : b; }

// Whether any of the numbers looked at was a NaN.
class NanSeen {
 public:
#if defined(__AVX512F__)
  SHIFTABLE_INLINE void look_at(Vec<float> a, Vec<float> b) {
    seen_ |= _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_UNORD_Q);
  }
  template <typename V>
  SHIFTABLE_INLINE void look_at(V a, V b) {
    for (size_t i = 0; i < sizeof(V) / sizeof(a[0]); ++i) seen_ |= a[i] != a[i] || b[i] != b[i];
  }
  SHIFTABLE_INLINE bool any() const { return seen_ != 0; }

 private:
  unsigned seen_ = 0;
#else
  template <typename V>
  SHIFTABLE_INLINE void look_at(V a, V b) {
    seen_ |= bit_copy<Words>((a != a) | (b != b));
  }
  SHIFTABLE_INLINE bool any() const {
    uint32_t all = 0;
    for (int i = 0; i < kLanes<float>; ++i) all |= seen_[i];
    return all != 0;
  }

 private:
  Words seen_{};
#endif
};

// -- memory, as accumulators ---------------------------------------------------------------------

template <typename A>
SHIFTABLE_INLINE Vec<A> load(const A* p) {
  Vec<A> v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

template <typename A>
SHIFTABLE_INLINE void store(A* p, Vec<A> v) {
  std::memcpy(p, &v, sizeof(v));
}

using HalfWords = Simd<uint16_t, kVectorBytes / 2>::type;  // as many of 16 bits
using Bytes = Simd<uint8_t, kVectorBytes / 4>::type;       // as many of 8 bits

SHIFTABLE_INLINE Words widen(HalfWords half) {
#if defined(__AVX512F__)
  return bit_copy<Words>(_mm512_cvtepu16_epi32(bit_copy<__m256i>(half)));
#else
  return __builtin_convertvector(half, Words);
#endif
}

SHIFTABLE_INLINE HalfWords narrow(Words words) {
#if defined(__AVX512F__)
  return bit_copy<HalfWords>(_mm512_cvtepi32_epi16(bit_copy<__m512i>(words)));
#else
  return __builtin_convertvector(words, HalfWords);
#endif
}

SHIFTABLE_INLINE Vec<float> load_as(const float* p, float) { return load(p); }
SHIFTABLE_INLINE Vec<double> load_as(const double* p, double) { return load(p); }

SHIFTABLE_INLINE Vec<float> load_as(const BFloat16* p, float) {
  HalfWords half;
  std::memcpy(&half, p, sizeof(half));
  return bit_copy<Vec<float>>(widen(half) << 16);
}

SHIFTABLE_INLINE Vec<float> load_as(const Half* p, float) {
#if defined(__AVX512F__)
  __m256i half;
  std::memcpy(&half, p, sizeof(half));
  return bit_copy<Vec<float>>(_mm512_cvtph_ps(half));
#elif defined(__F16C__)
  __m128i half;
  std::memcpy(&half, p, sizeof(half));
  return bit_copy<Vec<float>>(_mm256_cvtph_ps(half));
#else
  Vec<float> v;
  for (int i = 0; i < kLanes<float>; ++i) v[i] = static_cast<float>(p[i]);
  return v;
#endif
}

SHIFTABLE_INLINE Vec<float> load_as(const uint8_t* p, float) {
  Bytes bytes;
  std::memcpy(&bytes, p, sizeof(bytes));
#if defined(__AVX512F__)
  return bit_copy<Vec<float>>(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bit_copy<__m128i>(bytes))));
#elif defined(__AVX2__)
  return bit_copy<Vec<float>>(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(bit_copy<int64_t>(bytes)))));
#endif
  return __builtin_convertvector(__builtin_convertvector(bytes, Simd<int32_t>::type), Vec<float>);
}

// Mixed widths of float64 are rare: element by element.
template <typename T, typename A>
SHIFTABLE_INLINE Vec<A> load_as(const T* p, A) {
  Vec<A> v;
  for (int i = 0; i < kLanes<A>; ++i) v[i] = static_cast<A>(p[i]);
  return v;
}

// The first `wanted` numbers, at most a vector, and zeros.
template <typename A, typename T>
SHIFTABLE_INLINE Vec<A> load_some(const T* p, int64_t wanted) {
  Vec<A> v = splat(A(0));
  for (int64_t i = 0; i < wanted && i < kLanes<A>; ++i) v[i] = static_cast<A>(p[i]);
  return v;
}

SHIFTABLE_INLINE void store_as(float* p, Vec<float> v) { store(p, v); }
SHIFTABLE_INLINE void store_as(double* p, Vec<double> v) { store(p, v); }

// The floats that lie nearest among those whose lower half is zero, but for that half.
SHIFTABLE_INLINE Words rounded_to_bfloat16(Vec<float> v) {
  const Words words = bit_copy<Words>(v);
  const Words even = words + 0x7fffu + ((words >> 16) & 1u);
  return v == v ? even : words | 0x400000u;  // a NaN stays a NaN
}

// The numbers as they lie in memory, for the types that a vector of floats can become.
SHIFTABLE_INLINE Vec<float> packed_as(float, Vec<float> v) { return v; }
SHIFTABLE_INLINE HalfWords packed_as(BFloat16, Vec<float> v) { return narrow(rounded_to_bfloat16(v) >> 16); }
SHIFTABLE_INLINE HalfWords packed_as(Half, Vec<float> v) {
#if defined(__AVX512F__)
  return bit_copy<HalfWords>(_mm512_cvtps_ph(bit_copy<__m512>(v), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif defined(__F16C__)
  return bit_copy<HalfWords>(_mm256_cvtps_ph(bit_copy<__m256>(v), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#else
  HalfWords half;
  for (int i = 0; i < kLanes<float>; ++i) half[i] = Half(v[i]).bits;
  return half;
#endif
}

SHIFTABLE_INLINE void store_as(BFloat16* p, Vec<float> v) {
  const HalfWords half = packed_as(BFloat16{}, v);
  std::memcpy(p, &half, sizeof(half));
}
SHIFTABLE_INLINE void store_as(Half* p, Vec<float> v) {
  const HalfWords half = packed_as(Half{}, v);
  std::memcpy(p, &half, sizeof(half));
}

template <typename T, typename A, typename V>
SHIFTABLE_INLINE void store_each(T* p, V v) {
  for (int i = 0; i < kLanes<A>; ++i) p[i] = static_cast<T>(v[i]);
}
template <typename T>
SHIFTABLE_INLINE void store_as(T* p, Vec<double> v) {
  store_each<T, double>(p, v);
}
SHIFTABLE_INLINE void store_as(double* p, Vec<float> v) { store_each<double, float>(p, v); }
SHIFTABLE_INLINE void store_as(uint8_t* p, Vec<float> v) { store_each<uint8_t, float>(p, v); }

// Stores the first `wanted` lanes. Where `room` allows it all are stored: what lies behind is the caller's
// and written later.
template <typename A, typename T>
SHIFTABLE_INLINE void store_some(T* p, Vec<A> v, int64_t wanted, int64_t room) {
  if (__builtin_expect(room >= kLanes<A>, 1)) {
    store_as(p, v);
  } else {
    alignas(64) T all[kLanes<A>];
    store_as(all, v);
    for (int64_t i = 0; i < wanted && i < kLanes<A>; ++i) p[i] = all[i];
  }
}

// -- every S-th element, and back ----------------------------------------------------------------

// Lane i of the result is element i * S + R of the S vectors in a row.
template <int S, int R, typename A, int... kLane>
SHIFTABLE_INLINE Vec<A> phase_of(const Vec<A>* v, std::integer_sequence<int, kLane...>) {
  constexpr int L = static_cast<int>(kLanes<A>);
  Vec<A> found = v[0];
  // Vector m is merged where it holds the element wanted; elsewhere what was found before stays.
  if constexpr (S == 2) return __builtin_shufflevector(v[0], v[1], (kLane * 2 + R)...);
  if constexpr (S > 2) {
    found = __builtin_shufflevector(v[0], v[1], ((kLane * S + R) < 2 * L ? (kLane * S + R) : 0)...);
    found = __builtin_shufflevector(found, v[2], ((kLane * S + R) / L == 2 ? L + (kLane * S + R) % L : kLane)...);
  }
  if constexpr (S > 3)
    found = __builtin_shufflevector(found, v[S - 1], ((kLane * S + R) / L == 3 ? L + (kLane * S + R) % L : kLane)...);
  return found;
}

template <int S, int R, typename A>
SHIFTABLE_INLINE Vec<A> phase(const Vec<A>* v) {
  static_assert(S >= 1 && S <= 4 && R < S);
  return phase_of<S, R, A>(v, std::make_integer_sequence<int, static_cast<int>(kLanes<A>)>{});
}

// The I-th of S vectors in a row whose element j is lane j / S of p[j % S]: the inverse of `phase`.
template <int S, int I, typename A, int... kLane>
SHIFTABLE_INLINE Vec<A> interleaved_of(const Vec<A>* p, std::integer_sequence<int, kLane...>) {
  constexpr int L = static_cast<int>(kLanes<A>);
  if constexpr (S == 1) return p[0];
  Vec<A> found = p[0];
  if constexpr (S >= 2)
    found = __builtin_shufflevector(p[0], p[1],
                                    ((I * L + kLane) % S < 2 ? ((I * L + kLane) % S) * L + (I * L + kLane) / S : 0)...);
  if constexpr (S >= 3)
    found = __builtin_shufflevector(found, p[2], ((I * L + kLane) % S == 2 ? L + (I * L + kLane) / S : kLane)...);
  if constexpr (S >= 4)
    found = __builtin_shufflevector(found, p[S - 1], ((I * L + kLane) % S == 3 ? L + (I * L + kLane) / S : kLane)...);
  return found;
}

template <int S, int I, typename A>
SHIFTABLE_INLINE Vec<A> interleaved(const Vec<A>* p) {
  return interleaved_of<S, I, A>(p, std::make_integer_sequence<int, static_cast<int>(kLanes<A>)>{});
}

// Stores even[0], odd[0], even[1], odd[1], ...
template <typename T>
SHIFTABLE_INLINE void store_pairs(T* p, Vec<float> even, Vec<float> odd) {
  const Vec<float> pair[2] = {even, odd};
  store_as(p, interleaved<2, 0, float>(pair));
  store_as(p + kLanes<float>, interleaved<2, 1, float>(pair));
}
SHIFTABLE_INLINE void store_pairs(BFloat16* p, Vec<float> even, Vec<float> odd) {
  const Words words = (rounded_to_bfloat16(even) >> 16) | (rounded_to_bfloat16(odd) & 0xffff0000u);
  std::memcpy(p, &words, sizeof(words));
}

// Memory to ask for while rows are filtered: of the image at hand, a little ahead of what is read. The processor's own
// prefetch follows neither the rows of a plane, which are short, nor several long rows side by side.
struct Ahead {
  const char* from;  // in place of the first row's newest rows
  int64_t row;       // bytes of an image row
  int64_t number;    // bytes of a number
};

// Stores around the cache, which would only hold back what is larger than it; whoever uses it ends with a
// stream_fence. `p` is aligned to the vector.
template <typename V>
SHIFTABLE_INLINE void stream(void* p, V v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64) return _mm512_stream_si512(static_cast<__m512i*>(p), bit_copy<__m512i>(v));
#endif
#if defined(__AVX2__)
  if constexpr (sizeof(V) == 32) return _mm256_stream_si256(static_cast<__m256i*>(p), bit_copy<__m256i>(v));
#endif
#if defined(__x86_64__)
  if constexpr (sizeof(V) == 16) return _mm_stream_si128(static_cast<__m128i*>(p), bit_copy<__m128i>(v));
#endif
  std::memcpy(p, &v, sizeof(v));
}

SHIFTABLE_INLINE void stream_fence() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

// Brings the lines of p .. p + bytes into the cache; never faults, wherever p points.
SHIFTABLE_INLINE void prefetch(const void* p, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(static_cast<const char*>(p) + at, 0, 3);
}

}  // namespace
}  // namespace shiftable
