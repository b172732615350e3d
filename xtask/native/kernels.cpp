/* What MLX's CPU backend lacks on Linux: primitives of ours, by the interface that MLX has for extensions.
 *
 * Its wheel computes activations number by number, normalises in a dozen passes over memory, and copies heads before it
 * multiplies them. Here each is one pass over vectors. All of it is for float32 and streams of the CPU. A function returns
 * null, or what went wrong, which is there until the thread's next failure. */
#include "mlx/c/private/array.h"
#include "mlx/c/private/stream.h"
#include "mlx/ops.h"
#include "paged.h"

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
template <class F> void each_biased(float *x, const float *bias, int rows, int width) {
  for (int r = 0; r < rows; r++, x += width) {
#pragma omp simd
    for (int i = 0; i < width; i++) x[i] = F::of(x[i] + bias[i]);
  }
}
template <class F> void each_gated(const float *both, float *y, int rows, int width) {
  for (int r = 0; r < rows; r++, both += 2 * width, y += width) {
#pragma omp simd
    for (int i = 0; i < width; i++) y[i] = F::of(both[i]) * both[width + i];
  }
}
/* As worker/src/layers/kernels.rs numbers them. */
using Each = void (*)(const float *, float *, size_t);
using EachBiased = void (*)(float *, const float *, int, int);
const Each each_by_function[] = {each<Identity>, each<Gelu>, each<GeluTanh>, each<Silu>, each<Exp2>};
const EachBiased biased_by_function[] = {each_biased<Identity>, each_biased<Gelu>, each_biased<GeluTanh>,
                                         each_biased<Silu>, each_biased<Exp2>};
using EachGated = void (*)(const float *, float *, int, int);
const EachGated gated_by_function[] = {each_gated<Identity>, each_gated<Gelu>, each_gated<GeluTanh>,
                                       each_gated<Silu>, each_gated<Exp2>};

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

/* f(gate) * up: [T,2N], gate before up in each row → [T,N]. */
class Gated : public Kernel {
  int which;

 public:
  Gated(mx::Stream stream, int which) : Kernel(stream), which(which) {}
  const char *name() const override { return "MlxdGated"; }
  void eval_cpu(const Arrays &inputs, mx::array &out) override {
    allocate(out);
    int rows = out.shape(0), width = out.shape(1);
    run(inputs, out, [=, f = gated_by_function[which], x = inputs[0].data<float>(), y = out.data<float>()]() {
      share_rows(rows, width, [=](int from, int to) {
        f(x + 2 * (size_t)from * width, y + (size_t)from * width, to - from, width);
      });
    });
  }
  using UnaryPrimitive::eval_cpu;
  using Kernel::eval_gpu;
};

/* Root-mean-square norm: [T,D] by [D]. */
class RmsNorm : public Kernel {
  float eps;

 public:
  RmsNorm(mx::Stream stream, float eps) : Kernel(stream), eps(eps) {}
  const char *name() const override { return "MlxdRmsNorm"; }
  void eval_cpu(const Arrays &inputs, mx::array &out) override {
    allocate(out);
    int rows = out.shape(0), width = out.shape(1);
    run(inputs, out, [=, eps = eps, x = inputs[0].data<float>(), w = inputs[1].data<float>(),
                      z = out.data<float>()]() {
      share_rows(rows, width, [=](int from, int to) {
        for (int r = from; r < to; r++) row(width, x + (size_t)r * width, w, eps, z + (size_t)r * width);
      });
    });
  }
  using UnaryPrimitive::eval_cpu;
  using Kernel::eval_gpu;

 private:
  static void row(int width, const float *x, const float *w, float eps, float *z) {
    float squares = 0;
#pragma omp simd reduction(+ : squares)
    for (int i = 0; i < width; i++) squares += x[i] * x[i];
    float scale = 1 / std::sqrt(squares / width + eps);
#pragma omp simd
    for (int i = 0; i < width; i++) z[i] = x[i] * scale * w[i];
  }
};

/* Both halves of each head turned: [T,N,d] strided as they come but for d, cosines [T,1,1,d/2], sines [T,1,2,d/2] → [T,N,d]. */
class Rotate : public Kernel {
 public:
  explicit Rotate(mx::Stream stream) : Kernel(stream) {}
  const char *name() const override { return "MlxdRotate"; }
  void eval_cpu(const Arrays &inputs, mx::array &out) override {
    auto &x = inputs[0];
    int tokens = x.shape(0), heads = x.shape(1), half = x.shape(2) / 2;
    if (x.strides(2) != 1) throw std::invalid_argument("heads whose numbers lie apart");
    allocate(out);
    run(inputs, out, [=, per_token = x.strides(0), per_head = x.strides(1), x = x.data<float>(), cos = inputs[1].data<float>(),
                      sin = inputs[2].data<float>(), y = out.data<float>()]() {
      share_rows(tokens, heads * half * 2, [=](int from, int to) {
        for (size_t t = from; t < (size_t)to; t++)
          for (int h = 0; h < heads; h++)
            head(half, x + t * per_token + h * per_head, cos + t * half, sin + t * 2 * half,
                 y + (t * heads + h) * 2 * half);
      });
    });
  }
  using UnaryPrimitive::eval_cpu;
  using Kernel::eval_gpu;

 private:
  static void head(int half, const float *x, const float *cos, const float *sin, float *y) {
#pragma omp simd
    for (int i = 0; i < half; i++) {
      y[i] = x[i] * cos[i] + x[half + i] * sin[i];
      y[half + i] = x[half + i] * cos[i] + x[i] * sin[half + i];
    }
  }
};

mx::array plain(const mx::array &x, mx::Stream stream) {
  if (x.is_available() && x.flags().row_contiguous) return x;
  return mx::contiguous(x, false, stream);
}

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

extern "C" const char *mlxd_gated(mlx_array *out, int function, mlx_array both, mlx_stream on) {
  return attempt(out, [&]() {
    auto stream = mlx_stream_get_(on);
    auto input = plain(mlx_array_get_(both), stream);
    if (input.ndim() != 2 || input.shape(1) % 2) throw std::invalid_argument("a gate of another shape than its input");
    return made({input.shape(0), input.shape(1) / 2}, new Gated(stream, function), {input});
  });
}

extern "C" const char *mlxd_rms_norm(mlx_array *out, mlx_array x, mlx_array weight, float eps, mlx_stream on) {
  return attempt(out, [&]() {
    auto stream = mlx_stream_get_(on);
    auto input = plain(mlx_array_get_(x), stream), w = plain(mlx_array_get_(weight), stream);
    if (input.ndim() != 2 || w.size() != (size_t)input.shape(1))
      throw std::invalid_argument("a norm of other shapes than its input");
    return made(input.shape(), new RmsNorm(stream, eps), {input, w});
  });
}

extern "C" const char *mlxd_rotate(mlx_array *out, mlx_array x, mlx_array cos, mlx_array sin, mlx_stream on) {
  return attempt(out, [&]() {
    auto stream = mlx_stream_get_(on);
    auto heads = mlx_array_get_(x), c = plain(mlx_array_get_(cos), stream), s = plain(mlx_array_get_(sin), stream);
    if (heads.ndim() != 3 || heads.shape(2) % 2 || s.size() != (size_t)heads.shape(0) * heads.shape(2) ||
        s.size() != 2 * c.size())
      throw std::invalid_argument("heads of another shape than their angles");
    return made(heads.shape(), new Rotate(stream), {heads, c, s});
  });
}

extern "C" const char *mlxd_attention_paged(mlx_array *out, mlx_array queries, mlx_array keys, mlx_array values,
                                            const Sequence *sequences, size_t count, const uint32_t *table,
                                            size_t blocks, int block, float scale, int window, mlx_stream on) {
  return attempt(out, [&]() {
    auto stream = mlx_stream_get_(on);
    auto q = mlx_array_get_(queries), k = mlx_array_get_(keys), v = mlx_array_get_(values);
    if (q.ndim() != 3 || k.ndim() != 3 || k.shape() != v.shape() || q.shape(2) != k.shape(2) || k.shape(0) == 0 ||
        q.shape(1) % k.shape(0))
      throw std::invalid_argument("queries of other shapes than their keys");
    Paged how{{sequences, sequences + count}, {table, table + blocks}, scale, window, block};
    return made({q.shape(0), q.shape(1) * q.shape(2)}, new AttendPaged(stream, std::move(how)), {q, k, v});
  });
}
