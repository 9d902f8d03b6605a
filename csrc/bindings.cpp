// The Python module shiftable._C, and the schemas of every operator.
#include <pybind11/pybind11.h>
#include <torch/csrc/stable/library.h>

#include <string>

#include "core/border.h"
#include "core/variants.h"
#include "cuda_devices.h"
#include "eager.h"
#include "tensors.h"

namespace py = pybind11;

STABLE_TORCH_LIBRARY(shiftable, m) {
  const auto define = [&m](const std::string& schema) { m.def(schema.c_str()); };
  const std::string filter = "float[] taps_y, float[] taps_x, int[] stride, str border, int[]? pad";
  const std::string out = ", Tensor(a!) out) -> ()";
  define("blur_downsample(Tensor image, " + filter + ") -> Tensor");
  define("blur_downsample_out(Tensor image, " + filter + out);
  define("blur_downsample_transpose(Tensor grad, SymInt height, SymInt width, " + filter + ") -> Tensor");
  define("blur_downsample_transpose_out(Tensor grad, " + filter + out);
  const std::string prologue = "Tensor scale, Tensor bias, bool relu, " + filter;
  define("blur_downsample_prologue(Tensor image, " + prologue + ") -> Tensor");
  define("blur_downsample_prologue_out(Tensor image, " + prologue + out);
  define("blur_downsample_prologue_transpose(Tensor grad, Tensor image, " + prologue + ") -> (Tensor, Tensor, Tensor)");
  const std::string max_blur = "int[] kernel_size, " + filter + ", int[] max_pad, int[] dilation, bool ceil_mode";
  define("max_blur_downsample(Tensor image, " + max_blur + ") -> Tensor");
  define("max_blur_downsample_out(Tensor image, " + max_blur + out);
  define("max_blur_downsample_gather(Tensor values, Tensor image, " + max_blur + ") -> Tensor");
  define("max_blur_downsample_transpose(Tensor grad, Tensor image, " + max_blur + ") -> Tensor");
  define("max_blur_downsample_transpose_out(Tensor grad, Tensor image, " + max_blur + out);
  const std::string polyphase = "float[] taps_y, float[] taps_x, int[] stride, str border";
  define("polyphase_norms(Tensor image, " + polyphase + ", str norm) -> Tensor");
  define("polyphase_downsample(Tensor image, Tensor phase, " + polyphase + ") -> Tensor");
  define("polyphase_downsample_transpose(Tensor grad, Tensor phase, SymInt height, SymInt width, " + polyphase +
         ") -> Tensor");
  m.def(
      "take_windows(Tensor images, Tensor corners, SymInt[] size, str border, float[]? fill, str interpolation,"
      " float[]? scale, float[]? bias, ScalarType dtype, bool channels_last) -> Tensor");
  m.def(
      "take_windows_out(Tensor images, Tensor corners, str border, float[]? fill, str interpolation, float[]? scale,"
      " float[]? bias, Tensor(a!) out) -> ()");
  m.def(
      "take_windows_transpose(Tensor grad, Tensor corners, SymInt height, SymInt width, str border,"
      " str interpolation, float[]? scale, ScalarType dtype, bool channels_last) -> Tensor");
}

namespace shiftable {
namespace {

// The variant is looked up when a kernel is called, as the operators do.
const EagerKernels eager_kernels = {
    &plan_blur,
    &plan_max_blur,
    &blurred_shape,
    [](const BlurPlan& plan, DType dtype, const void* image, void* result, const Parallel& parallel) {
      SHIFTABLE_CPU(blur_downsample_cpu)(plan, dtype, image, result, parallel);
    },
    [](const BlurPlan& plan, DType dtype, const void* grad, void* result, const Parallel& parallel) {
      SHIFTABLE_CPU(blur_downsample_transpose_cpu)(plan, dtype, grad, result, parallel);
    },
    [](const MaxBlurPlan& plan, DType dtype, const void* values, const void* image, void* result,
       const Parallel& parallel) {
      SHIFTABLE_CPU(max_blur_downsample_gather_cpu)(plan, dtype, values, image, result, parallel);
    },
    [](const MaxBlurPlan& plan, DType dtype, const void* grad, const void* image, void* result,
       const Parallel& parallel) {
      SHIFTABLE_CPU(max_blur_downsample_transpose_cpu)(plan, dtype, grad, image, result, parallel);
    },
    torch_threads(),
};

}  // namespace
}  // namespace shiftable

PYBIND11_MODULE(_C, m) {
  m.doc() = "Kernels of shiftable; importing it registers torch.ops.shiftable.";
  m.def("borders", [] {
    py::list names;
    for (const auto& entry : shiftable::borders()) names.append(entry.first);
    return names;
  });
  m.def("border_index", [](const std::string& border, int64_t i, int64_t n) -> int64_t {
    if (n < 1) throw py::value_error("border_index: expected n >= 1, got " + std::to_string(n));
    for (const auto& entry : shiftable::borders())
      if (entry.first == border) return shiftable::border_index(entry.second, i, n);
    throw py::value_error("border_index: unknown border '" + border + "'");
  });
  m.def("cpu_variant", [] { return shiftable::variant_name(shiftable::cpu_variant()); });
  m.def("cpu_variants", [] {
    py::list names;
    for (const auto variant : shiftable::runnable_variants()) names.append(shiftable::variant_name(variant));
    return names;
  });
  m.attr("eager_kernels") = py::capsule(&shiftable::eager_kernels, shiftable::kEagerKernels);
  m.def("build_info", [] {
    py::dict info;
    info["compiler"] = SHIFTABLE_COMPILER;
    info["torch"] = SHIFTABLE_TORCH;
    info["cuda"] = SHIFTABLE_CUDA;  // the version of nvcc, "" for a build without CUDA
    info["cuda_architectures"] = SHIFTABLE_CUDA_BUILT_FOR;
    return info;
  });
  m.def("cuda_device_count", &shiftable::cuda_device_count);
}
