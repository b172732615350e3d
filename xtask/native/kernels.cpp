/* What MLX's CPU backend lacks on Linux: primitives of ours, by the interface that MLX has for extensions.
 *
 * Its wheel computes activations number by number, normalises in a dozen passes over memory, and copies heads before it
 * multiplies them. Here each is one pass over vectors. All of it is for float32 and streams of the CPU. A function returns
 * null, or what went wrong, which is there until the thread's next failure. */
#include "mlx/c/private/array.h"
#include "mlx/c/private/stream.h"
#include "mlx/ops.h"
#include "functions.h"
#include "linear.h"
#include "paged.h"
#include "weights.h"

namespace {

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
        for (int r = from; r < to; r++) normed(width, x + (size_t)r * width, w, eps, z + (size_t)r * width);
      });
    });
  }
  using UnaryPrimitive::eval_cpu;
  using Kernel::eval_gpu;
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
    run(inputs, out, [=, per_token = x.strides(0), per_head = x.strides(1), x = x.data<float>(), y = out.data<float>(),
                      turn = Turn{inputs[1].data<float>(), inputs[2].data<float>(), half}]() {
      share_rows(tokens, heads * half * 2, [=](int from, int to) {
        for (size_t t = from; t < (size_t)to; t++)
          for (int h = 0; h < heads; h++)
            turn.head(2 * half, x + t * per_token + h * per_head, t, y + (t * heads + h) * 2 * half);
      });
    });
  }
  using UnaryPrimitive::eval_cpu;
  using Kernel::eval_gpu;
};

/* Row after row without gaps, as kernels of ours leave it. How an array lies is known once it is scheduled. */
mx::array plain(const mx::array &x, mx::Stream stream) {
  bool known = x.status() != mx::array::Status::unscheduled;
  bool ours = !known && x.has_primitive() && dynamic_cast<const Kernel *>(&x.primitive());
  return ours || (known && x.flags().row_contiguous) ? x : mx::contiguous(x, false, stream);
}
mx::array plain(const mlx_array &x, mx::Stream stream) { return plain(mlx_array_get_(x), stream); }

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

extern "C" const char *mlxd_linear(mlx_array *out, mlx_array x, mlx_array weight, const mlx_array *norm,
                                   const mlx_array *bias, const mlx_array *added, const Around *how, mlx_stream on) {
  return attempt(out, [&]() {
    auto stream = mlx_stream_get_(on);
    Arrays inputs = {plain(x, stream), plain(weight, stream)};
    for (auto optional : {norm, bias, added})
      if (optional) inputs.push_back(plain(*optional, stream));
    Linear::check(inputs, *how, norm, bias, added);
    mx::Shape shape{inputs[0].shape(0), inputs[1].shape(0)};
    return made(shape, new Linear(stream, *how, norm, bias, added), std::move(inputs));
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

extern "C" const char *mlxd_attention_paged(mlx_array *out, mlx_array heads, mlx_array keys, mlx_array values,
                                            const mlx_array *angles, const mlx_array *norms, const Step *step,
                                            mlx_stream on) {
  return attempt(out, [&]() {
    auto stream = mlx_stream_get_(on);
    Arrays inputs = {plain(heads, stream), mlx_array_get_(keys), mlx_array_get_(values)};
    for (auto pair : {angles, norms})
      for (int at = 0; pair && at < 2; at++) inputs.push_back(plain(pair[at], stream));
    auto how = AttendPaged::checked(inputs, *step, angles, norms);
    mx::Shape shape{inputs[0].shape(0), how.heads * inputs[1].shape(2)};
    return made(shape, new AttendPaged(stream, std::move(how)), std::move(inputs));
  });
}

extern "C" const char *mlxd_floats(mlx_array *out, const void *stored, int kind, const int *shape, size_t dimensions) {
  return attempt(out, [&]() {
    auto floats = aligned({shape, shape + dimensions});
    widen(stored, (Stored)kind, floats.size(), floats.data<float>());
    return floats;
  });
}

extern "C" const char *mlxd_joined(mlx_array *out, const mlx_array *parts, size_t count) {
  return attempt(out, [&]() {
    Arrays all;
    for (size_t at = 0; at < count; at++) all.push_back(mlx_array_get_(parts[at]));
    return joined(all);
  });
}
