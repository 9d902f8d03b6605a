#include <limits>

#include "blur_downsample/plan.h"
#include "core/separable.h"

namespace shiftable {
namespace {

// Calls f(affine), what the kernels know a prologue as.
template <typename A, typename F>
void with_affine(const BlurPlan& plan, const Prologue& prologue, const F& f) {
  const auto* scale = static_cast<const A*>(prologue.scale);
  const auto* bias = static_cast<const A*>(prologue.bias);
  const A lowest = prologue.relu ? A(0) : -std::numeric_limits<A>::infinity();
  if (plan.inner == 1) return f(PlanesAffine<A>{scale, bias, lowest, prologue.channels});
  // Repeated for the length of a strip, and of a vector past it.
  const int64_t channels = plan.inner, count = channels + kStripBytes + 64;
  Scratch<A> scales(count), biases(count);
  for (int64_t j = 0; j < count; ++j) {
    scales.data()[j] = scale[j % channels];
    biases.data()[j] = bias[j % channels];
  }
  f(PixelsAffine<A>{scales.data(), biases.data(), lowest, channels});
}

// A row's part in the gradients: result = h * scale where the prologue let the pixel through, and the sums of h and of
// h times the pixel, `kWays` numbers side by side whatever the vector's width, so that all variants round alike.
constexpr int kWays = 16;

template <typename A>
SHIFTABLE_INLINE Vec<A> let_through(Vec<A> h, Vec<A> before_relu, bool relu) {
  return relu ? (before_relu <= splat(A(0)) ? splat(A(0)) : h) : h;  // as torch: also where it is a NaN
}

template <typename A, typename T>
__attribute__((noinline)) void plane_row(A scale, A bias, bool relu, const T* image, const A* h, int64_t count, T* out,
                                         const T* limit, A* scale_sums, A* bias_sums) {
  for (int64_t x = 0, way = 0; x < count; x += kLanes<A>, way = (way + kLanes<A>) % kWays) {
    const bool whole = x + kLanes<A> <= count;
    const Vec<A> value = whole ? load_as(image + x, A{}) : load_some<A>(image + x, count - x);
    const Vec<A> grad = whole ? load(h + x) : load_some<A>(h + x, count - x);
    const Vec<A> passed = let_through<A>(grad, fma(value, splat(scale), splat(bias)), relu);
    store_some<A>(out + x, passed * splat(scale), count - x, limit - (out + x));
    store(scale_sums + way, fma(passed, value, load(scale_sums + way)));
    store(bias_sums + way, load(bias_sums + way) + passed);
  }
}

template <typename A, typename T>
__attribute__((noinline)) void pixel_row(const A* scale, const A* bias, bool relu, const T* image, const A* h,
                                         int64_t pixels, int64_t channels, T* out, A* scale_sums, A* bias_sums) {
  for (int64_t x = 0; x < pixels; ++x, image += channels, h += channels, out += channels) {
    int64_t c = 0;
    for (; c + kLanes<A> <= channels; c += kLanes<A>) {
      const Vec<A> value = load_as(image + c, A{}), s = load(scale + c);
      const Vec<A> passed = let_through<A>(load(h + c), fma(value, s, load(bias + c)), relu);
      store_as(out + c, passed * s);
      store(scale_sums + c, fma(passed, value, load(scale_sums + c)));
      store(bias_sums + c, load(bias_sums + c) + passed);
    }
    for (; c < channels; ++c) {
      const A value = static_cast<A>(image[c]);
      const A passed = relu && fma(value, scale[c], bias[c]) <= A(0) ? A(0) : h[c];
      out[c] = static_cast<T>(passed * scale[c]);
      scale_sums[c] = fma(passed, value, scale_sums[c]);
      bias_sums[c] += passed;
    }
  }
}

// Adds each run of `length` numbers to a total, in order, and clears them.
template <typename A>
SHIFTABLE_INLINE void drain(A* sums, int64_t runs, int64_t length, double* totals) {
  if (length == 1) {
    for (int64_t i = 0; i < runs; ++i) totals[i] += static_cast<double>(sums[i]);
  } else {
    for (int64_t i = 0; i < runs; ++i)
      for (int64_t j = 0; j < length; ++j) totals[i] += static_cast<double>(sums[i * length + j]);
  }
  std::memset(sums, 0, runs * length * sizeof(A));
}

template <typename A, typename T>
void prologue_transpose(const BlurPlan& plan, const Prologue& prologue, const T* grad, const T* image, T* result,
                        A* scale_grad, A* bias_grad, const Parallel& parallel) {
  const auto* scale = static_cast<const A*>(prologue.scale);
  const auto* bias = static_cast<const A*>(prologue.bias);
  const AxisTable& vertical = plan.y->transpose;
  const RowTranspose<A> row(*plan.x, plan.inner);
  const int64_t rows = vertical.outputs(), row_size = row.results() * plan.inner;
  const int64_t grad_row = row.pixels() * plan.inner, grad_size = plan.y->axis.outputs * grad_row;
  const RowParts parts(plan.blocks, rows, 2 * rows * row_size);
  const T* grad_readable = grad + plan.blocks * grad_size;
  // Sums of each part, added up in order afterwards: the number of threads has no part in it.
  const int64_t kept = plan.inner > 1 ? plan.inner : 1, side = plan.inner > 1 ? plan.inner : kWays;
  Scratch<double> totals(parts.items * 2 * kept);
  parallel(parts.items, parts.grain, [&](int64_t begin, int64_t end) {
    Scratch<A> line(row.line_size()), h(row_size + 2 * kLanes<A>), sums(2 * side);
    Scratch<A, 64> temporary(row.temporary_size());
    Scratch<const T*, 64> pointers(most_entries(vertical));
    row.clear(line.data());
    if (row.temporary_size() > 0) row.clear(temporary.data());
    for (int64_t i = 0; i < 2 * side; ++i) sums.data()[i] = A(0);
    const T* limit = result + parts.first_row(end) * row_size;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t block = parts.block(item), start = block * rows;
      double* total = totals.data() + item * 2 * kept;
      for (int64_t i = 0; i < 2 * kept; ++i) total[i] = 0;
      for (int64_t y = parts.first_row(item); y < parts.first_row(item + 1); ++y) {
        RowsUnder<A, T> under(vertical, y - start, grad + block * grad_size, grad_row, pointers.data());
        const A* h_limit = h.data() + row_size + kLanes<A>;
        if (write_at_once(row, *plan.y, 0, 1, under, grad_row, grad_readable, h.data(), h_limit, Plain{}) == 0) {
          under.sum(grad_row, 1, prefetch_distance(plan.inner), grad_readable, row.line(line.data()), Plain{});
          row.apply(row.line(line.data()), temporary.data(), h.data(), h_limit);
        }
        const T* from = image + y * row_size;
        T* out = result + y * row_size;
        if (plan.inner == 1) {
          prefetch(reinterpret_cast<const char*>(from) + prefetch_distance(1),
                   row_size * static_cast<int64_t>(sizeof(T)));
          const int64_t c = block % prologue.channels;
          plane_row<A>(scale[c], bias[c], prologue.relu, from, h.data(), row_size, out, limit, sums.data(),
                       sums.data() + side);
        } else {
          pixel_row<A>(scale, bias, prologue.relu, from, h.data(), row.results(), plan.inner, out, sums.data(),
                       sums.data() + side);
        }
        drain(sums.data(), 2 * kept, side / kept, total);
      }
    }
  });
  for (int64_t c = 0; c < prologue.channels; ++c) {
    double sums[2] = {0, 0};
    for (int64_t item = 0; item < parts.items; ++item) {
      const double* total = totals.data() + item * 2 * kept;
      if (plan.inner == 1 && parts.block(item) % prologue.channels != c) continue;
      for (int i = 0; i < 2; ++i) sums[i] += total[i * kept + (plan.inner == 1 ? 0 : c)];
    }
    scale_grad[c] = static_cast<A>(sums[0]);
    bias_grad[c] = static_cast<A>(sums[1]);
  }
}

template <typename T, typename Read>
void forward(const BlurPlan& plan, const void* image, void* result, const Read& prologue, const Parallel& parallel) {
  using A = accumulator_t<T>;
  const int64_t fresh = plan.y->axis.stride < 2 ? 1 : 2;
  separable<A>(*plan.y, plan.y->forward, plan.y->axis.inputs, fresh, RowFilter<A>(*plan.x, plan.inner), plan.blocks,
               plan.inner, static_cast<const T*>(image), static_cast<T*>(result), prologue, parallel);
}

}  // namespace

namespace SHIFTABLE_VARIANT {

void blur_downsample_cpu(const BlurPlan& plan, DType dtype, const void* image, void* result, const Parallel& parallel) {
  with_float_type(dtype, [&](auto zero) { forward<decltype(zero)>(plan, image, result, Plain{}, parallel); });
}

void blur_downsample_transpose_cpu(const BlurPlan& plan, DType dtype, const void* grad, void* result,
                                   const Parallel& parallel) {
  with_float_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = accumulator_t<T>;
    separable<A>(*plan.y, plan.y->transpose, plan.y->axis.outputs, 1, RowTranspose<A>(*plan.x, plan.inner), plan.blocks,
                 plan.inner, static_cast<const T*>(grad), static_cast<T*>(result), Plain{}, parallel);
  });
}

void blur_downsample_prologue_cpu(const BlurPlan& plan, DType dtype, const void* image, const Prologue& prologue,
                                  void* result, const Parallel& parallel) {
  with_float_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    with_affine<accumulator_t<T>>(plan, prologue,
                                  [&](const auto& affine) { forward<T>(plan, image, result, affine, parallel); });
  });
}

void blur_downsample_prologue_transpose_cpu(const BlurPlan& plan, DType dtype, const void* grad, const void* image,
                                            const Prologue& prologue, void* result, void* scale_grad, void* bias_grad,
                                            const Parallel& parallel) {
  with_float_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = accumulator_t<T>;
    prologue_transpose<A>(plan, prologue, static_cast<const T*>(grad), static_cast<const T*>(image),
                          static_cast<T*>(result), static_cast<A*>(scale_grad), static_cast<A*>(bias_grad), parallel);
  });
}

}  // namespace SHIFTABLE_VARIANT
}  // namespace shiftable
