#include "core/separable.h"
#include "polyphase/plan.h"

namespace shiftable {
namespace {

// -- norms -----------------------------------------------------------------------------------------

// Takes a sum (or a largest value) further by a number's part in the norm. Of a vector or a number.
template <Norm norm, typename V>
SHIFTABLE_INLINE V taken_in(V sum, V value) {
  if constexpr (norm == Norm::l2) return fma(value, value, sum);
  const V magnitude = value < 0 ? -value : value;
  if constexpr (norm == Norm::l1) return sum + magnitude;
  const V larger = magnitude > sum ? magnitude : sum;  // a NaN in `sum` stays
  return magnitude == magnitude ? larger : magnitude;
}

// Takes in the numbers j, j + period, j + 2 period, ... of a row at sums[j], whatever the vector's width, so that all
// variants round alike. Row and sums have room for a vector past their end; the row's is zero, the sums' is not read.
template <Norm norm, typename A>
__attribute__((noinline)) void take_in(const A* row, int64_t count, int64_t period, A* sums) {
  for (; count > 0; row += period, count -= period) {
    const int64_t size = count < period ? count : period;
    for (int64_t j = 0; j < size; j += kLanes<A>) store(sums + j, taken_in<norm>(load(sums + j), load(row + j)));
  }
}

template <Norm norm>
SHIFTABLE_INLINE double together(double total, double part) {
  return norm == Norm::linf ? taken_in<Norm::linf>(total, part) : total + part;
}

// Rows of the blurred image that are made before any is taken in, so that loads do not wait for the stores they
// straddle.
constexpr int64_t kLines = 4;

template <Norm norm, typename T, typename A = accumulator_t<T>>
void norms_of(const PolyphasePlan& plan, const T* image, A* norms, const Parallel& parallel) {
  constexpr int64_t L = kLanes<A>;
  const AxisTable& vertical = plan.blurred.y->forward;
  const int64_t inner = plan.blurred.inner, blocks = plan.blurred.blocks, phases = plan.phases();
  const RowFilter<A> filter(*plan.blurred.x, inner);
  const int64_t rows = vertical.outputs(), rows_in = plan.blurred.y->axis.inputs;
  const int64_t row_size = filter.pixels() * inner, blurred_size = filter.results() * inner;
  // A multiple of what phases repeat after, so long that sums do not wait for each other.
  const int64_t repeat = plan.stride_x * inner, most = (64 + repeat - 1) / repeat;
  const int64_t period = repeat * (most < plan.width ? most : plan.width);
  const RowParts parts(blocks, rows, 2 * rows * row_size);
  const T* readable = image + blocks * rows_in * row_size;
  // Sums of each part, added up in order afterwards: the number of threads has no part in it.
  Scratch<double> totals(parts.items * phases);
  parallel(parts.items, parts.grain, [&](int64_t begin, int64_t end) {
    const int64_t line_size = filter.line_size(), sums_size = period + L;
    Scratch<A> lines(kLines * line_size), blurred(blurred_size + 2 * L), sums(plan.stride_y * sums_size);
    Scratch<const T*, 64> pointers(most_entries(vertical));
    for (int64_t item = begin; item < end; ++item) {
      const int64_t start = parts.block(item) * rows, end_row = parts.first_row(item + 1);
      const T* from = image + parts.block(item) * rows_in * row_size;
      std::memset(sums.data(), 0, plan.stride_y * sums_size * sizeof(A));
      for (int64_t y = parts.first_row(item), count; y < end_row; y += count) {
        count = end_row - y < kLines ? end_row - y : kLines;
        for (int64_t r = 0; r < count; ++r)
          RowsUnder<A, T>(vertical, y + r - start, from, row_size, pointers.data())
              .sum(row_size, 1, prefetch_distance(inner), readable, filter.line(lines.data() + r * line_size), Plain{});
        for (int64_t r = 0; r < count; ++r) {
          filter.apply(filter.line(lines.data() + r * line_size), nullptr, blurred.data(),
                       blurred.data() + blurred_size + L);
          store(blurred.data() + blurred_size, splat(A(0)));
          take_in<norm>(blurred.data(), blurred_size, period,
                        sums.data() + (y + r - start) % plan.stride_y * sums_size);
        }
      }
      double* total = totals.data() + item * phases;
      for (int64_t p = 0; p < phases; ++p) total[p] = 0;
      for (int64_t i = 0; i < plan.stride_y; ++i)
        for (int64_t from = i * sums_size, stop = from + period; from < stop;)
          for (int64_t p = i * plan.stride_x; p < (i + 1) * plan.stride_x; ++p)
            for (int64_t c = 0; c < inner; ++c, ++from)
              total[p] = together<norm>(total[p], static_cast<double>(sums.data()[from]));
    }
  });
  const int64_t items = plan.blocks_of_sample() * parts.parts;
  for (int64_t n = 0; n < plan.samples; ++n)
    for (int64_t p = 0; p < phases; ++p) {
      double total = 0;
      for (int64_t item = n * items; item < (n + 1) * items; ++item)
        total = together<norm>(total, totals.data()[item * phases + p]);
      norms[n * phases + p] = static_cast<A>(norm == Norm::l2 ? __builtin_sqrt(total) : total);
    }
}

// -- components: the filter's own kernels ----------------------------------------------------------

// Calls filter(component, n) for the samples from n on that it is a plan for: one, or all.
template <typename Filter>
void for_components(const PolyphasePlan& plan, const int64_t* phase, int64_t phases, const Parallel& parallel,
                    const Filter& filter) {
  if (phases == 1) return filter(plan.components[phase[0]], 0);
  // Threads share the rows of large samples, or small samples whole.
  const int64_t pixels = plan.channels * plan.blurred.y->axis.inputs * plan.blurred.x->axis.inputs;
  const int64_t grain = grain_for(pixels);
  parallel(phases, grain > 1 ? grain : phases, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) filter(plan.components[phase[n]], n);
  });
}

struct Sizes {
  int64_t image, component;  // of a sample, in bytes

  Sizes(const PolyphasePlan& plan, DType dtype) {
    const int64_t number = dtype == DType::float64 ? 8 : dtype == DType::float32 ? 4 : 2;
    image = plan.channels * plan.blurred.y->axis.inputs * plan.blurred.x->axis.inputs * number;
    component = plan.channels * plan.height * plan.width * number;
  }
};

}  // namespace

namespace SHIFTABLE_VARIANT {

void polyphase_norms_cpu(const PolyphasePlan& plan, Norm norm, DType dtype, const void* image, void* norms,
                         const Parallel& parallel) {
  with_float_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto* from = static_cast<const T*>(image);
    auto* to = static_cast<accumulator_t<T>*>(norms);
    switch (norm) {
      case Norm::l1: return norms_of<Norm::l1>(plan, from, to, parallel);
      case Norm::l2: return norms_of<Norm::l2>(plan, from, to, parallel);
      case Norm::linf: return norms_of<Norm::linf>(plan, from, to, parallel);
    }
  });
}

void polyphase_downsample_cpu(const PolyphasePlan& plan, const int64_t* phase, int64_t phases, DType dtype,
                              const void* image, void* result, const Parallel& parallel) {
  const Sizes sizes(plan, dtype);
  for_components(plan, phase, phases, parallel, [&](const BlurPlan& component, int64_t n) {
    blur_downsample_cpu(component, dtype, static_cast<const char*>(image) + n * sizes.image,
                        static_cast<char*>(result) + n * sizes.component, parallel);
  });
}

void polyphase_downsample_transpose_cpu(const PolyphasePlan& plan, const int64_t* phase, int64_t phases, DType dtype,
                                        const void* grad, void* result, const Parallel& parallel) {
  const Sizes sizes(plan, dtype);
  for_components(plan, phase, phases, parallel, [&](const BlurPlan& component, int64_t n) {
    blur_downsample_transpose_cpu(component, dtype, static_cast<const char*>(grad) + n * sizes.component,
                                  static_cast<char*>(result) + n * sizes.image, parallel);
  });
}

}  // namespace SHIFTABLE_VARIANT
}  // namespace shiftable
