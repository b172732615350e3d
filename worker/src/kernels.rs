//! Operations that take one pass over memory on a Linux CPU. MLX needs several passes there, or computes number by number.
//!
//! They are MLX primitives in C++ (the crate `mlx-cpu-kernels`) for float32, and part of its graph like any other. A
//! function returns `None` where no kernel applies: the caller then uses MLX's own operation. Other systems and devices
//! have no kernels.

use std::ops::Range;

use mlx_rs::Array;

pub mod exponential;

/// The result of an MLX operation.
pub type Result<T, E = mlx_rs::error::Exception> = std::result::Result<T, E>;

/// An element-wise function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaryOp {
    /// x.
    Identity,
    /// x Φ(x).
    Gelu,
    /// x/2 (1 + tanh u) with u = √(2/π) (x + 0.044715 x³).
    GeluTanh,
    /// x · σ(x).
    Silu,
    /// 2ˣ for x within ±126, and 2⁻¹²⁶ or 2¹²⁷ beyond.
    Exp2,
}

/// The number format of a weight file, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredFloat {
    /// The upper half of fp32.
    Bf16,
    /// fp32.
    F32,
}

/// Rows padded to one length, and the reach of attention in them.
#[derive(Debug, Clone, Copy)]
pub struct PaddedRows<'a> {
    /// Tokens of each row, without padding.
    pub lengths: &'a [u32],
    /// Maximum distance of a key before its query, in tokens.
    pub back: u32,
    /// Maximum distance of a key after its query, in tokens.
    pub ahead: u32,
}

/// The tokens of one sequence in a step.
#[derive(Debug, Clone, Copy)]
pub struct PagedSequence {
    /// Index of its first token in the step.
    pub first: u32,
    /// Number of its tokens.
    pub tokens: u32,
    /// Position of its first token in the sequence.
    pub position: u32,
    /// Index of its first block in the block table.
    pub blocks: u32,
}

/// An operation on a linear layer's input, in the same pass as the product.
#[derive(Debug, Clone, Copy)]
pub enum Prologue<'a> {
    /// The input is `[T, inputs]`.
    None,
    /// Root-mean-square norm with a weight `[inputs]` and an epsilon.
    RmsNorm(&'a Array, f32),
    /// The input is `[T, 2 inputs]`: the function of its first half, times the other half.
    Gate(UnaryOp),
}

/// Operations on the product of a linear layer, in the order of the fields.
#[derive(Debug, Clone, Copy, Default)]
pub struct Epilogue<'a> {
    /// `[outputs]`.
    pub bias: Option<&'a Array>,
    /// Applied to the product plus the bias.
    pub activation: Option<UnaryOp>,
    /// `[T, outputs]`, added last.
    pub residual: Option<&'a Array>,
}

/// Norms and rotary embedding of query and key heads, applied in this order before attention.
#[derive(Debug, Clone, Copy)]
pub struct HeadTransform<'a> {
    /// Weights `[d]` of the root-mean-square norms of queries and keys, and their epsilon.
    pub norms: Option<([&'a Array; 2], f32)>,
    /// Cosines `[T, 1, 1, r/2]` and sines `[T, 1, 2, r/2]` that rotate the first r coordinates.
    pub rotary: Option<[&'a Array; 2]>,
}

/// Parameters of paged attention.
#[derive(Debug, Clone, Copy)]
pub struct PagedAttentionParams {
    /// Query heads.
    pub heads: i32,
    /// Factor of the scores.
    pub scale: f32,
    /// Window in tokens, the query included; `None` attends to all.
    pub window: Option<u32>,
}

/// The sequences of a step and their blocks in the KV pool.
#[derive(Debug, Default)]
pub struct PagedBatch {
    /// They cover all tokens of the step, in order.
    pub sequences: Vec<PagedSequence>,
    /// Block numbers of all sequences, concatenated.
    pub block_table: Vec<u32>,
    /// Tokens per block.
    pub block_size: u32,
}

impl PagedBatch {
    /// Adds a sequence with these tokens of the step; the first is at `position` of the sequence.
    pub fn push(&mut self, tokens: Range<usize>, position: u32, blocks: &[u32]) {
        let (first, tokens) = (tokens.start as u32, tokens.len() as u32);
        let offset = self.block_table.len() as u32;
        self.sequences.push(PagedSequence { first, tokens, position, blocks: offset });
        let needed = (position + tokens).div_ceil(self.block_size.max(1)) as usize;
        self.block_table.extend(blocks.iter().take(needed));
    }

    /// Whether the sequences cover exactly `tokens` tokens, and the blocks within their windows lie in a pool of `slots` slots.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only the kernels of Linux use it"))]
    fn is_consistent(&self, tokens: i32, slots: i32, window: Option<u32>) -> bool {
        let block_size = self.block_size.max(1);
        let in_pool = |block: &u32| (i64::from(*block) + 1) * i64::from(block_size) <= i64::from(slots);
        let mut next = 0;
        for sequence in &self.sequences {
            if sequence.tokens == 0 || sequence.first != next {
                return false;
            }
            next = sequence.first + sequence.tokens;
            // Blocks before the window may be free, or belong to another sequence by now.
            let skipped =
                window.map_or(0, |window| (sequence.position + 1).saturating_sub(window)) / block_size;
            let count = (sequence.position + sequence.tokens).div_ceil(block_size);
            let range = (sequence.blocks + skipped) as usize..(sequence.blocks + count) as usize;
            if !self.block_table.get(range).is_some_and(|blocks| blocks.iter().all(in_pool)) {
                return false;
            }
        }
        i64::from(next) == i64::from(tokens)
    }
}

/// Whether there are kernels for the device and the type of `x`.
pub fn supports(x: &Array) -> bool {
    imp::supports(&[x])
}

/// A float32 weight from the bytes of a file, aligned to a cache line as the products need it. Evaluated at once.
pub fn weight_from_bytes(bytes: &[u8], stored: StoredFloat, shape: &[i32]) -> Option<Result<Array>> {
    imp::weight_from_bytes(bytes, stored, shape)
}

/// Concatenates rows to a weight aligned as [`weight_from_bytes`]: `[N1, ..]`, `[N2, ..]` → `[N1 + N2, ..]`.
pub fn concatenate_rows(parts: &[&Array]) -> Option<Result<Array>> {
    imp::concatenate_rows(parts)
}

/// Applies `op` to each number of `x`.
pub fn unary(op: UnaryOp, x: &Array) -> Option<Result<Array>> {
    imp::unary(op, x)
}

/// A linear layer with a weight `[outputs, inputs]`, fused with the operations around it: `[T, outputs]`.
pub fn linear(x: &Array, prologue: Prologue, weight: &Array, epilogue: Epilogue) -> Option<Result<Array>> {
    imp::linear(x, prologue, weight, epilogue)
}

/// Layer norm of `x`, or of `x + added`.
pub fn layer_norm(
    x: &Array,
    added: Option<&Array>,
    (weight, bias): (&Array, Option<&Array>),
    eps: f32,
) -> Option<Result<Array>> {
    imp::layer_norm(x, added, (weight, bias), eps)
}

/// `op` of the first half of each row, times the other half: `[T, 2N]` → `[T, N]`.
pub fn gate(op: UnaryOp, halves: &Array) -> Option<Result<Array>> {
    imp::gate(op, halves)
}

/// The root-mean-square norm of each token, times `weight`: `[T, D]`, `[D]`.
pub fn rms_norm(x: &Array, weight: &Array, eps: f32) -> Option<Result<Array>> {
    imp::rms_norm(x, weight, eps)
}

/// Rotates heads `[T, H, d]` by cosines `[T, 1, 1, d/2]` and sines `[T, 1, 2, d/2]` of both halves.
pub fn rotate(x: &Array, cos: &Array, sin: &Array) -> Option<Result<Array>> {
    imp::rotate(x, cos, sin)
}

/// Writes a step's keys and values to a pool and attends causally over it.
///
/// Takes each token's query, key and value heads, `[T, (H + 2 kv_heads) * d]`, and the pool's keys and values,
/// `[kv_heads, slots, d]` each. Returns `[T, H * d]`. The write happens when the result is evaluated. MLX knows the
/// pool's arrays as inputs and not that they change.
///
/// # Safety
/// - Only the caller's pool holds arrays that share a buffer with `keys` and `values`, views included. The two do not share
///   one with each other.
/// - All operations on these buffers are evaluated on the current stream, on which they were built, and in the order in
///   which they were built. So the caller starts evaluation of the result before it builds anything else on
///   the pool.
/// - A slot that the step writes belongs to one sequence of the step, and no other step that may still run reads it.
///
/// Otherwise threads read and write one buffer without order. Shapes, sequences and blocks are checked.
#[expect(unsafe_code, reason = "it changes inputs")]
pub unsafe fn paged_attention(
    heads: &Array,
    transform: HeadTransform,
    (keys, values): (&Array, &Array),
    batch: &PagedBatch,
    params: PagedAttentionParams,
) -> Option<Result<Array>> {
    // SAFETY: the caller's promise.
    unsafe { imp::paged_attention(heads, transform, (keys, values), batch, params) }
}

/// Attention of queries `[R, H, L, d]` over keys and values `[R, kv_heads, L, d]`: `[R, L, H, d]`.
pub fn attention(
    queries: &Array,
    keys: &Array,
    values: &Array,
    rows: PaddedRows,
    scale: f32,
) -> Option<Result<Array>> {
    imp::attention(queries, keys, values, rows, scale)
}

#[cfg(target_os = "linux")]
#[path = "kernels/linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "kernels/none.rs"]
mod imp;

#[cfg(test)]
pub(crate) mod device_lock;
#[cfg(all(test, target_os = "linux"))]
mod tests;
