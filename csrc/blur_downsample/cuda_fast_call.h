// A call that a fast CUDA kernel may be there for.
#pragma once

#include "blur_downsample/plan.h"

namespace shiftable {

struct FastCall {
  const char* op;
  const BlurPlan& plan;
  bool transpose;
  const void* from;  // the image; for the transpose the gradient
  void* to;
  const GpuCall& gpu;
  const Prologue* prologue = nullptr;
  const void* image = nullptr;  // for the transpose with a prologue, and below
  float *scale_grad = nullptr, *bias_grad = nullptr;
};

// Runs the call, or returns false where it is none for a fast kernel. Each in a file of its own.
bool run_fast_float32(const FastCall& call);
bool run_fast_float16(const FastCall& call);
bool run_fast_bfloat16(const FastCall& call);

}  // namespace shiftable
