#include <algorithm>

#include "blur_downsample/pixel.h"
#include "polyphase/plan.h"

namespace shiftable {
namespace {

// Pixel (r, c) of component (i, j) is pixel (r * stride_y + i, c * stride_x + j) of the image blurred at stride 1.
template <typename A>
struct ComponentWork {
  PixelAxis<A> y, x;  // at stride 1
  int64_t stride_y, stride_x, height, width;
  int64_t blocks_of_sample;
  Numbers numbers;
  const void* from;
  void* to;

  ComponentWork(const char* op, const PolyphasePlan& plan, const void* source, void* target)
      : y(plan.blurred.y->axis),
        x(plan.blurred.x->axis),
        stride_y(plan.stride_y),
        stride_x(plan.stride_x),
        height(plan.height),
        width(plan.width),
        blocks_of_sample(plan.blocks_of_sample()),
        numbers{},
        from(source),
        to(target) {
    check_taps(op, plan.blurred.y->axis, plan.blurred.x->axis);
  }
};

// -- norms -----------------------------------------------------------------------------------------

SHIFTABLE_DEVICE float root(float value) { return sqrtf(value); }
SHIFTABLE_DEVICE double root(double value) { return ::sqrt(value); }

template <typename A>
SHIFTABLE_DEVICE A together(Norm norm, A total, A part) {
  if (norm != Norm::linf) return total + part;
  return part > total || part != part ? part : total;  // a NaN stays
}

template <typename A>
SHIFTABLE_DEVICE A taken_in(Norm norm, A total, A value) {
  if (norm == Norm::l2) return fused(value, value, total);
  return together(norm, total, value < 0 ? -value : value);
}

// What threads leave: `count` sums for each sample and phase.
struct Partial {
  int64_t share, parts;  // rows of a component that a thread takes, and such parts of a column
  int64_t count;
};

// A thread has a column, or a part of it, of a component and channel.
template <typename T, typename A = accumulator_t<T>>
__global__ void __launch_bounds__(kBlock, 1) take_in(const __grid_constant__ ComponentWork<A> work,
                                                     const __grid_constant__ Partial partial, Norm norm, A* sums) {
  const uint32_t thread = thread_number();
  if (thread >= work.numbers.threads) return;
  const Numbers::Place place = work.numbers.place(thread);
  const int64_t inner = work.numbers.inner;
  const T* image = static_cast<const T*>(work.from) + place.block * work.y.inputs * work.x.inputs * inner + place.c;
  const int64_t i = place.y / partial.parts, part = place.y % partial.parts;
  const int64_t end = (part + 1) * partial.share < work.height ? (part + 1) * partial.share : work.height;
  A sum = 0;
  for (int64_t r = part * partial.share; r < end; ++r)
    sum = taken_in(norm, sum,
                   filtered_pixel<A>(work.y, work.x, r * work.stride_y + i, place.x, [&](int64_t y, int64_t x) {
                     return as<A>(load_one(image + (y * work.x.inputs + x) * inner));
                   }));
  const int64_t n = place.block / work.blocks_of_sample, plane = place.block % work.blocks_of_sample;
  const int64_t phase = i * work.stride_x + place.x % work.stride_x;
  const int64_t column = (plane * partial.parts + part) * work.width + place.x / work.stride_x;
  store_one(sums + (n * work.stride_y * work.stride_x + phase) * partial.count + column * inner + place.c, sum);
}

// Of every `count` sums a thread puts every `kept`-th together, from its own on.
template <typename A>
__global__ void __launch_bounds__(kBlock, 1)
    put_together(const A* values, int64_t count, int64_t kept, Norm norm, uint32_t threads, A* sums) {
  const uint32_t thread = thread_number();
  if (thread >= threads) return;
  const int64_t group = thread / kept;
  A sum = 0;
  for (int64_t m = thread % kept; m < count; m += kept) sum = together(norm, sum, load_one(values + group * count + m));
  store_one(sums + thread, kept == 1 && norm == Norm::l2 ? root(sum) : sum);
}

constexpr int64_t kMostRows = 64, kAtOnce = 64;  // that a thread takes in, or puts together

template <typename A>
void put_all_together(const char* op, const A* values, int64_t count, int64_t groups, Norm norm, A* norms,
                      const GpuCall& gpu) {
  for (bool done = false; !done;) {
    const int64_t kept = std::max<int64_t>(1, (count + kAtOnce - 1) / kAtOnce), threads = groups * kept;
    if (threads > kMostThreads) throw std::invalid_argument(std::string(op) + ": expected a smaller image on CUDA");
    done = kept == 1;
    auto* sums = done ? norms : static_cast<A*>(gpu.temporary(threads * static_cast<int64_t>(sizeof(A))));
    launch(op, put_together<A>, threads, gpu, values, count, kept, norm, static_cast<uint32_t>(threads), sums);
    values = sums;
    count = kept;
  }
}

// -- components: a thread for each number ----------------------------------------------------------

struct Phases {
  const int64_t* phase;
  bool one_for_all;

  // The row and the column of a sample's phase among those of `stride_y` times `stride_x`.
  template <typename A>
  SHIFTABLE_DEVICE void of(const ComponentWork<A>& work, int64_t block, int64_t& i, int64_t& j) const {
    const int64_t last = work.stride_y * work.stride_x - 1;
    int64_t p = load_one(phase + (one_for_all ? 0 : block / work.blocks_of_sample));
    p = p < 0 ? 0 : p > last ? last : p;
    i = p / work.stride_x;
    j = p % work.stride_x;
  }
};

template <typename T, typename A = accumulator_t<T>>
__global__ void __launch_bounds__(kBlock, 1)
    filter_component(const __grid_constant__ ComponentWork<A> work, const __grid_constant__ Phases phases) {
  const uint32_t thread = thread_number();
  if (thread >= work.numbers.threads) return;
  const Numbers::Place place = work.numbers.place(thread);
  const int64_t inner = work.numbers.inner;
  const T* image = static_cast<const T*>(work.from) + place.block * work.y.inputs * work.x.inputs * inner + place.c;
  int64_t i, j;
  phases.of(work, place.block, i, j);
  const A result =
      filtered_pixel<A>(work.y, work.x, place.y * work.stride_y + i, place.x * work.stride_x + j,
                        [&](int64_t y, int64_t x) { return as<A>(load_one(image + (y * work.x.inputs + x) * inner)); });
  store_one(static_cast<T*>(work.to) + ((place.block * work.height + place.y) * work.width + place.x) * inner + place.c,
            static_cast<T>(result));
}

template <typename T, typename A = accumulator_t<T>>
__global__ void __launch_bounds__(kBlock, 1)
    transpose_component(const __grid_constant__ ComponentWork<A> work, const __grid_constant__ Phases phases) {
  const uint32_t thread = thread_number();
  if (thread >= work.numbers.threads) return;
  const Numbers::Place place = work.numbers.place(thread);
  const int64_t inner = work.numbers.inner;
  const T* grad = static_cast<const T*>(work.from) + place.block * work.height * work.width * inner + place.c;
  int64_t i, j;
  phases.of(work, place.block, i, j);
  Sum<A> row;
  for_readers(work.x, place.x, [&](int64_t x, A weight) {
    if (x % work.stride_x != j) return;  // of another component
    Sum<A> column;
    for_readers(work.y, place.y, [&](int64_t y, A tap) {
      if (y % work.stride_y != i) return;
      column.add(as<A>(load_one(grad + (y / work.stride_y * work.width + x / work.stride_x) * inner)), tap);
    });
    row.add(column.value, weight);
  });
  store_one(
      static_cast<T*>(work.to) + ((place.block * work.y.inputs + place.y) * work.x.inputs + place.x) * inner + place.c,
      static_cast<T>(row.value));
}

}  // namespace

void polyphase_norms_cuda(const PolyphasePlan& plan, Norm norm, DType dtype, const void* image, void* norms,
                          const GpuCall& gpu) {
  const char* op = "polyphase_norms";
  const int64_t blocks = plan.blurred.blocks, inner = plan.blurred.inner, columns = plan.width * plan.stride_x;
  with_float_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = accumulator_t<T>;
    ComponentWork<A> work(op, plan, image, nullptr);
    const int64_t share = share_of(plan.height, blocks * plan.stride_y * columns * inner, kMostRows);
    const int64_t parts = (plan.height + share - 1) / share;
    const Partial partial{share, parts, plan.blocks_of_sample() * parts * plan.width * inner};
    const int64_t groups = plan.samples * plan.phases();
    auto* sums = static_cast<A*>(gpu.temporary(groups * partial.count * static_cast<int64_t>(sizeof(A))));
    for_numbers(blocks, plan.stride_y * parts, columns, inner, [&](const Numbers& numbers) {
      work.numbers = numbers;
      launch(op, take_in<T>, numbers.threads, gpu, work, partial, norm, sums);
    });
    put_all_together(op, sums, partial.count, groups, norm, static_cast<A*>(norms), gpu);
  });
}

void polyphase_downsample_cuda(const PolyphasePlan& plan, const int64_t* phase, int64_t phases, DType dtype,
                               const void* image, void* result, const GpuCall& gpu) {
  const char* op = "polyphase_downsample";
  with_float_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    ComponentWork<accumulator_t<T>> work(op, plan, image, result);
    for_numbers(plan.blurred.blocks, plan.height, plan.width, plan.blurred.inner, [&](const Numbers& numbers) {
      work.numbers = numbers;
      launch(op, filter_component<T>, numbers.threads, gpu, work, Phases{phase, phases == 1});
    });
  });
}

void polyphase_downsample_transpose_cuda(const PolyphasePlan& plan, const int64_t* phase, int64_t phases, DType dtype,
                                         const void* grad, void* result, const GpuCall& gpu) {
  const char* op = "polyphase_downsample_transpose";
  const FilterAxis &y = plan.blurred.y->axis, &x = plan.blurred.x->axis;
  with_float_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    ComponentWork<accumulator_t<T>> work(op, plan, grad, result);
    for_numbers(plan.blurred.blocks, y.inputs, x.inputs, plan.blurred.inner, [&](const Numbers& numbers) {
      work.numbers = numbers;
      launch(op, transpose_component<T>, numbers.threads, gpu, work, Phases{phase, phases == 1});
    });
  });
}

}  // namespace shiftable
