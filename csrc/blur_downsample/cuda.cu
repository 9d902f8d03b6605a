#include <limits>

#include "blur_downsample/cuda_fast_call.h"
#include "blur_downsample/cuda_sums.h"
#include "blur_downsample/pixel.h"

namespace shiftable {
namespace {

// -- any filter, a thread for each number -----------------------------------------------------------

template <typename A>
struct Affine {
  const A *scale, *bias;  // null for none
  A lowest;
  int64_t channels;

  SHIFTABLE_DEVICE A operator()(A value, int64_t c) const {
    if (scale == nullptr) return value;
    value = fused(value, scale[c], bias[c]);
    return value < lowest ? lowest : value;  // a NaN stays
  }
};

template <typename A>
struct AnyWork {
  PixelAxis<A> y, x;
  Numbers numbers;
  Affine<A> affine;
  const void *from, *image;
  void* to;
};

template <typename A>
AnyWork<A> work_of(const BlurPlan& plan, const void* from, void* to, const Prologue* prologue) {
  const FilterAxis &y = plan.y->axis, &x = plan.x->axis;
  check_taps("blur_downsample", y, x);
  AnyWork<A> work{PixelAxis<A>(y), PixelAxis<A>(x), {}, {nullptr, nullptr, A(0), 1}, from, nullptr, to};
  if (prologue != nullptr)
    work.affine = {static_cast<const A*>(prologue->scale), static_cast<const A*>(prologue->bias),
                   prologue->relu ? A(0) : -std::numeric_limits<A>::infinity(), prologue->channels};
  return work;
}

template <typename T, typename A = accumulator_t<T>>
__global__ void __launch_bounds__(kBlock, 1) filter_any(const __grid_constant__ AnyWork<A> work) {
  const uint32_t thread = thread_number();
  if (thread >= work.numbers.threads) return;
  const Numbers::Place place = work.numbers.place(thread);
  const int64_t inner = work.numbers.inner;
  const int64_t channel = inner == 1 ? place.block % work.affine.channels : place.c;
  const T* image = static_cast<const T*>(work.from) + place.block * work.y.inputs * work.x.inputs * inner + place.c;
  const A result = filtered_pixel<A>(work.y, work.x, place.y, place.x, [&](int64_t y, int64_t x) {
    return work.affine(as<A>(load_one(image + (y * work.x.inputs + x) * inner)), channel);
  });
  store_one(static_cast<T*>(work.to) + ((place.block * work.y.outputs + place.y) * work.x.outputs + place.x) * inner +
                place.c,
            static_cast<T>(result));
}

template <typename T, typename A = accumulator_t<T>>
__global__ void __launch_bounds__(kBlock, 1) transpose_any(const __grid_constant__ AnyWork<A> work) {
  const uint32_t thread = thread_number();
  if (thread >= work.numbers.threads) return;
  const Numbers::Place place = work.numbers.place(thread);
  const int64_t inner = work.numbers.inner;
  const T* grad = static_cast<const T*>(work.from) + place.block * work.y.outputs * work.x.outputs * inner + place.c;
  const A result = transposed_pixel<A>(work.y, work.x, place.y, place.x, [&](int64_t oy, int64_t ox) {
    return as<A>(load_one(grad + (oy * work.x.outputs + ox) * inner));
  });
  store_one(
      static_cast<T*>(work.to) + ((place.block * work.y.inputs + place.y) * work.x.inputs + place.x) * inner + place.c,
      static_cast<T>(result));
}

// With a prologue a thread has a channel and every `parts`-th pixel of it, over all images, and leaves the sums over
// them.
template <typename T, typename A = accumulator_t<T>>
__global__ void __launch_bounds__(kBlock, 1)
    transpose_any_prologue(const __grid_constant__ AnyWork<A> work, int64_t images, uint32_t parts, A* sums) {
  const uint32_t thread = thread_number();
  const int64_t channels = work.affine.channels, c = thread % channels, part = thread / channels;
  if (part >= parts) return;
  const int64_t pixels = work.y.inputs * work.x.inputs, grads = work.y.outputs * work.x.outputs;
  const bool planes = work.numbers.inner == 1;
  const int64_t step = planes ? 1 : channels;
  A scale_sum = 0, bias_sum = 0;
  for (int64_t i = part; i < images * pixels; i += parts) {
    const int64_t n = i / pixels, pixel = i % pixels;
    const int64_t block = planes ? (n * channels + c) * pixels : n * pixels * channels + c;
    const T* grad = static_cast<const T*>(work.from) + (planes ? (n * channels + c) * grads : n * grads * channels + c);
    const A h = transposed_pixel<A>(
        work.y, work.x, pixel / work.x.inputs, pixel % work.x.inputs,
        [&](int64_t oy, int64_t ox) { return as<A>(load_one(grad + (oy * work.x.outputs + ox) * step)); });
    const A value = as<A>(load_one(static_cast<const T*>(work.image) + block + pixel * step));
    const A before = fused(value, work.affine.scale[c], work.affine.bias[c]);
    const A passed = work.affine.lowest == 0 && before <= 0 ? A(0) : h;
    store_one(static_cast<T*>(work.to) + block + pixel * step, static_cast<T>(passed * work.affine.scale[c]));
    scale_sum = fused(passed, value, scale_sum);
    bias_sum += passed;
  }
  store_one(sums + (part * 2) * channels + c, scale_sum);
  store_one(sums + (part * 2 + 1) * channels + c, bias_sum);
}

bool run_fast(DType dtype, const FastCall& call) {
  switch (dtype) {
    case DType::float32: return run_fast_float32(call);
    case DType::float16: return run_fast_float16(call);
    case DType::bfloat16: return run_fast_bfloat16(call);
    default: return false;
  }
}

void filter(const BlurPlan& plan, DType dtype, const void* image, void* result, const Prologue* prologue,
            const GpuCall& gpu) {
  const char* op = "blur_downsample";
  if (run_fast(dtype, {op, plan, false, image, result, gpu, prologue})) return;
  with_float_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    auto work = work_of<accumulator_t<T>>(plan, image, result, prologue);
    for_numbers(plan.blocks, plan.y->axis.outputs, plan.x->axis.outputs, plan.inner, [&](const Numbers& numbers) {
      work.numbers = numbers;
      launch(op, filter_any<T>, numbers.threads, gpu, work);
    });
  });
}

}  // namespace

void blur_downsample_cuda(const BlurPlan& plan, DType dtype, const void* image, void* result, const GpuCall& gpu) {
  filter(plan, dtype, image, result, nullptr, gpu);
}

void blur_downsample_prologue_cuda(const BlurPlan& plan, DType dtype, const void* image, const Prologue& prologue,
                                   void* result, const GpuCall& gpu) {
  filter(plan, dtype, image, result, &prologue, gpu);
}

void blur_downsample_transpose_cuda(const BlurPlan& plan, DType dtype, const void* grad, void* result,
                                    const GpuCall& gpu) {
  const char* op = "blur_downsample_transpose";
  if (run_fast(dtype, {op, plan, true, grad, result, gpu})) return;
  with_float_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    auto work = work_of<accumulator_t<T>>(plan, grad, result, nullptr);
    for_numbers(plan.blocks, plan.y->axis.inputs, plan.x->axis.inputs, plan.inner, [&](const Numbers& numbers) {
      work.numbers = numbers;
      launch(op, transpose_any<T>, numbers.threads, gpu, work);
    });
  });
}

void blur_downsample_prologue_transpose_cuda(const BlurPlan& plan, DType dtype, const void* grad, const void* image,
                                             const Prologue& prologue, void* result, void* scale_grad, void* bias_grad,
                                             const GpuCall& gpu) {
  const char* op = "blur_downsample_prologue_transpose";
  if (plan.blocks > 0 && dtype != DType::float64 &&
      run_fast(dtype, {op, plan, true, grad, result, gpu, &prologue, image, static_cast<float*>(scale_grad),
                       static_cast<float*>(bias_grad)}))
    return;
  with_float_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = accumulator_t<T>;
    const int64_t channels = prologue.channels,
                  images = plan.inner > 1 ? plan.blocks : plan.blocks / std::max<int64_t>(channels, 1);
    if (channels == 0) return;
    auto work = work_of<A>(plan, grad, result, &prologue);
    work.image = image;
    work.numbers.inner = plan.inner;
    const int64_t pixels = images * plan.y->axis.inputs * plan.x->axis.inputs;
    const int64_t parts = std::max<int64_t>(1, std::min(pixels, (int64_t{1} << 18) / channels));
    auto* sums = static_cast<A*>(gpu.temporary(parts * channels * 2 * static_cast<int64_t>(sizeof(A))));
    launch(op, transpose_any_prologue<T>, parts * channels, gpu, work, images, static_cast<uint32_t>(parts), sums);
    add_up(op, sums, Parts{parts, 1, 2 * channels, 0, channels, 0, channels}, channels, static_cast<A*>(scale_grad),
           static_cast<A*>(bias_grad), gpu);
  });
}

}  // namespace shiftable
