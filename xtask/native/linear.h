/* A linear layer with what stands around it: one primitive where MLX has five, since on few cores the thread that builds the
 * graph takes from those that compute. */
#pragma once
#include "functions.h"

namespace {

/* As worker/src/layers/kernels.rs has it. */
struct Around {
  int gate;  /* of the input: the function that its first half goes through, times the other half; below 0: none */
  int after; /* the function of the sum */
  float eps; /* of the norm */
};

/* f(in(x) W^T + b) + r: x [T,K], or [T,2K] with a gate; W [N,K]; then the norm's weight [K], b [N] and r [T,N] where there are such. */
class Linear : public Kernel {
  Around how;
  bool norms, biased, adds;

 public:
  Linear(mx::Stream stream, Around how, bool norms, bool biased, bool adds)
      : Kernel(stream), how(how), norms(norms), biased(biased), adds(adds) {}
  const char *name() const override { return "MlxdLinear"; }

  static void check(const Arrays &inputs, const Around &how, bool norms, bool biased, bool adds) {
    auto &x = inputs[0], &w = inputs[1];
    bool gated = how.gate >= 0, fits = x.ndim() == 2 && w.ndim() == 2 && !(gated && norms);
    fits = fits && x.shape(1) == w.shape(1) * (1 + gated);
    fits = fits && (!norms || inputs[2].size() == (size_t)w.shape(1));
    fits = fits && (!biased || inputs[2 + norms].size() == (size_t)w.shape(0));
    fits = fits && (!adds || inputs.back().shape() == mx::Shape{x.shape(0), w.shape(0)});
    if (!fits) throw std::invalid_argument("a linear layer of other shapes than its input");
  }

  void eval_cpu(const Arrays &inputs, mx::array &out) override {
    allocate(out);
    int rows = out.shape(0), outputs = out.shape(1), width = inputs[1].shape(1);
    size_t next = 2;
    auto optional = [&](bool there) { return there ? inputs[next++].data<float>() : nullptr; };
    const float *norm = optional(norms), *bias = optional(biased), *added = optional(adds);
    float *between = norms || how.gate >= 0 ? temporary(rows, width) : nullptr;
    run(inputs, out, [=, how = how, x = inputs[0].data<float>(), w = inputs[1].data<float>(), y = out.data<float>()]() {
      if (between) before(how, rows, width, x, norm, between);
      product(rows, outputs, width, between ? between : x, width, w, width, y, outputs);
      after(how, rows, outputs, bias, added, y);
    });
  }
  using UnaryPrimitive::eval_cpu;
  using Kernel::eval_gpu;

 private:
  static void before(const Around &how, int rows, int width, const float *x, const float *norm, float *to) {
    share_rows(rows, width, [=](int from, int end) {
      if (!norm) return gated_by_function[how.gate](x + 2 * (size_t)from * width, to + (size_t)from * width, end - from, width);
      for (size_t r = from; r < (size_t)end; r++) normed(width, x + r * width, norm, how.eps, to + r * width);
    });
  }

  static void after(const Around &how, int rows, int width, const float *bias, const float *added, float *y) {
    if (!bias && !added && how.after == 0) return;
    share_rows(rows, width, [=](int from, int end) {
      for (size_t r = from; r < (size_t)end; r++) {
        float *z = y + r * width;
        if (bias)
#pragma omp simd
          for (int i = 0; i < width; i++) z[i] += bias[i];
        if (how.after) each_by_function[how.after](z, z, width);
        if (added)
#pragma omp simd
          for (int i = 0; i < width; i++) z[i] += added[r * width + i];
      }
    });
  }
};

}  // namespace
