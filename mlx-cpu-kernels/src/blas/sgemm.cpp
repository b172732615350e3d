/// `cblas_sgemm` for MLX, whose wheel carries the reference BLAS.
///
/// Our executables name this library themselves, so the dynamic linker finds its cblas functions before the
/// wheel's. Products of few rows take `skinny_product`; all others go to OpenBLAS, cut into pieces for the
/// threads of our pool.
#include <algorithm>
#include <cstddef>

#include "blas/openblas.h"
#include "blas/thread_pool.h"
#include "mlxd/simd.h"

namespace {

/// Columns of C are shared out in multiples of this: two cache lines.
constexpr int column_grain = 32;
/// Up to this many multiplications a product takes less time than waking another thread.
constexpr int64_t serial_size = 65536;
/// Numbers of B in a piece of a product of few rows: some microseconds.
constexpr int64_t piece_size = 49152;
constexpr int64_t max_product_pieces = 1024;

/// C = alpha op(A) op(B) + beta C in row-major order.
struct Gemm {
  int trans_a;
  int trans_b;
  int m;
  int n;
  int k;
  float alpha;
  const float *a;
  int lda;
  const float *b;
  int ldb;
  float beta;
  float *c;
  int ldc;
};

/// Computes a product on this thread.
void compute(const Gemm &g) {
  if (g.trans_a == MLXD_NO_TRANS && g.trans_b == MLXD_TRANS && g.m <= MLXD_SKINNY_ROWS && g.alpha == 1 &&
      g.beta == 0)
    return mlxd_simd()->skinny_product(g.m, g.n, g.k, g.a, g.lda, g.b, g.ldb, g.c, g.ldc);
  if (g.m == 1 && g.n > 0 && g.k > 0) {
    int stride = g.trans_a == MLXD_NO_TRANS ? 1 : g.lda;
    if (g.trans_b == MLXD_NO_TRANS)  // B is [k,n]: c = B^T a
      return scipy_cblas_sgemv(MLXD_ROW_MAJOR, MLXD_TRANS, g.k, g.n, g.alpha, g.b, g.ldb, g.a, stride, g.beta,
                               g.c, 1);
    return scipy_cblas_sgemv(MLXD_ROW_MAJOR, MLXD_NO_TRANS, g.n, g.k, g.alpha, g.b, g.ldb, g.a, stride,
                             g.beta, g.c, 1);
  }
  scipy_cblas_sgemm(MLXD_ROW_MAJOR, g.trans_a, g.trans_b, g.m, g.n, g.k, g.alpha, g.a, g.lda, g.b, g.ldb,
                    g.beta, g.c, g.ldc);
}

/// Computes a piece of a product: some columns of C.
void compute_piece(const void *job, int piece, int pieces) {
  Gemm part = *static_cast<const Gemm *>(job);
  int64_t grains = (part.n + column_grain - 1) / column_grain;
  int begin = (int)(grains * piece / pieces) * column_grain;
  int end = std::min((int)(grains * (piece + 1) / pieces) * column_grain, part.n);
  if (begin >= end)
    return;
  part.n = end - begin;
  part.b += part.trans_b == MLXD_NO_TRANS ? begin : (size_t)begin * part.ldb;
  part.c += begin;
  compute(part);
}

/// The number of pieces of a product. OpenBLAS packs A again for each piece, so it gets one per thread.
int pieces_of(const Gemm &g) {
  // First of all, because it keeps OpenBLAS from starting threads of its own.
  int threads = mlxd_thread_count();
  int64_t size = (int64_t)g.n * g.k;
  if (size * std::max(g.m / 8, 1) <= serial_size)
    return 1;
  if (g.m > MLXD_SKINNY_ROWS)
    return threads;
  int64_t grains = (g.n + column_grain - 1) / column_grain;
  int64_t pieces = std::max<int64_t>(size / piece_size, threads);
  return (int)std::min({pieces, grains, max_product_pieces});
}

void multiply(int order, const Gemm &g, bool parallel) {
  int pieces = pieces_of(g);
  if (order != MLXD_ROW_MAJOR)
    return scipy_cblas_sgemm(order, g.trans_a, g.trans_b, g.m, g.n, g.k, g.alpha, g.a, g.lda, g.b, g.ldb,
                             g.beta, g.c, g.ldc);
  mlxd::run_pieces(compute_piece, &g, pieces, parallel);
}

}  // namespace

void cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a,
                 int lda, const float *b, int ldb, float beta, float *c, int ldc) {
  multiply(order, {trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc}, true);
}

void mlxd_sgemm_serial(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a,
                       int lda, const float *b, int ldb, float beta, float *c, int ldc) {
  multiply(order, {trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc}, false);
}
