/// Chooses the instruction set when the library is loaded.
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "simd/tables.h"

namespace {

/// The best level that the processor has and MLXD_CPU_LEVEL allows. An unknown value allows all.
const MlxdSimd *choose() {
  const char *limit = std::getenv("MLXD_CPU_LEVEL");
  const MlxdSimd *best = nullptr;
  for (MlxdCpuLevel level : {MLXD_CPU_BASELINE, MLXD_CPU_AVX2, MLXD_CPU_AVX512}) {
    const MlxdSimd *candidate = mlxd_simd_at(level);
    if (!candidate)
      break;
    best = candidate;
    if (limit && std::strcmp(limit, candidate->name) == 0)
      break;
  }
  return best;
}

/// Set by the loader, before any other code of the process asks.
const MlxdSimd *const chosen = choose();

}  // namespace

const MlxdSimd *mlxd_simd_at(MlxdCpuLevel level) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (level == MLXD_CPU_AVX2 && __builtin_cpu_supports("x86-64-v3"))
    return &mlxd::avx2::table;
  if (level == MLXD_CPU_AVX512 && __builtin_cpu_supports("x86-64-v4"))
    return &mlxd::avx512::table;
#endif
  return level == MLXD_CPU_BASELINE ? &mlxd::baseline::table : nullptr;
}

const MlxdSimd *mlxd_simd(void) {
  return chosen;
}
