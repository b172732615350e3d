/// The functions behind `MlxdSimd`, compiled once for each instruction set.
///
/// The build defines MLXD_LEVEL, the name of the instruction set. Everything here lives in a namespace of
/// that name, and these files use no template and no inline function of the standard library. Otherwise the
/// linker could choose a copy that was compiled for AVX-512 on behalf of code that runs on every processor.
///
/// Loops marked `omp simd` become vectors; everything else computes as written.
#pragma once
#include "mlxd/simd.h"

namespace mlxd::MLXD_LEVEL {

void skinny_product(int m, int n, int k, const float *a, int lda, const float *b, int ldb, float *c, int ldc);
void activate(MlxdActivation f, const float *x, float *y, size_t count);
void activate_gate(MlxdActivation f, const float *x, float *y, int rows, int width);
void rms_norm(int width, const float *x, const float *weight, float eps, float *y);
void layer_norm(int width, const float *x, const float *added, const float *weight, const float *bias,
                float eps, float *y);
void rotate(int half, const float *x, const float *cosines, const float *sines, float *y);
void add(const float *x, float *y, size_t count);
void scale(float factor, const float *x, float *y, size_t count);
float softmax(float *scores, int begin, int end, int count);
void online_softmax(float *scores, int begin, int end, int count, MlxdSoftmax *state, float *sums, int width);
void weighted_sum(const float *weights, const float *values, int count, float *sums, int width);
void widen_bf16(const void *x, float *y, size_t count);

/// 2^x with a relative error of 2e-7, for x limited to [-126, 127]. Coefficients: Cephes, exp2f.
inline float exp2_limited(float x) {
  x = x < -126.0f ? -126.0f : x;
  x = x > 127.0f ? 127.0f : x;
  // 1.5 * 2^23: adding it rounds to the nearest integer and leaves that in the lowest bits.
  const float magic = 12582912.0f;
  float shifted = x + magic;
  float f = x - (shifted - magic);
  float p = 1.535336188319500e-4f;
  p = p * f + 1.339887440266574e-3f;
  p = p * f + 9.618437357674640e-3f;
  p = p * f + 5.550332471162809e-2f;
  p = p * f + 2.402264791363012e-1f;
  p = p * f + 6.931472028550421e-1f;
  p = p * f + 1.0f;
  uint32_t bits;
  uint32_t exponent;
  __builtin_memcpy(&bits, &p, sizeof bits);
  __builtin_memcpy(&exponent, &shifted, sizeof exponent);
  bits += exponent << 23;
  __builtin_memcpy(&p, &bits, sizeof p);
  return p;
}

}  // namespace mlxd::MLXD_LEVEL
