// Chooses the fast kernel for a call on a GPU, where there is one. Compiled once for each type of numbers.
#pragma once

#include <algorithm>
#include <limits>

#include "blur_downsample/cuda_fast_call.h"
#include "blur_downsample/cuda_pixels.h"
#include "blur_downsample/cuda_sums.h"

namespace shiftable {
namespace {

constexpr int64_t kMostNumbers = (int64_t{1} << 31) - 1;  // of a plane or image: offsets in them are of 32 bits

// What planes and pixels have in common.
template <typename Work>
bool begin_work(Work& work, const FastCall& call) {
  const FilterAxis &y = call.plan.y->axis, &x = call.plan.x->axis;
  const int64_t inner = call.plan.inner;
  if (!is_fast(y, x) || !is_near(y) || !is_near(x)) return false;
  if (y.inputs * x.inputs * inner > kMostNumbers || y.outputs * x.outputs * inner > kMostNumbers) return false;
  work.from = call.from;
  work.to = call.to;
  work.image = call.image;
  work.height = static_cast<int>(y.inputs);
  work.width = static_cast<int>(x.inputs);
  work.out_height = static_cast<int>(y.outputs);
  work.out_width = static_cast<int>(x.outputs);
  work.border = y.border;
  std::copy(call.plan.y->taps32.begin(), call.plan.y->taps32.end(), work.taps_y);
  std::copy(call.plan.x->taps32.begin(), call.plan.x->taps32.end(), work.taps_x);
  if (call.prologue != nullptr) {
    work.scale = static_cast<const float*>(call.prologue->scale);
    work.bias = static_cast<const float*>(call.prologue->bias);
    work.lowest = call.prologue->relu ? 0.0f : -std::numeric_limits<float>::infinity();
  }
  return true;
}

// Starts the kernel on as many planes or images at a time as its threads can be numbered for.
template <typename T, typename Work, typename Kernel>
void run(const FastCall& call, Work work, Kernel kernel, int64_t threads_each, int64_t sums_each) {
  const FilterAxis &y = call.plan.y->axis, &x = call.plan.x->axis;
  const int64_t image = y.inputs * x.inputs * call.plan.inner, result = y.outputs * x.outputs * call.plan.inner;
  const int64_t most = std::min(kMostThreads / threads_each, int64_t{1} << 30);
  for (int64_t first = 0; first < call.plan.blocks; first += most) {
    const int64_t count = std::min(most, call.plan.blocks - first);
    work.from = static_cast<const T*>(call.from) + first * (call.transpose ? result : image);
    work.to = static_cast<T*>(call.to) + first * (call.transpose ? image : result);
    if (call.image != nullptr) work.image = static_cast<const T*>(call.image) + first * image;
    work.threads = static_cast<uint32_t>(count * threads_each);
    if constexpr (std::is_same_v<Work, PlaneWork>) {
      if (call.prologue != nullptr) work.first_channel = static_cast<uint32_t>(first % call.prologue->channels);
    }
    launch(call.op, kernel, work.threads, call.gpu, work);
    if (work.sums != nullptr) work.sums += count * sums_each;
  }
}

template <typename T, int K, int S, int V, bool kPrologue>
bool run_planes(const FastCall& call) {
  using L = PlaneLayout<K, S, V>;
  const FilterAxis &y = call.plan.y->axis, &x = call.plan.x->axis;
  constexpr auto kSize = static_cast<int64_t>(sizeof(T));
  const void *image = call.transpose ? call.to : call.from, *result = call.transpose ? call.from : call.to;
  if (x.inputs != x.outputs * S || x.outputs % L::kOut != 0) return false;
  if (!aligned(image, V * kSize) || !aligned(result, L::kOut * kSize)) return false;
  if (call.image != nullptr && !aligned(call.image, V * kSize)) return false;
  PlaneWork work{};
  if (!begin_work(work, call)) return false;
  const int64_t groups = x.outputs / L::kOut, height = call.transpose ? (y.inputs + S - 1) / S : y.outputs;
  const int64_t share = share_of(height, call.plan.blocks * groups, 8), parts = (height + share - 1) / share;
  work.share = static_cast<int>(share);
  work.groups = Divider(groups);
  work.parts = Divider(parts);
  work.channels = Divider(kPrologue ? call.prologue->channels : 1);
  if (!call.transpose) {
    run<T>(call, work, filter_planes<T, K, S, V, kPrologue>, groups * parts, 0);
    return true;
  }
  if constexpr (L::kTransposes) {
    // Around a row of one thread's width a pixel could be read twice by one output, in an order of its own.
    if ((x.border == Border::circular && groups == 1) || !fill(work.edges, *call.plan.y)) return false;
    if constexpr (kPrologue) {
      const int64_t each = groups * parts;
      auto* sums = static_cast<float*>(call.gpu.temporary(call.plan.blocks * each * 2 * int64_t{sizeof(float)}));
      work.sums = sums;
      run<T>(call, work, transpose_planes<T, K, S, V, true>, each, each * 2);
      const int64_t channels = call.prologue->channels, images = call.plan.blocks / channels;
      const Parts layout{images * each, each, channels * each * 2, 2, 1, each * 2, 1};
      add_up(call.op, sums, layout, channels, call.scale_grad, call.bias_grad, call.gpu);
    } else {
      run<T>(call, work, transpose_planes<T, K, S, V, false>, groups * parts, 0);
    }
    return true;
  }
  return false;
}

template <typename T, int K, int S, bool kPrologue>
bool run_pixels(const FastCall& call) {
  constexpr int64_t kSize = sizeof(T);
  constexpr int V = 16 / kSize;
  const FilterAxis &y = call.plan.y->axis, &x = call.plan.x->axis;
  if (call.plan.inner % V != 0 || !aligned(call.from, 16) || !aligned(call.to, 16)) return false;
  if (call.image != nullptr && !aligned(call.image, 16)) return false;
  PixelWork work{};
  if (!begin_work(work, call)) return false;
  const int64_t vectors = call.plan.inner / V, rows = call.transpose ? y.inputs : y.outputs;
  const int64_t width = call.transpose ? (x.inputs + S - 1) / S : x.outputs;
  const int64_t share = share_of(width, call.plan.blocks * rows * vectors, 14), parts = (width + share - 1) / share;
  const int64_t each = rows * parts * vectors;
  if (each > kMostThreads) return false;
  work.inner = static_cast<int>(call.plan.inner);
  work.share = static_cast<int>(share);
  work.vectors = Divider(vectors);
  work.parts = Divider(parts);
  work.rows = Divider(rows);
  if (!call.transpose) {
    run<T>(call, work, filter_pixels<T, K, S, V, kPrologue>, each, 0);
    return true;
  }
  if (!fill(work.edges_y, *call.plan.y) || !fill(work.edges_x, *call.plan.x)) return false;
  if constexpr (kPrologue) {
    auto* sums = static_cast<float*>(call.gpu.temporary(call.plan.blocks * each * 2 * V * int64_t{sizeof(float)}));
    work.sums = sums;
    run<T>(call, work, transpose_pixels<T, K, S, V, true>, each, each * 2 * V);
    const Parts layout{call.plan.blocks * rows * parts, 1, vectors * 2 * V, 0, V, 2 * V, V};
    add_up(call.op, sums, layout, call.plan.inner, call.scale_grad, call.bias_grad, call.gpu);
  } else {
    run<T>(call, work, transpose_pixels<T, K, S, V, false>, each, 0);
  }
  return true;
}

template <typename T>
bool run_fast_of(const FastCall& call) {
  constexpr int kWidest = 16 / sizeof(T);
  return with_taps_and_stride(call.plan.y->axis, [&](auto taps, auto stride) {
    constexpr int K = decltype(taps)::value, S = decltype(stride)::value;
    const bool planes = call.plan.inner == 1;
    if (call.prologue != nullptr) {  // in front of a blur that halves, as networks have it
      if constexpr (S == 2) return planes ? run_planes<T, K, S, kWidest, true>(call) : run_pixels<T, K, S, true>(call);
      return false;
    }
    if (!planes) return run_pixels<T, K, S, false>(call);
    if (run_planes<T, K, S, kWidest, false>(call)) return true;
    if constexpr (S == 2) {  // rows of maps of 28 or 14 pixels are whole numbers of smaller vectors
      if (run_planes<T, K, S, kWidest / 2, false>(call)) return true;
      if constexpr (kWidest == 8) return run_planes<T, K, S, kWidest / 4, false>(call);
    }
    return false;
  });
}

}  // namespace
}  // namespace shiftable
