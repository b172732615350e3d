/// Primitives for MLX's graph on a CPU, in float32.
///
/// Each function makes an array on stream `stream` and puts it into `out`. It returns null, or a message that
/// stays valid until the thread's next failure. No function keeps a pointer after it returns.
/// Nullable arrays are passed as pointers.
///
/// A C header: `cargo xtask setup` makes the Rust declarations from it, struct layouts included.
#ifndef MLXD_KERNELS_H
#define MLXD_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "mlx/c/array.h"
#include "mlx/c/stream.h"
#include "mlxd/simd.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Number types of weight files.
typedef enum {
  /// bfloat16, little-endian.
  MLXD_STORED_BF16 = 0,
  /// IEEE 754 binary32, little-endian.
  MLXD_STORED_F32 = 1,
} MlxdStored;

/// What a linear layer does beside its product.
typedef struct {
  /// The activation of a gated input's first half, an MlxdActivation; negative: the input has no gate.
  int gate;
  /// The activation of the sum, an MlxdActivation.
  int activation;
  /// Epsilon of the input's norm.
  float eps;
} MlxdLinear;

/// One sequence's tokens in a step.
typedef struct {
  /// Index of its first token among the step's.
  uint32_t first;
  /// Number of its tokens.
  uint32_t tokens;
  /// Position of its first token in the sequence.
  uint32_t position;
  /// Index of its first block in the block table.
  uint32_t blocks;
} MlxdSequence;

/// A step of paged attention.
typedef struct {
  /// Sequences, ordered by their tokens; together they cover all tokens of the step.
  const MlxdSequence *sequences;
  /// Number of sequences.
  size_t sequence_count;
  /// Block numbers, sequence after sequence.
  const uint32_t *block_table;
  /// Number of block numbers.
  size_t block_count;
  /// Tokens of a block.
  int block_size;
  /// Query heads H.
  int heads;
  /// Factor of the scores.
  float scale;
  /// Epsilon of the norms of queries and keys.
  float eps;
  /// Tokens that a token sees backwards, itself included.
  int window;
} MlxdPagedStep;

/// f of each element of x.
const char *mlxd_activation(mlx_array *out, MlxdActivation f, mlx_array x, mlx_stream stream);

/// f(first half of each row) times the second half: [T,2N] -> [T,N].
const char *mlxd_gated(mlx_array *out, MlxdActivation f, mlx_array x, mlx_stream stream);

/// f(input(x) weight^T + bias) + residual: x [T,K], or [T,2K] with a gate; weight [N,K]; norm [K], bias [N]
/// and residual [T,N] may be null. -> [T,N]
const char *mlxd_linear(mlx_array *out, mlx_array x, mlx_array weight, const mlx_array *norm,
                        const mlx_array *bias, const mlx_array *residual, const MlxdLinear *options,
                        mlx_stream stream);

/// Layer norm of x, or of x + added, over the last axis: [..,D], weight and bias [D]; added and bias may be
/// null.
const char *mlxd_layer_norm(mlx_array *out, mlx_array x, const mlx_array *added, mlx_array weight,
                            const mlx_array *bias, float eps, mlx_stream stream);

/// Root-mean-square norm: [T,D], weight [D].
const char *mlxd_rms_norm(mlx_array *out, mlx_array x, mlx_array weight, float eps, mlx_stream stream);

/// Rotary embedding of heads [T,N,d] by cosines [T,1,1,d/2] and sines [T,1,2,d/2] of both halves.
const char *mlxd_rotate(mlx_array *out, mlx_array x, mlx_array cosines, mlx_array sines, mlx_stream stream);

/// Attention in rows of whole texts that are padded to one length: queries [R,H,L,d], keys and values
/// [R,G,L,d], R lengths. A token sees `back` tokens backwards and `ahead` tokens forwards. -> [R,L,H,d]
const char *mlxd_attention(mlx_array *out, mlx_array queries, mlx_array keys, mlx_array values,
                           const uint32_t *lengths, float scale, int back, int ahead, mlx_stream stream);

/// Writes a step's keys and values to a pool, then attends causally over the pool's blocks.
///
/// Heads [T,(H+2G)*d]: queries, keys and values of each token. Keys and values of the pool: [G,slots,d].
/// `angles`: null, or cosines [T,..,r/2] and sines [T,..,r] of the first r coordinates of each head.
/// `norms`: null, or norm weights [d] of queries and keys. -> [T,H*d]
///
/// Contract, which nothing here can check: evaluation changes the buffers of `keys` and `values` in place,
/// although MLX knows them as inputs. (1) All arrays that share these buffers belong to the caller's pool.
/// (2) All operations on them are evaluated on one stream in the order in which they were built. (3) Slots
/// that `block_table` names belong to the step's sequences, and those it writes to no other sequence.
const char *mlxd_attention_paged(mlx_array *out, mlx_array heads, mlx_array keys, mlx_array values,
                                 const mlx_array *angles, const mlx_array *norms, const MlxdPagedStep *step,
                                 mlx_stream stream);

/// A float32 array at a cache line's start with the numbers that `stored` holds. It is evaluated.
const char *mlxd_floats(mlx_array *out, const void *stored, MlxdStored type, const int *shape,
                        size_t dimensions);

/// Evaluated arrays, joined along the first axis: [N1,..], [N2,..] -> [N1+N2,..], at a cache line's start.
const char *mlxd_joined(mlx_array *out, const mlx_array *parts, size_t count);

#ifdef __cplusplus
}
#endif
#endif
