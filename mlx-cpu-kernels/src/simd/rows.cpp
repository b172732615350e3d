/// Norms, softmax and weighted sums: functions of whole rows.
#include "simd/functions.h"

namespace mlxd::MLXD_LEVEL {

void rms_norm(int width, const float *x, const float *weight, float eps, float *y) {
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int i = 0; i < width; i++)
    squares += x[i] * x[i];
  float factor = 1 / __builtin_sqrtf(squares / width + eps);
#pragma omp simd
  for (int i = 0; i < width; i++)
    y[i] = x[i] * factor * weight[i];
}

void layer_norm(int width, const float *x, const float *added, const float *weight, const float *bias,
                float eps, float *y) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int i = 0; i < width; i++)
    sum += y[i] = added ? x[i] + added[i] : x[i];
  float mean = sum / width;
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int i = 0; i < width; i++)
    squares += (y[i] - mean) * (y[i] - mean);
  float factor = 1 / __builtin_sqrtf(squares / width + eps);
#pragma omp simd
  for (int i = 0; i < width; i++)
    y[i] = (y[i] - mean) * factor * weight[i] + (bias ? bias[i] : 0);
}

namespace {

float maximum_of(const float *scores, int begin, int end, float maximum) {
#pragma omp simd reduction(max : maximum)
  for (int i = begin; i < end; i++)
    maximum = scores[i] > maximum ? scores[i] : maximum;
  return maximum;
}

/// Scores become weights; returns their sum.
float exponentiate(float *scores, int begin, int end, int count, float maximum) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int i = begin; i < end; i++)
    sum += scores[i] = exp2_limited(scores[i] - maximum);
  __builtin_memset(scores, 0, begin * sizeof *scores);
  __builtin_memset(scores + end, 0, (count - end) * sizeof *scores);
  return sum;
}

}  // namespace

float softmax(float *scores, int begin, int end, int count) {
  float maximum = maximum_of(scores, begin, end, -__builtin_inff());
  return exponentiate(scores, begin, end, count, maximum);
}

void online_softmax(float *scores, int begin, int end, int count, MlxdSoftmax *state, float *sums,
                    int width) {
  float maximum = maximum_of(scores, begin, end, state->maximum);
  if (maximum > state->maximum) {
    float correction = state->total > 0 ? exp2_limited(state->maximum - maximum) : 0;
    state->total *= correction;
    scale(correction, sums, sums, width);
    state->maximum = maximum;
  }
  state->total += exponentiate(scores, begin, end, count, maximum);
}

void weighted_sum(const float *weights, const float *values, int count, float *sums, int width) {
  int i = 0;
  // Four rows of values at once: a sum is loaded and stored once for all four.
  for (; i + 4 <= count; i += 4) {
    const float *v0 = values + (size_t)i * width;
    const float *v1 = v0 + width;
    const float *v2 = v1 + width;
    const float *v3 = v2 + width;
    const float *w = weights + i;
#pragma omp simd
    for (int j = 0; j < width; j++)
      sums[j] += (w[0] * v0[j] + w[1] * v1[j]) + (w[2] * v2[j] + w[3] * v3[j]);
  }
  for (; i < count; i++) {
    const float *v = values + (size_t)i * width;
#pragma omp simd
    for (int j = 0; j < width; j++)
      sums[j] += weights[i] * v[j];
  }
}

}  // namespace mlxd::MLXD_LEVEL
