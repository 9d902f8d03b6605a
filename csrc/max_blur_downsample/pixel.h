// One number of the max map, and what one pixel is given by the transpose, whatever the window: what CUDA falls back
// on.
#pragma once

#include "blur_downsample/pixel.h"
#include "max_blur_downsample/plan.h"

namespace shiftable {
namespace {

template <typename A>
constexpr A kLowest = -std::numeric_limits<A>::infinity();

// The larger; a NaN is larger than any number.
SHIFTABLE_DEVICE float larger(float a, float b) {
#if defined(__CUDA_ARCH__)
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
#else
  return a > b || a != a ? a : b;
#endif
}
SHIFTABLE_DEVICE double larger(double a, double b) { return a > b || a != a ? a : b; }

// Whether a takes b's place as the largest so far: the first of equals stays, and a NaN stays.
template <typename A>
SHIFTABLE_DEVICE bool beats(A a, A b) {
  return b == b && !(a <= b);
}

// One pixel of a window: which, from the window's top left on, or less than 0 where all of it is padding.
struct Winner {
  int64_t ky, kx;
};

// Calls visit(ky, kx, y, x) for the pixels of the window at (my, mx) that lie inside of the image, row by row.
template <typename Visit>
SHIFTABLE_DEVICE void for_window(const MaxAxis& down, const MaxAxis& along, int64_t my, int64_t mx,
                                 const Visit& visit) {
  for (int64_t ky = 0; ky < down.kernel_size; ++ky) {
    const int64_t y = my - down.pad + ky * down.dilation;
    if (y < 0 || y >= down.inputs) continue;
    for (int64_t kx = 0; kx < along.kernel_size; ++kx) {
      const int64_t x = mx - along.pad + kx * along.dilation;
      if (x >= 0 && x < along.inputs) visit(ky, kx, y, x);
    }
  }
}

template <typename A, typename Read>
SHIFTABLE_DEVICE A map_pixel(const MaxAxis& down, const MaxAxis& along, int64_t my, int64_t mx, const Read& read) {
  A largest = kLowest<A>;
  for_window(down, along, my, mx,
             [&](int64_t, int64_t, int64_t y, int64_t x) { largest = larger(read(y, x), largest); });
  return largest;
}

template <typename A, typename Read>
SHIFTABLE_DEVICE Winner winner_of(const MaxAxis& down, const MaxAxis& along, int64_t my, int64_t mx, const Read& read) {
  Winner winner{-1, -1};
  A largest = 0;
  for_window(down, along, my, mx, [&](int64_t ky, int64_t kx, int64_t y, int64_t x) {
    const A value = read(y, x);
    if (winner.ky >= 0 && !beats(value, largest)) return;
    largest = value;
    winner = {ky, kx};
  });
  return winner;
}

// What pixel (y, x) is given: the gradients, map_grad(my, mx), of the windows that it won, map rows and columns in
// order.
template <typename A, typename Read, typename MapGrad>
SHIFTABLE_DEVICE A given_pixel(const MaxAxis& down, const MaxAxis& along, int64_t map_rows, int64_t map_columns,
                               int64_t y, int64_t x, const Read& read, const MapGrad& map_grad) {
  A sum = 0;
  for (int64_t ky = down.kernel_size - 1; ky >= 0; --ky) {
    const int64_t my = y + down.pad - ky * down.dilation;
    if (my < 0 || my >= map_rows) continue;
    for (int64_t kx = along.kernel_size - 1; kx >= 0; --kx) {
      const int64_t mx = x + along.pad - kx * along.dilation;
      if (mx < 0 || mx >= map_columns) continue;
      const Winner winner = winner_of<A>(down, along, my, mx, read);
      if (winner.ky == ky && winner.kx == kx) sum += map_grad(my, mx);
    }
  }
  return sum;
}

}  // namespace
}  // namespace shiftable
