/// The tables that the build makes: one on every processor, three on x86-64.
#pragma once
#include "mlxd/simd.h"

namespace mlxd::baseline {
extern const MlxdSimd table;
}
#if defined(__x86_64__)
namespace mlxd::avx2 {
extern const MlxdSimd table;
}
namespace mlxd::avx512 {
extern const MlxdSimd table;
}
#endif
