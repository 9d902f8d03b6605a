// Runs every kernel on random shapes, filters, borders and layouts, on buffers of exactly the right size: built with
// the address and undefined-behaviour sanitizers, it stops at the first number read or written outside of them.
#include <cstdio>
#include <stdexcept>

#include "blur_downsample/plan.h"
#include "max_blur_downsample/plan.h"
#include "polyphase/plan.h"
#include "random.h"
#include "take_windows/plan.h"

using namespace shiftable;
namespace kernels = shiftable::SHIFTABLE_VARIANT;

namespace {

// Three threads' worth of parts, one after the other.
const Parallel kParts = {[](int64_t count, int64_t, void (*body)(const void*, int64_t, int64_t), const void* context) {
  const int64_t part = (count + 2) / 3;
  for (int64_t begin = 0; begin < count; begin += part)
    body(context, begin, begin + part < count ? begin + part : count);
}};

void blurs(DType dtype) {
  const std::vector<int64_t> channels = {1, 3, 4, 15, 16, 17, 32, 33, 64, 65, 80};
  const std::vector<int64_t> shape = {random_from(1, 2), channels[random_from(0, 10)], random_from(1, 20),
                                      random_from(1, 80)};
  const bool channels_last = random_from(0, 1) == 1 && shape[1] > 1;
  std::vector<double> taps_y(random_from(1, 9), 0.25), taps_x(random_from(1, 9), 0.5);
  if (random_from(0, 1) == 1) taps_y.resize(taps_x.size(), 0.25);
  const int64_t common = random_from(0, 2) > 0 ? 2 : random_from(1, 5);
  const std::vector<int64_t> stride = {random_from(0, 2) > 0 ? common : random_from(1, 5), common};
  const std::string border = borders()[random_from(0, 3)].first;
  std::optional<std::vector<int64_t>> pad;
  if (random_from(0, 3) == 0) pad = {random_from(-2, 9), random_from(-2, 9), random_from(-2, 9), random_from(-2, 9)};
  const BlurArguments arguments{taps_y, taps_x, stride, border, pad};
  try {
    const BlurPlan plan = plan_blur("blur", shape, channels_last, arguments);
    Buffer image(count_of(shape), dtype), result(count_of(blurred_shape(shape, plan)), dtype),
        back(count_of(shape), dtype);
    kernels::blur_downsample_cpu(plan, dtype, image.get(), result.get(), kParts);
    kernels::blur_downsample_transpose_cpu(plan, dtype, result.get(), back.get(), kParts);
    const DType sums = dtype == DType::float64 ? DType::float64 : DType::float32;
    Buffer scale(shape[1], sums), bias(shape[1], sums), scale_grad(shape[1], sums), bias_grad(shape[1], sums);
    const Prologue prologue{scale.get(), bias.get(), random_from(0, 1) == 1, shape[1]};
    kernels::blur_downsample_prologue_cpu(plan, dtype, image.get(), prologue, result.get(), kParts);
    kernels::blur_downsample_prologue_transpose_cpu(plan, dtype, result.get(), image.get(), prologue, back.get(),
                                                    scale_grad.get(), bias_grad.get(), kParts);
    const std::vector<int64_t> window = {random_from(1, 4), random_from(1, 4)},
                               dilation = {random_from(1, 2), random_from(1, 2)},
                               max_pad = {random_from(0, 1), random_from(0, 1)};
    const MaxBlurPlan pool =
        plan_max_blur("max", shape, channels_last, {window, max_pad, dilation}, arguments, random_from(0, 1) == 1);
    Buffer pooled(count_of(blurred_shape(shape, pool.blur)), dtype), values(count_of(shape), dtype);
    kernels::max_blur_downsample_gather_cpu(pool, dtype, image.get(), image.get(), pooled.get(), kParts);
    kernels::max_blur_downsample_gather_cpu(pool, dtype, values.get(), image.get(), pooled.get(), kParts);
    kernels::max_blur_downsample_transpose_cpu(pool, dtype, pooled.get(), image.get(), back.get(), kParts);
  } catch (const std::invalid_argument&) {  // a filter that does not fit
  }
}

void polyphase(DType dtype) {
  const std::vector<int64_t> channels = {1, 3, 15, 16, 17, 33, 80};
  const std::vector<int64_t> shape = {random_from(1, 3), channels[random_from(0, 6)], random_from(1, 20),
                                      random_from(1, 80)};
  const std::vector<double> taps_y(random_from(1, 9), 0.25), taps_x(random_from(1, 9), 0.5);
  const std::vector<int64_t> stride = {random_from(1, 5), random_from(1, 5)};
  const bool channels_last = random_from(0, 1) == 1 && shape[1] > 1;
  const PolyphasePlan plan = plan_component("polyphase", shape, channels_last,
                                            {taps_y, taps_x, stride, borders()[random_from(0, 3)].first}, {shape[0]});
  std::vector<int64_t> phase(shape[0]);
  for (int64_t& p : phase) p = random_from(0, plan.phases() - 1);
  Buffer image(count_of(shape), dtype), result(count_of(component_shape(shape, plan)), dtype);
  Buffer norms(shape[0] * plan.phases(), dtype == DType::float64 ? DType::float64 : DType::float32);
  for (const Norm norm : {Norm::l1, Norm::l2, Norm::linf})
    kernels::polyphase_norms_cpu(plan, norm, dtype, image.get(), norms.get(), kParts);
  kernels::polyphase_downsample_cpu(plan, phase.data(), shape[0], dtype, image.get(), result.get(), kParts);
  kernels::polyphase_downsample_transpose_cpu(plan, phase.data(), shape[0], dtype, result.get(), image.get(), kParts);
}

void windows(DType from, DType to) {
  const std::vector<int64_t> images = {random_from(1, 2), random_from(1, 5), random_from(1, 20), random_from(1, 60)};
  const int64_t count = random_from(1, 12), height = random_from(1, 20), width = random_from(1, 60);
  const std::vector<int64_t> corners_shape = {count, 2};
  std::vector<double> positions(2 * count);
  const double fraction = random_from(0, 3) * 0.25;
  for (double& position : positions) position = static_cast<double>(random_from(-30, 60)) + fraction;
  const char* interpolations[] = {"linear", "cubic", "lanczos3"};
  std::optional<std::vector<double>> scale;
  if (random_from(0, 1) == 1) scale = {0.5};
  const WindowPlan plan = plan_windows("windows", images, corners_shape, true, false,
                                       {{height, width},
                                        borders()[random_from(0, 3)].first,
                                        std::nullopt,
                                        scale,
                                        std::nullopt,
                                        interpolations[random_from(0, 2)]});
  const std::vector<Corner> corners = read_corners("windows", positions.data(), count);
  const Layout source = layout_of(images[1], images[2], images[3], random_from(0, 1) == 1);
  const Layout target = layout_of(images[1], height, width, random_from(0, 1) == 1);
  Buffer image(count_of(images), from), result(images[0] * count * images[1] * height * width, to);
  kernels::take_windows_cpu(plan, corners.data(), false, from, source, image.get(), to, target, result.get(), kParts);
  if (from == DType::uint8) return;
  kernels::take_windows_transpose_cpu(plan, corners.data(), false, to, target, result.get(), from, source, image.get(),
                                      kParts);
}

}  // namespace

int main(int, char** arguments) {
  const int64_t rounds = std::atoll(arguments[1]);
  for (int64_t round = 0; round < rounds; ++round) {
    state = static_cast<uint32_t>(round) * 7919u + 1u;
    const DType dtype = static_cast<DType>(random_from(0, 3));
    blurs(dtype);
    polyphase(dtype);
    windows(static_cast<DType>(random_from(0, 4)), dtype);
  }
  std::printf("%lld rounds\n", static_cast<long long>(rounds));
}
