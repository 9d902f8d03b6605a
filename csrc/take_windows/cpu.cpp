#include "take_windows/taker.h"

namespace shiftable {
namespace {

template <typename F>
SHIFTABLE_INLINE void with_any_type(DType dtype, F&& f) {
  if (dtype == DType::uint8) return f(uint8_t{});
  with_float_type(dtype, f);
}

template <typename In, typename Out>
struct Batch {
  const WindowPlan& plan;
  const Corner* corners;
  bool per_image;
  const Layout& from;
  const In* images;
  const Layout& to;
  Out* windows;

  // All channels of a pixel lie side by side in the result, or one plane follows another.
  int64_t inner() const { return to.channel == 1 ? plan.channels : 1; }
  const Corner& corner(int64_t i) const { return corners[per_image ? i : i % plan.windows]; }
};

// Windows at corners with the same fraction are crops of one large window, the canvas: with many of them on an image it
// is computed once, and copied from. Not worth its while for fewer pixels than twice its own, nor where it would not
// stay in the cache.
constexpr int64_t kCanvasBytes = int64_t{4} << 20;
constexpr int kMostCanvases = 16;  // of an image

template <typename In, typename Out>
class Canvas {
 public:
  // Takes windows out of those from `begin` to `end` - 1, of one image, that are not `done`.
  static void run(const Batch<In, Out>& batch, int64_t begin, int64_t end, bool stream, uint8_t* done) {
    int64_t next = begin;
    for (int tried = 0; tried < kMostCanvases; ++tried) {
      while (next < end && done[next - begin]) ++next;
      if (next == end) return;
      const Canvas canvas(batch, begin, end, next, done);
      if (canvas.pays()) canvas.copy_all(stream, done);
      ++next;
    }
  }

 private:
  Canvas(const Batch<In, Out>& batch, int64_t begin, int64_t end, int64_t first, const uint8_t* done)
      : batch_(batch), begin_(begin), first_(first), end_(end), corner_(batch.corner(first)) {
    int64_t bottom = corner_.y, right = corner_.x;
    for (int64_t i = first; i < end; ++i) {
      if (done[i - begin] || !same_fraction(i)) continue;
      const Corner& corner = batch.corner(i);
      corner_.y = corner.y < corner_.y ? corner.y : corner_.y;
      corner_.x = corner.x < corner_.x ? corner.x : corner_.x;
      bottom = corner.y > bottom ? corner.y : bottom;
      right = corner.x > right ? corner.x : right;
      ++count_;
    }
    height_ = bottom - corner_.y + batch.plan.window_height;
    width_ = right - corner_.x + batch.plan.window_width;
  }

  bool same_fraction(int64_t i) const {
    const Corner& corner = batch_.corner(i);
    return corner.fraction_y == corner_.fraction_y && corner.fraction_x == corner_.fraction_x;
  }

  bool pays() const {
    // Corners may lie far apart: first see that the product is a number.
    if (height_ > kCanvasBytes || width_ > kCanvasBytes) return false;
    const int64_t pixels = height_ * width_, size = static_cast<int64_t>(sizeof(Out)) * batch_.plan.channels;
    return pixels <= kCanvasBytes / size && 2 * pixels <= count_ * batch_.plan.window_height * batch_.plan.window_width;
  }

  void copy_all(bool stream, uint8_t* done) const {
    const WindowPlan& plan = batch_.plan;
    const int64_t inner = batch_.inner(), planes = plan.channels / inner, row = width_ * inner;
    const Layout layout{0, inner > 1 ? 1 : height_ * row, row, inner};
    Scratch<Out, 64> pixels(planes * height_ * row);
    Taker<In, Out> taker(plan, {height_, width_}, batch_.from, batch_.images, inner, false);
    taker.take(corner_, batch_.images + begin_ / plan.windows * batch_.from.image, layout, pixels.data());
    const int64_t bytes = plan.window_width * inner * static_cast<int64_t>(sizeof(Out));
    for (int64_t i = first_; i < end_; ++i) {  // earlier ones were not counted in
      if (done[i - begin_] || !same_fraction(i)) continue;
      done[i - begin_] = 1;
      const Corner& corner = batch_.corner(i);
      const Out* from = pixels.data() + (corner.y - corner_.y) * row + (corner.x - corner_.x) * inner;
      for (int64_t c = 0; c < planes; ++c) {
        for (int64_t y = 0; y < plan.window_height; ++y) {
          Out* to = batch_.windows + i * batch_.to.image + c * batch_.to.channel + y * batch_.to.y;
          const Out* line = from + c * layout.channel + y * row;
          if (stream)
            stream_copy(to, line, bytes);
          else
            std::memcpy(to, line, bytes);
        }
      }
    }
  }

  const Batch<In, Out>& batch_;
  int64_t begin_, first_, end_, count_ = 0, height_ = 0, width_ = 0;
  Corner corner_;  // of the canvas: above and to the left of all its windows
};

template <typename In, typename Out>
void take_typed(const Batch<In, Out>& batch, const Parallel& parallel) {
  const WindowPlan& plan = batch.plan;
  const int64_t pixels = plan.channels * plan.window_height * plan.window_width;
  const int64_t count = plan.images * plan.windows;
  const bool stream = count * pixels * static_cast<int64_t>(sizeof(Out)) > kStreamBytes;
  parallel(count, grain_for(pixels), [&](int64_t begin, int64_t end) {
    Taker<In, Out> taker(plan, {plan.window_height, plan.window_width}, batch.from, batch.images, batch.inner(),
                         stream);
    Scratch<uint8_t, 1024> done(plan.windows);
    for (int64_t i = begin, stop; i < end; i = stop) {  // image by image
      stop = (i / plan.windows + 1) * plan.windows;
      if (stop > end) stop = end;
      std::memset(done.data(), 0, stop - i);
      if (!taker.only_copies()) Canvas<In, Out>::run(batch, i, stop, stream, done.data());
      for (int64_t j = i; j < stop; ++j)
        if (!done.data()[j - i])
          taker.take(batch.corner(j), batch.images + j / plan.windows * batch.from.image, batch.to,
                     batch.windows + j * batch.to.image);
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
        const Window<A> window(plan, {plan.window_height, plan.window_width}, corners[per_image ? i : s]);
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
      const Batch<decltype(a), decltype(b)> batch{plan,
                                                  corners,
                                                  per_image,
                                                  from,
                                                  static_cast<const decltype(a)*>(images),
                                                  to,
                                                  static_cast<decltype(b)*>(windows)};
      take_typed(batch, parallel);
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
