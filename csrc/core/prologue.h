// What happens to pixels as a kernel reads them: nothing, or y = scale * x + bias of their channel, cut off below.
//
// A prologue is asked `of_block` for the plane or image at hand, then `from` for the number of a row at which a strip
// starts; what it answers turns the numbers j, j + 1, ... of the strip into accumulators.
#pragma once

#include "core/simd.h"

namespace shiftable {
namespace {

struct Plain {
  SHIFTABLE_INLINE Plain of_block(int64_t) const { return {}; }
  SHIFTABLE_INLINE Plain from(int64_t) const { return {}; }
  template <typename V>
  SHIFTABLE_INLINE V vector(V value, int64_t) const {
    return value;
  }
  template <typename A>
  SHIFTABLE_INLINE A scalar(A value, int64_t) const {
    return value;
  }
};

// Of one plane: the same numbers for every pixel.
template <typename A>
struct PlaneAffine {
  A scale, bias, lowest;

  SHIFTABLE_INLINE PlaneAffine from(int64_t) const { return *this; }
  SHIFTABLE_INLINE Vec<A> vector(Vec<A> value, int64_t) const {
    value = fma(value, splat(scale), splat(bias));
    return value < splat(lowest) ? splat(lowest) : value;  // a NaN stays
  }
  SHIFTABLE_INLINE A scalar(A value, int64_t) const {
    value = fma(value, scale, bias);
    return value < lowest ? lowest : value;
  }
};

template <typename A>
struct PlanesAffine {
  const A *scale, *bias;  // one a channel
  A lowest;               // 0 for a ReLU, else minus infinity
  int64_t channels;

  SHIFTABLE_INLINE PlaneAffine<A> of_block(int64_t plane) const {
    return {scale[plane % channels], bias[plane % channels], lowest};
  }
};

// Of rows of pixels, in which number j belongs to channel j % channels.
template <typename A>
struct PixelsAffine {
  const A *scale, *bias;  // repeated, so that a strip can be read from any channel on
  A lowest;
  int64_t channels;

  SHIFTABLE_INLINE const PixelsAffine& of_block(int64_t) const { return *this; }
  SHIFTABLE_INLINE PixelsAffine from(int64_t j) const {
    return {scale + j % channels, bias + j % channels, lowest, channels};
  }
  SHIFTABLE_INLINE Vec<A> vector(Vec<A> value, int64_t j) const {
    value = fma(value, load(scale + j), load(bias + j));
    return value < splat(lowest) ? splat(lowest) : value;
  }
  SHIFTABLE_INLINE A scalar(A value, int64_t j) const {
    value = fma(value, scale[j], bias[j]);
    return value < lowest ? lowest : value;
  }
};

}  // namespace
}  // namespace shiftable
