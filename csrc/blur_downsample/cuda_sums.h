// A prologue's gradients on a GPU: threads leave a part each, which are added up in a fixed order.
#pragma once

#include "core/gpu.h"

namespace shiftable {
namespace {

// Where the m-th part of channel c lies: m / group * by_group + m % group * by_part + c / width * by_vector + c %
// width, the scale's there and the bias' `to_bias` further on.
struct Parts {
  int64_t count, group, by_group, by_part, width, by_vector, to_bias;

  SHIFTABLE_DEVICE int64_t at(int64_t m, int64_t c) const {
    return m / group * by_group + m % group * by_part + c / width * by_vector + c % width;
  }
};

constexpr int64_t kWays = 256;  // threads that share a channel's parts

template <typename A>
__global__ void __launch_bounds__(kBlock, 1)
    add_parts(const A* values, const __grid_constant__ Parts parts, uint32_t threads, double* sums) {
  const uint32_t thread = thread_number();
  if (thread >= threads) return;
  const int64_t c = thread / kWays;
  double scale = 0, bias = 0;
  for (int64_t m = thread % kWays; m < parts.count; m += kWays) {
    const A* part = values + parts.at(m, c);
    scale += static_cast<double>(load_one(part));
    bias += static_cast<double>(load_one(part + parts.to_bias));
  }
  store_one(sums + 2 * int64_t{thread}, scale);
  store_one(sums + 2 * int64_t{thread} + 1, bias);
}

template <typename A>
__global__ void __launch_bounds__(kBlock, 1)
    add_ways(const double* sums, uint32_t channels, A* scale_grad, A* bias_grad) {
  const uint32_t c = thread_number();
  if (c >= channels) return;
  double scale = 0, bias = 0;
  for (int64_t way = 0; way < kWays; ++way) {
    scale += load_one(sums + 2 * (c * kWays + way));
    bias += load_one(sums + 2 * (c * kWays + way) + 1);
  }
  store_one(scale_grad + c, static_cast<A>(scale));
  store_one(bias_grad + c, static_cast<A>(bias));
}

template <typename A>
void add_up(const char* op, const A* values, const Parts& parts, int64_t channels, A* scale_grad, A* bias_grad,
            const GpuCall& gpu) {
  auto* sums = static_cast<double*>(gpu.temporary(channels * kWays * 2 * static_cast<int64_t>(sizeof(double))));
  const int64_t threads = channels * kWays;
  if (threads > kMostThreads) throw std::invalid_argument(std::string(op) + ": expected fewer channels on CUDA");
  launch(op, add_parts<A>, threads, gpu, values, parts, static_cast<uint32_t>(threads), sums);
  launch(op, add_ways<A>, channels, gpu, sums, static_cast<uint32_t>(channels), scale_grad, bias_grad);
}

}  // namespace
}  // namespace shiftable
