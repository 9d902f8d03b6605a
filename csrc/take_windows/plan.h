// take_windows: windows of images, anywhere, through a border rule, at whole or fractional corners.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/border.h"
#include "core/dtype.h"
#include "core/gpu_call.h"
#include "core/parallel.h"
#include "core/variants.h"

namespace shiftable {

enum class Interpolation : int { linear, cubic, lanczos3 };

struct WindowArguments {
  std::vector<int64_t> size;  // (h, w) of a window
  std::string border;
  std::optional<std::vector<double>> fill, scale, bias;  // one value, or one a channel
  std::string interpolation;
};

// How (image, channel, y, x) lies in memory, in elements.
struct Layout {
  int64_t image, channel, y, x;
};

// A corner: the pixel at or before it, and how far past that pixel it lies (0 <= fraction < 1).
struct Corner {
  int64_t y, x;
  double fraction_y, fraction_x;
};

struct WindowPlan {
  int64_t images, windows, channels;  // windows: per image
  int64_t height, width;              // of an image
  int64_t window_height, window_width;
  Border border;
  Interpolation interpolation;
  bool fractional;                        // corners came as floats
  bool affine;                            // scale or bias given
  std::vector<double> fill, scale, bias;  // one a channel
};

// Checks the arguments. `images` is (N, C, H, W); `corners` is (S, 2) or (N, S, 2).
WindowPlan plan_windows(const char* op, const std::vector<int64_t>& images, const std::vector<int64_t>& corners,
                        bool fractional, bool to_uint8, const WindowArguments& arguments);

constexpr double kFarthest = 1099511627776.0;  // 2^40 pixels: sums with window sizes stay exact

// Splits corners into whole pixels and fractions; refuses what no image can lie near. T: int64_t or double.
template <typename T>
std::vector<Corner> read_corners(const char* op, const T* corners, int64_t count);

// `per_image`: each image has its own corners.
SHIFTABLE_CPU_DECLARE(void take_windows_cpu(const WindowPlan& plan, const Corner* corners, bool per_image, DType in,
                                            const Layout& from, const void* images, DType out, const Layout& to,
                                            void* windows, const Parallel& parallel);
                      void take_windows_transpose_cpu(const WindowPlan& plan, const Corner* corners, bool per_image,
                                                      DType in, const Layout& from, const void* grad, DType out,
                                                      const Layout& to, void* images, const Parallel& parallel);)

// The same on a GPU: pointers are to its memory. `corners` holds (y, x) in int64 or, where plan.fractional, in double;
// nobody has looked at them, so one that is no number is taken as 0, and one beyond 2^40 pixels as that far off.
void take_windows_cuda(const WindowPlan& plan, const void* corners, bool per_image, DType in, const Layout& from,
                       const void* images, DType out, const Layout& to, void* windows, const GpuCall& gpu);
void take_windows_transpose_cuda(const WindowPlan& plan, const void* corners, bool per_image, DType in,
                                 const Layout& from, const void* grad, DType out, const Layout& to, void* images,
                                 const GpuCall& gpu);

}  // namespace shiftable
