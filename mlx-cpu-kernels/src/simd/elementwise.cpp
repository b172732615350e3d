/// Functions of each number, one pass over memory each.
#include "simd/functions.h"

namespace mlxd::MLXD_LEVEL {
namespace {

constexpr float log2_e = 1.44269504f;

struct Identity {
  static float of(float x) { return x; }
};

/// x Phi(x). Within [-5, 5], Phi(x) - 1/2 is x P(x^2) / Q(x^2): a weighted least-squares fit, by which x
/// Phi(x) is off by less than 4e-6. Beyond, Phi is 0 or 1 to seven digits.
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
  static float of(float x) { return x / (1.0f + exp2_limited(-log2_e * x)); }
};

/// x/2 (1 + tanh u) is x sigmoid(2u).
struct GeluTanh {
  static float of(float x) {
    float u = 0.79788456f * (x + 0.044715f * x * x * x);
    return x / (1.0f + exp2_limited(-2.0f * log2_e * u));
  }
};

struct Exp2 {
  static float of(float x) { return exp2_limited(x); }
};

template <class F>
void each(const float *x, float *y, size_t count) {
#pragma omp simd
  for (size_t i = 0; i < count; i++)
    y[i] = F::of(x[i]);
}

template <class F>
void each_gated(const float *x, float *y, int rows, int width) {
  for (int r = 0; r < rows; r++) {
#pragma omp simd
    for (int i = 0; i < width; i++)
      y[i] = F::of(x[i]) * x[width + i];
    x += 2 * (size_t)width;
    y += width;
  }
}

}  // namespace

void activate(MlxdActivation f, const float *x, float *y, size_t count) {
  switch (f) {
    case MLXD_IDENTITY:
      return each<Identity>(x, y, count);
    case MLXD_GELU:
      return each<Gelu>(x, y, count);
    case MLXD_GELU_TANH:
      return each<GeluTanh>(x, y, count);
    case MLXD_SILU:
      return each<Silu>(x, y, count);
    case MLXD_EXP2:
      return each<Exp2>(x, y, count);
  }
}

void activate_gate(MlxdActivation f, const float *x, float *y, int rows, int width) {
  switch (f) {
    case MLXD_IDENTITY:
      return each_gated<Identity>(x, y, rows, width);
    case MLXD_GELU:
      return each_gated<Gelu>(x, y, rows, width);
    case MLXD_GELU_TANH:
      return each_gated<GeluTanh>(x, y, rows, width);
    case MLXD_SILU:
      return each_gated<Silu>(x, y, rows, width);
    case MLXD_EXP2:
      return each_gated<Exp2>(x, y, rows, width);
  }
}

void rotate(int half, const float *x, const float *cosines, const float *sines, float *y) {
#pragma omp simd
  for (int i = 0; i < half; i++) {
    float a = x[i];
    float b = x[half + i];
    y[i] = a * cosines[i] + b * sines[i];
    y[half + i] = b * cosines[i] + a * sines[half + i];
  }
}

void add(const float *x, float *y, size_t count) {
#pragma omp simd
  for (size_t i = 0; i < count; i++)
    y[i] += x[i];
}

void scale(float factor, const float *x, float *y, size_t count) {
#pragma omp simd
  for (size_t i = 0; i < count; i++)
    y[i] = factor * x[i];
}

void widen_bf16(const void *x, float *y, size_t count) {
  // A weight file aligns nothing.
  struct [[gnu::packed]] Unaligned {
    uint16_t bits;
  };
  const Unaligned *numbers = (const Unaligned *)x;
#pragma omp simd
  for (size_t i = 0; i < count; i++) {
    uint32_t bits = (uint32_t)numbers[i].bits << 16;
    __builtin_memcpy(y + i, &bits, sizeof bits);
  }
}

}  // namespace mlxd::MLXD_LEVEL
