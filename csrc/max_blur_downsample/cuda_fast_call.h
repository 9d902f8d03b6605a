// A call that a fast CUDA kernel may be there for.
#pragma once

#include "max_blur_downsample/plan.h"

namespace shiftable {

struct FastMaxCall {
  const char* op;
  const MaxBlurPlan& plan;
  bool transpose;
  const void* from;  // the image; for the transpose the gradient
  const void* image;
  void* to;
  const GpuCall& gpu;
};

// Runs the call, or returns false where it is none for a fast kernel. Each in a file of its own.
bool run_fast_max_float32(const FastMaxCall& call);
bool run_fast_max_float16(const FastMaxCall& call);
bool run_fast_max_bfloat16(const FastMaxCall& call);

}  // namespace shiftable
