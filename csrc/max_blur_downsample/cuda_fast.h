// Chooses the fast kernel for a call on a GPU, where there is one. Compiled once for each type of numbers.
#pragma once

#include <algorithm>

#include "max_blur_downsample/cuda_fast_call.h"
#include "max_blur_downsample/cuda_map.h"

namespace shiftable {
namespace {

inline bool is_fast_window(const MaxAxis& axis, int64_t size) {
  return axis.kernel_size == size && axis.pad == (size - 1) / 2 && axis.dilation == 1;
}

inline bool begin_work(MapWork& work, const FastMaxCall& call) {
  const FilterAxis &y = call.plan.blur.y->axis, &x = call.plan.blur.x->axis;
  const int64_t inner = call.plan.blur.inner, most = (int64_t{1} << 31) - 1;
  if (!is_near(y) || !is_near(x)) return false;
  if (call.plan.y.inputs * call.plan.x.inputs * inner > most || y.inputs * x.inputs * inner > most) return false;
  work.image = call.image;
  work.grad = call.transpose ? call.from : nullptr;
  work.to = call.to;
  work.height = static_cast<int>(call.plan.y.inputs);
  work.width = static_cast<int>(call.plan.x.inputs);
  work.inner = static_cast<int>(inner);
  work.map_height = static_cast<int>(y.inputs);
  work.map_width = static_cast<int>(x.inputs);
  work.out_height = static_cast<int>(y.outputs);
  work.out_width = static_cast<int>(x.outputs);
  work.border = y.border;
  std::copy(call.plan.blur.y->taps32.begin(), call.plan.blur.y->taps32.end(), work.taps_y);
  std::copy(call.plan.blur.x->taps32.begin(), call.plan.blur.x->taps32.end(), work.taps_x);
  return true;
}

// `groups` and `parts` of threads along rows and down, each for a plane or a vector of channels.
template <typename T, typename Kernel>
bool run(const FastMaxCall& call, MapWork work, Kernel kernel, int64_t vectors, int64_t groups, int64_t parts) {
  const int64_t blocks = call.plan.blur.blocks, each = parts * groups * vectors;
  if (each > kMostThreads) return false;
  work.vectors = Divider(vectors);
  work.groups = Divider(groups);
  work.parts = Divider(parts);
  const int64_t image = int64_t{work.height} * work.width * work.inner;
  const int64_t result = int64_t{work.out_height} * work.out_width * work.inner;
  const int64_t most = std::min(kMostThreads / each, int64_t{1} << 30);
  for (int64_t first = 0; first < blocks; first += most) {
    const int64_t count = std::min(most, blocks - first);
    work.image = static_cast<const T*>(call.image) + first * image;
    if (call.transpose) work.grad = static_cast<const T*>(call.from) + first * result;
    work.to = static_cast<T*>(call.to) + first * (call.transpose ? image : result);
    work.threads = static_cast<uint32_t>(count * each);
    launch(call.op, kernel, work.threads, call.gpu, work);
  }
  return true;
}

// V: numbers in a vector of a row.
template <typename T, int K, int M, int V>
bool run_planes(const FastMaxCall& call) {
  using L = MapLayout<K, M, V>;
  if constexpr (L::kFits) {
    MapWork work{};
    if (!begin_work(work, call)) return false;
    if (work.width % V != 0 || work.out_width * 2 != work.width) return false;
    if (!aligned(call.image, V * sizeof(T)) || !aligned(call.to, L::kOut * sizeof(T))) return false;
    if (work.border == Border::circular) return false;  // what is read lies at the row's other end
    const int64_t groups = work.width / V, share = share_of(work.out_height, call.plan.blur.blocks * groups, 14);
    work.share = static_cast<int>(share);
    return run<T>(call, work, filter_map<T, K, M, V>, 1, groups, (work.out_height + share - 1) / share);
  }
  return false;
}

template <typename T, int K, int M>
bool run_pixels(const FastMaxCall& call) {
  constexpr int V = K <= 5 ? 16 / sizeof(T) : 8 / sizeof(T);  // as registers allow
  MapWork work{};
  if (!begin_work(work, call)) return false;
  if (work.inner % V != 0 || !aligned(call.image, V * sizeof(T)) || !aligned(call.to, V * sizeof(T))) return false;
  const int64_t vectors = work.inner / V;
  const int64_t share = share_of(work.out_width, call.plan.blur.blocks * work.out_height * vectors, 14);
  work.share = static_cast<int>(share);
  return run<T>(call, work, filter_map_pixels<T, K, M, V>, vectors, (work.out_width + share - 1) / share,
                work.out_height);
}

template <typename T, int K, int M, int V, bool kPlanes>
bool run_transpose(const FastMaxCall& call) {
  constexpr int kColumns = kPlanes ? V : 4;
  MapWork work{};
  if (!begin_work(work, call) || !fill(work.edges_y, *call.plan.blur.y) || !fill(work.edges_x, *call.plan.blur.x))
    return false;
  const bool whole = kPlanes ? work.width % V == 0 : work.inner % V == 0;
  constexpr int64_t kBytes = V * sizeof(T);
  if (!whole || !aligned(call.image, kBytes) || !aligned(call.to, kBytes)) return false;
  if (!kPlanes && !aligned(call.from, kBytes)) return false;
  const int64_t vectors = kPlanes ? 1 : work.inner / V, groups = (work.width + kColumns - 1) / kColumns;
  const int64_t share = share_of(work.height, call.plan.blur.blocks * groups * vectors, 28);
  work.share = static_cast<int>(share);
  return run<T>(call, work, transpose_map<T, K, M, V, kPlanes>, vectors, groups, (work.height + share - 1) / share);
}

template <typename T, int K, int M>
bool run_window(const FastMaxCall& call) {
  constexpr int kWidest = 16 / sizeof(T);
  const bool planes = call.plan.blur.inner == 1;
  if (call.transpose) {
    if (!planes) return run_transpose<T, K, M, 2, false>(call);
    return run_transpose<T, K, M, kWidest, true>(call) || run_transpose<T, K, M, kWidest / 2, true>(call);
  }
  if (!planes) return run_pixels<T, K, M>(call);
  return run_planes<T, K, M, kWidest>(call) || run_planes<T, K, M, kWidest / 2>(call);
}

template <typename T>
bool run_fast_max_of(const FastMaxCall& call) {
  const FilterAxis &y = call.plan.blur.y->axis, &x = call.plan.blur.x->axis;
  if (!is_fast(y, x)) return false;
  return with_taps_and_stride(y, [&](auto taps, auto stride) {
    constexpr int K = decltype(taps)::value;
    if constexpr (decltype(stride)::value == 2) {
      if (is_fast_window(call.plan.y, 2) && is_fast_window(call.plan.x, 2)) return run_window<T, K, 2>(call);
      if (is_fast_window(call.plan.y, 3) && is_fast_window(call.plan.x, 3)) return run_window<T, K, 3>(call);
    }
    return false;
  });
}

}  // namespace
}  // namespace shiftable
