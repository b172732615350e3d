/// Activations and rotary embedding.
#include "mlx/primitive.h"
#include "mlxd/kernels.h"

namespace mlxd {
namespace {

class Activation : public CpuPrimitive {
 public:
  Activation(mx::Stream stream, MlxdActivation f) : CpuPrimitive(stream), f_(f) {}
  const char *name() const override { return "MlxdActivation"; }

  void eval_cpu(const Arrays &inputs, mx::array &out) override {
    auto &x = inputs[0];
    // In place if nothing else holds the input.
    if (x.is_donatable() && x.flags().row_contiguous)
      out.copy_shared_buffer(x);
    else
      allocate(out);
    dispatch(inputs, out, [f = f_, x = x.data<float>(), y = out.data<float>(), count = out.size()]() {
      mlxd_simd()->activate(f, x, y, count);
    });
  }

 private:
  MlxdActivation f_;
};

/// f(gate) * up: [T,2N], gate before up in each row -> [T,N].
class Gated : public CpuPrimitive {
 public:
  Gated(mx::Stream stream, MlxdActivation f) : CpuPrimitive(stream), f_(f) {}
  const char *name() const override { return "MlxdGated"; }

  void eval_cpu(const Arrays &inputs, mx::array &out) override {
    allocate(out);
    int rows = out.shape(0);
    int width = out.shape(1);
    dispatch(inputs, out, [=, f = f_, x = inputs[0].data<float>(), y = out.data<float>()]() {
      parallel_for_rows(rows, width, [=](int begin, int end) {
        mlxd_simd()->activate_gate(f, x + 2 * (size_t)begin * width, y + (size_t)begin * width, end - begin,
                                   width);
      });
    });
  }

 private:
  MlxdActivation f_;
};

/// Rotates both halves of each head: [T,N,d] with any strides but the last -> [T,N,d].
class Rotate : public CpuPrimitive {
 public:
  explicit Rotate(mx::Stream stream) : CpuPrimitive(stream) {}
  const char *name() const override { return "MlxdRotate"; }

  void eval_cpu(const Arrays &inputs, mx::array &out) override {
    auto &x = inputs[0];
    if (x.strides(2) != 1)
      throw std::invalid_argument("heads whose numbers lie apart");
    allocate(out);
    size_t heads = x.shape(1);
    size_t half = x.shape(2) / 2;
    auto work = [=, tokens = x.shape(0), token_stride = x.strides(0), head_stride = x.strides(1),
                 x = x.data<float>(), cosines = inputs[1].data<float>(), sines = inputs[2].data<float>(),
                 y = out.data<float>()]() {
      parallel_for_rows(tokens, (int)(heads * half * 2), [=](int begin, int end) {
        auto rotate = mlxd_simd()->rotate;
        for (int64_t t = begin; t < end; t++)
          for (size_t h = 0; h < heads; h++)
            rotate((int)half, x + t * token_stride + (int64_t)h * head_stride, cosines + t * half,
                   sines + t * 2 * half, y + (t * heads + h) * 2 * half);
      });
    };
    dispatch(inputs, out, std::move(work));
  }
};

}  // namespace
}  // namespace mlxd

using namespace mlxd;

const char *mlxd_activation(mlx_array *out, MlxdActivation f, mlx_array x, mlx_stream stream) {
  return attempt(out, [&]() {
    auto on = stream_of(stream);
    auto input = contiguous_of(x, on);
    return make_array<Activation>(input.shape(), {input}, on, f);
  });
}

const char *mlxd_gated(mlx_array *out, MlxdActivation f, mlx_array x, mlx_stream stream) {
  return attempt(out, [&]() {
    auto on = stream_of(stream);
    auto input = contiguous_of(x, on);
    if (input.ndim() != 2 || input.shape(1) % 2)
      throw std::invalid_argument("a gate of another shape than its input");
    return make_array<Gated>({input.shape(0), input.shape(1) / 2}, {input}, on, f);
  });
}

const char *mlxd_rotate(mlx_array *out, mlx_array x, mlx_array cosines, mlx_array sines, mlx_stream stream) {
  return attempt(out, [&]() {
    auto on = stream_of(stream);
    auto heads = array_of(x);
    auto c = contiguous_of(cosines, on);
    auto s = contiguous_of(sines, on);
    if (heads.ndim() != 3 || heads.shape(2) % 2 || s.size() != (size_t)heads.shape(0) * heads.shape(2) ||
        s.size() != 2 * c.size())
      throw std::invalid_argument("heads of another shape than their angles");
    return make_array<Rotate>(heads.shape(), {heads, c, s}, on);
  });
}
