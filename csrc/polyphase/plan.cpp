#include "polyphase/plan.h"

#include "core/check.h"

namespace shiftable {

namespace {

constexpr int64_t kLargestStride = 64;  // every phase has a plan of its own

// The default's padding with windows moved down by `i` and right by `j`, and room for `rows` and `columns` more.
std::optional<std::vector<int64_t>> moved_pad(const PolyphaseArguments& arguments, int64_t i, int64_t j, int64_t rows,
                                              int64_t columns) {
  const auto ky = static_cast<int64_t>(arguments.taps_y.size()), kx = static_cast<int64_t>(arguments.taps_x.size());
  return std::vector<int64_t>{(kx - 1) / 2 - j, kx / 2 + columns, (ky - 1) / 2 - i, ky / 2 + rows};
}

}  // namespace

Norm norm_named(const char* op, const std::string& name) {
  static const std::vector<std::pair<std::string, Norm>> table = {
      {"l1", Norm::l1}, {"l2", Norm::l2}, {"linf", Norm::linf}};
  return named(op, "norm", name, table);
}

PolyphasePlan plan_polyphase(const char* op, const std::vector<int64_t>& shape, bool channels_last,
                             const PolyphaseArguments& arguments) {
  const auto& [taps_y, taps_x, stride, border] = arguments;
  PolyphasePlan plan;
  const BlurPlan first = plan_blur(op, shape, channels_last, {taps_y, taps_x, stride, border, std::nullopt});
  plan.stride_y = stride[0];
  plan.stride_x = stride[1];
  check(plan.stride_y <= kLargestStride && plan.stride_x <= kLargestStride, op, "expected stride from 1 to ",
        kLargestStride, ", got ", plan.stride_y, " and ", plan.stride_x);
  const size_t d = shape.size();
  plan.height = first.y->axis.outputs;
  plan.width = first.x->axis.outputs;
  plan.samples = d == 4 ? shape[0] : 1;
  plan.channels = shape[d - 3];
  const auto pad =
      moved_pad(arguments, 0, 0, plan.height * plan.stride_y - shape[d - 2], plan.width * plan.stride_x - shape[d - 1]);
  plan.blurred = plan_blur(op, shape, channels_last, {taps_y, taps_x, {1, 1}, border, pad});
  return plan;
}

PolyphasePlan plan_component(const char* op, const std::vector<int64_t>& shape, bool channels_last,
                             const PolyphaseArguments& arguments, const std::vector<int64_t>& phase_shape) {
  PolyphasePlan plan = plan_polyphase(op, shape, channels_last, arguments);
  const bool one_for_all = phase_shape.empty() || phase_shape == std::vector<int64_t>{1};
  check(one_for_all || phase_shape == std::vector<int64_t>{plan.samples}, op, "expected phase of shape (", plan.samples,
        ",), (1,) or (), got shape ", shape_text(phase_shape));
  for (int64_t i = 0; i < plan.stride_y; ++i)
    for (int64_t j = 0; j < plan.stride_x; ++j) {
      const auto pad = moved_pad(arguments, i, j, i, j);
      plan.components.push_back(plan_blur(
          op, shape, channels_last, {arguments.taps_y, arguments.taps_x, arguments.stride, arguments.border, pad}));
      if (!one_for_all) plan.components.back().blocks = plan.blocks_of_sample();
    }
  return plan;
}

void check_phases(const char* op, const PolyphasePlan& plan, const int64_t* phase, int64_t count) {
  for (int64_t n = 0; n < count; ++n)
    check(phase[n] >= 0 && phase[n] < plan.phases(), op, "expected phases from 0 to ", plan.phases() - 1, ", got ",
          phase[n]);
}

std::vector<int64_t> component_shape(const std::vector<int64_t>& shape, const PolyphasePlan& plan) {
  std::vector<int64_t> result = shape;
  result[shape.size() - 2] = plan.height;
  result[shape.size() - 1] = plan.width;
  return result;
}

}  // namespace shiftable
