/// MLX needs more symbols than `cblas_sgemm`: two products, forwarded to OpenBLAS, and a clock.
///
/// With MLXD_PLAIN_OPENBLAS this file alone makes a library that forwards `cblas_sgemm` too. Benchmarks use it
/// for other servers, which are measured with plain OpenBLAS and its own threads.
#include <cstdint>
#include <ctime>

#include "blas/openblas.h"

extern "C" {

void cblas_dgemm(int order, int trans_a, int trans_b, int m, int n, int k, double alpha, const double *a,
                 int lda, const double *b, int ldb, double beta, double *c, int ldc) {
  scipy_cblas_dgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void cblas_cgemm(int order, int trans_a, int trans_b, int m, int n, int k, const void *alpha, const void *a,
                 int lda, const void *b, int ldb, const void *beta, void *c, int ldc) {
  scipy_cblas_cgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

#if defined(MLXD_PLAIN_OPENBLAS)
void cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a,
                 int lda, const float *b, int ldb, float beta, float *c, int ldc) {
  scipy_cblas_sgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
#endif

/// Nanoseconds of the monotonic clock. mlx-rs seeds its random numbers by this function of macOS.
uint64_t mach_approximate_time() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

}  // extern "C"
