// One window, row by row.
#pragma once

#include "core/rows.h"
#include "take_windows/taps.h"

namespace shiftable {
namespace {

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

// Of a window, in pixels: the plan's own, or larger.
struct Size {
  int64_t height, width;
};

template <typename A>
struct Window {
  WindowAxis<A> y, x;

  Window(const WindowPlan& plan, const Size& size, const Corner& corner)
      : y(corner.y, fractional_taps(plan.interpolation, corner.fraction_y), size.height, plan.height, plan.border),
        x(corner.x, fractional_taps(plan.interpolation, corner.fraction_x), size.width, plan.width, plan.border) {}
};

// -- storing -------------------------------------------------------------------------------------

// Results larger than this are written around the cache, which could not hold them.
constexpr int64_t kStreamBytes = int64_t{32} << 20;

// Copies around the cache.
SHIFTABLE_INLINE void stream_copy(void* to, const void* from, int64_t bytes) {
  using V = Simd<uint8_t>::type;
  constexpr int64_t kSize = sizeof(V);
  auto* target = static_cast<char*>(to);
  const auto* source = static_cast<const char*>(from);
  int64_t at = static_cast<int64_t>(-reinterpret_cast<uintptr_t>(target) & (kSize - 1));
  if (at > bytes) at = bytes;
  std::memcpy(target, source, at);
  for (; at + kSize <= bytes; at += kSize) {
    V v;
    std::memcpy(&v, source + at, kSize);
    stream(target + at, v);
  }
  std::memcpy(target + at, source + at, bytes - at);
}

// Whether a vector of A becomes T without going through each number.
template <typename A, typename T>
constexpr bool kPacks =
    std::is_same_v<A, float> && (std::is_same_v<T, float> || std::is_same_v<T, BFloat16> || std::is_same_v<T, Half>);

// The last steps of a row: along the width, times scale, plus bias, to the type of the result. `taps` weights apart by
// `step`; kTaps is their number as a constant, or 0. scale and bias have one number for each of the row, or are null.
template <typename A>
struct Finish {
  int taps;
  const A* weights;
  int64_t step;
  const A *scale, *bias;
};

template <int kTaps, bool kAffine, bool kStream, typename A, typename T>
__attribute__((noinline)) void finish_of(const Finish<A>& finish, const A* line, int64_t size, T* to) {
  constexpr int64_t L = kLanes<A>;
  const auto value_at = [&](int64_t j) SHIFTABLE_LAMBDA {
    Vec<A> value = load(line + j);
    if constexpr (kTaps != 1) {
      value = value * splat(finish.weights[0]);
      for (int k = 1; k < (kTaps > 0 ? kTaps : finish.taps); ++k)
        value = fma(load(line + j + k * finish.step), splat(finish.weights[k]), value);
    }
    if constexpr (kAffine) value = fma(value, load(finish.scale + j), load(finish.bias + j));
    return value;
  };
  int64_t j = 0;
  if constexpr (kStream && kPacks<A, T>) {
    constexpr int64_t kSize = L * static_cast<int64_t>(sizeof(T));
    const auto past = static_cast<int64_t>(reinterpret_cast<uintptr_t>(to)) & (kSize - 1);
    const int64_t head = past == 0 ? 0 : (kSize - past) / static_cast<int64_t>(sizeof(T));
    if (head > 0) store_some<A>(to, value_at(0), head < size ? head : size, 0);
    for (j = head; j + L <= size; j += L) stream(to + j, packed_as(T{}, value_at(j)));
  } else {
    for (; j + L <= size; j += L) store_as(to + j, value_at(j));
  }
  if (j < size) store_some<A>(to + j, value_at(j), size - j, 0);
}

template <typename A, typename T>
void finish_row(const Finish<A>& finish, bool stream, const A* line, int64_t size, T* to) {
  const auto run = [&](auto taps, auto affine) SHIFTABLE_LAMBDA {
    constexpr int kTaps = decltype(taps)::value;
    constexpr bool kAffine = decltype(affine)::value;
    if (stream && kPacks<A, T>) return finish_of<kTaps, kAffine, kPacks<A, T>>(finish, line, size, to);
    finish_of<kTaps, kAffine, false>(finish, line, size, to);
  };
  const auto with_taps = [&](auto affine) SHIFTABLE_LAMBDA {
    if (finish.taps == 1) return run(std::integral_constant<int, 1>{}, affine);
    if (finish.taps == 2) return run(std::integral_constant<int, 2>{}, affine);
    run(std::integral_constant<int, 0>{}, affine);
  };
  if (finish.scale != nullptr) return with_taps(std::true_type{});
  with_taps(std::false_type{});
}

// -- windows -------------------------------------------------------------------------------------

template <typename In, typename Out>
using wider_t = std::conditional_t<std::is_same_v<In, double> || std::is_same_v<Out, double>, double, float>;

// Writes windows row by row. A row holds `inner` numbers a pixel: 1 in a plane, all channels in channels_last. Two
// steps at most: the row's numbers, summed down the columns, into a line; then the rest on the way to the result.
template <typename In, typename Out>
class Taker {
  using A = wider_t<In, Out>;
  static constexpr int64_t L = kLanes<A>;

 public:
  Taker(const WindowPlan& plan, const Size& size, const Layout& from, const In* images, int64_t inner, bool stream)
      : plan_(plan),
        window_(size),
        from_(from),
        inner_(inner),
        size_(size.width * inner),
        stream_(stream),
        packed_(from.x == inner && (inner == 1 || from.channel == 1)),
        copies_(std::is_same_v<In, Out> && !plan.affine),
        readable_(images + (plan.images - 1) * from.image + (plan.channels - 1) * from.channel +
                  (plan.height - 1) * from.y + (plan.width - 1) * from.x + 1),
        sources_(size.width + kMostTaps),
        line_(room()),
        fill_(room()),
        scale_(room()),
        bias_(room()),
        copied_(room()),
        copied_fill_(room()) {}

  // The window at `corner` of the image at `image`.
  void take(const Corner& corner, const In* image, const Layout& to, Out* target) {
    const Window<A> window(plan_, window_, corner);
    start(window);
    for (int64_t c = 0; c < plan_.channels; c += inner_) {
      if (channel_ != c) channel(c);
      for (int64_t y = 0; y < window_.height; ++y) row(window, y, image, target + c * to.channel + y * to.y);
    }
  }

  // Whether windows at whole corners are the image's numbers as they are.
  bool only_copies() const { return copies_ && !plan_.fractional; }

 private:
  // The first channel of the rows to come.
  void channel(int64_t c) {
    channel_ = c;
    const auto repeat = [&](const std::vector<double>& values, auto* to) SHIFTABLE_LAMBDA {
      for (int64_t j = 0; j < window_.width + kMostTaps; ++j)
        for (int64_t i = 0; i < inner_; ++i) to[j * inner_ + i] = number(to, values[c + i]);
    };
    if (fills() && copies_) repeat(plan_.fill, copied_fill_.data());
    if (fills()) repeat(plan_.fill, fill_.data());
    if (plan_.affine) repeat(plan_.scale, scale_.data());
    if (plan_.affine) repeat(plan_.bias, bias_.data());
  }

  // The window of the rows to come: the pixels that its edges read are looked up once.
  void start(const Window<A>& window) {
    const WindowAxis<A>& x = window.x;
    for (int64_t j = 0; j < x.span; ++j) {
      if (j == x.inside_begin && x.inside_end > j) j = x.inside_end;
      if (j < x.span) sources_.data()[j] = x.source(j);
    }
  }

  // Row y of the window, of the image at `image`.
  void row(const Window<A>& window, int64_t y, const In* image, Out* to) {
    const In* plane = image + channel_ * from_.channel;
    if constexpr (std::is_same_v<In, Out>)
      if (copies_ && window.y.taps == 1 && window.x.taps == 1) return copy_row(window.x, window.y.source(y), plane, to);
    const A* line = sum_columns(window, y, plane);
    const Finish<A> finish{window.x.taps, window.x.weight, inner_, plan_.affine ? scale_.data() : nullptr,
                           bias_.data()};
    finish_row(finish, stream_, line, size_, to);
  }

  template <typename T>
  static SHIFTABLE_INLINE T number(const T*, double value) {
    return static_cast<T>(static_cast<A>(value));
  }
  int64_t room() const { return (window_.width + kMostTaps) * inner_ + 2 * L + 16; }
  bool fills() const { return plan_.border == Border::constant; }

  // Pixels as they are.
  void copy_row(const WindowAxis<A>& x, int64_t source_y, const In* plane, Out* to) {
    const bool inside = source_y != kOutside;
    const In* row = plane + source_y * from_.y;
    const bool whole = inside && packed_ && x.inside_begin == 0 && x.inside_end == x.span;
    if (whole && stream_) return stream_copy(to, row + x.start * from_.x, size_ * sizeof(Out));
    Out* place = stream_ ? copied_.data() : to;
    const auto edge = [&](int64_t begin, int64_t end) SHIFTABLE_LAMBDA {
      if (fills() || !inside) {
        std::memcpy(place + begin * inner_, copied_fill_.data() + begin * inner_, (end - begin) * inner_ * sizeof(Out));
        return;
      }
      for (int64_t j = begin; j < end; ++j)
        for (int64_t c = 0; c < inner_; ++c)
          place[j * inner_ + c] = row[sources_.data()[j] * from_.x + c * from_.channel];
    };
    const int64_t begin = inside ? x.inside_begin : x.span, end = inside ? x.inside_end : x.span;
    edge(0, begin);
    if (packed_) {
      std::memcpy(place + begin * inner_, row + (x.start + begin) * from_.x, (end - begin) * inner_ * sizeof(Out));
    } else {
      for (int64_t j = begin; j < end; ++j)
        for (int64_t c = 0; c < inner_; ++c) place[j * inner_ + c] = row[(x.start + j) * from_.x + c * from_.channel];
    }
    edge(end, x.span);
    if (stream_) stream_copy(to, place, size_ * sizeof(Out));
  }

  // The vertical sums of every pixel of the window's line.
  const A* sum_columns(const Window<A>& window, int64_t y, const In* plane) {
    const WindowAxis<A>& x = window.x;
    const In* rows[kMostTaps];
    bool all = true;
    for (int k = 0; k < window.y.taps; ++k) {
      const int64_t source_y = window.y.source(y + k);
      rows[k] = source_y == kOutside ? nullptr : plane + source_y * from_.y;
      all = all && rows[k] != nullptr;
    }
    const int64_t begin = all ? x.inside_begin : x.span, end = all ? x.inside_end : x.span;
    // So that the pixels inside, most of all, are stored to whole lines of the cache.
    A* line = line_.data() + (-begin * inner_ & 15);
    if (end > begin) sum_inside(window.y, rows, x.start + begin, end - begin, line + begin * inner_);
    const auto edge = [&](int64_t from, int64_t to) SHIFTABLE_LAMBDA {
      if (fills() && window.y.taps == 1) {
        std::memcpy(line + from * inner_, fill_.data() + from * inner_, (to - from) * inner_ * sizeof(A));
        return;
      }
      for (int64_t j = from; j < to; ++j) {
        const bool known = j >= x.inside_begin && j < x.inside_end;  // beside rows that lie outside
        sum_pixel(window.y, rows, known ? x.start + j : sources_.data()[j], line + j * inner_);
      }
    };
    edge(0, begin);
    edge(end, x.span);
    return line;
  }

  SHIFTABLE_INLINE void sum_pixel(const WindowAxis<A>& y, const In* const* rows, int64_t source, A* to) {
    for (int64_t c = 0; c < inner_; ++c) {
      const int64_t offset = source * from_.x + c * from_.channel;
      A sum = 0;
      for (int k = 0; k < y.taps; ++k) {
        const bool outside = source == kOutside || rows[k] == nullptr;
        const A value = outside ? fill_.data()[c] : static_cast<A>(rows[k][offset]);
        sum = k > 0 ? fma(value, y.weight[k], sum) : y.taps == 1 ? value : value * y.weight[0];
      }
      to[c] = sum;
    }
  }

  // Of `count` pixels inside the image, from column `first` on.
  void sum_inside(const WindowAxis<A>& y, const In* const* rows, int64_t first, int64_t count, A* line) const {
    const In* at[kMostTaps];
    for (int k = 0; k < y.taps; ++k) at[k] = rows[k] + first * from_.x;
    const A one = 1;
    const A* weights = y.taps == 1 ? &one : y.weight;
    if (packed_) {
      sum_rows(y.taps, at, weights, count * inner_, readable_, line, count * inner_ + L);
    } else if (inner_ == 3 && from_.x == 1) {  // planes to pixels
      A planes[3][kStrip + 16];
      for (int64_t j = 0; j < count; j += kStrip) {
        const int64_t size = count - j < kStrip ? count - j : kStrip;
        for (int64_t c = 0; c < 3; ++c) {
          const In* plane[kMostTaps];
          for (int k = 0; k < y.taps; ++k) plane[k] = at[k] + j + c * from_.channel;
          sum_rows(y.taps, plane, weights, size, readable_, planes[c], size + 16);
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
    } else if (inner_ == 1 && from_.x == 3 && from_.channel == 1) {  // pixels to planes
      A pixels[3 * kStrip + 64];
      for (int64_t j = 0; j < count; j += kStrip) {
        const int64_t size = count - j < kStrip ? count - j : kStrip;
        const In* pixel[kMostTaps];
        for (int k = 0; k < y.taps; ++k) pixel[k] = at[k] + j * 3 - channel_;
        sum_rows(y.taps, pixel, weights, size * 3, readable_, pixels, size * 3 + 16);
        for (int64_t i = 0; i < size; i += L) {
          const Vec<A> parts[3] = {load(pixels + i * 3), load(pixels + i * 3 + L), load(pixels + i * 3 + 2 * L)};
          store(line + j + i, channel_ == 0   ? phase<3, 0, A>(parts)
                              : channel_ == 1 ? phase<3, 1, A>(parts)
                                              : phase<3, 2, A>(parts));
        }
      }
    } else {
      for (int64_t j = 0; j < count; ++j)
        for (int64_t c = 0; c < inner_; ++c) {
          const int64_t offset = j * from_.x + c * from_.channel;
          A sum = static_cast<A>(at[0][offset]) * weights[0];
          for (int k = 1; k < y.taps; ++k) sum = fma(static_cast<A>(at[k][offset]), weights[k], sum);
          line[j * inner_ + c] = sum;
        }
    }
  }

  static constexpr int64_t kStrip = 256;
  const WindowPlan& plan_;
  Size window_;
  const Layout& from_;
  int64_t inner_, size_, channel_ = -1;
  bool stream_, packed_, copies_;  // packed: the image's numbers lie in the order of the window's
  const In* readable_;
  Scratch<int64_t> sources_;
  Scratch<A> line_, fill_, scale_, bias_;
  Scratch<Out> copied_, copied_fill_;
};

}  // namespace
}  // namespace shiftable
