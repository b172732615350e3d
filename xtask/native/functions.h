/* Functions of numbers and of rows of them, each one pass over vectors. */
#pragma once
#include "kernel.h"

namespace {

struct Identity {
  static float of(float x) { return x; }
};
/* x Phi(x). Phi(x) - 1/2 is x P(x^2) / Q(x^2) within 5, beyond which Phi is 0 or 1 to seven digits: a weighted least-squares
 * fit, by which x Phi(x) is off by less than 4e-6. */
struct Gelu {
  static float of(float x) {
    float y = x < -5.0f ? -5.0f : x;
    y = y > 5.0f ? 5.0f : y;
    float s = y * y;
    float p = ((6.253438e-5f * s + 0.0043204004f) * s + 0.029379042f) * s + 0.39896615f;
    float q = (((3.8166944e-6f * s + 0.001505821f) * s + 0.02572201f) * s + 0.24049194f) * s + 1.0f;
    return x * (0.5f + y * p / q);
  }
};
struct Silu {
  static float of(float x) { return x / (1.0f + exp2_of(-log2_e * x)); }
};
/* x/2 (1 + tanh u) with u = sqrt(2/pi) (x + 0.044715 x^3), which is x sigmoid(2u). */
struct GeluTanh {
  static float of(float x) {
    float u = 0.79788456f * (x + 0.044715f * x * x * x);
    return x / (1.0f + exp2_of(-2.0f * log2_e * u));
  }
};
struct Exp2 {
  static float of(float x) { return exp2_of(x); }
};

template <class F> void each(const float *x, float *y, size_t count) {
#pragma omp simd
  for (size_t i = 0; i < count; i++) y[i] = F::of(x[i]);
}
template <class F> void each_gated(const float *both, float *y, int rows, int width) {
  for (int r = 0; r < rows; r++, both += 2 * width, y += width) {
#pragma omp simd
    for (int i = 0; i < width; i++) y[i] = F::of(both[i]) * both[width + i];
  }
}
/* As worker/src/layers/kernels.rs numbers them. */
using Each = void (*)(const float *, float *, size_t);
const Each each_by_function[] = {each<Identity>, each<Gelu>, each<GeluTanh>, each<Silu>, each<Exp2>};
using EachGated = void (*)(const float *, float *, int, int);
const EachGated gated_by_function[] = {each_gated<Identity>, each_gated<Gelu>, each_gated<GeluTanh>,
                                       each_gated<Silu>, each_gated<Exp2>};

/* Root-mean-square norm of a row. */
inline void normed(int width, const float *x, const float *w, float eps, float *z) {
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int i = 0; i < width; i++) squares += x[i] * x[i];
  float scale = 1 / std::sqrt(squares / width + eps);
#pragma omp simd
  for (int i = 0; i < width; i++) z[i] = x[i] * scale * w[i];
}

}  // namespace
