/* What MLX's CPU backend lacks on Linux: primitives of ours, by the interface that MLX has for extensions.
 *
 * Its wheel computes activations number by number, normalises in a dozen passes over memory, and copies heads before it
 * multiplies them. Here each is one pass over vectors. All of it is for float32 and streams of the CPU. A function returns
 * null, or what went wrong, which is there until the thread's next failure. */
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "mlx/allocator.h"
#include "mlx/backend/cpu/encoder.h"
#include "mlx/c/private/array.h"
#include "mlx/c/private/stream.h"
#include "mlx/ops.h"
#include "mlx/primitives.h"

namespace mx = mlx::core;
using Arrays = std::vector<mx::array>;

enum { RowMajor = 101, NoTrans = 111, Trans = 112 };
extern "C" {
/* The shim's: on all its threads where they are free, and on this one. */
void cblas_sgemm(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);
void mlxd_sgemm_alone(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);
}

namespace {

/* Kernels that run now. One alone has its products on all cores; beside others, which have the other cores, it keeps to its own. */
std::atomic<int> running{0};
struct Running {
  Running() { running++; }
  ~Running() { running--; }
};

/* C[m,n] = A[m,k] B[n,k]^T. */
void product(int m, int n, int k, const float *a, int lda, const float *b, int ldb, float *c, int ldc) {
  auto run = running > 1 ? mlxd_sgemm_alone : cblas_sgemm;
  run(RowMajor, NoTrans, Trans, m, n, k, 1, a, lda, b, ldb, 0, c, ldc);
}

/* 2^x, off by 2e-7 of its value; next to nothing for what is below -126, and no more than 2^127. (Coefficients: Cephes.) */
inline float exp2_of(float x) {
  x = x < -126.0f ? -126.0f : x;
  x = x > 127.0f ? 127.0f : x;
  const float round = 12582912.0f; /* leaves no room for a fraction: the nearest whole number is in the lowest bits */
  float shifted = x + round, f = x - (shifted - round);
  float p = 1.535336188319500e-4f;
  p = p * f + 1.339887440266574e-3f;
  p = p * f + 9.618437357674640e-3f;
  p = p * f + 5.550332471162809e-2f;
  p = p * f + 2.402264791363012e-1f;
  p = p * f + 6.931472028550421e-1f;
  p = p * f + 1.0f;
  uint32_t bits, exponent;
  std::memcpy(&bits, &p, sizeof bits);
  std::memcpy(&exponent, &shifted, sizeof exponent);
  bits += exponent << 23;
  std::memcpy(&p, &bits, sizeof p);
  return p;
}

constexpr float log2_e = 1.44269504f;

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
template <class F> void each_biased(float *x, const float *bias, int rows, int width) {
  for (int r = 0; r < rows; r++, x += width) {
#pragma omp simd
    for (int i = 0; i < width; i++) x[i] = F::of(x[i] + bias[i]);
  }
}
/* As worker/src/layers/kernels.rs numbers them. */
using Each = void (*)(const float *, float *, size_t);
using EachBiased = void (*)(float *, const float *, int, int);
const Each each_by_function[] = {each<Identity>, each<Gelu>, each<GeluTanh>, each<Silu>, each<Exp2>};
const EachBiased biased_by_function[] = {each_biased<Identity>, each_biased<Gelu>, each_biased<GeluTanh>,
                                         each_biased<Silu>, each_biased<Exp2>};

/* A primitive of the CPU with one output. */
class Kernel : public mx::UnaryPrimitive {
 public:
  explicit Kernel(mx::Stream stream) : UnaryPrimitive(stream) {}
  void eval_gpu(const Arrays &, mx::array &) override { throw std::runtime_error("this is for CPUs"); }

 protected:
  template <class F> void run(const Arrays &inputs, mx::array &out, F work) {
    auto &encoder = mx::cpu::get_command_encoder(stream());
    for (auto &input : inputs) encoder.set_input_array(input);
    encoder.set_output_array(out);
    encoder.dispatch([work]() {
      Running now;
      work();
    });
  }
};

void allocate(mx::array &out) { out.set_data(mx::allocator::malloc(out.nbytes())); }

/* In place where nobody else holds the input. */
void allocate_over(const mx::array &x, mx::array &out) {
  if (x.is_donatable() && x.flags().row_contiguous) out.copy_shared_buffer(x);
  else allocate(out);
}

class Function : public Kernel {
  int which;

 public:
  Function(mx::Stream stream, int which) : Kernel(stream), which(which) {}
  const char *name() const override { return "MlxdFunction"; }
  void eval_cpu(const Arrays &inputs, mx::array &out) override {
    allocate_over(inputs[0], out);
    run(inputs, out, [f = each_by_function[which], x = inputs[0].data<float>(), y = out.data<float>(),
                      count = out.size()]() { f(x, y, count); });
  }
  using UnaryPrimitive::eval_cpu;
  using Kernel::eval_gpu;
};

/* f(x W^T + b): [T,K], [N,K], [N]. */
class Linear : public Kernel {
  int which;

 public:
  Linear(mx::Stream stream, int which) : Kernel(stream), which(which) {}
  const char *name() const override { return "MlxdLinear"; }
  void eval_cpu(const Arrays &inputs, mx::array &out) override {
    allocate(out);
    int rows = out.shape(0), outputs = out.shape(1), width = inputs[0].shape(1);
    run(inputs, out, [=, f = biased_by_function[which], x = inputs[0].data<float>(), w = inputs[1].data<float>(),
                      b = inputs[2].data<float>(), y = out.data<float>()]() {
      product(rows, outputs, width, x, width, w, width, y, outputs);
      f(y, b, rows, outputs);
    });
  }
  using UnaryPrimitive::eval_cpu;
  using Kernel::eval_gpu;
};

/* The norm of x, or of x + y: [T,D], weight [D], then y and bias [D] where there are such. */
class LayerNorm : public Kernel {
  float eps;
  bool sums, biased;

 public:
  LayerNorm(mx::Stream stream, float eps, bool sums, bool biased)
      : Kernel(stream), eps(eps), sums(sums), biased(biased) {}
  const char *name() const override { return "MlxdLayerNorm"; }
  void eval_cpu(const Arrays &inputs, mx::array &out) override {
    allocate(out);
    int width = out.shape(-1);
    size_t rows = width ? out.size() / width : 0;
    const float *y = sums ? inputs[2].data<float>() : nullptr;
    const float *b = biased ? inputs[2 + sums].data<float>() : nullptr;
    run(inputs, out, [=, eps = eps, x = inputs[0].data<float>(), w = inputs[1].data<float>(),
                      z = out.data<float>()]() {
      for (size_t r = 0; r < rows; r++)
        row(width, x + r * width, y ? y + r * width : nullptr, w, b, eps, z + r * width);
    });
  }
  using UnaryPrimitive::eval_cpu;
  using Kernel::eval_gpu;

 private:
  static void row(int width, const float *x, const float *y, const float *w, const float *b, float eps, float *z) {
    float sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < width; i++) sum += z[i] = y ? x[i] + y[i] : x[i];
    float mean = sum / width;
#pragma omp simd reduction(+ : squares)
    for (int i = 0; i < width; i++) squares += (z[i] - mean) * (z[i] - mean);
    float scale = 1 / std::sqrt(squares / width + eps);
#pragma omp simd
    for (int i = 0; i < width; i++) z[i] = (z[i] - mean) * scale * w[i] + (b ? b[i] : 0);
  }
};

/* Attention in rows of texts, each with so many tokens and padded to one length. A token sees so many tokens back and ahead. */
struct Attention {
  std::vector<int> lengths;
  float scale;
  int back, ahead;
};

class Attend : public Kernel {
  Attention how;

 public:
  Attend(mx::Stream stream, Attention how) : Kernel(stream), how(std::move(how)) {}
  const char *name() const override { return "MlxdAttend"; }
  /* Queries [R,H,L,d], keys and values [R,G,L,d], strided as they come but for d → [R,L,H,d]. */
  void eval_cpu(const Arrays &inputs, mx::array &out) override {
    for (auto &input : inputs)
      if (input.strides(3) != 1) throw std::invalid_argument("attention of heads whose numbers lie apart");
    allocate(out);
    Heads q(inputs[0]), k(inputs[1]), v(inputs[2]);
    run(inputs, out, [=, how = how, out = out.data<float>()]() {
      for (int row = 0; row < (int)how.lengths.size(); row++)
        for (int head = 0; head < q.heads; head++) {
          int shared = head / (q.heads / k.heads);
          float *to = out + ((size_t)row * q.tokens * q.heads + head) * q.width;
          one(how, how.lengths[row], q, q.at(row, head), k, k.at(row, shared), v, v.at(row, shared), to);
        }
    });
  }
  using UnaryPrimitive::eval_cpu;
  using Kernel::eval_gpu;

 private:
  struct Heads {
    const float *data;
    int heads, tokens, width, per_token;
    int64_t per_row, per_head;
    explicit Heads(const mx::array &x)
        : data(x.data<float>()), heads(x.shape(1)), tokens(x.shape(2)), width(x.shape(3)), per_token(x.strides()[2]),
          per_row(x.strides()[0]), per_head(x.strides()[1]) {}
    const float *at(int row, int head) const { return data + row * per_row + head * per_head; }
  };

  enum { Block = 64 }; /* queries at once: what they score stays in the second cache */

  static void one(const Attention &how, int length, const Heads &q, const float *queries, const Heads &k,
                  const float *keys, const Heads &v, const float *values, float *out) {
    static thread_local std::vector<float> scores;
    int per_token = q.heads * q.width;
    for (int from = 0; from < length; from += Block) {
      int count = std::min<int>(Block, length - from);
      int first = std::max(0, from - how.back);
      int last = (int)std::min<int64_t>(length, (int64_t)from + count + how.ahead), seen = last - first;
      if (scores.size() < (size_t)count * seen) scores.resize((size_t)Block * seen);
      float *s = scores.data(), totals[Block];
      mlxd_sgemm_alone(RowMajor, NoTrans, Trans, count, seen, q.width, how.scale * log2_e,
                        queries + (size_t)from * q.per_token, q.per_token, keys + (size_t)first * k.per_token,
                        k.per_token, 0, s, seen);
      for (int i = 0; i < count; i++) {
        int begin = std::max(0, from + i - how.back - first);
        int end = (int)std::min<int64_t>(seen, (int64_t)from + i + how.ahead + 1 - first);
        totals[i] = weigh(s + (size_t)i * seen, begin, end, seen);
      }
      float *to = out + (size_t)from * per_token;
      mlxd_sgemm_alone(RowMajor, NoTrans, NoTrans, count, v.width, seen, 1, s, seen,
                        values + (size_t)first * v.per_token, v.per_token, 0, to, per_token);
      for (int i = 0; i < count; i++)
#pragma omp simd
        for (int j = 0; j < v.width; j++) to[(size_t)i * per_token + j] /= totals[i];
    }
    /* Padding is read by nobody, but it must be numbers. */
    for (int i = length; i < q.tokens; i++) std::fill_n(out + (size_t)i * per_token, v.width, 0.0f);
  }

  /* Scores become weights, nothing outside begin..end; their sum. */
  static float weigh(float *s, int begin, int end, int all) {
    float most = -INFINITY, sum = 0;
#pragma omp simd reduction(max : most)
    for (int i = begin; i < end; i++) most = std::max(most, s[i]);
#pragma omp simd reduction(+ : sum)
    for (int i = begin; i < end; i++) sum += s[i] = exp2_of(s[i] - most);
    std::fill(s, s + begin, 0.0f);
    std::fill(s + end, s + all, 0.0f);
    return sum;
  }
};

mx::array plain(const mx::array &x, mx::Stream stream) { return mx::contiguous(x, false, stream); }

template <class F> const char *attempt(mlx_array *out, F make) {
  static thread_local std::string problem;
  try {
    mlx_array_set_(*out, make());
    return nullptr;
  } catch (const std::exception &e) {
    problem = e.what();
    return problem.c_str();
  }
}

template <class K> mx::array made(mx::Shape shape, K *kernel, Arrays inputs) {
  return mx::array(std::move(shape), mx::float32, std::shared_ptr<mx::Primitive>(kernel), std::move(inputs));
}

}  // namespace

extern "C" const char *mlxd_function(mlx_array *out, int function, mlx_array x, mlx_stream on) {
  return attempt(out, [&]() {
    auto stream = mlx_stream_get_(on);
    auto input = plain(mlx_array_get_(x), stream);
    return made(input.shape(), new Function(stream, function), {input});
  });
}

extern "C" const char *mlxd_linear(mlx_array *out, int function, mlx_array x, mlx_array weight, mlx_array bias,
                                   mlx_stream on) {
  return attempt(out, [&]() {
    auto stream = mlx_stream_get_(on);
    auto input = plain(mlx_array_get_(x), stream), w = plain(mlx_array_get_(weight), stream),
         b = plain(mlx_array_get_(bias), stream);
    if (input.ndim() != 2 || w.ndim() != 2 || input.shape(1) != w.shape(1) || b.size() != (size_t)w.shape(0))
      throw std::invalid_argument("a linear layer of other shapes than its input");
    return made({input.shape(0), w.shape(0)}, new Linear(stream, function), {input, w, b});
  });
}

extern "C" const char *mlxd_layer_norm(mlx_array *out, mlx_array x, const mlx_array *added, mlx_array weight,
                                       const mlx_array *bias, float eps, mlx_stream on) {
  return attempt(out, [&]() {
    auto stream = mlx_stream_get_(on);
    Arrays inputs = {plain(mlx_array_get_(x), stream), plain(mlx_array_get_(weight), stream)};
    if (added) inputs.push_back(plain(mlx_array_get_(*added), stream));
    if (bias) inputs.push_back(plain(mlx_array_get_(*bias), stream));
    auto width = inputs[0].ndim() ? (size_t)inputs[0].shape(-1) : 0;
    if (inputs[1].size() != width || (added && inputs[2].shape() != inputs[0].shape()) ||
        (bias && inputs.back().size() != width))
      throw std::invalid_argument("a norm of other shapes than its input");
    auto shape = inputs[0].shape();
    return made(shape, new LayerNorm(stream, eps, added, bias), std::move(inputs));
  });
}

extern "C" const char *mlxd_attention(mlx_array *out, mlx_array queries, mlx_array keys, mlx_array values,
                                      const uint32_t *lengths, float scale, int back, int ahead, mlx_stream on) {
  return attempt(out, [&]() {
    auto stream = mlx_stream_get_(on);
    auto q = mlx_array_get_(queries), k = mlx_array_get_(keys), v = mlx_array_get_(values);
    if (q.ndim() != 4 || k.shape() != v.shape() || q.shape(0) != k.shape(0) || q.shape(2) != k.shape(2) ||
        q.shape(3) != k.shape(3) || k.shape(1) == 0 || q.shape(1) % k.shape(1))
      throw std::invalid_argument("queries of other shapes than their keys");
    Attention how{std::vector<int>(lengths, lengths + q.shape(0)), scale, back, ahead};
    mx::Shape shape{q.shape(0), q.shape(2), q.shape(1), q.shape(3)};
    return made(shape, new Attend(stream, std::move(how)), {q, k, v});
  });
}
