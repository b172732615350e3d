/* What MLX finds at run time on Linux instead of its own: a fast BLAS, and a clock that mlx-rs expects from macOS.
 *
 * The MLX wheel carries the reference BLAS. This library is named by our executables themselves, so the dynamic linker
 * takes its cblas functions first; they forward to scipy-openblas32, but for the products of decoding. */
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#ifdef _OPENMP
#include <omp.h>
#endif

enum { RowMajor = 101, NoTrans = 111, Trans = 112 };

void scipy_cblas_sgemm(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);
void scipy_cblas_dgemm(int, int, int, int, int, int, double, const double *, int, const double *, int, double, double *,
                       int);
void scipy_cblas_cgemm(int, int, int, int, int, int, const void *, const void *, int, const void *, int, const void *,
                       void *, int);
void scipy_openblas_set_num_threads(int);
void scipy_cblas_sgemv(int, int, int, int, float, const float *, int, const float *, int, float, float *, int);

/* clock_gettime(2); mlx-rs seeds its random numbers with it. */
uint64_t mach_approximate_time(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Decoding multiplies a few rows by a matrix that is far larger than any cache. OpenBLAS's sgemm packs the matrix first,
 * which costs more than the product. Here every row of B is read once and meets all rows of A. */
#if defined(__AVX512F__)
enum { Lanes = 16, Pair = 2 };
#elif defined(__AVX__)
enum { Lanes = 8, Pair = 1 }; /* 16 registers hold no more */
#else
enum { Lanes = 4, Pair = 2 };
#endif
enum { Block = 8, MostRows = 32 };
typedef float vector __attribute__((vector_size(Lanes * sizeof(float)), aligned(sizeof(float))));

static inline float sum(vector v) {
  float total = 0;
  for (int i = 0; i < Lanes; i++) total += v[i];
  return total;
}

/* ROWS rows of A with PAIR rows of B. A function for each number of rows: only then do the sums stay in registers. */
#define DOTS(ROWS, PAIR)                                                                                              \
  static void dots_##ROWS##_##PAIR(int k, const float *a, int lda, const float *b, int ldb, float *c, int ldc) {      \
    vector sums[ROWS][PAIR];                                                                                          \
    for (int r = 0; r < ROWS; r++)                                                                                    \
      for (int p = 0; p < PAIR; p++) sums[r][p] = (vector){0};                                                        \
    int i = 0;                                                                                                        \
    for (; i + Lanes <= k; i += Lanes)                                                                                \
      for (int r = 0; r < ROWS; r++)                                                                                  \
        for (int p = 0; p < PAIR; p++)                                                                                \
          sums[r][p] += *(const vector *)(a + (size_t)r * lda + i) * *(const vector *)(b + (size_t)p * ldb + i);      \
    for (int r = 0; r < ROWS; r++)                                                                                    \
      for (int p = 0; p < PAIR; p++) {                                                                                \
        float total = sum(sums[r][p]);                                                                                \
        for (int rest = i; rest < k; rest++) total += a[(size_t)r * lda + rest] * b[(size_t)p * ldb + rest];          \
        c[(size_t)r * ldc + p] = total;                                                                               \
      }                                                                                                               \
  }
#define BOTH(ROWS) DOTS(ROWS, 1) DOTS(ROWS, 2)
BOTH(1) BOTH(2) BOTH(3) BOTH(4) BOTH(5) BOTH(6) BOTH(7) BOTH(8)
typedef void (*dots)(int, const float *, int, const float *, int, float *, int);
static const dots by_rows[2][Block] = {
    {dots_1_1, dots_2_1, dots_3_1, dots_4_1, dots_5_1, dots_6_1, dots_7_1, dots_8_1},
    {dots_1_2, dots_2_2, dots_3_2, dots_4_2, dots_5_2, dots_6_2, dots_7_2, dots_8_2},
};

/* C[m,n] = A[m,k] B[n,k]^T for few rows m. */
static void skinny(int m, int n, int k, const float *a, int lda, const float *b, int ldb, float *c, int ldc) {
  for (int j = 0; j < n; j += Pair) {
    int pair = j + Pair <= n ? Pair : 1;
    for (int r = 0; r < m; r += Block) {
      int rows = m - r < Block ? m - r : Block;
      by_rows[pair - 1][rows - 1](k, a + (size_t)r * lda, lda, b + (size_t)j * ldb, ldb, c + (size_t)r * ldc + j, ldc);
    }
  }
}

/* C[m,n] = alpha op(A) op(B) + beta C in row-major order, on this thread alone. */
static void product(int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda, const float *b,
                    int ldb, float beta, float *c, int ldc) {
  if (m == 1 && n > 0 && k > 0) { /* for one row OpenBLAS itself has what it takes */
    int step = trans_a == NoTrans ? 1 : lda;
    if (trans_b == NoTrans) /* B is [k,n]: c = B^T a */
      return scipy_cblas_sgemv(RowMajor, Trans, k, n, alpha, b, ldb, a, step, beta, c, 1);
    return scipy_cblas_sgemv(RowMajor, NoTrans, n, k, alpha, b, ldb, a, step, beta, c, 1);
  }
  if (trans_a == NoTrans && trans_b == Trans && m <= MostRows && alpha == 1 && beta == 0)
    return skinny(m, n, k, a, lda, b, ldb, c, ldc);
  scipy_cblas_sgemm(RowMajor, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

/* One pool of threads for every product: OpenBLAS's own would spin beside it for the same cores. */
__attribute__((constructor)) static void one_pool(void) { scipy_openblas_set_num_threads(1); }

/* C = alpha op(A) op(B) + beta C. Threads share the columns of C where that is worth waking them. */
void cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc) {
  if (order != RowMajor)
    return scipy_cblas_sgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  const int grain = 32; /* columns: two cache lines of C */
  int pieces = (n + grain - 1) / grain;
#ifdef _OPENMP
  int threads = (int64_t)n * k * (m < 8 ? 1 : m / 8) > 65536 ? omp_get_max_threads() : 1;
  if (threads > pieces) threads = pieces;
#else
  int threads = 1;
#endif
  if (threads <= 1) return product(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++) {
    int from = (int)((int64_t)pieces * t / threads) * grain, to = (int)((int64_t)pieces * (t + 1) / threads) * grain;
    if (to > n) to = n;
    const float *columns = trans_b == NoTrans ? b + from : b + (size_t)from * ldb;
    product(trans_a, trans_b, m, to - from, k, alpha, a, lda, columns, ldb, beta, c + from, ldc);
  }
}

void cblas_dgemm(int order, int trans_a, int trans_b, int m, int n, int k, double alpha, const double *a, int lda,
                 const double *b, int ldb, double beta, double *c, int ldc) {
  scipy_cblas_dgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void cblas_cgemm(int order, int trans_a, int trans_b, int m, int n, int k, const void *alpha, const void *a, int lda,
                 const void *b, int ldb, const void *beta, void *c, int ldc) {
  scipy_cblas_cgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
