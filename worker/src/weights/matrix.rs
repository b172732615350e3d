//! The tensors of a linear layer: a dense or packed weight, a bias, and an adapter's low-rank change.

use mlx_rs::error::Result;
use mlx_rs::{Array, Dtype, ops};

use super::config::Packing;

/// The tensors of one linear layer or, with a leading dimension, of a stack of experts.
#[derive(Debug, Clone)]
pub struct LinearWeights {
    /// `[.., outputs, inputs]`.
    pub weight: Weight,
    /// `[.., outputs]`.
    pub bias: Option<Array>,
    /// The adapter's change of a weight that stays packed. Dense weights contain it.
    pub low_rank: Option<LowRank>,
}

/// A matrix `[outputs, inputs]`, or a stack of them `[experts, outputs, inputs]`.
#[derive(Debug, Clone)]
pub enum Weight {
    /// Plain numbers.
    Dense(Array),
    /// Packed by MLX's affine quantisation.
    Quantized {
        /// Packed weight, scales and biases.
        parts: [Array; 3],
        /// Their layout.
        packing: Packing,
    },
}

impl Weight {
    /// Stacks matrices of one shape. `None` if there are none, or their packings differ.
    ///
    /// # Errors
    /// When the device fails.
    pub(super) fn stack(weights: &[Self]) -> Result<Option<Self>> {
        let dense: Vec<&Array> = weights.iter().filter_map(Self::as_dense).collect();
        if dense.len() == weights.len() && !dense.is_empty() {
            return Ok(Some(Self::Dense(stack(&dense)?)));
        }
        let Some(Self::Quantized { packing, .. }) = weights.first() else { return Ok(None) };
        let packed: Vec<&[Array; 3]> =
            weights.iter().filter_map(|weight| weight.as_packed(*packing)).collect();
        if packed.len() != weights.len() {
            return Ok(None);
        }
        let part = |at: usize| stack(&packed.iter().map(|parts| &parts[at]).collect::<Vec<_>>());
        Ok(Some(Self::Quantized { parts: [part(0)?, part(1)?, part(2)?], packing: *packing }))
    }

    /// `x` `[.., T, inputs]` times the transposed matrix, or each of a stack: `[.., T, outputs]`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn product(&self, x: &Array) -> Result<Array> {
        match self {
            Self::Dense(weight) => x.matmul(weight.swap_axes(-2, -1)?),
            Self::Quantized { parts: [weight, scales, biases], packing } => {
                ops::quantized_matmul(x, weight, scales, biases, true, packing.group_size, packing.bits)
            }
        }
    }

    /// Its numbers, unpacked.
    ///
    /// # Errors
    /// When the device fails.
    pub fn to_dense(&self) -> Result<Array> {
        match self {
            Self::Dense(weight) => Ok(weight.clone()),
            Self::Quantized { parts: [weight, scales, biases], packing } => {
                ops::dequantize(weight, scales, biases, packing.group_size, packing.bits)
            }
        }
    }

    fn as_dense(&self) -> Option<&Array> {
        match self {
            Self::Dense(weight) => Some(weight),
            Self::Quantized { .. } => None,
        }
    }

    fn as_packed(&self, expected: Packing) -> Option<&[Array; 3]> {
        match self {
            Self::Quantized { parts, packing } if *packing == expected => Some(parts),
            _ => None,
        }
    }
}

/// Evaluated, so that the parts can be dropped.
fn stack(parts: &[&Array]) -> Result<Array> {
    let stacked = ops::stack(parts, 0)?;
    stacked.eval()?;
    Ok(stacked)
}

/// The change of a weight by a product of two narrow matrices (or stacks of them).
#[derive(Debug, Clone)]
pub struct LowRank {
    /// D, `[.., rank, inputs]`.
    pub down: Array,
    /// U, `[.., outputs, rank]`, multiplied by the adapter's scale.
    pub up: Array,
}

impl LowRank {
    /// W + U D.
    ///
    /// # Errors
    /// When the device fails.
    pub(super) fn merge(&self, weight: &Array) -> Result<Array> {
        let float32 = |x: &Array| x.as_dtype(Dtype::Float32);
        let change = float32(&self.up)?.matmul(float32(&self.down)?)?;
        float32(weight)?.add(change)?.as_dtype(weight.dtype())
    }
}
