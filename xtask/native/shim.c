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
 * which costs more than the product, and its sgemv reads four of its rows at once. Here B is read once and in order of
 * addresses: one or two rows of A take one row of B at a time, which the processor's own prefetcher follows (on an EPYC 26
 * against 13 GB/s a core); more rows of A take several, so that a number of A that is loaded is used more than once, and
 * then what comes is fetched into the second cache, also in order: the first could not wait for enough of it at once. */
#if defined(__AVX512F__)
enum { Lanes = 16, Pair = 2, Group = 4 };
#elif defined(__AVX__)
enum { Lanes = 8, Pair = 2, Group = 1 }; /* 16 registers hold no more */
#else
enum { Lanes = 4, Pair = 2, Group = 2 };
#endif
enum { Block = 8, MostRows = 32, Ahead = 2048 /* floats */ };
typedef float vector __attribute__((vector_size(Lanes * sizeof(float)), aligned(sizeof(float))));
typedef float four __attribute__((vector_size(4 * sizeof(float))));

/* A value that is to stay in a register: loading it anew for each use costs more than the product. */
#if defined(__x86_64__)
#define KEEP(x) __asm__("" : "+v"(x))
#elif defined(__aarch64__)
#define KEEP(x) __asm__("" : "+w"(x))
#else
#define KEEP(x)
#endif

static inline float sum(vector v) {
  four parts[Lanes / 4], all = {0};
  __builtin_memcpy(parts, &v, sizeof v);
  for (int i = 0; i < Lanes / 4; i++) all += parts[i];
  return (all[0] + all[2]) + (all[1] + all[3]);
}

/* ROWS rows of A with COLUMNS rows of B, UNROLL vectors of each at a time. A function for each number of rows: only then do
 * the sums stay in registers. */
#define DOTS(NAME, ROWS, COLUMNS, UNROLL)                                                                             \
  static void NAME(int k, const float *a, int lda, const float *b, int ldb, float *c, int ldc) {                      \
    vector sums[ROWS][COLUMNS][UNROLL];                                                                               \
    for (int r = 0; r < ROWS; r++)                                                                                    \
      for (int j = 0; j < COLUMNS; j++)                                                                               \
        for (int u = 0; u < UNROLL; u++) sums[r][j][u] = (vector){0};                                                 \
    int i = 0;                                                                                                        \
    for (; i + Lanes * UNROLL <= k; i += Lanes * UNROLL) {                                                            \
      if (COLUMNS > 1)                                                                                                \
        for (int j = 0; j < COLUMNS; j++) __builtin_prefetch(b + COLUMNS * i + j * Lanes + Ahead, 0, 2);              \
      for (int u = 0; u < UNROLL; u++) {                                                                              \
        vector own[COLUMNS];                                                                                          \
        for (int j = 0; j < COLUMNS; j++) own[j] = *(const vector *)(b + (size_t)j * ldb + i + u * Lanes);            \
        for (int r = 0; r < ROWS; r++) {                                                                              \
          vector one = *(const vector *)(a + (size_t)r * lda + i + u * Lanes);                                        \
          KEEP(one);                                                                                                  \
          for (int j = 0; j < COLUMNS; j++) sums[r][j][u] += one * own[j];                                            \
        }                                                                                                             \
      }                                                                                                               \
    }                                                                                                                 \
    for (int r = 0; r < ROWS; r++)                                                                                    \
      for (int j = 0; j < COLUMNS; j++) {                                                                             \
        vector all = sums[r][j][0];                                                                                   \
        for (int u = 1; u < UNROLL; u++) all += sums[r][j][u];                                                        \
        c[(size_t)r * ldc + j] = sum(all);                                                                            \
      }                                                                                                               \
    for (; i < k; i++)                                                                                                \
      for (int r = 0; r < ROWS; r++)                                                                                  \
        for (int j = 0; j < COLUMNS; j++) c[(size_t)r * ldc + j] += a[(size_t)r * lda + i] * b[(size_t)j * ldb + i];  \
  }
DOTS(one_1, 1, 1, 4)
DOTS(one_2, 2, 1, 2)
DOTS(one_3, 3, 1, 1)
DOTS(one_4, 4, 1, 1)
DOTS(one_5, 5, 1, 1)
DOTS(one_6, 6, 1, 1)
DOTS(one_7, 7, 1, 1)
DOTS(one_8, 8, 1, 1)
DOTS(several_3, 3, Pair, 1)
DOTS(several_4, 4, Pair, 1)
DOTS(several_5, 5, Group, 1)
DOTS(several_6, 6, Group, 1)
DOTS(several_7, 7, Group, 1)
DOTS(several_8, 8, Group, 1)
typedef void (*dots)(int, const float *, int, const float *, int, float *, int);
/* By rows of A: for how many rows of B at once, and the functions for so many and for one. */
static const struct {
  int columns;
  dots several, one;
} by_rows[Block + 1] = {
    {0, 0, 0},
    {1, one_1, one_1},
    {1, one_2, one_2},
    {Pair, several_3, one_3},
    {Pair, several_4, one_4},
    {Group, several_5, one_5},
    {Group, several_6, one_6},
    {Group, several_7, one_7},
    {Group, several_8, one_8},
};

/* C[m,n] = A[m,k] B[n,k]^T for few rows m. */
static void skinny(int m, int n, int k, const float *a, int lda, const float *b, int ldb, float *c, int ldc) {
  const int step = by_rows[m < Block ? m : Block].columns;
  for (int j = 0; j < n; j += step) {
    int end = j + step < n ? j + step : n;
    for (int r = 0; r < m; r += Block) {
      int rows = m - r < Block ? m - r : Block;
      int columns = by_rows[rows].columns;
      for (int at = j; at < end;) {
        int all = at + columns <= end;
        dots run = all ? by_rows[rows].several : by_rows[rows].one;
        run(k, a + (size_t)r * lda, lda, b + (size_t)at * ldb, ldb, c + (size_t)r * ldc + at, ldc);
        at += all ? columns : 1;
      }
    }
  }
}

/* C[m,n] = alpha op(A) op(B) + beta C in row-major order, on this thread alone. */
static void product(int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda, const float *b,
                    int ldb, float beta, float *c, int ldc) {
  if (trans_a == NoTrans && trans_b == Trans && m <= MostRows && alpha == 1 && beta == 0)
    return skinny(m, n, k, a, lda, b, ldb, c, ldc);
  if (m == 1 && n > 0 && k > 0) {
    int step = trans_a == NoTrans ? 1 : lda;
    if (trans_b == NoTrans) /* B is [k,n]: c = B^T a */
      return scipy_cblas_sgemv(RowMajor, Trans, k, n, alpha, b, ldb, a, step, beta, c, 1);
    return scipy_cblas_sgemv(RowMajor, NoTrans, n, k, alpha, b, ldb, a, step, beta, c, 1);
  }
  scipy_cblas_sgemm(RowMajor, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

/* One pool of threads for every product; OpenBLAS's own would spin beside it for the same cores. A job is cut into pieces
 * that whoever is awake takes one by one: a thread that wakes late, or that the system has taken off its core, holds up
 * nobody by more than one piece. Between products the threads spin for some microseconds, which is how long the next one
 * takes to come in a model, and then sleep: several processes share the machine. */
enum { Spins = 2000, MostThreads = 64, MostPieces = 1 << 15 };
typedef void piece_of(const void *job, int piece, int pieces);
static struct {
  pthread_mutex_t taken; /* by the product that runs */
  pthread_mutex_t lock;
  pthread_cond_t work, done;
  /* Round << 32 | pieces << 16 | the next piece. Whoever takes a piece of a round knows that its job is still there: the
   * round does not end before every piece is done. */
  atomic_ullong next;
  atomic_int finished, asleep;
  int threads; /* the caller included */
  piece_of *run;
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

static unsigned round_now(void) { return (unsigned)(atomic_load(&pool.next) >> 32); }

/* Does what is left of a round. */
static void work(unsigned round) {
  unsigned long long next = atomic_load(&pool.next);
  for (;;) {
    int pieces = (int)(next >> 16 & 0xffff), piece = (int)(next & 0xffff);
    if ((unsigned)(next >> 32) != round || piece >= pieces) return;
    if (!atomic_compare_exchange_weak(&pool.next, &next, next + 1)) continue;
    next++;
    pool.run(pool.job, piece, pieces);
    if (atomic_fetch_add(&pool.finished, 1) + 1 == pieces) {
      pthread_mutex_lock(&pool.lock);
      pthread_cond_signal(&pool.done);
      pthread_mutex_unlock(&pool.lock);
    }
  }
}

static void *serve(void *nothing) {
  for (unsigned seen = 0;; seen = round_now()) {
    work(seen);
    for (int i = 0; i < Spins && round_now() == seen; i++) pause_briefly();
    if (round_now() != seen) continue;
    pthread_mutex_lock(&pool.lock);
    atomic_fetch_add(&pool.asleep, 1);
    while (round_now() == seen) pthread_cond_wait(&pool.work, &pool.lock);
    atomic_fetch_sub(&pool.asleep, 1);
    pthread_mutex_unlock(&pool.lock);
  }
  return nothing;
}

static pthread_once_t started = PTHREAD_ONCE_INIT;

/* As many threads as processors that we may use, or OPENBLAS_NUM_THREADS. */
static void start_pool(void) {
  cpu_set_t set;
  const char *asked = getenv("OPENBLAS_NUM_THREADS");
  int threads = asked ? atoi(asked) : sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  if (threads > MostThreads) threads = MostThreads;
  scipy_openblas_set_num_threads(1);
  pool.threads = 1;
  for (pthread_t thread; pool.threads < threads; pool.threads++) {
    if (pthread_create(&thread, NULL, serve, NULL) != 0) break;
    pthread_detach(thread);
  }
}

/* Runs every piece of a job, on all threads where they are wanted and free, else on this one. */
static void share(piece_of *run, const void *job, int pieces, int wanted) {
  if (!wanted || pool.threads == 1 || pieces < 2 || pieces > MostPieces || pthread_mutex_trylock(&pool.taken) != 0) {
    for (int piece = 0; piece < pieces; piece++) run(job, piece, pieces);
    return;
  }
  pool.run = run;
  pool.job = job;
  atomic_store(&pool.finished, 0);
  unsigned round = round_now() + 1;
  atomic_store(&pool.next, (unsigned long long)round << 32 | (unsigned long long)pieces << 16);
  if (atomic_load(&pool.asleep) > 0) {
    pthread_mutex_lock(&pool.lock);
    pthread_cond_broadcast(&pool.work);
    pthread_mutex_unlock(&pool.lock);
  }
  work(round);
  for (int i = 0; i < Spins && atomic_load(&pool.finished) < pieces; i++) pause_briefly();
  if (atomic_load(&pool.finished) < pieces) {
    pthread_mutex_lock(&pool.lock);
    while (atomic_load(&pool.finished) < pieces) pthread_cond_wait(&pool.done, &pool.lock);
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

static void columns(const void *job, int piece, int pieces) {
  const struct gemm *g = job;
  const int grain = 32; /* two cache lines of C */
  int grains = (g->n + grain - 1) / grain;
  int from = (int)((int64_t)grains * piece / pieces) * grain, to = (int)((int64_t)grains * (piece + 1) / pieces) * grain;
  if (to > g->n) to = g->n;
  if (from >= to) return;
  const float *b = g->trans_b == NoTrans ? g->b + from : g->b + (size_t)from * g->ldb;
  product(g->trans_a, g->trans_b, g->m, to - from, g->k, g->alpha, g->a, g->lda, b, g->ldb, g->beta, g->c + from,
          g->ldc);
}

/* Pieces of a product: of some microseconds each where rows are few. OpenBLAS packs A for each piece anew, so that there it
 * is one for each thread. */
static int pieces_of(const struct gemm *g) {
  int64_t size = (int64_t)g->n * g->k;
  if (size * (g->m < 8 ? 1 : g->m / 8) <= 65536) return 1; /* done before another thread has woken */
  if (g->m > MostRows) return pool.threads;
  int64_t pieces = size / 49152, most = (g->n + 31) / 32;
  if (pieces < pool.threads) pieces = pool.threads;
  return (int)(pieces < most ? pieces : most < 1024 ? most : 1024);
}

static void multiply(int shared, int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a,
                     int lda, const float *b, int ldb, float beta, float *c, int ldc) {
#if defined(PLAIN_OPENBLAS) /* for measuring others: OpenBLAS as it is, with threads of its own */
  return scipy_cblas_sgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
#endif
  pthread_once(&started, start_pool);
  if (order != RowMajor)
    return scipy_cblas_sgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  struct gemm gemm = {trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc};
  share(columns, &gemm, pieces_of(&gemm), shared);
}

void cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc) {
  multiply(1, order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

/* On the caller's thread alone, to the same last bit: who computes beside others that keep the cores busy calls this. */
void mlxd_sgemm_alone(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                      const float *b, int ldb, float beta, float *c, int ldc) {
  multiply(0, order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

/* Every piece of other work, on all threads where they are free: there is one pool for all. */
void mlxd_share(piece_of *run, const void *job, int pieces) {
  pthread_once(&started, start_pool);
  share(run, job, pieces, 1);
}

void cblas_dgemm(int order, int trans_a, int trans_b, int m, int n, int k, double alpha, const double *a, int lda,
                 const double *b, int ldb, double beta, double *c, int ldc) {
  scipy_cblas_dgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void cblas_cgemm(int order, int trans_a, int trans_b, int m, int n, int k, const void *alpha, const void *a, int lda,
                 const void *b, int ldb, const void *beta, void *c, int ldc) {
  scipy_cblas_cgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
