#include "mlx/primitive.h"

#include <atomic>

#include "mlx/allocator.h"
#include "mlx/c/private/array.h"
#include "mlx/c/private/stream.h"
#include "mlx/ops.h"

namespace mlxd {
namespace {

std::atomic<int> running_kernels{0};

}  // namespace

RunningKernel::RunningKernel() {
  running_kernels++;
}
RunningKernel::~RunningKernel() {
  running_kernels--;
}
bool runs_alone() {
  return running_kernels <= 1;
}

void product(int m, int n, int k, const float *a, const float *b, float *c) {
  auto sgemm = runs_alone() ? cblas_sgemm : mlxd_sgemm_serial;
  sgemm(MLXD_ROW_MAJOR, MLXD_NO_TRANS, MLXD_TRANS, m, n, k, 1, a, k, b, k, 0, c, n);
}

void CpuPrimitive::eval_gpu(const Arrays &, mx::array &) {
  throw std::runtime_error("a primitive for CPUs was given to another device");
}

float *CpuPrimitive::temporary(int rows, int width) {
  mx::array memory(mx::allocator::malloc((size_t)rows * width * sizeof(float)), {rows, width}, mx::float32);
  mx::cpu::get_command_encoder(stream()).add_temporary(memory);
  return memory.data<float>();
}

void allocate(mx::array &out) {
  out.set_data(mx::allocator::malloc(out.nbytes()));
}

mx::array contiguous(const mx::array &x, mx::Stream stream) {
  // An array's layout is known once it is scheduled; before that only of our own primitives.
  bool scheduled = x.status() != mx::array::Status::unscheduled;
  bool ours = !scheduled && x.has_primitive() && dynamic_cast<const CpuPrimitive *>(&x.primitive());
  return ours || (scheduled && x.flags().row_contiguous) ? x : mx::contiguous(x, false, stream);
}

mx::array array_of(mlx_array handle) {
  return mlx_array_get_(handle);
}
mx::array contiguous_of(mlx_array handle, mx::Stream stream) {
  return contiguous(mlx_array_get_(handle), stream);
}
mx::Stream stream_of(mlx_stream handle) {
  return mlx_stream_get_(handle);
}
void assign(mlx_array *out, mx::array &&array) {
  mlx_array_set_(*out, std::move(array));
}

const char *keep_message(const char *message) {
  static thread_local std::string kept;
  kept = message;
  return kept.c_str();
}

}  // namespace mlxd
