/// Causal attention over the blocks of a KV pool, in place: no copies, no masks, and no repeated key heads for
/// the query heads that share them.
///
/// Softmax as Milakov and Gimelshein 2018 (arXiv:1805.02867).
#include <cmath>

#include "mlx/primitive.h"
#include "mlxd/kernels.h"

namespace mlxd {
namespace {

/// Queries and keys that are multiplied at once.
constexpr int query_block = 64;
constexpr int key_block = 512;
/// Rows of scores up to which `weighted_sum` beats a matrix product.
constexpr int few_rows = 32;

/// An `MlxdPagedStep` with its own copies of the arrays that it points to.
struct Step {
  std::vector<MlxdSequence> sequences;
  std::vector<uint32_t> block_table;
  int block_size;
  int heads;
  float scale;
  float eps;
  int window;
  bool has_angles;
  bool has_norms;

  /// The slot of a sequence's token at a position.
  size_t slot(const MlxdSequence &sequence, int position) const {
    return (size_t)block_table[sequence.blocks + position / block_size] * block_size + position % block_size;
  }

  /// The number of keys from `key` on, before `end`, with consecutive slots. Stores the first slot in `slot`.
  int run_length(const MlxdSequence &sequence, int key, int end, size_t &first_slot) const {
    first_slot = slot(sequence, key);
    const uint32_t *blocks = block_table.data() + sequence.blocks;
    int block = key / block_size;
    int run_end = (block + 1) * block_size;
    for (; run_end < end && blocks[block + 1] == blocks[block] + 1; block++)
      run_end += block_size;
    return std::min(run_end, end) - key;
  }
};

/// The heads of a step's tokens and the pool.
struct Heads {
  /// Queries, keys and values of each token: [T,(H+2G)*d].
  const float *x;
  /// Cosines [T,half] and sines [T,2*half] of the first 2*half coordinates; the others do not rotate.
  const float *cosines;
  const float *sines;
  int half;
  const float *query_norm;
  const float *key_norm;
  float eps;
  /// The pool's, [G,slots,d] each.
  float *keys;
  float *values;
  size_t slots;
  float *out;
  /// G, H/G and d.
  int kv_heads;
  int group;
  int width;

  const float *head(size_t token, int index) const {
    return x + (token * kv_heads * (group + 2) + index) * width;
  }

  /// Norms and rotates a head.
  void prepare(size_t token, int index, const float *norm, float *to) const {
    const float *from = head(token, index);
    if (norm) {
      mlxd_simd()->rms_norm(width, from, norm, eps, to);
      from = to;
    }
    mlxd_simd()->rotate(half, from, cosines + token * half, sines + token * 2 * half, to);
    if (from != to)
      std::copy(from + 2 * half, from + width, to + 2 * half);
  }

  /// Writes a token's keys and values to its slot.
  void write(size_t token, size_t slot) const {
    for (int kv_head = 0; kv_head < kv_heads; kv_head++) {
      size_t to = (kv_head * slots + slot) * width;
      prepare(token, kv_heads * group + kv_head, key_norm, keys + to);
      std::copy_n(head(token, kv_heads * (group + 1) + kv_head), width, values + to);
    }
  }
};

/// A block of queries of one sequence with the query heads that share a key head.
struct Tile {
  size_t sequence;
  /// The first query, counted from the sequence's first token in the step.
  int begin;
  int kv_head;
};

/// The working memory of a tile, a thread's own. A row is one head of one query.
struct Scratch {
  float *queries;        // [rows,d]
  float *sums;           // [rows,d], weighted sums of values
  float *scores;         // [rows,key_block]
  MlxdSoftmax *softmax;  // [rows]

  Scratch(int rows, int width) {
    static thread_local std::vector<float> memory;
    static thread_local std::vector<MlxdSoftmax> states;
    size_t needed = (size_t)rows * (2 * width + key_block);
    if (memory.size() < needed)
      memory.resize(needed);
    queries = memory.data();
    sums = queries + (size_t)rows * width;
    scores = sums + (size_t)rows * width;
    std::fill_n(sums, (size_t)rows * width, 0.0f);
    states.assign(rows, {-INFINITY, 0});
    softmax = states.data();
  }
};

/// Changes its inputs 1 and 2, the pool, in place; `mlxd_attention_paged` states the contract.
class PagedAttention : public CpuPrimitive {
 public:
  PagedAttention(mx::Stream stream, Step step) : CpuPrimitive(stream), step_(std::move(step)) {}
  const char *name() const override { return "MlxdPagedAttention"; }

  static Step check(const Arrays &inputs, const MlxdPagedStep &step, bool has_angles, bool has_norms) {
    auto &x = inputs[0];
    auto &k = inputs[1];
    auto &v = inputs[2];
    int tokens = x.ndim() == 2 ? x.shape(0) : 0;
    int width = k.ndim() == 3 ? k.shape(2) : 0;
    bool fits = tokens > 0 && width > 0 && k.shape() == v.shape() && k.shape(0) > 0 && step.heads > 0;
    fits = fits && step.heads % k.shape(0) == 0 && x.shape(1) == (step.heads + 2 * k.shape(0)) * width;
    if (fits && has_angles) {
      size_t rotated = inputs[4].size() / tokens;
      fits = rotated <= (size_t)width && inputs[4].size() == rotated * tokens &&
             2 * inputs[3].size() == inputs[4].size();
    }
    for (size_t i = 3 + 2 * has_angles; i < inputs.size(); i++)
      fits = fits && inputs[i].size() == (size_t)width;
    if (!fits)
      throw std::invalid_argument("queries of other shapes than their keys");
    return {{step.sequences, step.sequences + step.sequence_count},
            {step.block_table, step.block_table + step.block_count},
            step.block_size,
            step.heads,
            step.scale,
            step.eps,
            step.window,
            has_angles,
            has_norms};
  }

  void eval_cpu(const Arrays &inputs, mx::array &out) override {
    if (!inputs[1].flags().row_contiguous || !inputs[2].flags().row_contiguous)
      throw std::invalid_argument("a pool with gaps");
    allocate(out);
    auto work = [step = step_, heads = heads_of(inputs, out), tokens = inputs[0].shape(0)]() {
      std::vector<size_t> slots(tokens);
      for (auto &sequence : step.sequences)
        for (uint32_t i = 0; i < sequence.tokens; i++)
          slots[sequence.first + i] = step.slot(sequence, sequence.position + i);
      parallel_for_rows(tokens, 2 * heads.kv_heads * heads.width, [&](int begin, int end) {
        for (int token = begin; token < end; token++)
          heads.write(token, slots[token]);
      });
      auto tiles = tiles_of(step, heads.kv_heads);
      parallel_for((int)tiles.size(), [&](int i) { attend(step, heads, tiles[i]); });
    };
    dispatch(inputs, out, std::move(work));
  }

 private:
  Heads heads_of(const Arrays &inputs, mx::array &out) const {
    auto data = [&](size_t i) { return i < inputs.size() ? inputs[i].data<float>() : nullptr; };
    auto &keys = inputs[1];
    size_t norms = 3 + 2 * step_.has_angles;
    Heads heads;
    heads.x = data(0);
    heads.cosines = step_.has_angles ? data(3) : nullptr;
    heads.sines = step_.has_angles ? data(4) : nullptr;
    heads.half = step_.has_angles ? (int)(inputs[3].size() / inputs[0].shape(0)) : 0;
    heads.query_norm = step_.has_norms ? data(norms) : nullptr;
    heads.key_norm = step_.has_norms ? data(norms + 1) : nullptr;
    heads.eps = step_.eps;
    heads.keys = const_cast<float *>(data(1));
    heads.values = const_cast<float *>(data(2));
    heads.slots = keys.shape(1);
    heads.out = out.data<float>();
    heads.kv_heads = keys.shape(0);
    heads.group = step_.heads / keys.shape(0);
    heads.width = keys.shape(2);
    return heads;
  }

  /// A sequence's last queries come first: they see most keys and take longest.
  static std::vector<Tile> tiles_of(const Step &step, int kv_heads) {
    std::vector<Tile> tiles;
    for (size_t sequence = 0; sequence < step.sequences.size(); sequence++) {
      int tokens = (int)step.sequences[sequence].tokens;
      for (int begin = (tokens - 1) / query_block * query_block; begin >= 0; begin -= query_block)
        for (int kv_head = 0; kv_head < kv_heads; kv_head++)
          tiles.push_back({sequence, begin, kv_head});
    }
    return tiles;
  }

  static void attend(const Step &step, const Heads &heads, const Tile &tile) {
    auto &sequence = step.sequences[tile.sequence];
    int count = std::min<int>(query_block, sequence.tokens - tile.begin);
    int rows = count * heads.group;
    size_t width = heads.width;
    Scratch scratch(rows, heads.width);
    for (int r = 0; r < rows; r++)
      heads.prepare(sequence.first + tile.begin + r / heads.group,
                    tile.kv_head * heads.group + r % heads.group, heads.query_norm,
                    scratch.queries + r * width);
    mlxd_simd()->scale(step.scale * log2_e, scratch.queries, scratch.queries, rows * width);
    int first = sequence.position + tile.begin;
    int end = first + count;
    for (int key = (int)std::max<int64_t>(0, (int64_t)first + 1 - step.window); key < end;) {
      size_t slot = 0;
      int run = step.run_length(sequence, key, std::min(end, key + key_block), slot);
      size_t offset = (tile.kv_head * heads.slots + slot) * width;
      add_keys(step, heads, scratch, {heads.keys + offset, heads.values + offset, run, rows, first - key});
      key += run;
    }
    store(heads, sequence.first + tile.begin, count, tile.kv_head, scratch);
  }

  /// Keys and values with consecutive slots.
  struct Run {
    const float *keys;
    const float *values;
    int length;
    /// Rows of queries.
    int rows;
    /// Position of the first query less that of the first key.
    int distance;
  };

  /// Adds a run's keys to the online softmax and its values to the weighted sums.
  static void add_keys(const Step &step, const Heads &heads, const Scratch &scratch, const Run &run) {
    int width = heads.width;
    mlxd_sgemm_serial(MLXD_ROW_MAJOR, MLXD_NO_TRANS, MLXD_TRANS, run.rows, run.length, width, 1,
                      scratch.queries, width, run.keys, width, 0, scratch.scores, run.length);
    for (int r = 0; r < run.rows; r++) {
      // The query sees keys up to its own, and no further back than the window.
      int64_t own = (int64_t)run.distance + r / heads.group;
      int64_t begin = std::clamp<int64_t>(own + 1 - step.window, 0, run.length);
      int64_t end = std::clamp<int64_t>(own + 1, begin, run.length);
      mlxd_simd()->online_softmax(scratch.scores + (size_t)r * run.length, (int)begin, (int)end, run.length,
                                  scratch.softmax + r, scratch.sums + (size_t)r * width, width);
    }
    if (run.rows > few_rows)
      return mlxd_sgemm_serial(MLXD_ROW_MAJOR, MLXD_NO_TRANS, MLXD_NO_TRANS, run.rows, width, run.length, 1,
                               scratch.scores, run.length, run.values, width, 1, scratch.sums, width);
    for (int r = 0; r < run.rows; r++)
      mlxd_simd()->weighted_sum(scratch.scores + (size_t)r * run.length, run.values, run.length,
                                scratch.sums + (size_t)r * width, width);
  }

  /// Divides the sums by the softmax's totals and writes them to the output [T,H*d].
  static void store(const Heads &heads, size_t first_token, int count, int kv_head, const Scratch &scratch) {
    size_t width = heads.width;
    for (int i = 0; i < count; i++) {
      float *out = heads.out + ((first_token + i) * heads.kv_heads + kv_head) * heads.group * width;
      for (int h = 0; h < heads.group; h++) {
        int row = i * heads.group + h;
        mlxd_simd()->scale(1 / scratch.softmax[row].total, scratch.sums + row * width, out + h * width,
                           width);
      }
    }
  }

  Step step_;
};

}  // namespace
}  // namespace mlxd

using namespace mlxd;

const char *mlxd_attention_paged(mlx_array *out, mlx_array heads, mlx_array keys, mlx_array values,
                                 const mlx_array *angles, const mlx_array *norms, const MlxdPagedStep *step,
                                 mlx_stream stream) {
  return attempt(out, [&]() {
    auto on = stream_of(stream);
    Arrays inputs = {contiguous_of(heads, on), array_of(keys), array_of(values)};
    for (auto pair : {angles, norms})
      if (pair) {
        inputs.push_back(contiguous_of(pair[0], on));
        inputs.push_back(contiguous_of(pair[1], on));
      }
    Step kept = PagedAttention::check(inputs, *step, angles != nullptr, norms != nullptr);
    mx::Shape shape{inputs[0].shape(0), step->heads * inputs[1].shape(2)};
    return make_array<PagedAttention>(shape, std::move(inputs), on, std::move(kept));
  });
}
