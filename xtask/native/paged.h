/* Attention over the blocks of a KV pool, where they lie: no copies, no masks, no heads written out for those that share them. */
#pragma once
#include "kernel.h"

namespace {

/* As worker/src/layers/kernels.rs has it: one sequence's tokens in a step. */
struct Sequence {
  uint32_t first, tokens; /* among the step's */
  uint32_t position;      /* of the first */
  uint32_t blocks;        /* where its own begin in the table */
};
struct Paged {
  std::vector<Sequence> sequences;
  std::vector<uint32_t> table;
  float scale;
  int window, block; /* tokens seen back, the token itself included; tokens of a block */
};

/* Causal attention over blocks of a pool, where they lie. Softmax as Milakov and Gimelshein 2018 (arXiv:1805.02867). */
class AttendPaged : public Kernel {
  Paged how;

 public:
  AttendPaged(mx::Stream stream, Paged how) : Kernel(stream), how(std::move(how)) {}
  const char *name() const override { return "MlxdAttendPaged"; }
  /* Queries [T,H,d] strided by tokens, keys and values [G,slots,d] → [T,H*d]. */
  void eval_cpu(const Arrays &inputs, mx::array &out) override {
    auto &q = inputs[0], &k = inputs[1], &v = inputs[2];
    if (q.strides(2) != 1 || q.strides(1) != q.shape(2) || !k.flags().row_contiguous || !v.flags().row_contiguous)
      throw std::invalid_argument("attention of heads that lie apart");
    allocate(out);
    Heads heads{q.data<float>(), k.data<float>(), v.data<float>(), out.data<float>(), q.strides(0),
                (size_t)k.shape(1),  k.shape(0),      q.shape(1) / k.shape(0), q.shape(2)};
    std::vector<Part> parts;
    for (auto &sequence : how.sequences)
      for (int from = (int)(sequence.tokens - 1) / Queries * Queries; from >= 0; from -= Queries)
        for (int head = 0; head < heads.shared; head++)
          parts.push_back({&sequence - how.sequences.data(), from, head});
    run(inputs, out, [=, how = how]() {
      share((int)parts.size(), [&](int at) {
        auto &part = parts[at];
        one(how, how.sequences[part.sequence], part.from, part.head, heads);
      });
    });
  }
  using UnaryPrimitive::eval_cpu;
  using Kernel::eval_gpu;

 private:
  enum { Queries = 64, Keys = 512, Few = 32 };
  struct Part {
    ptrdiff_t sequence;
    int from, head;
  };
  struct Heads {
    const float *q, *k, *v;
    float *out;
    int64_t per_token;
    size_t slots;
    int shared, group, width; /* key heads, query heads of each, numbers of each */
  };

  static void one(const Paged &how, const Sequence &own, int from, int head, const Heads &h) {
    int count = std::min<int>(Queries, own.tokens - from), rows = count * h.group, wide = h.group * h.width;
    static thread_local std::vector<float> memory;
    size_t needed = (size_t)rows * (2 * h.width + Keys + 2);
    if (memory.size() < needed) memory.resize(needed);
    float *q = memory.data(), *sums = q + (size_t)rows * h.width, *scores = sums + (size_t)rows * h.width;
    float *most = scores + (size_t)rows * Keys, *totals = most + rows;
    std::fill_n(sums, (size_t)rows * h.width, 0.0f);
    std::fill_n(most, rows, -INFINITY);
    std::fill_n(totals, rows, 0.0f);
    const float *asked = h.q + (own.first + from) * h.per_token + head * wide;
    for (int i = 0; i < count; i++)
      for (int j = 0; j < wide; j++) q[i * wide + j] = asked[i * h.per_token + j] * (how.scale * log2_e);
    int first = own.position + from, end = first + count;
    for (int key = std::max<int64_t>(0, (int64_t)first + 1 - how.window); key < end;) {
      size_t slot = 0;
      int run = run_of(how, own, key, std::min(end, key + Keys), slot);
      const float *keys = h.k + (head * h.slots + slot) * h.width, *values = h.v + (head * h.slots + slot) * h.width;
      mlxd_sgemm_alone(RowMajor, NoTrans, Trans, rows, run, h.width, 1, q, h.width, keys, h.width, 0, scores, run);
      for (int r = 0; r < rows; r++) {
        int64_t at = (int64_t)first + r / h.group - key, begin = at + 1 - how.window;
        begin = std::clamp<int64_t>(begin, 0, run), at = std::clamp<int64_t>(at + 1, begin, run);
        fold(scores + (size_t)r * run, begin, at, run, most[r], totals[r], sums + (size_t)r * h.width, h.width);
      }
      if (rows > Few)
        mlxd_sgemm_alone(RowMajor, NoTrans, NoTrans, rows, h.width, run, 1, scores, run, values, h.width, 1, sums,
                         h.width);
      else
        for (int r = 0; r < rows; r++) add(scores + (size_t)r * run, values, run, sums + (size_t)r * h.width, h.width);
      key += run;
    }
    float *to = h.out + ((size_t)(own.first + from) * h.shared + head) * wide;
    for (int i = 0; i < count; i++, to += (size_t)h.shared * wide)
      for (int j = 0; j < wide; j++) to[j] = sums[i * wide + j] / totals[i * h.group + j / h.width];
  }

  /* How many keys from `key` on, before `end`, lie side by side, and where. */
  static int run_of(const Paged &how, const Sequence &own, int key, int end, size_t &slot) {
    const uint32_t *blocks = how.table.data() + own.blocks;
    int at = key / how.block, to = (at + 1) * how.block;
    slot = (size_t)blocks[at] * how.block + key % how.block;
    for (; to < end && blocks[at + 1] == blocks[at] + 1; at++) to += how.block;
    return std::min(to, end) - key;
  }

  /* Scores begin..end of `all` become weights, the others nothing; what was summed before is brought to the same scale. */
  static void fold(float *s, int begin, int end, int all, float &most, float &total, float *sums, int width) {
    float now = most, sum = 0;
#pragma omp simd reduction(max : now)
    for (int i = begin; i < end; i++) now = std::max(now, s[i]);
    if (now > most) {
      float less = total > 0 ? exp2_of(most - now) : 0;
      total *= less;
      for (int i = 0; i < width; i++) sums[i] *= less;
      most = now;
    }
#pragma omp simd reduction(+ : sum)
    for (int i = begin; i < end; i++) sum += s[i] = exp2_of(s[i] - now);
    total += sum;
    std::fill(s, s + begin, 0.0f);
    std::fill(s + end, s + all, 0.0f);
  }

  /* sums += weights * values, four values at once. */
  static void add(const float *weights, const float *values, int count, float *sums, int width) {
    int i = 0;
    for (; i + 4 <= count; i += 4, weights += 4, values += 4 * width)
#pragma omp simd
      for (int j = 0; j < width; j++)
        sums[j] += (weights[0] * values[j] + weights[1] * values[width + j]) +
                   (weights[2] * values[2 * width + j] + weights[3] * values[3 * width + j]);
    for (; i < count; i++, weights++, values += width)
#pragma omp simd
      for (int j = 0; j < width; j++) sums[j] += weights[0] * values[j];
  }
};

}  // namespace
