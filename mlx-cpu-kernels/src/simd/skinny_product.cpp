/// Products of a few rows with a matrix that is far larger than any cache, as in decoding.
///
/// OpenBLAS's sgemm packs the matrix first, which costs more than the product. Its sgemv reads four rows at
/// once. Here B is read once and in order of addresses. One or two rows of A take one row of B at a time,
/// which the processor's prefetcher follows (on an EPYC 26 against 13 GB/s a core). More rows of A take
/// several rows of B, so that a loaded number of A is used more than once. What comes next is then prefetched
/// into the second-level cache, also in order: the first level cannot wait for enough lines at once.
#include "simd/functions.h"

namespace mlxd::MLXD_LEVEL {
namespace {

#if defined(__AVX512F__)
constexpr int lanes = 16;
constexpr int group = 4;
#elif defined(__AVX__)
constexpr int lanes = 8;
constexpr int group = 1;  // 16 registers hold no more
#else
constexpr int lanes = 4;
constexpr int group = 2;
#endif
constexpr int pair = 2;
/// Rows of A that one pass over B takes.
constexpr int row_block = 8;
/// Distance of the prefetch, in floats.
constexpr int prefetch_distance = 2048;

typedef float Vector __attribute__((vector_size(lanes * sizeof(float)), aligned(sizeof(float))));
typedef float Vector4 __attribute__((vector_size(4 * sizeof(float))));

/// Makes the compiler keep a value in a register: loading it anew for each use costs more than the product.
inline void keep_in_register(Vector &x) {
#if defined(__x86_64__)
  __asm__("" : "+v"(x));
#elif defined(__aarch64__)
  __asm__("" : "+w"(x));
#endif
}

inline float sum(Vector v) {
  Vector4 parts[lanes / 4];
  __builtin_memcpy(parts, &v, sizeof v);
  Vector4 total = {0};
  for (int i = 0; i < lanes / 4; i++)
    total += parts[i];
  return (total[0] + total[2]) + (total[1] + total[3]);
}

/// Products of `Rows` rows of A with `Columns` rows of B, `Unroll` vectors at a time. The sizes are
/// constants: only then do the sums stay in registers.
template <int Rows, int Columns, int Unroll>
void dot_products(int k, const float *a, int lda, const float *b, int ldb, float *c, int ldc) {
  Vector sums[Rows][Columns][Unroll];
  for (int r = 0; r < Rows; r++)
    for (int j = 0; j < Columns; j++)
      for (int u = 0; u < Unroll; u++)
        sums[r][j][u] = Vector{0};
  int i = 0;
  for (; i + lanes * Unroll <= k; i += lanes * Unroll) {
    if (Columns > 1)
      for (int j = 0; j < Columns; j++)
        __builtin_prefetch(b + Columns * i + j * lanes + prefetch_distance, 0, 2);
    for (int u = 0; u < Unroll; u++) {
      Vector columns[Columns];
      for (int j = 0; j < Columns; j++) {
        columns[j] = *(const Vector *)(b + (size_t)j * ldb + i + u * lanes);
        // Where there are several, the sums take all registers.
        if (Columns == 1)
          keep_in_register(columns[j]);
      }
      for (int r = 0; r < Rows; r++) {
        Vector row = *(const Vector *)(a + (size_t)r * lda + i + u * lanes);
        keep_in_register(row);
        for (int j = 0; j < Columns; j++)
          sums[r][j][u] += row * columns[j];
      }
    }
  }
  for (int r = 0; r < Rows; r++)
    for (int j = 0; j < Columns; j++) {
      Vector total = sums[r][j][0];
      for (int u = 1; u < Unroll; u++)
        total += sums[r][j][u];
      c[(size_t)r * ldc + j] = sum(total);
    }
  for (; i < k; i++)
    for (int r = 0; r < Rows; r++)
      for (int j = 0; j < Columns; j++)
        c[(size_t)r * ldc + j] += a[(size_t)r * lda + i] * b[(size_t)j * ldb + i];
}

using DotProducts = void (*)(int, const float *, int, const float *, int, float *, int);

/// How a number of rows of A is multiplied.
struct Plan {
  /// Rows of B at once.
  int columns;
  /// For that many rows of B.
  DotProducts several;
  /// For one row of B.
  DotProducts one;
};

/// By rows of A.
const Plan plans[row_block + 1] = {
    {0, nullptr, nullptr},
    {1, dot_products<1, 1, 4>, dot_products<1, 1, 4>},
    {1, dot_products<2, 1, 2>, dot_products<2, 1, 2>},
    {pair, dot_products<3, pair, 1>, dot_products<3, 1, 1>},
    {pair, dot_products<4, pair, 1>, dot_products<4, 1, 1>},
    {group, dot_products<5, group, 1>, dot_products<5, 1, 1>},
    {group, dot_products<6, group, 1>, dot_products<6, 1, 1>},
    {group, dot_products<7, group, 1>, dot_products<7, 1, 1>},
    {group, dot_products<8, group, 1>, dot_products<8, 1, 1>},
};

}  // namespace

void skinny_product(int m, int n, int k, const float *a, int lda, const float *b, int ldb, float *c,
                    int ldc) {
  const int step = plans[m < row_block ? m : row_block].columns;
  for (int j = 0; j < n; j += step) {
    int end = j + step < n ? j + step : n;
    for (int r = 0; r < m; r += row_block) {
      const Plan &plan = plans[m - r < row_block ? m - r : row_block];
      for (int column = j; column < end;) {
        bool fits = column + plan.columns <= end;
        DotProducts run = fits ? plan.several : plan.one;
        run(k, a + (size_t)r * lda, lda, b + (size_t)column * ldb, ldb, c + (size_t)r * ldc + column, ldc);
        column += fits ? plan.columns : 1;
      }
    }
  }
}

}  // namespace mlxd::MLXD_LEVEL
