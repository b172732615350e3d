//! Operations that take one pass over memory on a Linux CPU, where MLX's own take many, or go number by
//! number.
//!
//! They are primitives of MLX in C++ (the crate `mlx-cpu-kernels`), part of its graph like any other, for
//! float32. Each function returns `None` where it does not apply, on other systems and devices always: the
//! caller then uses MLX's own.

use std::ops::Range;

use mlx_rs::Array;

use super::Result;

/// A function of each number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
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

/// The type of a file's numbers, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// The upper half of fp32.
    Bf16,
    /// fp32.
    F32,
}

/// Rows of texts that attend, padded to one length.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Tokens of each.
    pub lengths: &'a [u32],
    /// How many tokens back a token sees.
    pub back: u32,
    /// How many ahead.
    pub ahead: u32,
}

/// One sequence's tokens in a step.
#[derive(Debug, Clone, Copy)]
pub struct Sequence {
    /// Index of its first token among the step's.
    pub first: u32,
    /// Number of its tokens.
    pub tokens: u32,
    /// Position of its first token in the sequence.
    pub position: u32,
    /// Index of its first block in the table.
    pub blocks: u32,
}

/// What happens to a linear layer's input before its product, in the same pass.
#[derive(Debug, Clone, Copy)]
pub enum Before<'a> {
    /// Nothing: `[T, inputs]`.
    Nothing,
    /// Its root-mean-square norm by this epsilon, times a weight `[inputs]`.
    Norm(&'a Array, f32),
    /// The function of its first half, times the other half: `[T, 2 inputs]`.
    Gate(Function),
}

/// What happens to the product.
#[derive(Debug, Clone, Copy, Default)]
pub struct After<'a> {
    /// Added first, `[outputs]`.
    pub bias: Option<&'a Array>,
    /// What the sum goes through.
    pub function: Option<Function>,
    /// Added last, `[T, outputs]`.
    pub residual: Option<&'a Array>,
}

/// What happens to query and key heads before they attend.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    /// Cosines `[T, 1, 1, r/2]` and sines `[T, 1, 2, r/2]` by which their first r coordinates turn.
    pub angles: Option<[&'a Array; 2]>,
    /// Weights `[d]` of the root-mean-square norms of queries and keys, which come first, and their epsilon.
    pub norms: Option<([&'a Array; 2], f32)>,
}

/// How queries attend.
#[derive(Debug, Clone, Copy)]
pub struct Scores {
    /// Query heads.
    pub heads: i32,
    /// Multiplies the scores.
    pub scale: f32,
    /// How many tokens back a token sees, itself included; `None`: all.
    pub window: Option<u32>,
}

/// Where the keys and values of a step's sequences lie in a pool.
#[derive(Debug, Default)]
pub struct Paged {
    /// All of the step's tokens.
    pub sequences: Vec<Sequence>,
    /// Numbers of blocks, sequence by sequence.
    pub table: Vec<u32>,
    /// Tokens of a block.
    pub block: u32,
}

impl Paged {
    /// Adds a sequence whose tokens in the step are these, at `position` and after.
    pub fn push(&mut self, tokens: Range<usize>, position: u32, blocks: &[u32]) {
        let (first, tokens) = (tokens.start as u32, tokens.len() as u32);
        self.sequences.push(Sequence { first, tokens, position, blocks: self.table.len() as u32 });
        let needed = (position + tokens).div_ceil(self.block.max(1)) as usize;
        self.table.extend(blocks.iter().take(needed));
    }

    /// Whether all is told of so many tokens, and what they see, so many tokens back, lies within so many
    /// slots.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "nothing is computed from it there"))]
    fn fits(&self, tokens: i32, slots: i32, window: Option<u32>) -> bool {
        let block = self.block.max(1);
        let mut next = 0;
        let told = self.sequences.iter().all(|own| {
            let follows = own.first == std::mem::replace(&mut next, own.first + own.tokens);
            // Blocks behind the window may be others' by now, or nobody's.
            let seen = window.map_or(0, |window| (own.position + 1).saturating_sub(window)) / block;
            let blocks = own.blocks + seen..own.blocks + (own.position + own.tokens).div_ceil(block);
            let blocks = self.table.get(blocks.start as usize..blocks.end as usize);
            let within = |at: &u32| (i64::from(*at) + 1) * i64::from(block) <= i64::from(slots);
            follows && own.tokens > 0 && blocks.is_some_and(|blocks| blocks.iter().all(within))
        });
        told && i64::from(next) == i64::from(tokens)
    }
}

/// Whether `x` is what there are kernels for.
pub fn apply(x: &Array) -> bool {
    imp::apply(&[x])
}

/// A weight as products like it, from the bytes of a file: fp32, at the start of a cache line. It is there
/// at once.
pub fn floats(bytes: &[u8], stored: Stored, shape: &[i32]) -> Option<Result<Array>> {
    imp::floats(bytes, stored, shape)
}

/// The rows of all, in order, in the same form: `[N1, ..]`, `[N2, ..]` → `[N1 + N2, ..]`.
pub fn joined(parts: &[&Array]) -> Option<Result<Array>> {
    imp::joined(parts)
}

/// `function` of each number of `x`.
pub fn each(function: Function, x: &Array) -> Option<Result<Array>> {
    imp::each(function, x)
}

/// A linear layer by a weight `[outputs, inputs]`, with what comes before and after: `[T, outputs]`.
pub fn linear(x: &Array, before: Before, weight: &Array, after: After) -> Option<Result<Array>> {
    imp::linear(x, before, weight, after)
}

/// Each token of `x`, or of the sum with what is `added`, brought to mean 0 and variance 1, scaled and
/// shifted.
pub fn layer_norm(
    x: &Array,
    added: Option<&Array>,
    (weight, bias): (&Array, Option<&Array>),
    eps: f32,
) -> Option<Result<Array>> {
    imp::layer_norm(x, added, (weight, bias), eps)
}

/// `function` of the first half of each row, times the other half: `[T, 2N]` → `[T, N]`.
pub fn gated(function: Function, both: &Array) -> Option<Result<Array>> {
    imp::gated(function, both)
}

/// The root-mean-square norm of each token, times `weight`: `[T, D]`, `[D]`.
pub fn rms_norm(x: &Array, weight: &Array, eps: f32) -> Option<Result<Array>> {
    imp::rms_norm(x, weight, eps)
}

/// Heads `[T, H, d]` turned by cosines `[T, 1, 1, d/2]` and sines `[T, 1, 2, d/2]` of both halves.
pub fn rotate(x: &Array, cos: &Array, sin: &Array) -> Option<Result<Array>> {
    imp::rotate(x, cos, sin)
}

/// Of each token's query, key and value heads, `[T, (H + 2 kv_heads) * d]`: writes keys and values to a
/// pool, `[kv_heads, slots, d]` each, and attends causally over what is there: `[T, H * d]`.
///
/// The write happens when the result is evaluated. MLX knows the pool's arrays as inputs and not that they
/// change.
///
/// # Safety
/// - Only the caller's pool holds arrays that share a buffer with `keys` and `values`, views included, and
///   the two do not share one with each other.
/// - Everything that reads or writes these buffers is evaluated on the stream on which it was built, the
///   current one, and in the order in which it was built. So the caller starts evaluation of the result
///   before it builds anything else on the pool.
/// - A slot that the step writes belongs to one sequence of the step, and no other step that may still run
///   reads it.
///
/// Otherwise threads read and write one buffer without order. Shapes, sequences and blocks are checked.
#[expect(unsafe_code, reason = "it changes inputs")]
pub unsafe fn attention_paged(
    heads: &Array,
    turn: Turn,
    (keys, values): (&Array, &Array),
    paged: &Paged,
    scores: Scores,
) -> Option<Result<Array>> {
    // SAFETY: the caller's promise.
    unsafe { imp::attention_paged(heads, turn, (keys, values), paged, scores) }
}

/// Attention of queries `[R, H, L, d]` over keys and values `[R, kv_heads, L, d]`: `[R, L, H, d]`.
pub fn attention(
    queries: &Array,
    keys: &Array,
    values: &Array,
    rows: Rows,
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

#[cfg(all(test, target_os = "linux"))]
mod tests;
