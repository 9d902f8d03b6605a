#include <cmath>

#include "core/rows.h"
#include "take_windows/plan.h"

namespace shiftable {
namespace {

// -- taps between pixels -------------------------------------------------------------------------

constexpr int kMostTaps = 6;

// The filter that reads between pixels: tap k weighs the pixel at `first + k` past the corner.
struct Taps {
  int64_t first = 0;
  int count = 1;
  double weight[kMostTaps] = {1.0};
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
  if (interpolation == Interpolation::linear) return {0, 2, {1 - fraction, fraction}};
  const int64_t reach = interpolation == Interpolation::cubic ? 2 : 3;
  Taps taps{1 - reach, 0, {}};
  double sum = 0;
  for (int64_t k = 1 - reach; k <= reach; ++k) {
    const double t = static_cast<double>(k) - fraction;
    taps.weight[taps.count] = reach == 2 ? cubic(t) : lanczos3(t);
    sum += taps.weight[taps.count++];
  }
  for (int k = 0; k < taps.count; ++k) taps.weight[k] /= sum;
  return taps;
}

// One axis of one window. Position j of its own line of count + taps - 1 pixels is pixel start + j of the image while j
// lies in inside_begin .. inside_end - 1; elsewhere the border says which.
template <typename A>
struct WindowAxis {
  int taps;
  A weight[kMostTaps];
  int64_t start, span, inputs;
  int64_t inside_begin, inside_end;
  Border border;

  WindowAxis(int64_t corner, const Taps& filter, int64_t count, int64_t pixels, Border rule)
      : taps(filter.count), start(corner + filter.first), span(count + filter.count - 1), inputs(pixels), border(rule) {
    for (int k = 0; k < taps; ++k) weight[k] = static_cast<A>(filter.weight[k]);
    const auto clamped = [&](int64_t j) { return j < 0 ? 0 : j > span ? span : j; };
    inside_begin = clamped(-start);
    inside_end = clamped(inputs - start);
    if (inside_end < inside_begin) inside_end = inside_begin;
  }
  SHIFTABLE_INLINE int64_t source(int64_t j) const { return border_index(border, start + j, inputs); }
};

template <typename A>
struct Window {
  WindowAxis<A> y, x;

  Window(const WindowPlan& plan, const Corner& corner)
      : y(corner.y, fractional_taps(plan.interpolation, corner.fraction_y), plan.window_height, plan.height,
          plan.border),
        x(corner.x, fractional_taps(plan.interpolation, corner.fraction_x), plan.window_width, plan.width,
          plan.border) {}
};

// -- storing -------------------------------------------------------------------------------------

// Results larger than this are written around the cache, which could not hold them.
constexpr int64_t kStreamBytes = int64_t{32} << 20;

// Copies around the cache; the caller ends with `stream_fence`.
SHIFTABLE_INLINE void stream_copy(void* to, const void* from, int64_t bytes) {
  auto* target = static_cast<char*>(to);
  const auto* source = static_cast<const char*>(from);
#if defined(__x86_64__)
  int64_t head = static_cast<int64_t>(-reinterpret_cast<uintptr_t>(target) & 63);
  if (head > bytes) head = bytes;
  std::memcpy(target, source, head);
  int64_t at = head;
  for (; at + 64 <= bytes; at += 64) {
#if defined(__AVX512F__)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(target + at), _mm512_loadu_si512(source + at));
#elif defined(__AVX2__)
    for (int i = 0; i < 64; i += 32)
      _mm256_stream_si256(reinterpret_cast<__m256i*>(target + at + i),
                          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source + at + i)));
#else
    for (int i = 0; i < 64; i += 16)
      _mm_stream_si128(reinterpret_cast<__m128i*>(target + at + i),
                       _mm_loadu_si128(reinterpret_cast<const __m128i*>(source + at + i)));
#endif
  }
  std::memcpy(target + at, source + at, bytes - at);
#else
  std::memcpy(target, source, bytes);
#endif
}

SHIFTABLE_INLINE void stream_fence() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

// -- windows -------------------------------------------------------------------------------------

template <typename In, typename Out>
using wider_t = std::conditional_t<std::is_same_v<In, double> || std::is_same_v<Out, double>, double, float>;

// Writes windows row by row. A row holds `inner` numbers a pixel: 1 in a plane, all channels in channels_last.
template <typename In, typename Out>
class Taker {
  using A = wider_t<In, Out>;
  static constexpr int64_t L = kLanes<A>;

 public:
  Taker(const WindowPlan& plan, const Layout& from, const In* images, int64_t inner, bool stream)
      : plan_(plan),
        from_(from),
        inner_(inner),
        stream_(stream),
        packed_(from.x == inner && (inner == 1 || from.channel == 1)),
        readable_(images + (plan.images - 1) * from.image + (plan.channels - 1) * from.channel +
                  (plan.height - 1) * from.y + (plan.width - 1) * from.x + 1),
        line_((plan.window_width + kMostTaps) * inner + 2 * L),
        filtered_(plan.window_width * inner + 2 * L),
        out_(plan.window_width * inner + 2 * L),
        scale_(plan.window_width * inner + 2 * L),
        bias_(plan.window_width * inner + 2 * L) {}

  // The first channel of the rows to come.
  void channel(int64_t c) {
    channel_ = c;
    if (!plan_.affine) return;
    for (int64_t i = 0; i < plan_.window_width * inner_; ++i) {
      scale_.data()[i] = static_cast<A>(plan_.scale[c + i % inner_]);
      bias_.data()[i] = static_cast<A>(plan_.bias[c + i % inner_]);
    }
  }

  // Row y of a window, of the image at `image`.
  void row(const Window<A>& window, int64_t y, const In* image, Out* to) {
    const int64_t size = plan_.window_width * inner_;
    const In* plane = image + channel_ * from_.channel;
    Out* place = stream_ ? out_.data() : to;
    if (window.y.taps == 1 && window.x.taps == 1 && !plan_.affine && std::is_same_v<In, Out>) {
      copy_row(window.x, window.y.source(y), plane, place);
    } else {
      sum_columns(window, y, plane);
      const A* line = line_.data();
      if (window.x.taps > 1) {
        const A* taps[kMostTaps];
        for (int k = 0; k < window.x.taps; ++k) taps[k] = line + k * inner_;
        sum_rows(window.x.taps, taps, window.x.weight, size, line + window.x.span * inner_ + L, filtered_.data(),
                 size + L);
        line = filtered_.data();
      }
      const int64_t room = stream_ ? size + L : size;
      for (int64_t j = 0; j < size; j += L) {
        Vec<A> value = load(line + j);
        if (plan_.affine) value = fma(value, load(scale_.data() + j), load(bias_.data() + j));
        store_some<A>(place + j, value, size - j, room - j);
      }
    }
    if (stream_) stream_copy(to, out_.data(), size * sizeof(Out));
  }

 private:
  A fill(int64_t c) const { return static_cast<A>(plan_.fill[channel_ + c]); }

  // Pixels as they are.
  void copy_row(const WindowAxis<A>& x, int64_t source_y, const In* plane, Out* to) const {
    const auto edge = [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; ++j) {
        const int64_t source_x = x.source(j);
        for (int64_t c = 0; c < inner_; ++c)
          to[j * inner_ + c] = source_y == kOutside || source_x == kOutside
                                   ? static_cast<Out>(fill(c))
                                   : cast(plane[source_y * from_.y + source_x * from_.x + c * from_.channel]);
      }
    };
    if (source_y == kOutside || !packed_) return edge(0, x.span);
    edge(0, x.inside_begin);
    if constexpr (std::is_same_v<In, Out>)
      std::memcpy(to + x.inside_begin * inner_, plane + source_y * from_.y + (x.start + x.inside_begin) * from_.x,
                  (x.inside_end - x.inside_begin) * inner_ * sizeof(Out));
    edge(x.inside_end, x.span);
  }
  static SHIFTABLE_INLINE Out cast(In value) {
    if constexpr (std::is_same_v<In, Out>)
      return value;
    else
      return static_cast<Out>(static_cast<A>(value));
  }

  // The vertical sums of every pixel of the window's line.
  void sum_columns(const Window<A>& window, int64_t y, const In* plane) {
    const WindowAxis<A>& x = window.x;
    const In* rows[kMostTaps];
    bool all = true;
    for (int k = 0; k < window.y.taps; ++k) {
      const int64_t source_y = window.y.source(y + k);
      rows[k] = source_y == kOutside ? nullptr : plane + source_y * from_.y;
      all = all && rows[k] != nullptr;
    }
    A* line = line_.data();
    const int64_t begin = all ? x.inside_begin : 0, end = all ? x.inside_end : 0;
    if (end > begin) sum_inside(window.y, rows, x.start + begin, end - begin, line + begin * inner_);
    for (int64_t j = 0; j < x.span; ++j) {
      if (j == begin && end > begin) j = end;
      if (j >= x.span) break;
      const int64_t source_x = x.source(j);
      for (int64_t c = 0; c < inner_; ++c) {
        A sum = 0;
        for (int k = 0; k < window.y.taps; ++k) {
          const A value = rows[k] == nullptr || source_x == kOutside
                              ? fill(c)
                              : static_cast<A>(rows[k][source_x * from_.x + c * from_.channel]);
          sum =
              k == 0 ? (window.y.taps == 1 ? value : value * window.y.weight[0]) : fma(value, window.y.weight[k], sum);
        }
        line[j * inner_ + c] = sum;
      }
    }
  }

  // Of `count` pixels inside the image, from column `first` on.
  void sum_inside(const WindowAxis<A>& y, const In* const* rows, int64_t first, int64_t count, A* line) const {
    const In* at[kMostTaps];
    for (int k = 0; k < y.taps; ++k) at[k] = rows[k] + first * from_.x;
    if (packed_) {
      sum_rows(y.taps, at, y.weight, count * inner_, readable_, line, count * inner_ + L);
    } else if (inner_ == 3 && from_.x == 1) {  // planes to pixels
      const A one = 1;
      A planes[3][kStrip + 16];
      for (int64_t j = 0; j < count; j += kStrip) {
        const int64_t size = count - j < kStrip ? count - j : kStrip;
        for (int64_t c = 0; c < 3; ++c) {
          const In* plane[kMostTaps];
          for (int k = 0; k < y.taps; ++k) plane[k] = at[k] + j + c * from_.channel;
          sum_rows(y.taps, plane, y.taps == 1 ? &one : y.weight, size, readable_, planes[c], size + 16);
        }
        for (int64_t i = 0; i < size; i += L) {
          const Vec<A> parts[3] = {load(planes[0] + i), load(planes[1] + i), load(planes[2] + i)};
          A* to = line + (j + i) * 3;
          const int64_t wanted = (size - i) * 3;
          store_some<A>(to, interleaved<3, 0, A>(parts), wanted, wanted);
          if (wanted > L) store_some<A>(to + L, interleaved<3, 1, A>(parts), wanted - L, wanted - L);
          if (wanted > 2 * L) store_some<A>(to + 2 * L, interleaved<3, 2, A>(parts), wanted - 2 * L, wanted - 2 * L);
        }
      }
    } else {
      for (int64_t j = 0; j < count; ++j)
        for (int64_t c = 0; c < inner_; ++c) {
          const int64_t offset = j * from_.x + c * from_.channel;
          A sum = static_cast<A>(at[0][offset]) * y.weight[0];
          for (int k = 1; k < y.taps; ++k) sum = fma(static_cast<A>(at[k][offset]), y.weight[k], sum);
          line[j * inner_ + c] = sum;
        }
    }
  }

  static constexpr int64_t kStrip = 256;
  const WindowPlan& plan_;
  const Layout& from_;
  int64_t inner_, channel_ = 0;
  bool stream_, packed_;  // packed: the image's numbers lie in the order of the window's
  const In* readable_;
  Scratch<A> line_, filtered_;
  Scratch<Out> out_;
  Scratch<A> scale_, bias_;
};

template <typename F>
SHIFTABLE_INLINE void with_any_type(DType dtype, F&& f) {
  if (dtype == DType::uint8) return f(uint8_t{});
  with_float_type(dtype, f);
}

template <typename In, typename Out>
void take_typed(const WindowPlan& plan, const Corner* corners, bool per_image, const Layout& from, const In* images,
                const Layout& to, Out* windows, const Parallel& parallel) {
  const int64_t inner = to.channel == 1 ? plan.channels : 1;
  const int64_t pixels = plan.channels * plan.window_height * plan.window_width;
  const int64_t count = plan.images * plan.windows;
  const bool stream = count * pixels * static_cast<int64_t>(sizeof(Out)) > kStreamBytes;
  parallel(count, grain_for(pixels), [&](int64_t begin, int64_t end) {
    Taker<In, Out> taker(plan, from, images, inner, stream);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / plan.windows;
      const Window<wider_t<In, Out>> window(plan, corners[per_image ? i : i % plan.windows]);
      for (int64_t c = 0; c < plan.channels; c += inner) {
        if (inner < plan.channels || i == begin) taker.channel(c);
        for (int64_t y = 0; y < plan.window_height; ++y)
          taker.row(window, y, images + n * from.image, windows + i * to.image + c * to.channel + y * to.y);
      }
    }
    if (stream) stream_fence();
  });
}

// -- transpose -----------------------------------------------------------------------------------

template <typename In, typename Out>
void transpose_typed(const WindowPlan& plan, const Corner* corners, bool per_image, const Layout& from, const In* grad,
                     const Layout& to, Out* images, const Parallel& parallel) {
  using A = wider_t<In, Out>;
  const int64_t plane_size = plan.height * plan.width;
  const int64_t pixels = plan.windows * plan.window_height * plan.window_width;
  // One thread owns a plane and adds its windows in order, so sums do not depend on the threads.
  parallel(plan.images * plan.channels, grain_for(pixels), [&](int64_t begin, int64_t end) {
    Scratch<A> sums(plane_size), row(plan.window_width + kMostTaps);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t n = item / plan.channels, c = item % plan.channels;
      const A scale = static_cast<A>(plan.scale[c]);
      std::memset(sums.data(), 0, plane_size * sizeof(A));
      for (int64_t s = 0; s < plan.windows; ++s) {
        const int64_t i = n * plan.windows + s;
        const Window<A> window(plan, corners[per_image ? i : s]);
        for (int64_t y = 0; y < plan.window_height; ++y) {
          const In* line = grad + i * from.image + c * from.channel + y * from.y;
          std::memset(row.data(), 0, window.x.span * sizeof(A));
          for (int k = 0; k < window.x.taps; ++k) {
            const A weight = window.x.weight[k] * scale;
            for (int64_t x = 0; x < plan.window_width; ++x)
              row.data()[x + k] += weight * static_cast<A>(line[x * from.x]);
          }
          for (int k = 0; k < window.y.taps; ++k) {
            const int64_t source_y = window.y.source(y + k);
            if (source_y == kOutside) continue;
            A* target = sums.data() + source_y * plan.width;
            const A weight = window.y.weight[k];
            const auto edge = [&](int64_t from_j, int64_t to_j) {
              for (int64_t j = from_j; j < to_j; ++j)
                if (const int64_t source_x = window.x.source(j); source_x != kOutside)
                  target[source_x] += weight * row.data()[j];
            };
            edge(0, window.x.inside_begin);
            A* inside = target + window.x.start;
            for (int64_t j = window.x.inside_begin; j < window.x.inside_end; ++j) inside[j] += weight * row.data()[j];
            edge(window.x.inside_end, window.x.span);
          }
        }
      }
      for (int64_t y = 0; y < plan.height; ++y)
        for (int64_t x = 0; x < plan.width; ++x)
          images[n * to.image + c * to.channel + y * to.y + x * to.x] =
              static_cast<Out>(sums.data()[y * plan.width + x]);
    }
  });
}

}  // namespace

namespace SHIFTABLE_VARIANT {

void take_windows_cpu(const WindowPlan& plan, const Corner* corners, bool per_image, DType in, const Layout& from,
                      const void* images, DType out, const Layout& to, void* windows, const Parallel& parallel) {
  with_any_type(in, [&](auto a) {
    with_any_type(out, [&](auto b) {
      take_typed(plan, corners, per_image, from, static_cast<const decltype(a)*>(images), to,
                 static_cast<decltype(b)*>(windows), parallel);
    });
  });
}

void take_windows_transpose_cpu(const WindowPlan& plan, const Corner* corners, bool per_image, DType in,
                                const Layout& from, const void* grad, DType out, const Layout& to, void* images,
                                const Parallel& parallel) {
  with_float_type(in, [&](auto a) {
    with_float_type(out, [&](auto b) {
      transpose_typed(plan, corners, per_image, from, static_cast<const decltype(a)*>(grad), to,
                      static_cast<decltype(b)*>(images), parallel);
    });
  });
}

}  // namespace SHIFTABLE_VARIANT
}  // namespace shiftable
