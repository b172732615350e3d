/// Weights for products: float32, aligned to a cache line. Without the alignment a vector of a row can span
/// two lines, and a product of 12 rows takes a third longer.
#include <sys/mman.h>

#include <cstring>

#include "mlx/allocator.h"
#include "mlx/primitive.h"
#include "mlxd/kernels.h"

namespace mlxd {
namespace {

constexpr size_t cache_line = 64;
constexpr size_t huge_page = 2 << 20;
/// Numbers that one thread converts at once.
constexpr size_t conversion_grain = 1 << 18;

/// Advises the system to use huge pages: few page faults while loading, few misses of the address cache
/// later. Nothing depends on it.
void advise_huge_pages(uintptr_t begin, uintptr_t end) {
  uintptr_t first = (begin + huge_page - 1) / huge_page * huge_page;
  uintptr_t last = end / huge_page * huge_page;
  if (first < last)
    madvise(reinterpret_cast<void *>(first), last - first, MADV_HUGEPAGE);
}

/// An uninitialised array, aligned to a cache line.
mx::array aligned(mx::Shape shape) {
  constexpr int row = 1024;
  size_t count = 1;
  mx::Strides strides(shape.size());
  for (size_t axis = shape.size(); axis-- > 0;) {
    strides[axis] = count;
    count *= shape[axis];
  }
  int rows = (int)((count + cache_line / sizeof(float)) / row + 1);
  mx::array memory(mx::allocator::malloc((size_t)rows * row * sizeof(float)), {rows, row}, mx::float32);
  auto begin = reinterpret_cast<uintptr_t>(memory.data<float>());
  advise_huge_pages(begin, begin + memory.nbytes());
  bool column_contiguous = shape.size() <= 1 || count <= 1;
  size_t offset = (cache_line - begin % cache_line) % cache_line / sizeof(float);
  mx::array out(std::move(shape), mx::float32, nullptr, {});
  out.copy_shared_buffer(memory, strides, {true, true, column_contiguous}, count, offset);
  out.set_status(mx::array::Status::available);
  return out;
}

void convert(const void *stored, MlxdStored type, size_t count, float *to) {
  RunningKernel running;
  parallel_for((int)((count + conversion_grain - 1) / conversion_grain), [=](int piece) {
    size_t begin = piece * conversion_grain;
    size_t length = std::min(count - begin, conversion_grain);
    if (type == MLXD_STORED_F32)
      std::memcpy(to + begin, static_cast<const char *>(stored) + begin * sizeof(float),
                  length * sizeof(float));
    else
      mlxd_simd()->widen_bf16(static_cast<const char *>(stored) + begin * sizeof(uint16_t), to + begin,
                              length);
  });
}

mx::array joined(const Arrays &parts) {
  auto shape = parts.at(0).shape();
  int64_t rows = 0;
  for (auto &part : parts) {
    bool fits = part.ndim() == shape.size() && part.ndim() > 0 && part.dtype() == mx::float32;
    fits = fits && std::equal(shape.begin() + 1, shape.end(), part.shape().begin() + 1);
    if (!fits || !part.is_available() || !part.flags().row_contiguous)
      throw std::invalid_argument("matrices of other shapes cannot be joined");
    rows += part.shape(0);
  }
  if (rows > INT32_MAX)
    throw std::invalid_argument("too many rows");
  shape[0] = (int)rows;
  auto out = aligned(shape);
  auto *to = out.data<float>();
  for (auto &part : parts) {
    convert(part.data<float>(), MLXD_STORED_F32, part.size(), to);
    to += part.size();
  }
  return out;
}

}  // namespace
}  // namespace mlxd

using namespace mlxd;

const char *mlxd_floats(mlx_array *out, const void *stored, MlxdStored type, const int *shape,
                        size_t dimensions) {
  return attempt(out, [&]() {
    auto floats = aligned({shape, shape + dimensions});
    convert(stored, type, floats.size(), floats.data<float>());
    return floats;
  });
}

const char *mlxd_joined(mlx_array *out, const mlx_array *parts, size_t count) {
  return attempt(out, [&]() {
    Arrays arrays;
    for (size_t i = 0; i < count; i++)
      arrays.push_back(array_of(parts[i]));
    return joined(arrays);
  });
}
