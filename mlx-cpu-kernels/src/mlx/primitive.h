/// The common base of the MLX primitives: threads, products, and the interface of MLX's graph.
#pragma once
#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "mlx/backend/cpu/encoder.h"
#include "mlx/c/array.h"
#include "mlx/c/stream.h"
#include "mlx/primitives.h"
#include "mlxd/blas.h"
#include "mlxd/simd.h"

namespace mlxd {

namespace mx = mlx::core;
using Arrays = std::vector<mx::array>;

constexpr float log2_e = 1.44269504f;

/// Marks a kernel as running while it lives.
class RunningKernel {
 public:
  RunningKernel();
  ~RunningKernel();
  RunningKernel(const RunningKernel &) = delete;
  RunningKernel &operator=(const RunningKernel &) = delete;
};

/// Whether no other kernel runs. A kernel that runs alone uses all cores. Concurrent kernels use one thread
/// each, and leave the other cores to the others.
bool runs_alone();

/// Calls work(0) .. work(pieces - 1), on all cores if the kernel runs alone.
template <class F>
void parallel_for(int pieces, const F &work) {
  if (runs_alone())
    return mlxd_parallel_for([](const void *job, int piece, int) { (*static_cast<const F *>(job))(piece); },
                             &work, pieces);
  for (int piece = 0; piece < pieces; piece++)
    work(piece);
}

/// Calls work(begin, end) for ranges of `rows` rows of `width` numbers, some thousands of numbers each.
template <class F>
void parallel_for_rows(int rows, int width, const F &work) {
  int grain = std::max(1, 8192 / std::max(width, 1));
  parallel_for((rows + grain - 1) / grain,
               [&](int piece) { work(piece * grain, std::min(rows, (piece + 1) * grain)); });
}

/// C[m,n] = A[m,k] B[n,k]^T, rows without gaps; on all cores if the kernel runs alone.
void product(int m, int n, int k, const float *a, const float *b, float *c);

/// A primitive with one output, for the CPU only.
class CpuPrimitive : public mx::UnaryPrimitive {
 public:
  explicit CpuPrimitive(mx::Stream stream) : UnaryPrimitive(stream) {}
  using UnaryPrimitive::eval_cpu;
  using UnaryPrimitive::eval_gpu;
  void eval_gpu(const Arrays &, mx::array &) override;

 protected:
  /// Enqueues `work` on the stream, after the inputs.
  template <class F>
  void dispatch(const Arrays &inputs, mx::array &out, F work) {
    auto &encoder = mx::cpu::get_command_encoder(stream());
    for (auto &input : inputs)
      encoder.set_input_array(input);
    encoder.set_output_array(out);
    encoder.dispatch([work = std::move(work)]() {
      RunningKernel running;
      work();
    });
  }

  /// Memory for [rows,width] numbers that lasts until the work dispatched next has run.
  float *temporary(int rows, int width);
};

void allocate(mx::array &out);

/// The array in row-major order without gaps, as our primitives leave it.
mx::array contiguous(const mx::array &x, mx::Stream stream);

/// The array behind a handle.
mx::array array_of(mlx_array handle);
/// The same, contiguous.
mx::array contiguous_of(mlx_array handle, mx::Stream stream);
mx::Stream stream_of(mlx_stream handle);
void assign(mlx_array *out, mx::array &&array);

/// Stores a message for this thread and returns it as a C string.
const char *keep_message(const char *message);

/// Stores the result of `make` in `out`. Returns null, or the message of the exception.
template <class F>
const char *attempt(mlx_array *out, F make) {
  try {
    assign(out, make());
    return nullptr;
  } catch (const std::exception &error) {
    return keep_message(error.what());
  }
}

/// A float32 array that primitive P computes.
template <class P, class... Options>
mx::array make_array(mx::Shape shape, Arrays inputs, mx::Stream stream, Options &&...options) {
  return mx::array(std::move(shape), mx::float32,
                   std::make_shared<P>(stream, std::forward<Options>(options)...), std::move(inputs));
}

}  // namespace mlxd
