// The filters that read between pixels, for processors and GPUs alike.
#pragma once

#include <cmath>

#include "take_windows/plan.h"

namespace shiftable {
namespace {

constexpr int kMostTaps = 6;

// The filter that reads between pixels: tap k weighs the pixel at `first + k` past the corner.
struct Taps {
  int64_t first = 0;
  int count = 1;
  double weight[kMostTaps] = {1.0};
};

SHIFTABLE_HOST_DEVICE double cubic(double t) {  // Keys 1981, a = -0.5
  constexpr double a = -0.5;
  t = ::fabs(t);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
}

SHIFTABLE_HOST_DEVICE double lanczos3(double t) {
  constexpr double pi = 3.14159265358979323846;
  if (t == 0) return 1;
  if (::fabs(t) >= 3) return 0;
  return 3 * ::sin(pi * t) * ::sin(pi * t / 3) / (pi * pi * t * t);
}

// Taps for a corner `fraction` past a pixel; they sum to 1. On the pixel itself there is one tap,
// so whole corners read exact values however they were given.
SHIFTABLE_HOST_DEVICE Taps fractional_taps(Interpolation interpolation, double fraction) {
  if (fraction == 0) return {};
  if (interpolation == Interpolation::linear) return {0, 2, {1 - fraction, fraction}};
  const int64_t reach = interpolation == Interpolation::cubic ? 2 : 3;
  Taps taps{1 - reach, static_cast<int>(2 * reach), {}};
  double sum = 0;
  for (int k = 0; k < kMostTaps; ++k) {  // to the end: so a compiler can keep the weights in registers
    const double t = static_cast<double>(taps.first + k) - fraction;
    taps.weight[k] = k >= taps.count ? 0 : reach == 2 ? cubic(t) : lanczos3(t);
    sum += taps.weight[k];
  }
  for (int k = 0; k < kMostTaps; ++k) taps.weight[k] /= sum;
  return taps;
}

}  // namespace
}  // namespace shiftable
