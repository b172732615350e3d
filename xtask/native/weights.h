/* Weights as products like them: float32, and each array's first number at the start of a cache line. Vectors of a row that
 * begins elsewhere lie in two lines each: a product of 12 rows takes a third longer so. */
#pragma once
#include <sys/mman.h>

#include "kernel.h"

namespace {

/* As worker/src/layers/kernels.rs numbers them. */
enum Stored { Bf16, F32 };

constexpr size_t line = 64, huge_page = 2 << 20;

/* An array whose numbers are to be filled in. */
mx::array aligned(mx::Shape shape) {
  constexpr int row = 1024;
  size_t count = 1;
  mx::Strides strides(shape.size());
  for (size_t at = shape.size(); at-- > 0; count *= shape[at]) strides[at] = count;
  int rows = (int)((count + line / sizeof(float)) / row + 1);
  mx::array room(mx::allocator::malloc((size_t)rows * row * sizeof(float)), {rows, row}, mx::float32);
  auto begin = reinterpret_cast<uintptr_t>(room.data<float>()), end = begin + room.nbytes();
  /* Few page faults while loading, few misses of the address cache afterwards. Advice: nothing depends on it. */
  uintptr_t first = (begin + huge_page - 1) / huge_page * huge_page, last = end / huge_page * huge_page;
  if (first < last) madvise(reinterpret_cast<void *>(first), last - first, MADV_HUGEPAGE);
  bool flat = shape.size() <= 1 || count <= 1;
  mx::array out(std::move(shape), mx::float32, nullptr, {});
  out.copy_shared_buffer(room, strides, {true, true, flat}, count, (line - begin % line) % line / sizeof(float));
  out.set_status(mx::array::Status::available);
  return out;
}

/* Numbers as a file has them, which need not begin where numbers of their size begin in memory. */
struct [[gnu::packed]] LooseBf16 { uint16_t bits; };

void widen(const void *stored, Stored kind, size_t count, float *to) {
  constexpr size_t some = 1 << 18;
  Running now;
  share((int)((count + some - 1) / some), [=](int piece) {
    size_t from = piece * some, end = std::min(count, from + some);
    if (kind == F32) {
      std::memcpy(to + from, static_cast<const float *>(stored) + from, (end - from) * sizeof(float));
      return;
    }
    auto *bf16 = static_cast<const LooseBf16 *>(stored);
#pragma omp simd
    for (size_t i = from; i < end; i++) {
      uint32_t bits = (uint32_t)bf16[i].bits << 16;
      std::memcpy(to + i, &bits, sizeof bits);
    }
  });
}

/* Rows of all, in order: [N1,..], [N2,..] → [N1+N2,..]. */
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
  if (rows > INT32_MAX) throw std::invalid_argument("too many rows");
  shape[0] = (int)rows;
  auto out = aligned(shape);
  auto *to = out.data<float>();
  for (auto &part : parts) {
    widen(part.data<float>(), F32, part.size(), to);
    to += part.size();
  }
  return out;
}

}  // namespace
