// Runs every kernel of one variant without torch and prints a hash of each result: processors that fuse multiply and
// add must print the same lines.
#include <cstdio>
#include <cstring>
#include <vector>

#include "blur_downsample/plan.h"
#include "max_blur_downsample/plan.h"
#include "take_windows/plan.h"

using namespace shiftable;
namespace kernels = shiftable::SHIFTABLE_VARIANT;

namespace {

const Parallel kOneThread = {[](int64_t count, int64_t, void (*body)(const void*, int64_t, int64_t),
                                const void* context) { body(context, 0, count); }};

struct Bytes {
  std::vector<unsigned char> data;
  explicit Bytes(int64_t size) : data(size) {}
  void* get() { return data.data(); }
  void print(const char* name) const {
    uint64_t hash = 1469598103934665603u;
    for (unsigned char byte : data) hash = (hash ^ byte) * 1099511628211u;
    std::printf("%s %016llx\n", name, static_cast<unsigned long long>(hash));
  }
};

int64_t size_of(DType dtype) { return dtype == DType::float64 ? 8 : dtype == DType::float32 ? 4 : 2; }

Bytes random_image(int64_t count, DType dtype) {
  Bytes bytes(count * size_of(dtype));
  uint32_t state = 12345;
  for (int64_t i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    const float value = static_cast<float>(static_cast<int32_t>(state)) / 1.0e9f;
    unsigned char* to = bytes.data.data() + i * size_of(dtype);
    const double wide = value;
    const BFloat16 brain(value);
    const Half half(value);
    if (dtype == DType::float32) std::memcpy(to, &value, 4);
    if (dtype == DType::float64) std::memcpy(to, &wide, 8);
    if (dtype == DType::bfloat16) std::memcpy(to, &brain, 2);
    if (dtype == DType::float16) std::memcpy(to, &half, 2);
  }
  return bytes;
}

int64_t count_of(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  return count;
}

void blurs(DType dtype, bool channels_last, const std::vector<double>& taps, const std::vector<int64_t>& stride) {
  const std::string border = "reflect";
  const std::optional<std::vector<int64_t>> pad;
  const BlurArguments arguments{taps, taps, stride, border, pad};
  const std::vector<int64_t> shape = {2, 21, 11, 67};
  Bytes image = random_image(count_of(shape), dtype);
  const BlurPlan plan = plan_blur("blur", shape, channels_last, arguments);
  Bytes blurred(count_of(blurred_shape(shape, plan)) * size_of(dtype));
  kernels::blur_downsample_cpu(plan, dtype, image.get(), blurred.get(), kOneThread);
  blurred.print("blur");
  Bytes back(image.data.size());
  kernels::blur_downsample_transpose_cpu(plan, dtype, blurred.get(), back.get(), kOneThread);
  back.print("blur transpose");
  const std::vector<int64_t> window = {2, 3}, one = {1, 1};
  const MaxBlurPlan pool = plan_max_blur("max", shape, channels_last, {window, one, one}, arguments, false);
  Bytes pooled(count_of(blurred_shape(shape, pool.blur)) * size_of(dtype));
  kernels::max_blur_downsample_gather_cpu(pool, dtype, image.get(), image.get(), pooled.get(), kOneThread);
  pooled.print("max");
  kernels::max_blur_downsample_transpose_cpu(pool, dtype, pooled.get(), image.get(), back.get(), kOneThread);
  back.print("max transpose");
}

void windows(DType dtype, bool channels_last) {
  const std::vector<int64_t> images = {1, 3, 13, 29}, corners_shape = {3, 2};
  const std::vector<double> positions = {-2.5, 1.25, 3.0, -4.0, 0.5, 7.75};
  const WindowPlan plan = plan_windows("windows", images, corners_shape, true, false,
                                       {{9, 23}, "reflect", std::nullopt, std::nullopt, std::nullopt, "cubic"});
  const std::vector<Corner> corners = read_corners("windows", positions.data(), 3);
  Bytes image = random_image(count_of(images), dtype), result(3 * 3 * 9 * 23 * size_of(dtype));
  const Layout from{3 * 13 * 29, 13 * 29, 29, 1};
  const Layout to = channels_last ? Layout{3 * 9 * 23, 1, 3 * 23, 3} : Layout{3 * 9 * 23, 9 * 23, 23, 1};
  kernels::take_windows_cpu(plan, corners.data(), false, dtype, from, image.get(), dtype, to, result.get(), kOneThread);
  result.print("windows");
}

}  // namespace

int main() {
  for (const DType dtype : {DType::float32, DType::float64, DType::bfloat16, DType::float16}) {
    for (const bool channels_last : {false, true}) {
      for (int64_t stride = 1; stride <= 3; ++stride)
        for (int count = 2; count <= 8; ++count) {
          std::vector<double> taps(count);
          for (int k = 0; k < count; ++k) taps[k] = 0.3 - 0.17 * k;
          blurs(dtype, channels_last, taps, {stride, stride});
        }
      windows(dtype, channels_last);
    }
  }
}
