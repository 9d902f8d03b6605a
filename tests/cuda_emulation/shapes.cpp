// Runs every CUDA kernel under emulation and compares its results with the CPU's, number by number.
//
//   shapes ROUNDS [forward|reversed|random]   first every fast kernel once for each border, then ROUNDS random calls
//   shapes far                                a tensor of more than 2^31 numbers, of which only the end is there
//
// Prints what was run; stops at the first difference and says of which call.
#include <sys/mman.h>

#include <cmath>
#include <cstdio>
#include <limits>

#include "../kernels/random.h"
#include "blur_downsample/plan.h"
#include "emulation.h"
#include "max_blur_downsample/plan.h"
#include "polyphase/plan.h"

using namespace shiftable;

namespace {

const Parallel kOneThread = {[](int64_t count, int64_t, void (*body)(const void*, int64_t, int64_t),
                                const void* context) { body(context, 0, count); }};

// Memory for one operator, each piece of exactly its size.
struct Memory {
  std::vector<std::unique_ptr<char[]>> pieces;
  GpuCall call{nullptr, [this](int64_t bytes) -> void* {
                 pieces.emplace_back(new char[bytes]);
                 std::memset(pieces.back().get(), 0xff, bytes);
                 return pieces.back().get();
               }};
};

template <typename F>
void with_type(DType dtype, const F& f) {
  if (dtype == DType::uint8) return f(uint8_t{});
  with_float_type(dtype, f);
}

enum class Values { plain, with_ties, with_infinities, with_nans };

// Numbers at the end of a piece of memory of exactly their size.
struct Numbers {
  DType dtype;
  int64_t count;
  Buffer buffer;

  Numbers(int64_t size, DType type) : dtype(type), count(size), buffer(size, type) {}
  Numbers(int64_t size, DType type, Values values) : Numbers(size, type) {
    with_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      auto* p = static_cast<T*>(get());
      for (int64_t i = 0; i < count; ++i) {
        auto value = static_cast<float>(random_from(-1000, 1000)) / 256;
        if (dtype == DType::uint8) value = static_cast<float>(random_from(0, 255));
        if (values == Values::with_ties) value = static_cast<float>(random_from(-2, 2));
        if (values == Values::with_infinities && random_from(0, 200) == 0)
          value = std::numeric_limits<float>::infinity() * (random_from(0, 1) == 0 ? 1 : -1);
        if (values == Values::with_nans && random_from(0, 50) == 0) value = std::numeric_limits<float>::quiet_NaN();
        p[i] = static_cast<T>(value);
      }
    });
  }
  void* get() { return buffer.get(); }
};

std::string described;  // the call at hand

[[noreturn]] void stop(const std::string& what) {
  std::printf("%s: %s\n", described.c_str(), what.c_str());
  std::exit(1);
}

// Numbers are equal, or near by `tolerance` times the largest; -0 equals 0, and a NaN equals a NaN.
void compare(const char* what, Numbers& want, Numbers& got, double tolerance = 0) {
  with_type(want.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto *a = static_cast<const T*>(want.get()), *b = static_cast<const T*>(got.get());
    double largest = 0;
    for (int64_t i = 0; i < want.count; ++i) largest = std::fmax(largest, std::fabs(static_cast<double>(a[i])));
    for (int64_t i = 0; i < want.count; ++i) {
      const auto x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
      if (x == y || (x != x && y != y) || std::fabs(x - y) <= tolerance * largest) continue;
      stop(std::string(what) + ": number " + std::to_string(i) + " is " + std::to_string(y) + ", not " +
           std::to_string(x));
    }
  });
}

// Runs a kernel that is to write every byte of `result`.
template <typename Run>
void watched(Numbers& result, const Run& run) {
  emulation::Watch watch(result.get(), result.buffer.size);
  // Threads that take as much as they may, as little, or something between.
  const int64_t enough[] = {1, 100, 1000, int64_t{1} << 18};
  emulation::enough_threads = enough[random_from(0, 3)];
  Memory memory;
  try {
    run(memory.call);
  } catch (const std::exception& error) {
    stop(error.what());
  }
  if (const auto bytes = watch.left_out(); bytes > 0) stop(std::to_string(bytes) + " bytes were not written");
}

const char* const kNames[] = {"float32", "float64", "float16", "bfloat16", "uint8"};

std::string text(const std::vector<int64_t>& shape) {
  std::string line;
  for (int64_t size : shape) line += (line.empty() ? "" : "x") + std::to_string(size);
  return line;
}

// -- blur_downsample ---------------------------------------------------------------------------------

struct Filter {
  std::vector<double> taps_y, taps_x;
  std::vector<int64_t> stride;
  std::string border;
  std::optional<std::vector<int64_t>> pad;

  BlurArguments arguments() const { return {taps_y, taps_x, stride, border, pad}; }
  std::string name() const {
    return std::to_string(taps_y.size()) + "x" + std::to_string(taps_x.size()) + " taps, stride " + text(stride) +
           ", " + border + (pad ? ", pad " + text(*pad) : "");
  }
};

std::vector<double> taps_of(int64_t count) {
  std::vector<double> taps(count);
  for (double& tap : taps) tap = static_cast<double>(random_from(1, 64)) / 128;
  return taps;
}

void blur(DType dtype, const std::vector<int64_t>& shape, bool channels_last, const Filter& filter, Values values) {
  const BlurPlan plan = plan_blur("blur", shape, channels_last, filter.arguments());
  described = std::string(kNames[static_cast<int>(dtype)]) + " " + text(shape) +
              (channels_last ? " channels_last, " : " nchw, ") + filter.name();
  const int64_t pixels = count_of(shape), results = count_of(blurred_shape(shape, plan));
  Numbers image(pixels, dtype, values), want(results, dtype), got(results, dtype);
  SHIFTABLE_CPU(blur_downsample_cpu)(plan, dtype, image.get(), want.get(), kOneThread);
  watched(got, [&](auto& gpu) { blur_downsample_cuda(plan, dtype, image.get(), got.get(), gpu); });
  compare("blur_downsample", want, got);

  Numbers grad(results, dtype, values), want_back(pixels, dtype), back(pixels, dtype);
  SHIFTABLE_CPU(blur_downsample_transpose_cpu)(plan, dtype, grad.get(), want_back.get(), kOneThread);
  watched(back, [&](auto& gpu) { blur_downsample_transpose_cuda(plan, dtype, grad.get(), back.get(), gpu); });
  compare("blur_downsample_transpose", want_back, back);

  const DType sums = dtype == DType::float64 ? DType::float64 : DType::float32;
  const int64_t channels = shape[1];
  Numbers scale(channels, sums, Values::plain), bias(channels, sums, Values::plain);
  const Prologue prologue{scale.get(), bias.get(), random_from(0, 1) == 1, channels};
  SHIFTABLE_CPU(blur_downsample_prologue_cpu)(plan, dtype, image.get(), prologue, want.get(), kOneThread);
  watched(got, [&](auto& gpu) { blur_downsample_prologue_cuda(plan, dtype, image.get(), prologue, got.get(), gpu); });
  compare("blur_downsample, prologue", want, got);

  Numbers want_scale(channels, sums), want_bias(channels, sums), got_scale(channels, sums), got_bias(channels, sums);
  SHIFTABLE_CPU(blur_downsample_prologue_transpose_cpu)(plan, dtype, grad.get(), image.get(), prologue, want_back.get(),
                                                        want_scale.get(), want_bias.get(), kOneThread);
  watched(back, [&](auto& gpu) {
    blur_downsample_prologue_transpose_cuda(plan, dtype, grad.get(), image.get(), prologue, back.get(), got_scale.get(),
                                            got_bias.get(), gpu);
  });
  compare("blur_downsample_prologue_transpose", want_back, back);
  // Sums over images, in another order.
  const double tolerance = dtype == DType::float64 ? 1e-12 : 1e-5;
  compare("the scale's gradient", want_scale, got_scale, tolerance);
  compare("the bias' gradient", want_bias, got_bias, tolerance);
}

// Every fast kernel, for each border: widths of whole vectors of every size, channels of whole vectors.
void every_blur(DType dtype) {
  for (int64_t taps = 2; taps <= 7; ++taps)
    for (int64_t stride = 1; stride <= 4; ++stride)
      for (const auto& [border, rule] : borders())
        for (const int64_t width : {48, 28, 14})
          for (const bool channels_last : {false, true}) {
            const Filter filter{taps_of(taps), taps_of(taps), {stride, stride}, border, std::nullopt};
            blur(dtype, {random_from(1, 2), channels_last ? 16 : 3, random_from(7, 20), width}, channels_last, filter,
                 Values::plain);
            (void)rule;
          }
}

void random_blur(DType dtype) {
  const std::vector<int64_t> channels = {1, 3, 4, 8, 16, 17, 24};
  const std::vector<int64_t> shape = {random_from(0, 2), channels[random_from(0, 6)], random_from(1, 24),
                                      random_from(0, 1) == 1 ? 8 * random_from(1, 7) : random_from(1, 60)};
  const bool channels_last = random_from(0, 1) == 1 && shape[1] > 1;
  Filter filter{taps_of(random_from(1, 9)), taps_of(random_from(1, 9)), {}, borders()[random_from(0, 3)].first, {}};
  if (random_from(0, 3) > 0) filter.taps_y = taps_of(static_cast<int64_t>(filter.taps_x.size()));
  const int64_t common = random_from(0, 2) > 0 ? 2 : random_from(1, 5);
  filter.stride = {random_from(0, 3) > 0 ? common : random_from(1, 5), common};
  if (random_from(0, 3) == 0)
    filter.pad = {random_from(-2, 9), random_from(-2, 9), random_from(-2, 9), random_from(-2, 9)};
  try {
    blur(dtype, shape, channels_last, filter, random_from(0, 2) == 0 ? Values::with_infinities : Values::plain);
  } catch (const std::invalid_argument&) {  // a filter that does not fit
  }
}

// -- max_blur_downsample -----------------------------------------------------------------------------

struct Window {
  std::vector<int64_t> size, pad, dilation;
  bool ceil_mode = false;
};

void max_blur(DType dtype, const std::vector<int64_t>& shape, bool channels_last, const Window& window,
              const Filter& filter, Values values) {
  const MaxBlurPlan plan = plan_max_blur("max", shape, channels_last, {window.size, window.pad, window.dilation},
                                         filter.arguments(), window.ceil_mode);
  described = std::string(kNames[static_cast<int>(dtype)]) + " " + text(shape) +
              (channels_last ? " channels_last, max " : " nchw, max ") + text(window.size) + ", pad " +
              text(window.pad) + ", dilation " + text(window.dilation) + ", " + filter.name();
  const int64_t pixels = count_of(shape), results = count_of(blurred_shape(shape, plan.blur));
  Numbers image(pixels, dtype, values), other(pixels, dtype, Values::plain), want(results, dtype), got(results, dtype);
  for (const bool gathers : {false, true}) {
    const void* read = gathers ? other.get() : image.get();
    SHIFTABLE_CPU(max_blur_downsample_gather_cpu)(plan, dtype, read, image.get(), want.get(), kOneThread);
    watched(got, [&](auto& gpu) { max_blur_downsample_gather_cuda(plan, dtype, read, image.get(), got.get(), gpu); });
    compare(gathers ? "max_blur_downsample_gather" : "max_blur_downsample", want, got);
  }
  Numbers grad(results, dtype, Values::plain), want_back(pixels, dtype), back(pixels, dtype);
  SHIFTABLE_CPU(max_blur_downsample_transpose_cpu)(plan, dtype, grad.get(), image.get(), want_back.get(), kOneThread);
  watched(back, [&](auto& gpu) {
    max_blur_downsample_transpose_cuda(plan, dtype, grad.get(), image.get(), back.get(), gpu);
  });
  compare("max_blur_downsample_transpose", want_back, back);
}

void every_max_blur(DType dtype) {
  for (int64_t taps = 2; taps <= 7; ++taps)
    for (const int64_t size : {2, 3})
      for (const auto& [border, rule] : borders())
        for (const int64_t width : {48, 28, 14})
          for (const bool channels_last : {false, true})
            for (const Values values : {Values::plain, Values::with_ties, Values::with_nans}) {
              const Filter filter{taps_of(taps), taps_of(taps), {2, 2}, border, std::nullopt};
              const Window window{{size, size}, {(size - 1) / 2, (size - 1) / 2}, {1, 1}};
              max_blur(dtype, {1, channels_last ? 8 : 2, random_from(10, 20), width}, channels_last, window, filter,
                       values);
              (void)rule;
            }
}

void random_max_blur(DType dtype) {
  const std::vector<int64_t> channels = {1, 3, 4, 8, 16, 17};
  const std::vector<int64_t> shape = {random_from(0, 2), channels[random_from(0, 5)], random_from(2, 24),
                                      random_from(0, 1) == 1 ? 8 * random_from(1, 5) : random_from(2, 40)};
  const bool channels_last = random_from(0, 1) == 1 && shape[1] > 1;
  const int64_t taps = random_from(1, 8), stride = random_from(0, 2) > 0 ? 2 : random_from(1, 4);
  const Filter filter{taps_of(taps), taps_of(taps), {stride, stride}, borders()[random_from(0, 3)].first, {}};
  Window window{{2, 2}, {0, 0}, {1, 1}};
  if (random_from(0, 1) == 1) window = {{3, 3}, {1, 1}, {1, 1}};
  if (random_from(0, 1) == 1)
    window = {{random_from(1, 4), random_from(1, 4)},
              {random_from(0, 1), random_from(0, 1)},
              {random_from(1, 2), random_from(1, 2)},
              random_from(0, 1) == 1};
  const Values values[] = {Values::plain, Values::with_ties, Values::with_infinities, Values::with_nans};
  try {
    max_blur(dtype, shape, channels_last, window, filter, values[random_from(0, 3)]);
  } catch (const std::invalid_argument&) {  // a window that does not fit
  }
}

// -- polyphase ---------------------------------------------------------------------------------------

void polyphase(DType dtype, const std::vector<int64_t>& shape, bool channels_last, const Filter& filter,
               Values values) {
  const PolyphaseArguments arguments{filter.taps_y, filter.taps_x, filter.stride, filter.border};
  const int64_t samples = random_from(0, 3) == 0 ? 1 : shape[0];
  const PolyphasePlan plan = plan_component("polyphase", shape, channels_last, arguments, {samples});
  described = "polyphase, " + std::string(kNames[static_cast<int>(dtype)]) + " " + text(shape) +
              (channels_last ? " channels_last, " : " nchw, ") + filter.name();
  const int64_t pixels = count_of(shape), results = count_of(component_shape(shape, plan));
  const DType sums = dtype == DType::float64 ? DType::float64 : DType::float32;
  Numbers image(pixels, dtype, values), want_norms(shape[0] * plan.phases(), sums), norms(want_norms.count, sums);
  for (const Norm norm : {Norm::l1, Norm::l2, Norm::linf}) {
    SHIFTABLE_CPU(polyphase_norms_cpu)(plan, norm, dtype, image.get(), want_norms.get(), kOneThread);
    watched(norms, [&](auto& gpu) { polyphase_norms_cuda(plan, norm, dtype, image.get(), norms.get(), gpu); });
    const double rounding = dtype == DType::float64 ? 1e-12 : 1e-5;  // sums in another order
    compare("polyphase_norms", want_norms, norms, norm == Norm::linf ? 0 : rounding);
  }
  std::vector<int64_t> phase(samples), given(samples);
  for (int64_t n = 0; n < samples; ++n) {
    phase[n] = random_from(0, plan.phases() - 1);
    const bool outside = random_from(0, 3) == 0;  // the nearest on a GPU
    given[n] = !outside ? phase[n] : phase[n] == 0 ? -9 : phase[n] == plan.phases() - 1 ? int64_t{1} << 40 : phase[n];
  }
  Numbers want(results, dtype), got(results, dtype), grad(results, dtype, values), want_back(pixels, dtype),
      back(pixels, dtype);
  SHIFTABLE_CPU(polyphase_downsample_cpu)
  (plan, phase.data(), samples, dtype, image.get(), want.get(), kOneThread);
  watched(got, [&](auto& gpu) {
    polyphase_downsample_cuda(plan, given.data(), samples, dtype, image.get(), got.get(), gpu);
  });
  compare("polyphase_downsample", want, got);
  SHIFTABLE_CPU(polyphase_downsample_transpose_cpu)
  (plan, phase.data(), samples, dtype, grad.get(), want_back.get(), kOneThread);
  watched(back, [&](auto& gpu) {
    polyphase_downsample_transpose_cuda(plan, given.data(), samples, dtype, grad.get(), back.get(), gpu);
  });
  compare("polyphase_downsample_transpose", want_back, back);
}

void random_polyphase(DType dtype) {
  const std::vector<int64_t> channels = {0, 1, 3, 8, 17, 70};
  const std::vector<int64_t> shape = {random_from(0, 3), channels[random_from(0, 5)], random_from(1, 14),
                                      random_from(1, 20)};
  const bool channels_last = random_from(0, 1) == 1 && shape[1] > 1;
  const Filter filter{taps_of(random_from(1, 6)),
                      taps_of(random_from(1, 6)),
                      {random_from(1, 4), random_from(1, 4)},
                      borders()[random_from(0, 3)].first,
                      {}};
  const Values values[] = {Values::plain, Values::with_infinities, Values::with_nans};
  polyphase(dtype, shape, channels_last, filter, values[random_from(0, 2)]);
}

// -- take_windows ------------------------------------------------------------------------------------

struct WindowCase {
  std::vector<int64_t> images;  // (N, C, H, W)
  int64_t windows, height, width;
  std::string border, interpolation;
  bool fractional, per_image, affine, from_channels_last, to_channels_last;
};

void windows(DType in, DType out, const WindowCase& c) {
  const bool to_uint8 = out == DType::uint8, fractional = c.fractional && !to_uint8, affine = c.affine && !to_uint8;
  const int64_t corners = c.windows * (c.per_image ? c.images[0] : 1), channels = c.images[1];
  const std::vector<int64_t> corners_shape =
      c.per_image ? std::vector<int64_t>{c.images[0], c.windows, 2} : std::vector<int64_t>{c.windows, 2};
  std::optional<std::vector<double>> fill, scale, bias;
  if (random_from(0, 1) == 1) fill = std::vector<double>(channels, to_uint8 ? 7 : 0.3);
  if (affine) scale = std::vector<double>(channels, 0.17), bias = std::vector<double>{-2.1};
  const WindowPlan plan = plan_windows("windows", c.images, corners_shape, fractional, to_uint8,
                                       {{c.height, c.width}, c.border, fill, scale, bias, c.interpolation});
  std::vector<double> real(2 * corners);
  std::vector<int64_t> whole(2 * corners);
  for (int64_t i = 0; i < 2 * corners; ++i) {
    const int64_t far = random_from(0, 20) == 0 ? 1000 : 20;
    whole[i] = random_from(-far, far);
    real[i] = static_cast<double>(whole[i]) + (random_from(0, 2) > 0 ? random_from(0, 7) * 0.125 : 0.0);
  }
  described = std::string(kNames[static_cast<int>(in)]) + " to " + kNames[static_cast<int>(out)] + ", " +
              text(c.images) + (c.from_channels_last ? " channels_last" : " nchw") + ", " + std::to_string(c.windows) +
              " windows " + text({c.height, c.width}) + (c.to_channels_last ? " channels_last, " : " nchw, ") +
              c.border + (fractional ? ", " + c.interpolation : "");
  const std::vector<Corner> at =
      fractional ? read_corners("windows", real.data(), corners) : read_corners("windows", whole.data(), corners);
  const void* given = fractional ? static_cast<const void*>(real.data()) : whole.data();
  const Layout from = layout_of(channels, c.images[2], c.images[3], c.from_channels_last);
  const Layout to = layout_of(channels, c.height, c.width, c.to_channels_last);
  const int64_t results = c.images[0] * c.windows * channels * c.height * c.width;
  Numbers images(count_of(c.images), in, Values::plain), want(results, out), got(results, out);
  SHIFTABLE_CPU(take_windows_cpu)(plan, at.data(), c.per_image, in, from, images.get(), out, to, want.get(),
                                  kOneThread);
  watched(got, [&](auto& gpu) {
    take_windows_cuda(plan, given, c.per_image, in, from, images.get(), out, to, got.get(), gpu);
  });
  compare("take_windows", want, got);
  if (in == DType::uint8) return;
  Numbers grad(results, out, Values::plain), want_back(images.count, in), back(images.count, in);
  SHIFTABLE_CPU(take_windows_transpose_cpu)(plan, at.data(), c.per_image, out, to, grad.get(), in, from,
                                            want_back.get(), kOneThread);
  watched(back, [&](auto& gpu) {
    take_windows_transpose_cuda(plan, given, c.per_image, out, to, grad.get(), in, from, back.get(), gpu);
  });
  compare("take_windows_transpose", want_back, back);
}

// Every pair of types, whole windows and every interpolation, rows of whole vectors and others.
void every_window() {
  for (int in = 0; in < 5; ++in)
    for (int out = 0; out < 5; ++out) {
      if (out == static_cast<int>(DType::uint8) && in != out) continue;
      for (const auto& [border, rule] : borders())
        for (const char* interpolation : {"", "linear", "cubic", "lanczos3"})
          for (const int64_t width : {16, 11})
            for (const bool channels_last : {false, true}) {
              windows(static_cast<DType>(in), static_cast<DType>(out),
                      {{1, 3, 9, 14},
                       3,
                       5,
                       width,
                       border,
                       *interpolation ? interpolation : "linear",
                       *interpolation != 0,
                       false,
                       random_from(0, 1) == 1,
                       random_from(0, 1) == 1,
                       channels_last});
              (void)rule;
            }
    }
}

void random_window(DType in, DType out) {
  const char* interpolations[] = {"linear", "cubic", "lanczos3"};
  windows(in, out,
          {{random_from(1, 2), random_from(1, 5), random_from(1, 14), random_from(1, 20)},
           random_from(1, 12),
           random_from(1, 14),
           random_from(0, 1) == 1 ? 8 * random_from(1, 3) : random_from(1, 20),
           borders()[random_from(0, 3)].first,
           interpolations[random_from(0, 2)],
           random_from(0, 1) == 1,
           random_from(0, 1) == 1,
           random_from(0, 1) == 1,
           random_from(0, 1) == 1,
           random_from(0, 1) == 1});
}

// -- more than 2^31 numbers ----------------------------------------------------------------------------

// Memory of a size that the machine need not have: pages are there once they are touched.
struct Sparse {
  int64_t bytes;
  char* begin;
  Sparse(int64_t count, DType dtype)
      : bytes(count * size_of(dtype)),
        begin(static_cast<char*>(
            mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {
    if (begin == MAP_FAILED) stop("no address space");
  }
  ~Sparse() { munmap(begin, bytes); }
  char* last(const Numbers& numbers) { return begin + bytes - numbers.buffer.size; }
  void put(Numbers& numbers) { std::memcpy(last(numbers), numbers.get(), numbers.buffer.size); }
  void get(Numbers& numbers) { std::memcpy(numbers.get(), last(numbers), numbers.buffer.size); }
};

// The last plane or image of a batch that is too large for 32 bits, in the last blocks of a launch.
void far_blur(DType dtype, int64_t width, bool channels_last, bool max) {
  const std::vector<int64_t> one = {1, channels_last ? 8 : 1, 16, width};
  const int64_t count = (int64_t{1} << 31) / count_of(one) + 3;
  const std::vector<int64_t> all = {channels_last ? count : 1, channels_last ? 8 : count, 16, width};
  const Filter filter{taps_of(4), taps_of(4), {2, 2}, "reflect", std::nullopt};
  const MaxArguments window{{3, 3}, {1, 1}, {1, 1}};
  const MaxBlurPlan plan = plan_max_blur("far", all, channels_last, window, filter.arguments(), false),
                    last = plan_max_blur("far", one, channels_last, window, filter.arguments(), false);
  described = std::string(max ? "max, " : "") + "last of " + text(all) + (channels_last ? " channels_last" : "");
  Numbers image(count_of(one), dtype, Values::plain), result(count_of(blurred_shape(one, last.blur)), dtype),
      want(result.count, dtype), back(image.count, dtype), want_back(image.count, dtype);
  Sparse images(count_of(all), dtype), results(count_of(blurred_shape(all, plan.blur)), dtype),
      backs(count_of(all), dtype);
  images.put(image);
  Memory memory;
  emulation::last_blocks = 4;
  if (max) {
    SHIFTABLE_CPU(max_blur_downsample_gather_cpu)(last, dtype, image.get(), image.get(), want.get(), kOneThread);
    max_blur_downsample_gather_cuda(plan, dtype, images.begin, images.begin, results.begin, memory.call);
    SHIFTABLE_CPU(max_blur_downsample_transpose_cpu)(last, dtype, want.get(), image.get(), want_back.get(), kOneThread);
    max_blur_downsample_transpose_cuda(plan, dtype, results.begin, images.begin, backs.begin, memory.call);
  } else {
    SHIFTABLE_CPU(blur_downsample_cpu)(last.blur, dtype, image.get(), want.get(), kOneThread);
    blur_downsample_cuda(plan.blur, dtype, images.begin, results.begin, memory.call);
    SHIFTABLE_CPU(blur_downsample_transpose_cpu)(last.blur, dtype, want.get(), want_back.get(), kOneThread);
    blur_downsample_transpose_cuda(plan.blur, dtype, results.begin, backs.begin, memory.call);
  }
  emulation::last_blocks = 0xffffffffu;
  results.get(result);
  compare("forward", want, result);
  backs.get(back);
  compare("transpose", want_back, back);
}

void far_windows() {
  const std::vector<int64_t> images = {1, 3, 16, 16};
  const int64_t count = (int64_t{1} << 31) / count_of(images) + 3;
  std::vector<int64_t> corners(2 * count, 3);
  const WindowArguments arguments{{16, 16}, "circular", std::nullopt, std::nullopt, std::nullopt, "linear"};
  const WindowPlan plan = plan_windows("far", images, {count, 2}, false, false, arguments),
                   last = plan_windows("far", images, {1, 2}, false, false, arguments);
  const Layout layout = layout_of(3, 16, 16, true);
  described = "last of " + std::to_string(count) + " windows";
  Numbers image(count_of(images), DType::uint8, Values::plain), got(image.count, DType::float16),
      want(image.count, DType::float16);
  Sparse windows(count * image.count, DType::float16);
  const Corner corner{3, 3, 0, 0};
  SHIFTABLE_CPU(take_windows_cpu)(last, &corner, false, DType::uint8, layout, image.get(), DType::float16, layout,
                                  want.get(), kOneThread);
  Memory memory;
  emulation::last_blocks = 4;
  take_windows_cuda(plan, corners.data(), false, DType::uint8, layout, image.get(), DType::float16, layout,
                    windows.begin, memory.call);
  emulation::last_blocks = 0xffffffffu;
  windows.get(got);
  compare("take_windows", want, got);
}

void far() {
  for (const bool max : {false, true})
    for (const bool channels_last : {false, true})
      for (const int64_t width : {16, 15}) far_blur(DType::float16, width, channels_last, max);
  far_windows();
  std::printf("far, %zu kernels\n", emulation::launched.size());
}

}  // namespace

int main(int count, char** arguments) {
  if (count > 1 && std::strcmp(arguments[1], "far") == 0) return far(), 0;
  if (count > 2) {
    const std::string order = arguments[2];
    emulation::order = order == "random"     ? emulation::Order::random
                       : order == "reversed" ? emulation::Order::reversed
                                             : emulation::Order::forward;
  }
  const DType types[] = {DType::float32, DType::float16, DType::bfloat16, DType::float64};
  for (const DType dtype : types) every_blur(dtype), every_max_blur(dtype);
  every_window();
  const int64_t rounds = std::atoll(arguments[1]);
  for (int64_t round = 0; round < rounds; ++round) {
    state = static_cast<uint32_t>(round) * 7919u + 1u;
    for (const DType dtype : types) random_blur(dtype), random_max_blur(dtype), random_polyphase(dtype);
    const auto in = static_cast<DType>(random_from(0, 4)), out = types[random_from(0, 3)];
    random_window(in, in == DType::uint8 && random_from(0, 3) == 0 ? in : out);
  }
  std::printf("%lld rounds, %zu kernels\n", static_cast<long long>(rounds), emulation::launched.size());
}
