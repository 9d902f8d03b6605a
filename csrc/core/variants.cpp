#include "core/variants.h"

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "core/check.h"

namespace shiftable {

namespace {

const std::vector<std::pair<std::string, Variant>>& variants() {
  static const std::vector<std::pair<std::string, Variant>> table = {
      {"baseline", Variant::baseline}, {"avx2", Variant::avx2}, {"avx512", Variant::avx512}};
  return table;
}

// Whether this build holds the variant and this processor runs it.
bool runs(Variant variant) {
#if defined(SHIFTABLE_X86_VARIANTS)
  __builtin_cpu_init();
  const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");  // x86-64-v3
  switch (variant) {
    case Variant::baseline: return true;
    case Variant::avx2: return avx2;
    case Variant::avx512:
      return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");  // x86-64-v4
  }
#endif
  return variant == Variant::baseline;
}

Variant choose() {
  if (const char* name = std::getenv("SHIFTABLE_CPU"); name != nullptr && *name != '\0') {
    const Variant variant = named("SHIFTABLE_CPU", "processor", name, variants());
    check(runs(variant), "SHIFTABLE_CPU", "expected a variant that this build and processor can run, got '", name, "'");
    return variant;
  }
  return runnable_variants().back();
}

}  // namespace

Variant cpu_variant() {
  static const Variant variant = choose();
  return variant;
}

std::vector<Variant> runnable_variants() {
  std::vector<Variant> found;
  for (const auto& entry : variants())
    if (runs(entry.second)) found.push_back(entry.second);
  return found;
}

const char* variant_name(Variant variant) { return variants()[static_cast<int>(variant)].first.c_str(); }

}  // namespace shiftable
