//! Attention in a step of complete texts. All keys that a token attends to are in the step, so none are kept.
//!
//! Rows are padded to the longest, at the end. No token attends to padding, and its outputs are never read.

use std::cell::OnceCell;
use std::ops::Range;

use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, ops};

use super::attention::{self, AttentionMask, AttentionParams, Kernel, attends_to};
use super::convolution;
use super::states::StateShape;
use crate::kernels::{self, Result};

/// Maximum scores of one product. Longer texts attend in pieces; otherwise a text of 8,000 tokens would need gigabytes.
const MAX_SCORES: usize = 16 << 20;

/// The direction in which tokens attend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttentionDirection {
    /// To earlier tokens and themselves: decoders.
    Causal,
    /// To both sides; a window extends half to each: encoders.
    Bidirectional,
}

/// The rows of a step.
pub struct ContiguousStep {
    /// Tokens of each row.
    lengths: Vec<u32>,
    /// Tokens of a padded row.
    padded: u32,
    direction: AttentionDirection,
    kernel: Kernel,
    /// Whether to use our own kernel if it applies.
    own_kernel: bool,
    max_scores: usize,
    /// The mask for each window and range of queries.
    masks: Vec<(MaskKey, AttentionMask)>,
    /// Keys and values of the current layer, `[R, kv_heads, L, d]` each.
    current: Option<(Array, Array)>,
}

type MaskKey = (Option<u32>, Range<u32>);

impl ContiguousStep {
    /// Rows of these lengths.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(lengths: Vec<u32>, direction: AttentionDirection) -> Result<Self> {
        let padded = lengths.iter().copied().max().unwrap_or(0);
        Ok(Self {
            lengths,
            padded,
            direction,
            kernel: Kernel::of_device()?,
            own_kernel: true,
            max_scores: MAX_SCORES,
            masks: Vec::new(),
            current: None,
        })
    }

    /// Keeps a layer's keys and values, `[T, kv_heads, d]` each, for [`Self::attend`].
    pub(super) fn write(&mut self, keys: &Array, values: &Array) -> Result<()> {
        let rows = self.lengths.len() as i32;
        let by_head = |x: &Array| {
            x.reshape(&[rows, self.padded as i32, x.dim(1), x.dim(2)])?.transpose_axes(&[0, 2, 1, 3])
        };
        self.current = Some((by_head(keys)?, by_head(values)?));
        Ok(())
    }

    /// Attention of queries `[T, H, d]`: `[T, H * d]`.
    pub(super) fn attend(&mut self, queries: &Array, params: AttentionParams) -> Result<Array> {
        let Some((keys, values)) = self.current.take() else {
            return Err("attention before keys were written".into());
        };
        let (heads, width) = (queries.dim(1), queries.dim(2));
        let (rows, padded) = (self.lengths.len(), self.padded as usize);
        if let Some(attended) = self.attend_by_kernel(queries, &keys, &values, params) {
            return attended?.reshape(&[-1, heads * width]);
        }
        let piece = (self.max_scores / (rows * heads as usize * padded).max(1)).clamp(1, padded.max(1));
        if piece >= padded {
            return self.attend_range(0..self.padded, queries, (&keys, &values), params);
        }
        let by_row = queries.reshape(&[rows as i32, padded as i32, heads, width])?;
        let mut outputs = Vec::with_capacity(padded.div_ceil(piece));
        for start in (0..padded).step_by(piece) {
            let range = start as u32..(start + piece).min(padded) as u32;
            let length = range.len() as i32;
            let queries = by_row.try_index((.., range.start as i32..range.end as i32))?;
            let queries = queries.reshape(&[-1, heads, width])?;
            let output = self.attend_range(range, &queries, (&keys, &values), params)?;
            // Evaluate one piece after the other: together they would need the memory that splitting saves.
            output.eval()?;
            outputs.push(output.reshape(&[rows as i32, length, heads * width])?);
        }
        ops::concatenate(&outputs, 1)?.reshape(&[-1, heads * width])
    }

    /// Convolution of `inputs` `[T, D]`. Padding follows every token, so no token's output depends on it.
    pub(super) fn convolve(&self, inputs: &Array, weights: &[Array]) -> Result<Array> {
        convolution::convolve_texts(inputs, self.lengths.len(), self.padded, weights)
    }

    /// Recurrence from the start of every text. Padding changes only states that are not kept.
    pub(super) fn recur(
        &self,
        shape: StateShape,
        advance: impl FnOnce(&[u32], &Array) -> Result<(Array, Array)>,
    ) -> Result<Array> {
        let rows = self.lengths.len();
        Ok(advance(&vec![self.padded; rows], &shape.zeros(rows as i32)?)?.0)
    }

    /// By our own kernel, which copies nothing and stores the scores of a few queries only: `[R, L, H, d]`.
    fn attend_by_kernel(
        &self,
        queries: &Array,
        keys: &Array,
        values: &Array,
        params: AttentionParams,
    ) -> Option<Result<Array>> {
        if !self.own_kernel || params.softcap.is_some() || params.sinks.is_some() {
            return None;
        }
        let (back, ahead) = match self.direction {
            AttentionDirection::Causal => {
                (params.window.map_or(u32::MAX, |window| window.saturating_sub(1)), 0)
            }
            AttentionDirection::Bidirectional => {
                let reach = params.window.map_or(u32::MAX, |window| window / 2);
                (reach, reach)
            }
        };
        let rows = kernels::PaddedRows { lengths: &self.lengths, back, ahead };
        let shape = [keys.dim(0), -1, queries.dim(1), queries.dim(2)];
        let by_head = queries.reshape(&shape).and_then(|queries| queries.transpose_axes(&[0, 2, 1, 3]));
        match by_head {
            Ok(by_head) => kernels::attention(&by_head, keys, values, rows, params.scale),
            Err(error) => Some(Err(error)),
        }
    }

    /// Attention of the queries at positions `range` of every row.
    fn attend_range(
        &mut self,
        range: Range<u32>,
        queries: &Array,
        (keys, values): (&Array, &Array),
        params: AttentionParams,
    ) -> Result<Array> {
        let key = (params.window, range);
        let at = match self.masks.iter().position(|(known, _)| *known == key) {
            Some(at) => at,
            None => {
                self.masks.push((key.clone(), self.mask(&key)));
                self.masks.len() - 1
            }
        };
        attention::attend(self.kernel, queries, keys, values, &self.masks[at].1, params)
    }

    fn mask(&self, (window, range): &MaskKey) -> AttentionMask {
        match self.direction {
            AttentionDirection::Causal => {
                let whole = *range == (0..self.padded);
                if whole && window.is_none_or(|window| window >= self.padded) {
                    return AttentionMask::Causal(OnceCell::new());
                }
                // Padding comes after every token, so the causal mask excludes it.
                let window = window.unwrap_or(u32::MAX);
                self.mask_array(range, 1, |_, query, key| attends_to(query, key, window))
            }
            AttentionDirection::Bidirectional => {
                let reach = window.map_or(u32::MAX, |window| window / 2);
                if reach >= self.padded {
                    let ragged = self.lengths.iter().any(|length| *length < self.padded);
                    return if ragged { self.padding_mask() } else { AttentionMask::None };
                }
                let lengths = &self.lengths;
                self.mask_array(range, lengths.len(), |row, query, key| {
                    // Padding attends to itself: the softmax of an empty row would be NaN.
                    key == query || (key < lengths[row] && query.abs_diff(key) <= reach)
                })
            }
        }
    }

    /// `[rows, 1, queries, keys]`.
    fn mask_array(
        &self,
        range: &Range<u32>,
        rows: usize,
        attends_to: impl Fn(usize, u32, u32) -> bool,
    ) -> AttentionMask {
        let mut allowed = Vec::with_capacity(rows * range.len() * self.padded as usize);
        for row in 0..rows {
            for query in range.clone() {
                allowed.extend((0..self.padded).map(|key| attends_to(row, query, key)));
            }
        }
        let shape = [rows as i32, 1, range.len() as i32, self.padded as i32];
        AttentionMask::Array(Array::from_slice(&allowed, &shape))
    }

    /// `[rows, 1, 1, keys]`: every query attends to all tokens of its row.
    fn padding_mask(&self) -> AttentionMask {
        let allowed: Vec<bool> =
            self.lengths.iter().flat_map(|length| (0..self.padded).map(move |key| key < *length)).collect();
        let shape = [self.lengths.len() as i32, 1, 1, self.padded as i32];
        AttentionMask::Array(Array::from_slice(&allowed, &shape))
    }
}

#[cfg(test)]
mod tests;
