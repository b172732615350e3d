/// Vector functions in one version for each instruction set, and the choice among them.
///
/// A C header: C++ includes it, and `cargo xtask setup` makes the Rust declarations from it.
#ifndef MLXD_SIMD_H
#define MLXD_SIMD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum MlxdLimit {
  /// Rows of the left matrix up to which products take `skinny_product`.
  MLXD_SKINNY_ROWS = 32,
};

/// Instruction sets, each a superset of the one before.
typedef enum {
  /// What the compiler's target guarantees: SSE2 on x86-64, NEON on aarch64.
  MLXD_CPU_BASELINE = 0,
  /// x86-64-v3: AVX2 and FMA.
  MLXD_CPU_AVX2 = 1,
  /// x86-64-v4: AVX-512 F, BW, CD, DQ and VL.
  MLXD_CPU_AVX512 = 2,
} MlxdCpuLevel;

/// Functions of one number.
typedef enum {
  /// x.
  MLXD_IDENTITY = 0,
  /// x Phi(x), where Phi is the normal distribution's cumulative function. Error below 4e-6.
  MLXD_GELU = 1,
  /// x/2 (1 + tanh u) with u = sqrt(2/pi) (x + 0.044715 x^3).
  MLXD_GELU_TANH = 2,
  /// x sigmoid(x).
  MLXD_SILU = 3,
  /// 2^x. Below -126 it returns 2^-126, above 127 it returns 2^127.
  MLXD_EXP2 = 4,
} MlxdActivation;

/// The running state of an online softmax over one row.
typedef struct {
  /// The largest score so far.
  float maximum;
  /// The sum of 2^(score - maximum) so far.
  float total;
} MlxdSoftmax;

/// The functions of one instruction set. No function allocates, blocks or starts a thread.
/// No pointer needs more than the alignment of its type. Outputs overlap no input unless noted.
typedef struct {
  /// The level's name, as MLXD_CPU_LEVEL spells it.
  const char *name;

  /// C[m,n] = A[m,k] B[n,k]^T in row-major order, for few rows m. Reads B once.
  /// An element of C does not depend on n or on its column.
  void (*skinny_product)(int m, int n, int k, const float *a, int lda, const float *b, int ldb, float *c,
                         int ldc);

  /// y[i] = f(x[i]). y may be x.
  void (*activate)(MlxdActivation f, const float *x, float *y, size_t count);

  /// y[rows,width] = f(gate) * up, where x[rows,2*width] holds gate before up in each row.
  void (*activate_gate)(MlxdActivation f, const float *x, float *y, int rows, int width);

  /// y = x * weight / sqrt(mean(x^2) + eps), all [width].
  void (*rms_norm)(int width, const float *x, const float *weight, float eps, float *y);

  /// x, or x + added, brought to mean 0 and variance 1, times weight, plus bias; all [width].
  /// `added` and `bias` may be null.
  void (*layer_norm)(int width, const float *x, const float *added, const float *weight, const float *bias,
                     float eps, float *y);

  /// Rotates the pairs (x[i], x[half+i]) by the angles whose cosines [half] and sines [2*half] are given.
  /// The sines' first half has the opposite sign of the second. y may be x.
  void (*rotate)(int half, const float *x, const float *cosines, const float *sines, float *y);

  /// y += x.
  void (*add)(const float *x, float *y, size_t count);

  /// y = factor * x. y may be x.
  void (*scale)(float factor, const float *x, float *y, size_t count);

  /// Replaces scores[i] by 2^(scores[i] - maximum) for begin <= i < end, and by 0 elsewhere. Returns their
  /// sum.
  float (*softmax)(float *scores, int begin, int end, int count);

  /// One step of an online softmax: as `softmax`, with the maximum of all steps. Scales `sums` [width], the
  /// weighted sum of the steps before, to the new maximum.
  /// Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018 (arXiv:1805.02867).
  void (*online_softmax)(float *scores, int begin, int end, int count, MlxdSoftmax *state, float *sums,
                         int width);

  /// sums[width] += weights[count] values[count,width].
  void (*weighted_sum)(const float *weights, const float *values, int count, float *sums, int width);

  /// Converts bfloat16 at any address to float32.
  void (*widen_bf16)(const void *x, float *y, size_t count);
} MlxdSimd;

/// The functions of a level, or null where this processor or this build lacks it.
const MlxdSimd *mlxd_simd_at(MlxdCpuLevel level);

/// The functions in use: the best level that the processor has, chosen when the library is loaded.
/// The environment variable MLXD_CPU_LEVEL (baseline, avx2 or avx512) limits the choice.
const MlxdSimd *mlxd_simd(void);

#ifdef __cplusplus
}
#endif
#endif
