/* What MLX finds at run time on Linux instead of its own: a fast BLAS, and a clock that mlx-rs expects from macOS.
 *
 * The MLX wheel carries the reference BLAS. This library is named by our executables themselves, so the dynamic linker
 * takes its cblas functions first; they forward to scipy-openblas32. Decoding multiplies one row by a matrix, for which
 * OpenBLAS's sgemm is poor: that case goes to sgemv, which reads the matrix once. */
#include <stdint.h>
#include <time.h>

enum { RowMajor = 101, NoTrans = 111, Trans = 112 };

void scipy_cblas_sgemm(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);
void scipy_cblas_dgemm(int, int, int, int, int, int, double, const double *, int, const double *, int, double, double *,
                       int);
void scipy_cblas_cgemm(int, int, int, int, int, int, const void *, const void *, int, const void *, int, const void *,
                       void *, int);
void scipy_cblas_sgemv(int, int, int, int, float, const float *, int, const float *, int, float, float *, int);

/* clock_gettime(2); mlx-rs seeds its random numbers with it. */
uint64_t mach_approximate_time(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* C[m,n] = alpha op(A) op(B) + beta C. */
void cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc) {
  if (order == RowMajor && m == 1 && n > 0 && k > 0) {
    int step = trans_a == NoTrans ? 1 : lda;
    if (trans_b == NoTrans) /* B is [k,n]: c = B^T a */
      scipy_cblas_sgemv(RowMajor, Trans, k, n, alpha, b, ldb, a, step, beta, c, 1);
    else /* B is [n,k]: c = B a */
      scipy_cblas_sgemv(RowMajor, NoTrans, n, k, alpha, b, ldb, a, step, beta, c, 1);
    return;
  }
  scipy_cblas_sgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void cblas_dgemm(int order, int trans_a, int trans_b, int m, int n, int k, double alpha, const double *a, int lda,
                 const double *b, int ldb, double beta, double *c, int ldc) {
  scipy_cblas_dgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void cblas_cgemm(int order, int trans_a, int trans_b, int m, int n, int k, const void *alpha, const void *a, int lda,
                 const void *b, int ldb, const void *beta, void *c, int ldc) {
  scipy_cblas_cgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
