// The row kernels that the operators are made of. A row is W pixels of `inner` numbers each: 1 in an NCHW plane, the
// channels in a channels_last image. Sums are in float32 (float64 for float64), taps in order, each step one fma.
#pragma once

#include <cstdlib>
#include <new>

#include "core/axis.h"
#include "core/prologue.h"
#include "core/simd.h"

namespace shiftable {
namespace {

// Numbers for the length of a call; small amounts lie on the stack.
template <typename A, int kSmallBytes = 8192>
class Scratch {
 public:
  SHIFTABLE_INLINE Scratch() = default;
  SHIFTABLE_INLINE explicit Scratch(int64_t count) { reserve(count); }
  SHIFTABLE_INLINE ~Scratch() { std::free(heap_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  SHIFTABLE_INLINE A* data() { return heap_ != nullptr ? heap_ : small_; }

  // Called once, before anything is stored.
  SHIFTABLE_INLINE void reserve(int64_t count) {
    if (count <= kSmall) return;
    heap_ = static_cast<A*>(std::aligned_alloc(64, (count * sizeof(A) + 63) / 64 * 64));
    if (heap_ == nullptr) throw std::bad_alloc();
  }

 private:
  static constexpr int64_t kSmall = kSmallBytes / sizeof(A);
  A* heap_ = nullptr;
  alignas(64) A small_[kSmall];
};

// The most inputs that one output reads.
SHIFTABLE_INLINE int64_t most_entries(const AxisTable& table) {
  int64_t most = 0;
  for (int64_t o = 0; o < table.outputs(); ++o) {
    const int64_t count = table.first[o + 1] - table.first[o];
    if (count > most) most = count;
  }
  return most;
}

template <typename A>
const A* weights_of(const AxisTable& table);
template <>
SHIFTABLE_INLINE const float* weights_of<float>(const AxisTable& table) {
  return table.weight32.data();
}
template <>
SHIFTABLE_INLINE const double* weights_of<double>(const AxisTable& table) {
  return table.weight.data();
}
template <typename A>
const A* taps_of(const AxisTables& tables);
template <>
SHIFTABLE_INLINE const float* taps_of<float>(const AxisTables& tables) {
  return tables.taps32.data();
}
template <>
SHIFTABLE_INLINE const double* taps_of<double>(const AxisTables& tables) {
  return tables.axis.taps.data();
}

// -- sums of rows --------------------------------------------------------------------------------

// out[j] = sum over k of weights[k] * rows[k][j], for j of 0 .. count - 1; N rows, or `n` of them for N = 0. Whole
// vectors are read while they end before `readable` (the end of the tensor), and stored while they end within `room`.
template <int N, typename A, typename T, typename Out, typename Read>
__attribute__((noinline)) void sum_rows_of(int n, const T* const* rows, const A* weights, int64_t count,
                                           const T* readable, Out* out, int64_t room, const Read& read) {
  constexpr int64_t L = kLanes<A>;
  const int taps = N > 0 ? N : n;
  if (taps == 0) {
    for (int64_t j = 0; j < count; ++j) out[j] = static_cast<Out>(A(0));
    return;
  }
  const T* r[N > 0 ? N : 1];
  Vec<A> w[N > 0 ? N : 1];
  const T* last = rows[0];
  for (int k = 0; k < taps; ++k) {
    if constexpr (N > 0) {
      r[k] = rows[k];
      w[k] = splat(weights[k]);
    }
    if (rows[k] > last) last = rows[k];
  }
  const auto at = [&](int k) SHIFTABLE_LAMBDA { return N > 0 ? r[k] : rows[k]; };
  const auto weight = [&](int k) SHIFTABLE_LAMBDA { return N > 0 ? w[k] : splat(weights[k]); };
  const auto vector_at = [&](int64_t j) SHIFTABLE_LAMBDA {
    Vec<A> sum = read.vector(load_as(at(0) + j, A{}), j) * weight(0);
#pragma GCC unroll 8
    for (int k = 1; k < taps; ++k) sum = fma(read.vector(load_as(at(k) + j, A{}), j), weight(k), sum);
    return sum;
  };
  int64_t j = 0;
  const int64_t whole = count < room - L ? count : room - L;  // stores up to here need no thought
  const int64_t safe = readable - last - L;                   // nor do loads
  for (const int64_t stop = whole < safe ? whole : safe; j < stop; j += L) store_as(out + j, vector_at(j));
  for (; j < count && j <= safe; j += L) store_some<A>(out + j, vector_at(j), count - j, room - j);
  for (; j < count; ++j) {  // the last few of the tensor
    A sum = read.scalar(static_cast<A>(at(0)[j]), j) * weights[0];
    for (int k = 1; k < taps; ++k) sum = fma(read.scalar(static_cast<A>(at(k)[j]), j), weights[k], sum);
    out[j] = static_cast<Out>(sum);
  }
}

template <typename A, typename T, typename Out, typename Read = Plain>
SHIFTABLE_INLINE void sum_rows(int n, const T* const* rows, const A* weights, int64_t count, const T* readable,
                               Out* out, int64_t room, const Read& read = {}) {
  switch (n) {
    case 1: return sum_rows_of<1>(n, rows, weights, count, readable, out, room, read);
    case 2: return sum_rows_of<2>(n, rows, weights, count, readable, out, room, read);
    case 3: return sum_rows_of<3>(n, rows, weights, count, readable, out, room, read);
    case 4: return sum_rows_of<4>(n, rows, weights, count, readable, out, room, read);
    case 5: return sum_rows_of<5>(n, rows, weights, count, readable, out, room, read);
    case 6: return sum_rows_of<6>(n, rows, weights, count, readable, out, room, read);
    case 7: return sum_rows_of<7>(n, rows, weights, count, readable, out, room, read);
    default: return sum_rows_of<0>(n, rows, weights, count, readable, out, room, read);
  }
}

}  // namespace
}  // namespace shiftable
