//! Attention over contiguous keys: of one row, or of several rows padded to one length.
//!
//! There are two implementations: MLX's fused kernel, for GPUs, and plain matrix products, for the CPU. MLX has no CPU
//! kernel; its fallback computes one product per query head. Here the query heads that share keys use one product.

use std::cell::OnceCell;
use std::f32::consts::LOG2_E;
use std::ops::Range;

use mlx_rs::fast::{ScaledDotProductAttentionMask, scaled_dot_product_attention};
use mlx_rs::{Array, Device, DeviceType, Dtype, ops};

use crate::kernels::Result;
use crate::kernels::exponential::exp2;

/// Attention parameters of a layer.
#[derive(Debug, Clone, Copy)]
pub struct AttentionParams<'a> {
    /// Factor of the scores.
    pub scale: f32,
    /// Window in tokens, the query included; `None` attends to all.
    pub window: Option<u32>,
    /// Scores s become cap · tanh(s / cap).
    pub softcap: Option<f32>,
    /// `[H]`: score of an extra position without a value, which can absorb attention.
    pub sinks: Option<&'a Array>,
}

/// How the tokens of an image attend to each other: to the later ones, too. A window limits only how far back they see. (Reference:
/// `create_masks_for_vision_model` of `modeling_gemma3.py` in Transformers 5.24.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageAttention {
    /// Most tokens of an image.
    pub tokens: u32,
    /// Only in layers with a window; in the others they attend to those before them, like text.
    pub in_windows_only: bool,
}

impl ImageAttention {
    /// Whether tokens of an image attend to its later ones in layers with this window.
    pub(super) fn applies(self, window: Option<u32>) -> bool {
        window.is_some() || !self.in_windows_only
    }
}

/// The implementation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernel {
    /// MLX's kernel.
    Fused,
    /// Plain matrix products.
    Products,
}

impl Kernel {
    /// The implementation for the default device.
    ///
    /// # Errors
    /// When the device fails.
    pub(super) fn of_device() -> Result<Self> {
        Ok(match Device::try_default()?.get_type()? {
            DeviceType::Cpu => Self::Products,
            DeviceType::Gpu => Self::Fused,
        })
    }
}

/// The keys that a query attends to.
#[derive(Debug)]
pub(super) enum AttentionMask {
    /// All.
    None,
    /// In a row with t tokens, token i attends to all but the last `t - 1 - i` keys. The array is built on demand.
    Causal(OnceCell<Array>),
    /// `[R, 1, t, L]`, true if attended to.
    Array(Array),
}

/// Queries `[R * t, H, d]` of R rows, keys `[R, kv_heads, L, d]` and values `[R, kv_heads, L, v]` → `[R * t, H * v]`.
///
/// # Errors
/// When the device fails.
pub(super) fn attend(
    kernel: Kernel,
    queries: &Array,
    keys: &Array,
    values: &Array,
    mask: &AttentionMask,
    params: AttentionParams,
) -> Result<Array> {
    let (all, heads, width) = (queries.dim(0), queries.dim(1), queries.dim(2));
    let rows = keys.dim(0);
    let tokens = all / rows;
    if params.softcap.is_some() || kernel == Kernel::Products {
        return products(queries, keys, values, mask, params);
    }
    let queries = queries.reshape(&[rows, tokens, heads, width])?.swap_axes(1, 2)?;
    let mask = match mask {
        AttentionMask::None => None,
        AttentionMask::Causal(_) => Some(ScaledDotProductAttentionMask::Causal),
        AttentionMask::Array(allowed) => Some(ScaledDotProductAttentionMask::Array(allowed)),
    };
    let output = scaled_dot_product_attention(&queries, keys, values, params.scale, mask, params.sinks)?;
    output.swap_axes(1, 2)?.reshape(&[all, heads * values.dim(3)])
}

/// [`attend`] by plain matrix products, one per row and key head.
fn products(
    queries: &Array,
    keys: &Array,
    values: &Array,
    mask: &AttentionMask,
    params: AttentionParams,
) -> Result<Array> {
    let number = |value: f32| Array::from_f32(value).as_dtype(queries.dtype());
    let (all, heads, width) = (queries.dim(0), queries.dim(1), queries.dim(2));
    let (rows, kv_heads, length) = (keys.dim(0), keys.dim(1), keys.dim(2));
    let (tokens, group) = (all / rows, heads / kv_heads);
    // Scores in base 2: only the few queries are multiplied by log2(e).
    let scale = if params.softcap.is_some() { params.scale } else { params.scale * LOG2_E };
    let scaled = queries.multiply(number(scale)?)?;
    let grouped =
        scaled.reshape(&[rows, tokens, kv_heads, group, width])?.transpose_axes(&[0, 2, 3, 1, 4])?;
    let grouped = grouped.reshape(&[rows, kv_heads, group * tokens, width])?;
    let mut scores = grouped.matmul(keys.swap_axes(2, 3)?)?;
    if let Some(cap) = params.softcap {
        scores = ops::tanh(scores.divide(number(cap)?)?)?.multiply(number(cap * LOG2_E)?)?;
    }
    let grouped_scores = scores.reshape(&[rows, kv_heads, group, tokens, length])?;
    let masked = match mask {
        AttentionMask::None => grouped_scores,
        AttentionMask::Causal(allowed) => {
            let context = length as u32;
            let allowed = allowed.get_or_init(|| causal_mask(context - tokens as u32..context, context));
            ops::select(allowed, &grouped_scores, number(f32::NEG_INFINITY)?)?
        }
        AttentionMask::Array(allowed) => {
            ops::select(allowed.expand_dims(1)?, &grouped_scores, number(f32::NEG_INFINITY)?)?
        }
    };
    // The softmax divides last, where there are the fewest numbers.
    let masked = masked.as_dtype(Dtype::Float32)?;
    let mut highest = ops::max_axis(&masked, -1, true)?;
    let powers = |sinks: &Array| sinks.as_dtype(Dtype::Float32)?.multiply(Array::from_f32(LOG2_E));
    let sinks = params.sinks.map(|sinks| powers(sinks)?.reshape(&[1, kv_heads, group, 1, 1]));
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
    let width = values.dim(3);
    let output = output.reshape(&[rows, kv_heads, group, tokens, width])?.transpose_axes(&[0, 3, 1, 2, 4])?;
    output.reshape(&[all, heads * width])
}

/// `[queries, keys]`: whether each query position attends to each of the first `keys` positions.
fn causal_mask(queries: Range<u32>, keys: u32) -> Array {
    let mut allowed = Vec::with_capacity(queries.len() * keys as usize);
    for query in queries.clone() {
        allowed.extend((0..keys).map(|key| key <= query));
    }
    Array::from_slice(&allowed, &[queries.len() as i32, keys as i32])
}

/// Whether the token at position `query` attends to the one at `key`.
pub(super) fn attends_to(query: u32, key: u32, window: u32) -> bool {
    key <= query && query - key < window
}
