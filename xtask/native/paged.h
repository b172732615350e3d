/* Attention over the blocks of a KV pool, where they lie: no copies, no masks, no heads written out for those that share them. */
#pragma once
#include "functions.h"

namespace {

/* As worker/src/layers/kernels.rs has it: one sequence's tokens in a step. */
struct Sequence {
  uint32_t first, tokens; /* among the step's */
  uint32_t position;      /* of the first */
  uint32_t blocks;        /* where its own begin in the table */
};
struct Step {
  const Sequence *sequences;
  size_t count;
  const uint32_t *table;
  size_t blocks; /* of the table */
  int block;     /* tokens of one */
  int heads;     /* of queries */
  float scale, eps;
  int window;    /* tokens seen back, the token itself included */
};
/* The same, kept. */
struct Paged {
  std::vector<Sequence> sequences;
  std::vector<uint32_t> table;
  int block, heads;
  float scale, eps;
  int window;
  bool turns, norms;

  size_t slot(const Sequence &own, int position) const {
    return (size_t)table[own.blocks + position / block] * block + position % block;
  }
};

/* Heads turned by their token's angle: cosines of half a head, sines of both halves with their signs. */
struct Turn {
  const float *cos, *sin;
  int half; /* numbers of half of what turns; the rest of a head stays */

  void head(int width, const float *x, size_t token, float *y) const {
    const float *c = cos + token * half, *s = sin + token * 2 * half;
#pragma omp simd
    for (int i = 0; i < half; i++) {
      float a = x[i], b = x[half + i];
      y[i] = a * c[i] + b * s[i];
      y[half + i] = b * c[i] + a * s[half + i];
    }
    if (y != x) std::copy(x + 2 * half, x + width, y + 2 * half);
  }
};

/* Writes a step's keys and values where the table says, then attends, causally. The pool is written to where it lies, although
 * it is an input: it belongs to the worker's KvPool alone, whose steps run in order on one stream.
 * Softmax as Milakov and Gimelshein 2018 (arXiv:1805.02867). */
class AttendPaged : public Kernel {
  Paged how;

 public:
  AttendPaged(mx::Stream stream, Paged how) : Kernel(stream), how(std::move(how)) {}
  const char *name() const override { return "MlxdAttendPaged"; }

  /* Of query, key and value heads [T,(H+2G)*d], keys and values [G,slots,d]; then cosines [T,..,r/2] and sines [T,..,r] where heads
   * turn, and the norms of queries and keys [d] where they have such. */
  static Paged checked(const Arrays &inputs, const Step &step, bool turns, bool norms) {
    auto &x = inputs[0], &k = inputs[1], &v = inputs[2];
    int tokens = x.ndim() == 2 ? x.shape(0) : 0, width = k.ndim() == 3 ? k.shape(2) : 0;
    bool fits = tokens > 0 && width > 0 && k.shape() == v.shape() && k.shape(0) > 0 && step.heads > 0;
    fits = fits && step.heads % k.shape(0) == 0 && x.shape(1) == (step.heads + 2 * k.shape(0)) * width;
    if (fits && turns) {
      size_t turned = inputs[4].size() / tokens;
      fits = turned <= (size_t)width && inputs[4].size() == turned * tokens && 2 * inputs[3].size() == inputs[4].size();
    }
    for (size_t at = 3 + 2 * turns; at < inputs.size(); at++) fits = fits && inputs[at].size() == (size_t)width;
    if (!fits) throw std::invalid_argument("queries of other shapes than their keys");
    return {{step.sequences, step.sequences + step.count}, {step.table, step.table + step.blocks},
            step.block, step.heads, step.scale, step.eps, step.window, turns, norms};
  }

  /* → [T,H*d]. */
  void eval_cpu(const Arrays &inputs, mx::array &out) override {
    auto &x = inputs[0], &k = inputs[1], &v = inputs[2];
    if (!k.flags().row_contiguous || !v.flags().row_contiguous) throw std::invalid_argument("a pool with gaps");
    allocate(out);
    auto data = [&](size_t at) { return at < inputs.size() ? inputs[at].data<float>() : nullptr; };
    size_t norms = 3 + 2 * how.turns;
    Turn turn{how.turns ? data(3) : nullptr, how.turns ? data(4) : nullptr,
              how.turns ? (int)(inputs[3].size() / x.shape(0)) : 0};
    Heads heads{data(0), turn, data(norms), data(norms + 1), const_cast<float *>(data(1)), const_cast<float *>(data(2)),
                out.data<float>(), (size_t)k.shape(1), k.shape(0), how.heads / k.shape(0), k.shape(2)};
    std::vector<Part> parts;
    for (auto &sequence : how.sequences)
      for (int from = (int)(sequence.tokens - 1) / Queries * Queries; from >= 0; from -= Queries)
        for (int head = 0; head < heads.shared; head++)
          parts.push_back({&sequence - how.sequences.data(), from, head});
    run(inputs, out, [=, how = how, tokens = x.shape(0)]() {
      std::vector<size_t> slots(tokens);
      for (auto &own : how.sequences)
        for (uint32_t at = 0; at < own.tokens; at++) slots[own.first + at] = how.slot(own, own.position + at);
      share_rows(tokens, 2 * heads.shared * heads.width, [&](int from, int to) {
        for (int token = from; token < to; token++) write(how, heads, token, slots[token]);
      });
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
    const float *x; /* queries, keys and values of each token */
    Turn turn;
    const float *q_norm, *k_norm;
    float *k, *v, *out;
    size_t slots;
    int shared, group, width; /* key heads, query heads of each, numbers of each */

    /* Head `at` of a token as it attends. */
    void turned(int at, size_t token, const float *norm, float eps, float *to) const {
      const float *from = x + (token * shared * (group + 2) + at) * width;
      if (norm) normed(width, from, norm, eps, to);
      turn.head(width, norm ? to : from, token, to);
    }
  };

  static void write(const Paged &how, const Heads &h, size_t token, size_t slot) {
    const float *values = h.x + (token * h.shared * (h.group + 2) + h.shared * (h.group + 1)) * h.width;
    for (int head = 0; head < h.shared; head++) {
      size_t to = (head * h.slots + slot) * h.width;
      h.turned(h.shared * h.group + head, token, h.k_norm, how.eps, h.k + to);
      std::copy_n(values + head * h.width, h.width, h.v + to);
    }
  }

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
    for (int r = 0; r < rows; r++)
      h.turned(head * h.group + r % h.group, own.first + from + r / h.group, h.q_norm, how.eps, q + (size_t)r * h.width);
    for (int i = 0; i < rows * h.width; i++) q[i] *= how.scale * log2_e;
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
