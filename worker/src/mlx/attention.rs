//! Attention over contiguous keys: of one row, or of several rows padded to one length.
//!
//! There are two implementations: MLX's fused kernel, for GPUs, and plain matrix products, for the CPU. MLX has no CPU
//! kernel; its fallback computes one product per query head. Here the query heads that share keys use one product.

use std::cell::OnceCell;
use std::f32::consts::LOG2_E;
use std::ops::Range;

use mlx_rs::fast::{ScaledDotProductAttentionMask, scaled_dot_product_attention};
use mlx_rs::{Array, Dtype, ops};

use crate::layers::exponential::exp2;

type Result<T> = mlx_rs::error::Result<T>;

/// Attention parameters of a layer.
#[derive(Debug, Clone, Copy)]
pub struct Attend<'a> {
    /// Multiplies the scores.
    pub scale: f32,
    /// Window in tokens, the query included; `None` attends to all.
    pub window: Option<u32>,
    /// Scores s become cap · tanh(s / cap).
    pub softcap: Option<f32>,
    /// `[H]`: score of an extra position without a value, which can absorb attention.
    pub sinks: Option<&'a Array>,
}

/// The implementation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// MLX's kernel.
    Fused,
    /// Plain matrix products.
    Products,
}

/// The keys that a query attends to.
#[derive(Debug)]
pub(super) enum AttentionMask {
    /// All.
    None,
    /// In a row with t tokens, token i attends to all but the last `t - 1 - i` keys. The array is built on demand.
    Causal(OnceCell<Array>),
    /// `[R, 1, t, L]`, true if attended to.
    Seen(Array),
}

/// Queries `[R * t, H, d]` of R rows, keys and values `[R, kv_heads, L, d]` → `[R * t, H * d]`.
///
/// # Errors
/// When the device fails.
pub(super) fn attend(
    kernel: Kernel,
    queries: &Array,
    keys: &Array,
    values: &Array,
    mask: &AttentionMask,
    how: Attend,
) -> Result<Array> {
    let (all, heads, width) = (queries.dim(0), queries.dim(1), queries.dim(2));
    let rows = keys.dim(0);
    let tokens = all / rows;
    if how.softcap.is_some() || kernel == Kernel::Products {
        return products(queries, keys, values, mask, how);
    }
    let queries = queries.reshape(&[rows, tokens, heads, width])?.swap_axes(1, 2)?;
    let mask = match mask {
        AttentionMask::None => None,
        AttentionMask::Causal(_) => Some(ScaledDotProductAttentionMask::Causal),
        AttentionMask::Seen(seen) => Some(ScaledDotProductAttentionMask::Array(seen)),
    };
    let output = scaled_dot_product_attention(&queries, keys, values, how.scale, mask, how.sinks)?;
    output.swap_axes(1, 2)?.reshape(&[all, heads * width])
}

/// The same by plain matrix products, one per row and key head.
fn products(
    queries: &Array,
    keys: &Array,
    values: &Array,
    mask: &AttentionMask,
    how: Attend,
) -> Result<Array> {
    let number = |value: f32| Array::from_f32(value).as_dtype(queries.dtype());
    let (all, heads, width) = (queries.dim(0), queries.dim(1), queries.dim(2));
    let (rows, kv_heads, length) = (keys.dim(0), keys.dim(1), keys.dim(2));
    let (tokens, group) = (all / rows, heads / kv_heads);
    // Scores in base 2: only the few queries are multiplied by log2(e).
    let scale = if how.softcap.is_some() { how.scale } else { how.scale * LOG2_E };
    let scaled = queries.multiply(number(scale)?)?;
    let grouped =
        scaled.reshape(&[rows, tokens, kv_heads, group, width])?.transpose_axes(&[0, 2, 3, 1, 4])?;
    let grouped = grouped.reshape(&[rows, kv_heads, group * tokens, width])?;
    let mut scores = grouped.matmul(keys.swap_axes(2, 3)?)?;
    if let Some(cap) = how.softcap {
        scores = ops::tanh(scores.divide(number(cap)?)?)?.multiply(number(cap * LOG2_E)?)?;
    }
    let apart = scores.reshape(&[rows, kv_heads, group, tokens, length])?;
    let masked = match mask {
        AttentionMask::None => apart,
        AttentionMask::Causal(all) => {
            let context = length as u32;
            let all = all.get_or_init(|| seen(context - tokens as u32..context, 0..context, u32::MAX));
            ops::select(all, &apart, number(f32::NEG_INFINITY)?)?
        }
        AttentionMask::Seen(seen) => ops::select(seen.expand_dims(1)?, &apart, number(f32::NEG_INFINITY)?)?,
    };
    // A softmax with the division last, where there are the fewest numbers.
    let masked = masked.as_dtype(Dtype::Float32)?;
    let mut highest = ops::max_axis(&masked, -1, true)?;
    let powers = |sinks: &Array| sinks.as_dtype(Dtype::Float32)?.multiply(Array::from_f32(LOG2_E));
    let sinks = how.sinks.map(|sinks| powers(sinks)?.reshape(&[1, kv_heads, group, 1, 1]));
    let sinks = sinks.transpose()?;
    if let Some(sinks) = &sinks {
        highest = ops::maximum(&highest, sinks)?;
    }
    let weights = exp2(&masked.subtract(&highest)?)?;
    let mut total = ops::sum_axis(&weights, -1, true)?;
    if let Some(sinks) = &sinks {
        total = total.add(exp2(&sinks.subtract(&highest)?)?)?;
    }
    let weights = weights.as_dtype(values.dtype())?.reshape(&[rows, kv_heads, group * tokens, length])?;
    let total = total.reshape(&[rows, kv_heads, group * tokens, 1])?.as_dtype(values.dtype())?;
    let output = weights.matmul(values)?.divide(total)?;
    let output = output.reshape(&[rows, kv_heads, group, tokens, width])?.transpose_axes(&[0, 3, 1, 2, 4])?;
    output.reshape(&[all, heads * width])
}

/// `[queries, keys]`: whether each query position attends to each key position.
fn seen(queries: Range<u32>, keys: Range<u32>, window: u32) -> Array {
    let mut seen = Vec::with_capacity(queries.len() * keys.len());
    for query in queries.clone() {
        seen.extend(keys.clone().map(|key| sees(query, key, window)));
    }
    Array::from_slice(&seen, &[queries.len() as i32, keys.len() as i32])
}

/// Whether the token at position `query` attends to the one at `key`.
pub(super) fn sees(query: u32, key: u32, window: u32) -> bool {
    key <= query && query - key < window
}
