// How a launch that knows nothing of torch gets what it needs from there: op.cpp hands it one of these.
#pragma once

#include <cstdint>
#include <functional>

namespace shiftable {

struct GpuCall {
  void* stream;                                   // a cudaStream_t: torch's current one
  std::function<void*(int64_t bytes)> temporary;  // memory that lives until the operator returns
};

}  // namespace shiftable
