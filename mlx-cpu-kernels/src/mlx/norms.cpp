/// Root-mean-square norm and layer norm.
#include "mlx/primitive.h"
#include "mlxd/kernels.h"

namespace mlxd {
namespace {

/// [T,D] by [D].
class RmsNorm : public CpuPrimitive {
 public:
  RmsNorm(mx::Stream stream, float eps) : CpuPrimitive(stream), eps_(eps) {}
  const char *name() const override { return "MlxdRmsNorm"; }

  void eval_cpu(const Arrays &inputs, mx::array &out) override {
    allocate(out);
    int rows = out.shape(0);
    int width = out.shape(1);
    auto work = [=, eps = eps_, x = inputs[0].data<float>(), weight = inputs[1].data<float>(),
                 y = out.data<float>()]() {
      parallel_for_rows(rows, width, [=](int begin, int end) {
        for (size_t r = begin; r < (size_t)end; r++)
          mlxd_simd()->rms_norm(width, x + r * width, weight, eps, y + r * width);
      });
    };
    dispatch(inputs, out, std::move(work));
  }

 private:
  float eps_;
};

/// The norm of x, or of x + added. Inputs: x [..,D], weight [D], then added and bias [D] if there are such.
class LayerNorm : public CpuPrimitive {
 public:
  LayerNorm(mx::Stream stream, float eps, bool has_added, bool has_bias)
      : CpuPrimitive(stream), eps_(eps), has_added_(has_added), has_bias_(has_bias) {}
  const char *name() const override { return "MlxdLayerNorm"; }

  void eval_cpu(const Arrays &inputs, mx::array &out) override {
    allocate(out);
    int width = out.shape(-1);
    size_t rows = width ? out.size() / width : 0;
    auto work = [=, eps = eps_, x = inputs[0].data<float>(), weight = inputs[1].data<float>(),
                 added = has_added_ ? inputs[2].data<float>() : nullptr,
                 bias = has_bias_ ? inputs.back().data<float>() : nullptr, y = out.data<float>()]() {
      for (size_t r = 0; r < rows; r++) {
        size_t offset = r * width;
        mlxd_simd()->layer_norm(width, x + offset, added ? added + offset : nullptr, weight, bias, eps,
                                y + offset);
      }
    };
    dispatch(inputs, out, std::move(work));
  }

 private:
  float eps_;
  bool has_added_;
  bool has_bias_;
};

}  // namespace
}  // namespace mlxd

using namespace mlxd;

const char *mlxd_rms_norm(mlx_array *out, mlx_array x, mlx_array weight, float eps, mlx_stream stream) {
  return attempt(out, [&]() {
    auto on = stream_of(stream);
    auto input = contiguous_of(x, on);
    auto w = contiguous_of(weight, on);
    if (input.ndim() != 2 || w.size() != (size_t)input.shape(1))
      throw std::invalid_argument("a norm of other shapes than its input");
    return make_array<RmsNorm>(input.shape(), {input, w}, on, eps);
  });
}

const char *mlxd_layer_norm(mlx_array *out, mlx_array x, const mlx_array *added, mlx_array weight,
                            const mlx_array *bias, float eps, mlx_stream stream) {
  return attempt(out, [&]() {
    auto on = stream_of(stream);
    Arrays inputs = {contiguous_of(x, on), contiguous_of(weight, on)};
    if (added)
      inputs.push_back(contiguous_of(*added, on));
    if (bias)
      inputs.push_back(contiguous_of(*bias, on));
    auto shape = inputs[0].shape();
    auto width = shape.empty() ? 0 : (size_t)shape.back();
    if (inputs[1].size() != width || (added && inputs[2].shape() != shape) ||
        (bias && inputs.back().size() != width))
      throw std::invalid_argument("a norm of other shapes than its input");
    return make_array<LayerNorm>(shape, std::move(inputs), on, eps, added != nullptr, bias != nullptr);
  });
}
