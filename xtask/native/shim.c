/* What MLX finds at run time on Linux instead of its own: a fast BLAS, and a clock that mlx-rs expects from macOS.
 *
 * The MLX wheel carries the reference BLAS. This library is named by our executables themselves, so the dynamic linker
 * takes its cblas functions first; they forward to scipy-openblas32, but for the products of decoding. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

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

/* One pool of threads for every product; OpenBLAS's own would spin beside it for the same cores. Between products the
 * threads spin for some microseconds, which is how long the next one takes to come in a model, and then sleep: several
 * processes share the machine. */
enum { Spins = 2000, MostThreads = 64 };
typedef void part_of(const void *job, int part, int parts);
static struct {
  pthread_mutex_t taken; /* by the product that runs */
  pthread_mutex_t lock;
  pthread_cond_t work, done;
  atomic_uint round;
  atomic_int left;
  int threads; /* the caller included */
  part_of *run;
  const void *job;
} pool = {.taken = PTHREAD_MUTEX_INITIALIZER,
          .lock = PTHREAD_MUTEX_INITIALIZER,
          .work = PTHREAD_COND_INITIALIZER,
          .done = PTHREAD_COND_INITIALIZER};

static void pause_briefly(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void *serve(void *part) {
  for (unsigned seen = 0;; seen++) {
    for (int i = 0; i < Spins && atomic_load(&pool.round) == seen; i++) pause_briefly();
    if (atomic_load(&pool.round) == seen) {
      pthread_mutex_lock(&pool.lock);
      while (atomic_load(&pool.round) == seen) pthread_cond_wait(&pool.work, &pool.lock);
      pthread_mutex_unlock(&pool.lock);
    }
    pool.run(pool.job, (int)(intptr_t)part, pool.threads);
    if (atomic_fetch_sub(&pool.left, 1) == 1) {
      pthread_mutex_lock(&pool.lock);
      pthread_cond_signal(&pool.done);
      pthread_mutex_unlock(&pool.lock);
    }
  }
}

/* As many threads as processors that we may use, or OPENBLAS_NUM_THREADS. */
static void start_pool(void) {
  cpu_set_t set;
  const char *asked = getenv("OPENBLAS_NUM_THREADS");
  int threads = asked ? atoi(asked) : sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  if (threads > MostThreads) threads = MostThreads;
  scipy_openblas_set_num_threads(1);
  pool.threads = 1;
  for (pthread_t thread; pool.threads < threads; pool.threads++) {
    if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)pool.threads) != 0) break;
    pthread_detach(thread);
  }
}

/* Runs every part of a job, on all threads where they are free, else on this one. */
static void share(part_of *run, const void *job) {
  if (pool.threads == 1 || pthread_mutex_trylock(&pool.taken) != 0) return run(job, 0, 1);
  pool.run = run;
  pool.job = job;
  atomic_store(&pool.left, pool.threads - 1);
  pthread_mutex_lock(&pool.lock);
  atomic_fetch_add(&pool.round, 1);
  pthread_cond_broadcast(&pool.work);
  pthread_mutex_unlock(&pool.lock);
  run(job, 0, pool.threads);
  for (int i = 0; i < Spins && atomic_load(&pool.left) > 0; i++) pause_briefly();
  if (atomic_load(&pool.left) > 0) {
    pthread_mutex_lock(&pool.lock);
    while (atomic_load(&pool.left) > 0) pthread_cond_wait(&pool.done, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
  }
  pthread_mutex_unlock(&pool.taken);
}

/* C = alpha op(A) op(B) + beta C, by columns of C. */
struct gemm {
  int trans_a, trans_b, m, n, k;
  float alpha;
  const float *a;
  int lda;
  const float *b;
  int ldb;
  float beta;
  float *c;
  int ldc;
};

static void columns(const void *job, int part, int parts) {
  const struct gemm *g = job;
  const int grain = 32; /* two cache lines of C */
  int pieces = (g->n + grain - 1) / grain;
  int from = (int)((int64_t)pieces * part / parts) * grain, to = (int)((int64_t)pieces * (part + 1) / parts) * grain;
  if (to > g->n) to = g->n;
  if (from >= to) return;
  const float *b = g->trans_b == NoTrans ? g->b + from : g->b + (size_t)from * g->ldb;
  product(g->trans_a, g->trans_b, g->m, to - from, g->k, g->alpha, g->a, g->lda, b, g->ldb, g->beta, g->c + from,
          g->ldc);
}

void cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, start_pool);
  if (order != RowMajor)
    return scipy_cblas_sgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  struct gemm gemm = {trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc};
  /* Less than this is done before another thread has woken. */
  if ((int64_t)n * k * (m < 8 ? 1 : m / 8) > 65536) return share(columns, &gemm);
  columns(&gemm, 0, 1);
}

void cblas_dgemm(int order, int trans_a, int trans_b, int m, int n, int k, double alpha, const double *a, int lda,
                 const double *b, int ldb, double beta, double *c, int ldc) {
  scipy_cblas_dgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void cblas_cgemm(int order, int trans_a, int trans_b, int m, int n, int k, const void *alpha, const void *a, int lda,
                 const void *b, int ldb, const void *beta, void *c, int ldc) {
  scipy_cblas_cgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
