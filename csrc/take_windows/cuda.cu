#include "core/gpu_numbers.h"
#include "take_windows/taps.h"

namespace shiftable {
namespace {

template <typename In, typename Out>
using wider_t = std::conditional_t<std::is_same_v<In, double> || std::is_same_v<Out, double>, double, float>;

// -- what kernels need beside the images: corners taken apart, and a number for each channel ---------

constexpr int kFar = -(1 << 30), kMostPixels = 1 << 28;  // along a side of an image: sums of positions fit into 32 bits

// One axis of one window: position j of its own line of outputs + taps - 1 pixels is pixel start + j of the image.
template <typename A>
struct AimAxis {
  int64_t start;
  int near_start;  // the same in 32 bits, or kFar where it lies too far off for them
  int taps;
  A weight[kMostTaps];
};

template <typename A>
struct Aim {
  AimAxis<A> y, x;
};

template <typename A>
SHIFTABLE_DEVICE AimAxis<A> aim_axis(double corner, Interpolation interpolation) {
  if (!(corner == corner)) corner = 0;
  corner = corner < -kFarthest ? -kFarthest : corner > kFarthest ? kFarthest : corner;
  const double below = ::floor(corner);
  const Taps taps = fractional_taps(interpolation, corner - below);
  AimAxis<A> axis{static_cast<int64_t>(below) + taps.first, kFar, taps.count, {}};
  if (axis.start > -kMostPixels && axis.start < 2 * kMostPixels) axis.near_start = static_cast<int>(axis.start);
#pragma unroll
  for (int k = 0; k < kMostTaps; ++k) axis.weight[k] = static_cast<A>(k < taps.count ? taps.weight[k] : 0.0);
  return axis;
}

template <typename A, typename C>
__global__ void __launch_bounds__(kBlock, 1)
    aim_windows(const C* corners, Interpolation interpolation, uint32_t count, Aim<A>* aims) {
  const uint32_t i = thread_number();
  if (i >= count) return;
  aims[i].y = aim_axis<A>(static_cast<double>(load_one(corners + 2 * int64_t{i})), interpolation);
  aims[i].x = aim_axis<A>(static_cast<double>(load_one(corners + 2 * int64_t{i} + 1)), interpolation);
}

template <typename A>
const Aim<A>* aims_of(const char* op, const WindowPlan& plan, const void* corners, bool per_image, const GpuCall& gpu) {
  const int64_t count = plan.windows * (per_image ? plan.images : 1);
  if (count > kMostThreads) throw std::invalid_argument(std::string(op) + ": expected fewer than 2^31 corners");
  auto* aims = static_cast<Aim<A>*>(gpu.temporary(count * static_cast<int64_t>(sizeof(Aim<A>))));
  const auto number = static_cast<uint32_t>(count);
  if (plan.fractional)
    launch(op, aim_windows<A, double>, count, gpu, static_cast<const double*>(corners), plan.interpolation, number,
           aims);
  else
    launch(op, aim_windows<A, int64_t>, count, gpu, static_cast<const int64_t*>(corners), plan.interpolation, number,
           aims);
  return aims;
}

// Numbers travel to the GPU as arguments of a launch, which may be captured and repeated when the host's are gone.
template <typename A>
struct Chunk {
  static constexpr int kSize = 256;
  A number[kSize];
};

template <typename A>
__global__ void __launch_bounds__(kBlock, 1)
    write_chunk(const __grid_constant__ Chunk<A> chunk, uint32_t count, A* table) {
  const uint32_t i = thread_number();
  if (i < count) store_one(table + i, chunk.number[i]);
}

template <typename A>
const A* table_of(const char* op, const std::vector<double>& values, const GpuCall& gpu) {
  const auto count = static_cast<int64_t>(values.size());
  A* table = static_cast<A*>(gpu.temporary(count * static_cast<int64_t>(sizeof(A))));
  for (int64_t from = 0; from < count; from += Chunk<A>::kSize) {
    Chunk<A> chunk{};
    const int64_t size = count - from < Chunk<A>::kSize ? count - from : Chunk<A>::kSize;
    for (int64_t i = 0; i < size; ++i) chunk.number[i] = static_cast<A>(values[from + i]);
    launch(op, write_chunk<A>, size, gpu, chunk, static_cast<uint32_t>(size), table + from);
  }
  return table;
}

// -- windows ---------------------------------------------------------------------------------------

// border_index where most positions lie less than n outside. The rest, with its divisions, stays out of the loops.
__device__ __noinline__ int far_source_of(Border border, int64_t i, int n) {
  return static_cast<int>(border_index(border, i, n));
}
SHIFTABLE_DEVICE int source_of(Border border, int64_t i, int n) {
  if (i > -n && i < 2 * int64_t{n} - 1) return near_index(border, static_cast<int>(i), n);
  return far_source_of(border, i, n);
}

template <typename A>
struct TakeWork {
  const void* images;
  void* windows;
  const Aim<A>* aims;
  const A *fill, *scale, *bias;  // one a channel; scale and bias are null where they are not asked for
  Layout from, to;
  int height, width, window_height;
  int64_t window_count, share;  // of an image, and of a thread
  int64_t inner;                // channels that lie side by side in the windows
  bool per_image, once;         // once: the result is larger than the cache
  Border border;
  Fold fold_y, fold_x;
  Divider vectors, rows, channels;
  Numbers numbers;
};

// Number `number` of a row of plane `plane`, at any distance from the image.
template <typename In, typename A>
SHIFTABLE_DEVICE A far_number(const TakeWork<A>& work, const Aim<A>& aim, const In* image, uint32_t number,
                              uint32_t plane, uint32_t y) {
  const int64_t column = work.channels.split(number), c = number + plane;  // one of the two is 0
  A value = 0;
#pragma unroll 1
  for (int kx = 0; kx < aim.x.taps; ++kx) {
    const int x = far_source_of(work.border, aim.x.start + column + kx, work.width);
    A sum = 0;
#pragma unroll 1
    for (int ky = 0; ky < aim.y.taps; ++ky) {
      const int row = far_source_of(work.border, aim.y.start + y + ky, work.height);
      const A read = row >= 0 && x >= 0
                         ? as<A>(load_one(image + row * work.from.y + c * work.from.channel + x * work.from.x))
                         : load_one(work.fill + c);
      sum = ky == 0 ? read * aim.y.weight[0] : fused(read, aim.y.weight[ky], sum);
    }
    value = kx == 0 ? sum * aim.x.weight[0] : fused(sum, aim.x.weight[kx], value);
  }
  return work.scale == nullptr ? value : fused(value, load_one(work.scale + c), load_one(work.bias + c));
}

// A thread owns V numbers of a row, at the same place of `share` windows of an image. Offsets of its pixels in the
// image are of the type Index.
template <typename In, typename Out, int V, int kTaps, typename Index, typename A = wider_t<In, Out>>
__global__ void __launch_bounds__(kBlock, 1) take(const __grid_constant__ TakeWork<A> work) {
  const uint32_t thread = thread_number();
  if (thread >= work.numbers.threads) return;
  const Numbers::Place place = work.numbers.place(thread);
  auto vector = static_cast<uint32_t>(place.x);
  uint32_t y = work.vectors.split(vector);
  const uint32_t plane = work.rows.split(y);
  const int first = static_cast<int>(vector) * V;

  const auto step = static_cast<Index>(work.from.x);
  int column[V];
  Index offset[V];  // in the image, of pixel (0, column) of the number's channel
  A scale[V], bias[V], fill[V];
#pragma unroll
  for (int e = 0; e < V; ++e) {
    uint32_t channel = first + e;
    column[e] = static_cast<int>(work.channels.split(channel));
    const int64_t c = channel + plane;  // one of the two is 0
    offset[e] = static_cast<Index>(c * work.from.channel) + column[e] * step;
    scale[e] = work.scale == nullptr ? A(1) : load_one(work.scale + c);
    bias[e] = work.scale == nullptr ? A(0) : load_one(work.bias + c);
    fill[e] = work.border == Border::constant ? load_one(work.fill + c) : A(0);
  }
  const In* image = static_cast<const In*>(work.images) + place.block * work.from.image;
  const int64_t begin = place.y * work.share;
  const int64_t end = begin + work.share < work.window_count ? begin + work.share : work.window_count;
  const int64_t window = place.block * work.window_count + begin;
  const Aim<A>* next = work.aims + (work.per_image ? window : begin);
  Out* to = static_cast<Out*>(work.windows) + window * work.to.image + plane * work.to.channel + y * work.to.y + first;
  for (int64_t s = begin; s < end; ++s, ++next, to += work.to.image) {
    const Aim<A>& aim = *next;
    const int top = aim.y.near_start + static_cast<int>(y), left = aim.x.near_start;
    const int taps_y = kTaps == 1 ? 1 : aim.y.taps, taps_x = kTaps == 1 ? 1 : aim.x.taps;
    const int bottom = top + taps_y - 1, low = left + column[0], high = left + column[V - 1] + taps_x - 1;
    const bool inside = low >= 0 && high < work.width && top >= 0 && bottom < work.height;
    const bool near =
        low > -work.width && high < 2 * work.width - 1 && top > -work.height && bottom < 2 * work.height - 1;
    A results[V];
    const auto take_all = [&](auto all_inside) {
      constexpr bool is_inside = decltype(all_inside)::value;
      // Many taps are summed in a loop: there are too many of them for the registers.
      [[maybe_unused]] constexpr int kUnroll = kTaps <= 2 ? kTaps : 1;
#pragma unroll kUnroll
      for (int kx = 0; kx < kTaps; ++kx) {
        if (kx >= taps_x) break;
        A sums[V];
#pragma unroll kUnroll
        for (int ky = 0; ky < kTaps; ++ky) {
          if (ky >= taps_y) break;
          const int row = is_inside ? top + ky : folded(work.fold_y, top + ky, work.height);
          const In* from = image + row * work.from.y + (is_inside ? (left + kx) * step : 0);
#pragma unroll
          for (int e = 0; e < V; ++e) {
            A read;
            if (is_inside) {
              read = as<A>(load_one(from + offset[e]));
            } else {
              const int source = folded(work.fold_x, left + column[e] + kx, work.width);
              read =
                  row >= 0 && source >= 0 ? as<A>(load_one(from + offset[e] + (source - column[e]) * step)) : fill[e];
            }
            if (kTaps == 1)
              sums[e] = read;
            else
              sums[e] = ky == 0 ? read * aim.y.weight[0] : fused(read, aim.y.weight[ky], sums[e]);
          }
        }
#pragma unroll
        for (int e = 0; e < V; ++e) {
          if (kTaps == 1)
            results[e] = sums[e];
          else
            results[e] = kx == 0 ? sums[e] * aim.x.weight[0] : fused(sums[e], aim.x.weight[kx], results[e]);
        }
      }
#pragma unroll
      for (int e = 0; e < V; ++e)
        if (work.scale != nullptr) results[e] = fused(results[e], scale[e], bias[e]);
    };
    if (!near) {  // a window far outside, or wider than the image: number by number
#pragma unroll 1
      for (int e = 0; e < V; ++e)
        store_one(to + e, static_cast<Out>(far_number(work, aim, image, first + e, plane, y)));
      continue;
    }
    if (inside)
      take_all(std::true_type{});
    else
      take_all(std::false_type{});
    if (work.once)
      store_pack<true>(to, packed<Out>(results));
    else
      store_pack(to, packed<Out>(results));
  }
}

template <typename In, typename Out, int V, int kTaps, typename Index, typename A>
void run_take(const char* op, const WindowPlan& plan, TakeWork<A> work, const GpuCall& gpu) {
  const int64_t row = plan.window_width * work.inner, planes = plan.channels / work.inner;
  const int64_t vectors = row / V, columns = vectors * plan.window_height * planes;
  work.share = share_of(plan.windows, plan.images * columns, 8);
  work.vectors = Divider(vectors);
  work.rows = Divider(plan.window_height);
  work.channels = Divider(work.inner);
  for_numbers(plan.images, (plan.windows + work.share - 1) / work.share, columns, 1, [&](const Numbers& numbers) {
    work.numbers = numbers;
    launch(op, take<In, Out, V, kTaps, Index>, numbers.threads, gpu, work);
  });
}

template <typename In, typename Out>
void take_typed(const WindowPlan& plan, const void* corners, bool per_image, const Layout& from, const void* images,
                const Layout& to, void* windows, const GpuCall& gpu) {
  using A = wider_t<In, Out>;
  constexpr int V = 16 / sizeof(Out), kFew = sizeof(Out) == 2 ? V / 2 : V;  // with taps, as registers allow
  constexpr auto kSize = static_cast<int64_t>(sizeof(Out));
  constexpr int64_t kStreamBytes = int64_t{32} << 20, kMost = (int64_t{1} << 31) - 1;
  const char* op = "take_windows";
  for (const int64_t side : {plan.height, plan.width, plan.window_height, plan.window_width})
    if (side > kMostPixels)
      throw std::invalid_argument("take_windows: expected at most 2^28 pixels a side on CUDA, got " +
                                  std::to_string(side));
  TakeWork<A> work{};
  work.images = images;
  work.windows = windows;
  work.aims = aims_of<A>(op, plan, corners, per_image, gpu);
  work.fill = table_of<A>(op, plan.fill, gpu);
  if (plan.affine) {
    work.scale = table_of<A>(op, plan.scale, gpu);
    work.bias = table_of<A>(op, plan.bias, gpu);
  }
  work.from = from;
  work.to = to;
  work.height = static_cast<int>(plan.height);
  work.width = static_cast<int>(plan.width);
  work.window_count = plan.windows;
  work.inner = to.channel == 1 ? plan.channels : 1;
  work.per_image = per_image;
  work.once =
      plan.images * plan.windows * plan.channels * plan.window_height * plan.window_width * kSize > kStreamBytes;
  work.border = plan.border;
  work.fold_y = fold_of(plan.border, work.height);
  work.fold_x = fold_of(plan.border, work.width);
  const int64_t row = plan.window_width * work.inner;
  const int64_t last = (plan.channels - 1) * from.channel + (plan.width - 1) * from.x;
  const int64_t past = plan.window_width * from.x;  // a window's columns may lie further off than the image's
  const bool whole = row % V == 0 && row <= kMost && aligned(windows, 16) && last + past <= kMost / 2;
  if constexpr (std::is_same_v<Out, uint8_t>) {  // copies
    if (whole) return run_take<In, Out, V, 1, int>(op, plan, work, gpu);
    return run_take<In, Out, 1, 1, int64_t>(op, plan, work, gpu);
  } else {
    if (!whole) return run_take<In, Out, 1, kMostTaps, int64_t>(op, plan, work, gpu);
    if (!plan.fractional) return run_take<In, Out, V, 1, int>(op, plan, work, gpu);
    if (plan.interpolation == Interpolation::linear) return run_take<In, Out, kFew, 2, int>(op, plan, work, gpu);
    run_take<In, Out, kFew, kMostTaps, int>(op, plan, work, gpu);
  }
}

// -- transpose -------------------------------------------------------------------------------------

template <typename A>
struct GiveWork {
  const void* grad;
  void* images;
  const Aim<A>* aims;
  const A* scale;
  Layout from, to;
  int height, width;
  int64_t window_height, window_width, window_count;
  bool per_image;
  Border border;
  Numbers numbers;
};

// Calls visit(j) for the positions j of 0 .. count - 1 that may read pixel i with one of `taps` taps, in order.
template <typename A, typename Visit>
SHIFTABLE_DEVICE void for_positions(const AimAxis<A>& axis, int taps, int64_t count, int64_t i, int64_t n,
                                    const Visit& visit) {
  const auto clamped = [&](int64_t j) { return j < 0 ? 0 : j > count ? count : j; };
  // Before `begin` and from `end` on some tap may lie outside of the image; in between only these read pixel i.
  const int64_t begin = clamped(-axis.start), end = clamped(n - axis.start - taps + 1);
  const int64_t low = clamped(i - axis.start - taps + 1), high = clamped(i - axis.start + 1);
  for (int64_t j = 0; j < begin; ++j) visit(j);
  for (int64_t j = low > begin ? low : begin; j < high && j < end; ++j) visit(j);
  for (int64_t j = end > begin ? end : begin; j < count; ++j) visit(j);
}

template <typename In, typename Out, typename A = wider_t<In, Out>>
__global__ void __launch_bounds__(kBlock, 1) give(const __grid_constant__ GiveWork<A> work) {
  const uint32_t thread = thread_number();
  if (thread >= work.numbers.threads) return;
  const Numbers::Place place = work.numbers.place(thread);
  const int64_t n = place.block, c = place.y / work.height, y = place.y % work.height, x = place.x;
  const A scale = load_one(work.scale + c);
  A sum = 0;
  for (int64_t s = 0; s < work.window_count; ++s) {
    const int64_t window = n * work.window_count + s;
    const Aim<A>& aim = work.aims[work.per_image ? window : s];
    const In* grad = static_cast<const In*>(work.grad) + window * work.from.image + c * work.from.channel;
    for_positions(aim.y, aim.y.taps, work.window_height, y, work.height, [&](int64_t oy) {
      for (int ky = 0; ky < aim.y.taps; ++ky) {
        if (source_of(work.border, aim.y.start + oy + ky, work.height) != y) continue;
        const int64_t span = work.window_width + aim.x.taps - 1;
        for_positions(aim.x, 1, span, x, work.width, [&](int64_t j) {
          if (source_of(work.border, aim.x.start + j, work.width) != x) return;
          A row = 0;
          for (int kx = 0; kx < aim.x.taps; ++kx) {
            const int64_t ox = j - kx;
            if (ox < 0 || ox >= work.window_width) continue;
            row += aim.x.weight[kx] * scale * as<A>(load_one(grad + oy * work.from.y + ox * work.from.x));
          }
          sum += aim.y.weight[ky] * row;
        });
      }
    });
  }
  store_one(static_cast<Out*>(work.images) + n * work.to.image + c * work.to.channel + y * work.to.y + x * work.to.x,
            static_cast<Out>(sum));
}

template <typename In, typename Out>
void give_typed(const WindowPlan& plan, const void* corners, bool per_image, const Layout& from, const void* grad,
                const Layout& to, void* images, const GpuCall& gpu) {
  using A = wider_t<In, Out>;
  const char* op = "take_windows_transpose";
  for (const int64_t side : {plan.height, plan.width})
    if (side > kMostPixels)
      throw std::invalid_argument("take_windows_transpose: expected at most 2^28 pixels a side on CUDA, got " +
                                  std::to_string(side));
  GiveWork<A> work{grad,
                   images,
                   aims_of<A>(op, plan, corners, per_image, gpu),
                   table_of<A>(op, plan.scale, gpu),
                   from,
                   to,
                   static_cast<int>(plan.height),
                   static_cast<int>(plan.width),
                   plan.window_height,
                   plan.window_width,
                   plan.windows,
                   per_image,
                   plan.border,
                   {}};
  for_numbers(plan.images, plan.channels * plan.height, plan.width, 1, [&](const Numbers& numbers) {
    work.numbers = numbers;
    launch(op, give<In, Out>, numbers.threads, gpu, work);
  });
}

template <typename F>
void with_any_type(DType dtype, const F& f) {
  if (dtype == DType::uint8) return f(uint8_t{});
  with_float_type(dtype, f);
}

}  // namespace

void take_windows_cuda(const WindowPlan& plan, const void* corners, bool per_image, DType in, const Layout& from,
                       const void* images, DType out, const Layout& to, void* windows, const GpuCall& gpu) {
  with_any_type(in, [&](auto a) {
    if (out == DType::uint8) {  // of uint8 alone
      if constexpr (std::is_same_v<decltype(a), uint8_t>)
        take_typed<uint8_t, uint8_t>(plan, corners, per_image, from, images, to, windows, gpu);
      return;
    }
    with_float_type(out, [&](auto b) {
      take_typed<decltype(a), decltype(b)>(plan, corners, per_image, from, images, to, windows, gpu);
    });
  });
}

void take_windows_transpose_cuda(const WindowPlan& plan, const void* corners, bool per_image, DType in,
                                 const Layout& from, const void* grad, DType out, const Layout& to, void* images,
                                 const GpuCall& gpu) {
  with_float_type(in, [&](auto a) {
    with_float_type(out, [&](auto b) {
      give_typed<decltype(a), decltype(b)>(plan, corners, per_image, from, grad, to, images, gpu);
    });
  });
}

}  // namespace shiftable
