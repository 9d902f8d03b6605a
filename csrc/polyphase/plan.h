// The polyphase components of a blurred image: the norm of each, and the one that a sample asks for.
//
// Component (i, j) holds rows i, i + sy, ... and columns j, j + sx, ... of the image blurred at stride 1, ceil(H / sy)
// x ceil(W / sx) of them; those past the image's end are sums of the image continued by its border. So it is what
// blur_downsample gives with its windows moved by the phase. Phases are numbered i * sx + j.
#pragma once

#include <string>
#include <vector>

#include "blur_downsample/plan.h"

namespace shiftable {

enum class Norm : int { l1, l2, linf };

Norm norm_named(const char* op, const std::string& name);

// The filter as the user gave it.
struct PolyphaseArguments {
  const std::vector<double>& taps_y;
  const std::vector<double>& taps_x;
  const std::vector<int64_t>& stride;  // (vertical, horizontal)
  const std::string& border;
};

struct PolyphasePlan {
  BlurPlan blurred;  // at stride 1, as many rows and columns as all components have
  int64_t stride_y, stride_x;
  int64_t height, width;      // of a component
  int64_t samples, channels;  // samples: 1 for (C, H, W)
  // The filter of each component: of one sample, or of all of them where one phase serves all.
  std::vector<BlurPlan> components;

  int64_t phases() const { return stride_y * stride_x; }
  // Planes (NCHW) or images (channels_last) of a sample.
  int64_t blocks_of_sample() const { return blurred.inner == 1 ? channels : 1; }
};

// Checks the arguments for an image of this shape, (N, C, H, W) or (C, H, W).
PolyphasePlan plan_polyphase(const char* op, const std::vector<int64_t>& shape, bool channels_last,
                             const PolyphaseArguments& arguments);

// The same for components of which phases of this shape name one: one a sample, or one for all of them.
PolyphasePlan plan_component(const char* op, const std::vector<int64_t>& shape, bool channels_last,
                             const PolyphaseArguments& arguments, const std::vector<int64_t>& phase_shape);

// Refuses phases that are none; for those that can be read here.
void check_phases(const char* op, const PolyphasePlan& plan, const int64_t* phase, int64_t count);

// The image's shape with the last two sizes replaced.
std::vector<int64_t> component_shape(const std::vector<int64_t>& shape, const PolyphasePlan& plan);

// `norms` holds a number a sample and phase, in the type that sums are in. `phase` holds `phases` numbers, one a sample
// or one for all.
SHIFTABLE_CPU_DECLARE(void polyphase_norms_cpu(const PolyphasePlan& plan, Norm norm, DType dtype, const void* image,
                                               void* norms, const Parallel& parallel);
                      void polyphase_downsample_cpu(const PolyphasePlan& plan, const int64_t* phase, int64_t phases,
                                                    DType dtype, const void* image, void* result,
                                                    const Parallel& parallel);
                      void polyphase_downsample_transpose_cpu(const PolyphasePlan& plan, const int64_t* phase,
                                                              int64_t phases, DType dtype, const void* grad,
                                                              void* result, const Parallel& parallel);)

// The same on a GPU: pointers are to its memory. Nobody has looked at `phase`: one that is none is taken as the
// nearest.
void polyphase_norms_cuda(const PolyphasePlan& plan, Norm norm, DType dtype, const void* image, void* norms,
                          const GpuCall& gpu);
void polyphase_downsample_cuda(const PolyphasePlan& plan, const int64_t* phase, int64_t phases, DType dtype,
                               const void* image, void* result, const GpuCall& gpu);
void polyphase_downsample_transpose_cuda(const PolyphasePlan& plan, const int64_t* phase, int64_t phases, DType dtype,
                                         const void* grad, void* result, const GpuCall& gpu);

}  // namespace shiftable
