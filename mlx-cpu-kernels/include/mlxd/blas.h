/// Matrix products and the thread pool.
///
/// The library that implements this needs no MLX. It defines the cblas functions that MLX calls.
#ifndef MLXD_BLAS_H
#define MLXD_BLAS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// CBLAS_ORDER and CBLAS_TRANSPOSE.
enum MlxdCblas {
  MLXD_ROW_MAJOR = 101,
  MLXD_NO_TRANS = 111,
  MLXD_TRANS = 112,
};

/// C[m,n] = alpha op(A) op(B) + beta C, on all threads of the pool if they are free. (BLAS sgemm.)
void cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a,
                 int lda, const float *b, int ldb, float beta, float *c, int ldc);

/// The same on the calling thread, with the same result to the last bit.
void mlxd_sgemm_serial(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a,
                       int lda, const float *b, int ldb, float beta, float *c, int ldc);

/// A piece of a job, 0 <= piece < pieces.
typedef void (*MlxdPiece)(const void *job, int piece, int pieces);

/// Runs every piece of a job and returns when all are done. The pieces run on all threads of the pool if they
/// are free, else in order on the calling thread. A piece may call this function. Pieces must not throw.
void mlxd_parallel_for(MlxdPiece run, const void *job, int pieces);

/// Threads of the pool, the caller included: as many as processors that this process may use, or
/// OPENBLAS_NUM_THREADS.
int mlxd_thread_count(void);

#ifdef __cplusplus
}
#endif
#endif
