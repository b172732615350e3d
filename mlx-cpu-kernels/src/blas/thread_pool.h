/// One pool of threads for every product and kernel.
#pragma once
#include "mlxd/blas.h"

namespace mlxd {

/// Runs every piece of a job: on all threads if `parallel` and they are free, else in order on this one.
void run_pieces(MlxdPiece run, const void *job, int pieces, bool parallel);

}  // namespace mlxd
