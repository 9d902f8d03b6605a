// The GPU that a call's tensors lie on, through torch's stable ABI. Only op.cpp files include this.
#pragma once

#include <torch/csrc/stable/accelerator.h>

#include <stdexcept>

#include "core/gpu_call.h"
#include "tensors.h"

// Only a torch with CUDA has it: one build of this library serves both kinds.
extern "C" __attribute__((weak)) AOTITorchError aoti_torch_get_current_cuda_stream(int32_t device_index,
                                                                                   void** ret_stream);

namespace shiftable {

// While it lives the tensor's device is the current one; launches go to torch's current stream there, and temporaries
// come from torch's allocator, which keeps them for that stream.
class OnGpu {
 public:
  OnGpu(const char* op, const Tensor& tensor)
      : tensor_(tensor),
        guard_(tensor.get_device_index()),
        call_{nullptr, [this](int64_t bytes) { return take(bytes); }} {
    if (aoti_torch_get_current_cuda_stream == nullptr)
      throw std::runtime_error(std::string(op) + ": this torch does not say which CUDA stream is the current one");
    STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device_index(), &call_.stream));
  }
  OnGpu(const OnGpu&) = delete;
  OnGpu& operator=(const OnGpu&) = delete;

  const GpuCall& call() const { return call_; }

 private:
  void* take(int64_t bytes) {
    temporaries_.push_back(empty_on(tensor_, {bytes}, ScalarType::Byte, false));
    return temporaries_.back().mutable_data_ptr();
  }

  const Tensor& tensor_;
  torch::stable::accelerator::DeviceGuard guard_;
  std::vector<Tensor> temporaries_;
  GpuCall call_;
};

#if !defined(SHIFTABLE_HAS_CUDA)
// Stands for a kernel that this build does not have.
#define SHIFTABLE_CUDA_KERNEL(function)                                                                     \
  [](const auto&...) {                                                                                      \
    throw std::invalid_argument(                                                                            \
        "shiftable was built without CUDA kernels: build it where nvcc is (SHIFTABLE_CUDA=1), or move the " \
        "tensor to the CPU");                                                                               \
  }
#else
#define SHIFTABLE_CUDA_KERNEL(function) function
#endif

// Runs function_cpu(arguments..., torch's threads), or function_cuda(arguments..., the GPU's stream).
#define SHIFTABLE_RUN(function, op, tensor, ...)                       \
  do {                                                                 \
    if ((tensor).is_cuda()) {                                          \
      const OnGpu gpu(op, tensor);                                     \
      SHIFTABLE_CUDA_KERNEL(function##_cuda)(__VA_ARGS__, gpu.call()); \
    } else {                                                           \
      SHIFTABLE_CPU(function##_cpu)(__VA_ARGS__, torch_threads());     \
    }                                                                  \
  } while (false)

}  // namespace shiftable
