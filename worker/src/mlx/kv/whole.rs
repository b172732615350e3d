//! Attention in a step of whole texts: all keys that a token sees are the step's own, so none are kept.
//!
//! Rows are padded to the longest. Padding stands at the end and is never seen; what it computes is never read.

use std::cell::OnceCell;
use std::ops::Range;

use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, Device, DeviceType, ops};

use super::Result;
use crate::layers::kernels;
use crate::mlx::attention::{self, Attend, AttentionMask, Kernel, sees};

/// Scores of one product, at most: longer texts attend piece by piece, or a text of 8,000 tokens would take gigabytes.
const MOST_SCORES: usize = 16 << 20;

/// Which way a token looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Back, itself included: decoders.
    Back,
    /// Both ways; of a window, half to each side: encoders.
    Both,
}

/// A step's rows.
pub struct Whole {
    /// Tokens of each row.
    lengths: Vec<u32>,
    /// Of a row with its padding.
    padded: u32,
    sight: Sight,
    kernel: Kernel,
    /// Whether kernels of ours are taken where they apply.
    own: bool,
    most_scores: usize,
    /// What queries of a range see, for each window that a layer asked for.
    masks: Vec<(Key, AttentionMask)>,
    /// Of the layer that is computed.
    current: Option<(Array, Array)>,
}

type Key = (Option<u32>, Range<u32>);

impl Whole {
    /// Rows of these lengths, padded to the longest.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(lengths: Vec<u32>, sight: Sight) -> Result<Self> {
        let padded = lengths.iter().copied().max().unwrap_or(0);
        let kernel = match Device::try_default()?.get_type()? {
            DeviceType::Cpu => Kernel::Products,
            DeviceType::Gpu => Kernel::Fused,
        };
        Ok(Self {
            lengths,
            padded,
            sight,
            kernel,
            own: true,
            most_scores: MOST_SCORES,
            masks: Vec::new(),
            current: None,
        })
    }

    /// Keeps keys and values, `[T, kv_heads, d]` each, until the next layer's come.
    pub(super) fn write(&mut self, keys: &Array, values: &Array) -> Result<()> {
        let rows = self.lengths.len() as i32;
        let by_head = |x: &Array| {
            x.reshape(&[rows, self.padded as i32, x.dim(1), x.dim(2)])?.transpose_axes(&[0, 2, 1, 3])
        };
        self.current = Some((by_head(keys)?, by_head(values)?));
        Ok(())
    }

    /// Attention of queries `[T, H, d]`: `[T, H * d]`.
    pub(super) fn attend(&mut self, queries: &Array, how: Attend) -> Result<Array> {
        let Some((keys, values)) = self.current.take() else {
            return Err("attention before keys were written".into());
        };
        let (heads, width) = (queries.dim(1), queries.dim(2));
        let (rows, padded) = (self.lengths.len(), self.padded as usize);
        if let Some(whole) = self.attend_at_once(queries, &keys, &values, how) {
            return whole?.reshape(&[-1, heads * width]);
        }
        let piece = (self.most_scores / (rows * heads as usize * padded).max(1)).clamp(1, padded.max(1));
        if piece >= padded {
            return self.attend_from(0..self.padded, queries, (&keys, &values), how);
        }
        let by_row = queries.reshape(&[rows as i32, padded as i32, heads, width])?;
        let mut pieces = Vec::with_capacity(padded.div_ceil(piece));
        for from in (0..padded).step_by(piece) {
            let range = from as u32..(from + piece).min(padded) as u32;
            let own = by_row.try_index((.., range.start as i32..range.end as i32))?;
            let length = own.dim(1);
            let own = own.reshape(&[-1, heads, width])?;
            let part = self.attend_from(range, &own, (&keys, &values), how)?;
            // One piece after the other: together they would need the memory that pieces are there to save.
            part.eval()?;
            pieces.push(part.reshape(&[rows as i32, length, heads * width])?);
        }
        ops::concatenate(&pieces, 1)?.reshape(&[-1, heads * width])
    }

    /// By the kernel that makes no copies, and keeps the scores of a few queries only: `[R, L, H, d]`.
    fn attend_at_once(
        &self,
        queries: &Array,
        keys: &Array,
        values: &Array,
        how: Attend,
    ) -> Option<Result<Array>> {
        if !self.own || how.softcap.is_some() || how.sinks.is_some() {
            return None;
        }
        let (back, ahead) = match (self.sight, how.window) {
            (Sight::Back, window) => (window.map_or(u32::MAX, |window| window.saturating_sub(1)), 0),
            (Sight::Both, window) => {
                let reach = window.map_or(u32::MAX, |window| window / 2);
                (reach, reach)
            }
        };
        let rows = kernels::Rows { lengths: &self.lengths, back, ahead };
        let shape = [keys.dim(0), -1, queries.dim(1), queries.dim(2)];
        let by_head = queries.reshape(&shape).and_then(|queries| queries.transpose_axes(&[0, 2, 1, 3]));
        match by_head {
            Ok(by_head) => kernels::attention(&by_head, keys, values, rows, how.scale),
            Err(error) => Some(Err(error)),
        }
    }

    /// Attention of the queries at positions `range` of every row.
    fn attend_from(
        &mut self,
        range: Range<u32>,
        queries: &Array,
        (keys, values): (&Array, &Array),
        how: Attend,
    ) -> Result<Array> {
        let key = (how.window, range);
        let at = match self.masks.iter().position(|(known, _)| *known == key) {
            Some(at) => at,
            None => {
                self.masks.push((key.clone(), self.mask(&key)));
                self.masks.len() - 1
            }
        };
        attention::attend(self.kernel, queries, keys, values, &self.masks[at].1, how)
    }

    fn mask(&self, (window, range): &Key) -> AttentionMask {
        let all = *range == (0..self.padded);
        let ragged = self.lengths.iter().any(|length| *length < self.padded);
        // What a window reaches to each side.
        let reach = window.map_or(u32::MAX, |window| window / 2);
        match self.sight {
            Sight::Back if all && window.is_none_or(|window| window >= self.padded) => {
                AttentionMask::Causal(OnceCell::new())
            }
            // Padding comes after every token, so none sees it.
            Sight::Back => {
                let window = window.unwrap_or(u32::MAX);
                self.seen(range, 1, |_, query, key| sees(query, key, window))
            }
            Sight::Both if reach >= self.padded && !ragged => AttentionMask::None,
            Sight::Both if reach >= self.padded => self.seen_by_all(),
            Sight::Both => {
                let lengths = &self.lengths;
                self.seen(range, lengths.len(), |row, query, key| {
                    // What pads sees at least itself: a row of nothing would be no number.
                    key == query || (key < lengths[row] && query.abs_diff(key) <= reach)
                })
            }
        }
    }

    /// `[rows, 1, queries, keys]`.
    fn seen(&self, range: &Range<u32>, rows: usize, sees: impl Fn(usize, u32, u32) -> bool) -> AttentionMask {
        let mut seen = Vec::with_capacity(rows * range.len() * self.padded as usize);
        for row in 0..rows {
            for query in range.clone() {
                seen.extend((0..self.padded).map(|key| sees(row, query, key)));
            }
        }
        let shape = [rows as i32, 1, range.len() as i32, self.padded as i32];
        AttentionMask::Seen(Array::from_slice(&seen, &shape))
    }

    /// `[rows, 1, 1, keys]`: every query sees all of its row.
    fn seen_by_all(&self) -> AttentionMask {
        let seen: Vec<bool> =
            self.lengths.iter().flat_map(|length| (0..self.padded).map(move |key| key < *length)).collect();
        AttentionMask::Seen(Array::from_slice(&seen, &[self.lengths.len() as i32, 1, 1, self.padded as i32]))
    }
}

#[cfg(test)]
mod tests;
