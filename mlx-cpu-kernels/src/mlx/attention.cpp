/// Attention in rows of complete texts, without copies of heads.
#include "mlx/primitive.h"
#include "mlxd/kernels.h"

namespace mlxd {
namespace {

struct AttentionOptions {
  /// Tokens of each row's text; the rows are padded to one length.
  std::vector<int> lengths;
  float scale;
  /// Maximum distance of keys before and after a query, in tokens.
  int back;
  int ahead;
};

/// Heads [R,H,L,d] with any strides but the last.
struct Heads {
  explicit Heads(const mx::array &x)
      : data(x.data<float>()),
        heads(x.shape(1)),
        tokens(x.shape(2)),
        width(x.shape(3)),
        token_stride((int)x.strides()[2]),
        row_stride(x.strides()[0]),
        head_stride(x.strides()[1]) {}

  const float *at(int row, int head) const { return data + row * row_stride + head * head_stride; }

  const float *data;
  int heads;
  int tokens;
  int width;
  int token_stride;
  int64_t row_stride;
  int64_t head_stride;
};

/// One head of one row.
struct OneHead {
  const float *queries;
  const float *keys;
  const float *values;
  /// The head's first number in the output, whose tokens lie `out_stride` apart.
  float *out;
  int out_stride;
  int length;
};

/// Queries at once: their scores stay in the second-level cache.
constexpr int query_block = 64;

class Attention : public CpuPrimitive {
 public:
  Attention(mx::Stream stream, AttentionOptions options)
      : CpuPrimitive(stream), options_(std::move(options)) {}
  const char *name() const override { return "MlxdAttention"; }

  /// Queries [R,H,L,d], keys and values [R,G,L,d] -> [R,L,H,d].
  void eval_cpu(const Arrays &inputs, mx::array &out) override {
    for (auto &input : inputs)
      if (input.strides(3) != 1)
        throw std::invalid_argument("attention of heads whose numbers lie apart");
    allocate(out);
    Heads q(inputs[0]);
    Heads k(inputs[1]);
    Heads v(inputs[2]);
    dispatch(inputs, out, [=, options = options_, out = out.data<float>()]() {
      for (int row = 0; row < (int)options.lengths.size(); row++)
        for (int head = 0; head < q.heads; head++) {
          int kv_head = head / (q.heads / k.heads);
          OneHead one{q.at(row, head), k.at(row, kv_head), v.at(row, kv_head),
                      nullptr,         q.heads * q.width,  options.lengths[row]};
          one.out = out + ((size_t)row * q.tokens * q.heads + head) * q.width;
          attend(options, q, k, v, one);
        }
    });
  }

 private:
  static void attend(const AttentionOptions &options, const Heads &q, const Heads &k, const Heads &v,
                     const OneHead &one) {
    static thread_local std::vector<float> memory;
    for (int begin = 0; begin < one.length; begin += query_block) {
      int count = std::min(query_block, one.length - begin);
      // The keys that at least one of these queries sees.
      int first = std::max(0, begin - options.back);
      int last = (int)std::min<int64_t>(one.length, (int64_t)begin + count + options.ahead);
      int seen = last - first;
      if (memory.size() < (size_t)count * seen)
        memory.resize((size_t)query_block * seen);
      float *scores = memory.data();
      float totals[query_block];
      mlxd_sgemm_serial(MLXD_ROW_MAJOR, MLXD_NO_TRANS, MLXD_TRANS, count, seen, q.width,
                        options.scale * log2_e, one.queries + (size_t)begin * q.token_stride, q.token_stride,
                        one.keys + (size_t)first * k.token_stride, k.token_stride, 0, scores, seen);
      for (int i = 0; i < count; i++) {
        int from = std::max(0, begin + i - options.back - first);
        int to = (int)std::min<int64_t>(seen, (int64_t)begin + i + options.ahead + 1 - first);
        totals[i] = mlxd_simd()->softmax(scores + (size_t)i * seen, from, to, seen);
      }
      float *out = one.out + (size_t)begin * one.out_stride;
      mlxd_sgemm_serial(MLXD_ROW_MAJOR, MLXD_NO_TRANS, MLXD_NO_TRANS, count, v.width, seen, 1, scores, seen,
                        one.values + (size_t)first * v.token_stride, v.token_stride, 0, out, one.out_stride);
      for (int i = 0; i < count; i++) {
        float *y = out + (size_t)i * one.out_stride;
        mlxd_simd()->scale(1 / totals[i], y, y, v.width);
      }
    }
    // Nothing reads padding, but other layers compute with it: it must hold numbers.
    for (int i = one.length; i < q.tokens; i++)
      std::fill_n(one.out + (size_t)i * one.out_stride, v.width, 0.0f);
  }

  AttentionOptions options_;
};

}  // namespace
}  // namespace mlxd

using namespace mlxd;

const char *mlxd_attention(mlx_array *out, mlx_array queries, mlx_array keys, mlx_array values,
                           const uint32_t *lengths, float scale, int back, int ahead, mlx_stream stream) {
  return attempt(out, [&]() {
    auto on = stream_of(stream);
    auto q = array_of(queries);
    auto k = array_of(keys);
    auto v = array_of(values);
    if (q.ndim() != 4 || k.shape() != v.shape() || q.shape(0) != k.shape(0) || q.shape(2) != k.shape(2) ||
        q.shape(3) != k.shape(3) || k.shape(1) == 0 || q.shape(1) % k.shape(1))
      throw std::invalid_argument("queries of other shapes than their keys");
    AttentionOptions options{std::vector<int>(lengths, lengths + q.shape(0)), scale, back, ahead};
    mx::Shape shape{q.shape(0), q.shape(2), q.shape(1), q.shape(3)};
    return make_array<Attention>(shape, {q, k, v}, on, std::move(options));
  });
}
