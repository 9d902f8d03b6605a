#include <cmath>

#include "take_windows/plan.h"

namespace shiftable {

namespace {

// The filter that reads between pixels: tap k weighs the pixel at `first + k` past the corner.
struct Taps {
  int64_t first = 0;
  std::vector<double> weight = {1.0};
};

double cubic(double t) {  // Keys 1981, a = -0.5
  constexpr double a = -0.5;
  t = std::fabs(t);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
}

double lanczos3(double t) {
  constexpr double pi = 3.14159265358979323846;
  if (t == 0) return 1;
  if (std::fabs(t) >= 3) return 0;
  return 3 * std::sin(pi * t) * std::sin(pi * t / 3) / (pi * pi * t * t);
}

// Taps for a corner `fraction` past a pixel; they sum to 1. On the pixel itself there is one tap,
// so whole corners read exact values however they were given.
Taps fractional_taps(Interpolation interpolation, double fraction) {
  if (fraction == 0) return {};
  if (interpolation == Interpolation::linear) return {0, {1 - fraction, fraction}};
  const int64_t reach = interpolation == Interpolation::cubic ? 2 : 3;
  Taps taps{1 - reach, {}};
  double sum = 0;
  for (int64_t k = 1 - reach; k <= reach; ++k) {
    const double t = static_cast<double>(k) - fraction;
    taps.weight.push_back(reach == 2 ? cubic(t) : lanczos3(t));
    sum += taps.weight.back();
  }
  for (double& weight : taps.weight) weight /= sum;
  return taps;
}

// Which pixels one axis of one window reads: position j of the window's own row (tap by tap,
// window plus filter) reads pixel source[j], or the fill where that is kOutside.
struct WindowAxis {
  Taps taps;
  std::vector<int64_t> source;
};

WindowAxis window_axis(int64_t corner, const Taps& taps, int64_t count, int64_t inputs, Border border) {
  WindowAxis axis{taps, std::vector<int64_t>(count + static_cast<int64_t>(taps.weight.size()) - 1)};
  for (size_t j = 0; j < axis.source.size(); ++j)
    axis.source[j] = border_index(border, corner + taps.first + static_cast<int64_t>(j), inputs);
  return axis;
}

struct Window {
  WindowAxis y, x;
};

Window window_at(const WindowPlan& plan, const Corner& corner) {
  return {window_axis(corner.y, fractional_taps(plan.interpolation, corner.fraction_y), plan.window_height, plan.height,
                      plan.border),
          window_axis(corner.x, fractional_taps(plan.interpolation, corner.fraction_x), plan.window_width, plan.width,
                      plan.border)};
}

// One row of one channel of a window, before scale and bias: vertical taps in order, then horizontal.
// `row` is scratch for window_width + taps - 1 values; the result lies in its first window_width.
template <typename In, typename A>
void read_row(const Window& window, int64_t y, const In* plane, const Layout& from, A fill, A* row) {
  const auto& columns = window.x.source;
  const auto span = static_cast<int64_t>(columns.size());
  const auto taps_y = static_cast<int64_t>(window.y.taps.weight.size());
  for (int64_t k = 0; k < taps_y; ++k) {
    const A weight = static_cast<A>(window.y.taps.weight[k]);
    const int64_t source_y = window.y.source[y + k];
    for (int64_t j = 0; j < span; ++j) {
      const bool inside = source_y != kOutside && columns[j] != kOutside;
      const A value = inside ? static_cast<A>(plane[source_y * from.y + columns[j] * from.x]) : fill;
      row[j] = taps_y == 1 ? value : (k == 0 ? A(0) : row[j]) + weight * value;
    }
  }
  const auto taps_x = static_cast<int64_t>(window.x.taps.weight.size());
  if (taps_x == 1) return;
  for (int64_t x = 0; x < span - taps_x + 1; ++x) {
    A sum = 0;
    for (int64_t k = 0; k < taps_x; ++k) sum += static_cast<A>(window.x.taps.weight[k]) * row[x + k];
    row[x] = sum;
  }
}

template <typename F>
void with_any_type(DType dtype, F&& f) {
  if (dtype == DType::uint8) return f(uint8_t{});
  with_float_type(dtype, f);
}

template <typename In, typename Out>
using wider_t = std::conditional_t<std::is_same_v<In, double> || std::is_same_v<Out, double>, double, float>;

template <typename In, typename Out>
void take_typed(const WindowPlan& plan, const std::vector<Corner>& corners, const Layout& from, const In* images,
                const Layout& to, Out* windows, const Parallel& parallel) {
  using A = wider_t<In, Out>;
  const bool per_image = static_cast<int64_t>(corners.size()) != plan.windows;
  const int64_t pixels = plan.channels * plan.window_height * plan.window_width;
  parallel(plan.images * plan.windows, grain_for(pixels), [&](int64_t begin, int64_t end) {
    std::vector<A> row;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / plan.windows;
      const Window window = window_at(plan, corners[per_image ? i : i % plan.windows]);
      row.resize(window.x.source.size());
      for (int64_t c = 0; c < plan.channels; ++c) {
        const In* plane = images + n * from.image + c * from.channel;
        const A fill = static_cast<A>(plan.fill[c]), scale = static_cast<A>(plan.scale[c]),
                bias = static_cast<A>(plan.bias[c]);
        for (int64_t y = 0; y < plan.window_height; ++y) {
          read_row(window, y, plane, from, fill, row.data());
          Out* line = windows + i * to.image + c * to.channel + y * to.y;
          for (int64_t x = 0; x < plan.window_width; ++x)
            line[x * to.x] = static_cast<Out>(plan.affine ? std::fma(row[x], scale, bias) : row[x]);
        }
      }
    }
  });
}

template <typename In, typename Out>
void transpose_typed(const WindowPlan& plan, const std::vector<Corner>& corners, const Layout& from, const In* grad,
                     const Layout& to, Out* images, const Parallel& parallel) {
  using A = wider_t<In, Out>;
  const bool per_image = static_cast<int64_t>(corners.size()) != plan.windows;
  const int64_t pixels = plan.windows * plan.channels * plan.window_height * plan.window_width;
  // One thread owns an image and adds its windows in order, so sums do not depend on the threads.
  parallel(plan.images, grain_for(pixels), [&](int64_t begin, int64_t end) {
    const int64_t plane_size = plan.height * plan.width;
    std::vector<A> sum(plan.channels * plane_size), row;
    for (int64_t n = begin; n < end; ++n) {
      std::fill(sum.begin(), sum.end(), A(0));
      for (int64_t s = 0; s < plan.windows; ++s) {
        const int64_t i = n * plan.windows + s;
        const Window window = window_at(plan, corners[per_image ? i : s]);
        const auto& [taps_y, taps_x] = std::pair{window.y.taps.weight, window.x.taps.weight};
        for (int64_t c = 0; c < plan.channels; ++c) {
          const A scale = static_cast<A>(plan.scale[c]);
          for (int64_t y = 0; y < plan.window_height; ++y) {
            const In* line = grad + i * from.image + c * from.channel + y * from.y;
            row.assign(window.x.source.size(), A(0));
            for (int64_t x = 0; x < plan.window_width; ++x)
              for (size_t k = 0; k < taps_x.size(); ++k)
                row[x + k] += static_cast<A>(taps_x[k]) * scale * static_cast<A>(line[x * from.x]);
            for (size_t k = 0; k < taps_y.size(); ++k) {
              const int64_t source_y = window.y.source[y + k];
              if (source_y == kOutside) continue;
              A* target = sum.data() + c * plane_size + source_y * plan.width;
              for (size_t j = 0; j < row.size(); ++j)
                if (window.x.source[j] != kOutside) target[window.x.source[j]] += static_cast<A>(taps_y[k]) * row[j];
            }
          }
        }
      }
      for (int64_t c = 0; c < plan.channels; ++c)
        for (int64_t y = 0; y < plan.height; ++y)
          for (int64_t x = 0; x < plan.width; ++x)
            images[n * to.image + c * to.channel + y * to.y + x * to.x] =
                static_cast<Out>(sum[c * plane_size + y * plan.width + x]);
    }
  });
}

}  // namespace

namespace SHIFTABLE_VARIANT {

void take_windows_cpu(const WindowPlan& plan, const std::vector<Corner>& corners, DType in, const Layout& from,
                      const void* images, DType out, const Layout& to, void* windows, const Parallel& parallel) {
  with_any_type(in, [&](auto a) {
    with_any_type(out, [&](auto b) {
      take_typed(plan, corners, from, static_cast<const decltype(a)*>(images), to, static_cast<decltype(b)*>(windows),
                 parallel);
    });
  });
}

void take_windows_transpose_cpu(const WindowPlan& plan, const std::vector<Corner>& corners, DType in,
                                const Layout& from, const void* grad, DType out, const Layout& to, void* images,
                                const Parallel& parallel) {
  with_float_type(in, [&](auto a) {
    with_float_type(out, [&](auto b) {
      transpose_typed(plan, corners, from, static_cast<const decltype(a)*>(grad), to, static_cast<decltype(b)*>(images),
                      parallel);
    });
  });
}

}  // namespace SHIFTABLE_VARIANT
}  // namespace shiftable
