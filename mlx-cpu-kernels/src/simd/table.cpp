/// The table of one instruction set.
#include "simd/functions.h"
#include "simd/tables.h"

#define MLXD_STRING(x) #x
#define MLXD_NAME(x) MLXD_STRING(x)

namespace mlxd::MLXD_LEVEL {

const MlxdSimd table = {
    .name = MLXD_NAME(MLXD_LEVEL),
    .skinny_product = skinny_product,
    .activate = activate,
    .activate_gate = activate_gate,
    .rms_norm = rms_norm,
    .layer_norm = layer_norm,
    .rotate = rotate,
    .add = add,
    .scale = scale,
    .softmax = softmax,
    .online_softmax = online_softmax,
    .weighted_sum = weighted_sum,
    .widen_bf16 = widen_bf16,
};

}  // namespace mlxd::MLXD_LEVEL
