#include "take_windows/plan.h"

#include <cmath>

#include "core/check.h"

namespace shiftable {

namespace {

const std::vector<std::pair<std::string, Interpolation>>& interpolations() {
  static const std::vector<std::pair<std::string, Interpolation>> table = {
      {"linear", Interpolation::linear}, {"cubic", Interpolation::cubic}, {"lanczos3", Interpolation::lanczos3}};
  return table;
}

std::vector<double> per_channel(const char* op, const char* name, const std::optional<std::vector<double>>& given,
                                double otherwise, int64_t channels) {
  if (!given) return std::vector<double>(channels, otherwise);
  check(given->size() == 1 || static_cast<int64_t>(given->size()) == channels, op, "expected ", name,
        " as one value or one for each of ", channels, " channels, got ", given->size());
  for (double value : *given) check(std::isfinite(value), op, "expected a finite ", name, ", got ", value);
  return given->size() == 1 ? std::vector<double>(channels, (*given)[0]) : *given;
}

}  // namespace

WindowPlan plan_windows(const char* op, const std::vector<int64_t>& images, const std::vector<int64_t>& corners,
                        bool fractional, bool to_uint8, const WindowArguments& arguments) {
  check(images.size() == 4, op, "expected images (N, C, H, W), got shape ", shape_text(images));
  const bool per_image = corners.size() == 3;
  check((corners.size() == 2 || per_image) && corners.back() == 2 && (!per_image || corners[0] == images[0]), op,
        "expected corners (S, 2) or (N, S, 2) for images ", shape_text(images), ", got shape ", shape_text(corners));
  check(images[2] >= 1 && images[3] >= 1, op, "expected H >= 1 and W >= 1, got shape ", shape_text(images));
  check(arguments.size.size() == 2 && arguments.size[0] >= 1 && arguments.size[1] >= 1, op,
        "expected size as (h, w), both >= 1");
  WindowPlan plan;
  plan.images = images[0];
  plan.windows = corners[corners.size() - 2];
  plan.channels = images[1];
  plan.height = images[2];
  plan.width = images[3];
  plan.window_height = arguments.size[0];
  plan.window_width = arguments.size[1];
  plan.border = named(op, "border", arguments.border, borders());
  plan.interpolation = named(op, "interpolation", arguments.interpolation, interpolations());
  plan.fractional = fractional;
  plan.affine = arguments.scale || arguments.bias;
  plan.fill = per_channel(op, "fill", arguments.fill, 0, plan.channels);
  plan.scale = per_channel(op, "scale", arguments.scale, 1, plan.channels);
  plan.bias = per_channel(op, "bias", arguments.bias, 0, plan.channels);
  if (to_uint8) {
    check(!fractional && !plan.affine, op, "expected whole corners and no scale or bias for a uint8 result");
    for (double value : plan.fill)
      check(value >= 0 && value <= 255 && value == std::floor(value), op,
            "expected a fill of whole numbers from 0 to 255 for a uint8 result, got ", value);
  }
  return plan;
}

template <typename T>
std::vector<Corner> read_corners(const char* op, const T* corners, int64_t count) {
  const auto split = [&](T value, int64_t& whole, double& fraction) {
    const auto position = static_cast<double>(value);
    check(position >= -kFarthest && position <= kFarthest, op, "expected corners within 2^40 pixels, got ", position);
    const double below = std::floor(position);
    whole = static_cast<int64_t>(below);
    fraction = position - below;
  };
  std::vector<Corner> result(count);
  for (int64_t i = 0; i < count; ++i) {
    split(corners[2 * i], result[i].y, result[i].fraction_y);
    split(corners[2 * i + 1], result[i].x, result[i].fraction_x);
  }
  return result;
}

template std::vector<Corner> read_corners<int64_t>(const char*, const int64_t*, int64_t);
template std::vector<Corner> read_corners<double>(const char*, const double*, int64_t);

}  // namespace shiftable
