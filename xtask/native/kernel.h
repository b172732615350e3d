/* What our primitives for MLX have in common: threads, products, powers, and the form that MLX wants. */
#pragma once
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "mlx/allocator.h"
#include "mlx/backend/cpu/encoder.h"
#include "mlx/primitives.h"

namespace mx = mlx::core;
using Arrays = std::vector<mx::array>;

enum { RowMajor = 101, NoTrans = 111, Trans = 112 };
extern "C" {
/* The shim's: on all its threads where they are free, and on this one. */
void cblas_sgemm(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);
void mlxd_sgemm_alone(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);
/* And pieces of other work. */
void mlxd_share(void (*)(const void *, int, int), const void *, int);
}

namespace {

/* Kernels that run now. One alone has its products on all cores; beside others, which have the other cores, it keeps to its own. */
std::atomic<int> running{0};
struct Running {
  Running() { running++; }
  ~Running() { running--; }
};

/* work(0) .. work(pieces - 1), on all cores or beside other kernels on this one. */
template <class F> void share(int pieces, const F &work) {
  auto run = [](const void *job, int piece, int) { (*static_cast<const F *>(job))(piece); };
  if (running > 1)
    for (int piece = 0; piece < pieces; piece++) work(piece);
  else mlxd_share(run, &work, pieces);
}

/* The same for rows of so many numbers, some thousands of numbers at once: work(from, to). */
template <class F> void share_rows(int rows, int width, const F &work) {
  int some = std::max(1, 8192 / std::max(width, 1));
  share((rows + some - 1) / some, [&](int piece) { work(piece * some, std::min(rows, (piece + 1) * some)); });
}

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

  /* Room for rows of numbers until what is dispatched next has run. */
  float *temporary(int rows, int width) {
    mx::array room(mx::allocator::malloc((size_t)rows * width * sizeof(float)), {rows, width}, mx::float32);
    mx::cpu::get_command_encoder(stream()).add_temporary(room);
    return room.data<float>();
  }
};

void allocate(mx::array &out) { out.set_data(mx::allocator::malloc(out.nbytes())); }

}  // namespace
