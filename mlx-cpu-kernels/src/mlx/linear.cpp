/// A linear layer with its norm or gate, bias, activation and residual: one primitive where MLX has five. On
/// few cores the thread that builds the graph takes time from those that compute.
#include "mlx/primitive.h"
#include "mlxd/kernels.h"

namespace mlxd {
namespace {

/// f(input(x) W^T + b) + r. Inputs: x [T,K], or [T,2K] with a gate; W [N,K]; then the norm's weight [K], b
/// [N] and r [T,N] if there are such.
class Linear : public CpuPrimitive {
 public:
  /// The optional inputs in use.
  struct Optional {
    bool norm;
    bool bias;
    bool residual;
  };

  Linear(mx::Stream stream, MlxdLinear options, Optional has)
      : CpuPrimitive(stream), options_(options), has_(has) {}
  const char *name() const override { return "MlxdLinear"; }

  static void check(const Arrays &inputs, const MlxdLinear &options, Optional has) {
    auto &x = inputs[0];
    auto &w = inputs[1];
    bool gated = options.gate >= 0;
    bool fits = x.ndim() == 2 && w.ndim() == 2 && !(gated && has.norm);
    fits = fits && x.shape(1) == w.shape(1) * (1 + gated);
    fits = fits && (!has.norm || inputs[2].size() == (size_t)w.shape(1));
    fits = fits && (!has.bias || inputs[2 + has.norm].size() == (size_t)w.shape(0));
    fits = fits && (!has.residual || inputs.back().shape() == mx::Shape{x.shape(0), w.shape(0)});
    if (!fits)
      throw std::invalid_argument("a linear layer of other shapes than its input");
  }

  void eval_cpu(const Arrays &inputs, mx::array &out) override {
    allocate(out);
    size_t next = 2;
    auto optional = [&](bool exists) { return exists ? inputs[next++].data<float>() : nullptr; };
    Operands o;
    o.rows = out.shape(0);
    o.inputs = inputs[1].shape(1);
    o.outputs = out.shape(1);
    o.x = inputs[0].data<float>();
    o.weight = inputs[1].data<float>();
    o.norm = optional(has_.norm);
    o.bias = optional(has_.bias);
    o.residual = optional(has_.residual);
    o.prepared = has_.norm || options_.gate >= 0 ? temporary(o.rows, o.inputs) : nullptr;
    o.y = out.data<float>();
    dispatch(inputs, out, [o, options = options_]() {
      if (o.prepared)
        prepare(options, o);
      product(o.rows, o.outputs, o.inputs, o.prepared ? o.prepared : o.x, o.weight, o.y);
      finish(options, o);
    });
  }

 private:
  struct Operands {
    int rows;
    int inputs;
    int outputs;
    const float *x;
    const float *weight;
    const float *norm;
    const float *bias;
    const float *residual;
    /// The input after its norm or gate [rows,inputs]; null if it has neither.
    float *prepared;
    float *y;
  };

  static void prepare(const MlxdLinear &options, const Operands &o) {
    parallel_for_rows(o.rows, o.inputs, [&](int begin, int end) {
      size_t width = o.inputs;
      if (!o.norm)
        return mlxd_simd()->activate_gate((MlxdActivation)options.gate, o.x + 2 * begin * width,
                                          o.prepared + begin * width, end - begin, o.inputs);
      for (size_t r = begin; r < (size_t)end; r++)
        mlxd_simd()->rms_norm(o.inputs, o.x + r * width, o.norm, options.eps, o.prepared + r * width);
    });
  }

  static void finish(const MlxdLinear &options, const Operands &o) {
    auto f = (MlxdActivation)options.activation;
    if (!o.bias && !o.residual && f == MLXD_IDENTITY)
      return;
    parallel_for_rows(o.rows, o.outputs, [&](int begin, int end) {
      auto simd = mlxd_simd();
      size_t width = o.outputs;
      for (size_t r = begin; r < (size_t)end; r++) {
        float *y = o.y + r * width;
        if (o.bias)
          simd->add(o.bias, y, width);
        if (f != MLXD_IDENTITY)
          simd->activate(f, y, y, width);
        if (o.residual)
          simd->add(o.residual + r * width, y, width);
      }
    });
  }

  MlxdLinear options_;
  Optional has_;
};

}  // namespace
}  // namespace mlxd

using namespace mlxd;

const char *mlxd_linear(mlx_array *out, mlx_array x, mlx_array weight, const mlx_array *norm,
                        const mlx_array *bias, const mlx_array *residual, const MlxdLinear *options,
                        mlx_stream stream) {
  return attempt(out, [&]() {
    auto on = stream_of(stream);
    Arrays inputs = {contiguous_of(x, on), contiguous_of(weight, on)};
    for (auto optional : {norm, bias, residual})
      if (optional)
        inputs.push_back(contiguous_of(*optional, on));
    Linear::Optional has{norm != nullptr, bias != nullptr, residual != nullptr};
    Linear::check(inputs, *options, has);
    mx::Shape shape{inputs[0].shape(0), inputs[1].shape(0)};
    return make_array<Linear>(shape, std::move(inputs), on, *options, has);
  });
}
