#include <limits>

#include "max_blur_downsample/cuda_fast_call.h"
#include "max_blur_downsample/pixel.h"

namespace shiftable {
namespace {

// -- any window and filter, a thread for each number --------------------------------------------------

template <typename A>
struct AnyWork {
  PixelAxis<A> y, x;  // of the blur, whose image is the map
  MaxAxis max_y, max_x;
  Numbers numbers;
  const void *values, *image, *grad;
  void* to;
};

template <typename T, typename A>
SHIFTABLE_DEVICE const T* block_of(const void* image, const AnyWork<A>& work, const Numbers::Place& place) {
  return static_cast<const T*>(image) + place.block * work.max_y.inputs * work.max_x.inputs * work.numbers.inner +
         place.c;
}

template <typename T, bool kGather, typename A = accumulator_t<T>>
__global__ void __launch_bounds__(kBlock, 1) max_filter_any(const __grid_constant__ AnyWork<A> work) {
  const uint32_t thread = thread_number();
  if (thread >= work.numbers.threads) return;
  const Numbers::Place place = work.numbers.place(thread);
  const int64_t inner = work.numbers.inner;
  const T *image = block_of<T>(work.image, work, place), *values = block_of<T>(work.values, work, place);
  const auto at = [&](int64_t y, int64_t x) { return (y * work.max_x.inputs + x) * inner; };
  const auto read = [&](int64_t y, int64_t x) { return as<A>(load_one(image + at(y, x))); };
  const A result = filtered_pixel<A>(work.y, work.x, place.y, place.x, [&](int64_t my, int64_t mx) {
    if constexpr (!kGather) return map_pixel<A>(work.max_y, work.max_x, my, mx, read);
    const Winner winner = winner_of<A>(work.max_y, work.max_x, my, mx, read);
    if (winner.ky < 0) return A(0);  // as the transpose gives padding nothing
    const int64_t y = my - work.max_y.pad + winner.ky * work.max_y.dilation;
    return as<A>(load_one(values + at(y, mx - work.max_x.pad + winner.kx * work.max_x.dilation)));
  });
  store_one(static_cast<T*>(work.to) + ((place.block * work.y.outputs + place.y) * work.x.outputs + place.x) * inner +
                place.c,
            static_cast<T>(result));
}

template <typename T, typename A = accumulator_t<T>>
__global__ void __launch_bounds__(kBlock, 1) max_transpose_any(const __grid_constant__ AnyWork<A> work) {
  const uint32_t thread = thread_number();
  if (thread >= work.numbers.threads) return;
  const Numbers::Place place = work.numbers.place(thread);
  const int64_t inner = work.numbers.inner;
  const T* image = block_of<T>(work.image, work, place);
  const T* grad = static_cast<const T*>(work.grad) + place.block * work.y.outputs * work.x.outputs * inner + place.c;
  const A result = given_pixel<A>(
      work.max_y, work.max_x, work.y.inputs, work.x.inputs, place.y, place.x,
      [&](int64_t y, int64_t x) { return as<A>(load_one(image + (y * work.max_x.inputs + x) * inner)); },
      [&](int64_t my, int64_t mx) {
        return transposed_pixel<A>(work.y, work.x, my, mx, [&](int64_t oy, int64_t ox) {
          return as<A>(load_one(grad + (oy * work.x.outputs + ox) * inner));
        });
      });
  store_one(static_cast<T*>(work.to) +
                ((place.block * work.max_y.inputs + place.y) * work.max_x.inputs + place.x) * inner + place.c,
            static_cast<T>(result));
}

template <typename A>
AnyWork<A> work_of(const MaxBlurPlan& plan) {
  const FilterAxis &y = plan.blur.y->axis, &x = plan.blur.x->axis;
  check_taps("max_blur_downsample", y, x);
  return {PixelAxis<A>(y), PixelAxis<A>(x), plan.y, plan.x, {}, nullptr, nullptr, nullptr, nullptr};
}

bool run_fast(DType dtype, const FastMaxCall& call) {
  switch (dtype) {
    case DType::float32: return run_fast_max_float32(call);
    case DType::float16: return run_fast_max_float16(call);
    case DType::bfloat16: return run_fast_max_bfloat16(call);
    default: return false;
  }
}

}  // namespace

void max_blur_downsample_gather_cuda(const MaxBlurPlan& plan, DType dtype, const void* values, const void* image,
                                     void* result, const GpuCall& gpu) {
  const char* op = "max_blur_downsample";
  if (values == image && run_fast(dtype, {op, plan, false, image, image, result, gpu})) return;
  with_float_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    auto work = work_of<accumulator_t<T>>(plan);
    work.values = values;
    work.image = image;
    work.to = result;
    const FilterAxis &y = plan.blur.y->axis, &x = plan.blur.x->axis;
    for_numbers(plan.blur.blocks, y.outputs, x.outputs, plan.blur.inner, [&](const Numbers& numbers) {
      work.numbers = numbers;
      if (values == image)
        launch(op, max_filter_any<T, false>, numbers.threads, gpu, work);
      else
        launch(op, max_filter_any<T, true>, numbers.threads, gpu, work);
    });
  });
}

void max_blur_downsample_transpose_cuda(const MaxBlurPlan& plan, DType dtype, const void* grad, const void* image,
                                        void* result, const GpuCall& gpu) {
  const char* op = "max_blur_downsample_transpose";
  if (run_fast(dtype, {op, plan, true, grad, image, result, gpu})) return;
  with_float_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    auto work = work_of<accumulator_t<T>>(plan);
    work.image = image;
    work.grad = grad;
    work.to = result;
    for_numbers(plan.blur.blocks, plan.y.inputs, plan.x.inputs, plan.blur.inner, [&](const Numbers& numbers) {
      work.numbers = numbers;
      launch(op, max_transpose_any<T>, numbers.threads, gpu, work);
    });
  });
}

}  // namespace shiftable
