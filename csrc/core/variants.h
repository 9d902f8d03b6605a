// One source, several processors: every cpu.cpp is compiled once for each variant below, into a namespace of its name.
#pragma once

#include <vector>

namespace shiftable {

enum class Variant : int { baseline, avx2, avx512 };

// The best variant that this build holds and this processor runs, or the one that SHIFTABLE_CPU names; chosen once.
// Throws std::invalid_argument if SHIFTABLE_CPU names one that cannot run here.
Variant cpu_variant();

// Those that this build holds and this processor runs.
std::vector<Variant> runnable_variants();

const char* variant_name(Variant variant);

}  // namespace shiftable

#if defined(SHIFTABLE_X86_VARIANTS)
// Declares functions for every variant.
#define SHIFTABLE_CPU_DECLARE(...) \
  namespace baseline {             \
  __VA_ARGS__                      \
  }                                \
  namespace avx2 {                 \
  __VA_ARGS__                      \
  }                                \
  namespace avx512 {               \
  __VA_ARGS__                      \
  }
// The function of that name for this processor.
#define SHIFTABLE_CPU(function)                        \
  (cpu_variant() == Variant::avx512 ? avx512::function \
   : cpu_variant() == Variant::avx2 ? avx2::function   \
                                    : baseline::function)
#else
#define SHIFTABLE_CPU_DECLARE(...) \
  namespace baseline {             \
  __VA_ARGS__                      \
  }
#define SHIFTABLE_CPU(function) baseline::function
#endif
