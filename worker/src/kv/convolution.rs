//! The state of short causal convolutions: each block keeps the inputs of its last tokens.
//!
//! A convolution over k tokens needs the inputs of the k - 1 tokens before a row. They lie in the row's own blocks. So the
//! inputs at the end of a full block are a snapshot of the state there. Whatever holds for blocks holds for the state: it is
//! shared, waited for, evicted, preempted, resized and counted with them.
//!
//! An input lies in its block at the token's offset modulo [`ConvolutionState::kept`], so newer ones replace older ones. A block
//! keeps a few more than k - 1, because a step can be taken back in part: the drafts that are rejected, or the last token of
//! a row that sits out.
//!
//! A step reads earlier inputs and adds its own. Written in the same step, MLX would copy the pool, because the read still
//! holds it. So a step's inputs stay apart, and the next step writes them before it reads.

use mlx_rs::ops::indexing::{TryIndexOp, scatter_single};
use mlx_rs::{Array, Dtype, ops, transforms};

use super::{BLOCK_SIZE, PagedStep};
use crate::engine::runner::{Batch, Row};
use crate::kernels::Result;

/// Sizes of a model's convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvolutionShape {
    /// Layers with a convolution.
    pub layers: usize,
    /// Channels D.
    pub width: i32,
    /// Tokens that an output depends on, the newest included; at least 2.
    pub kernel: u32,
}

/// The inputs that blocks keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvolutionState {
    shape: ConvolutionShape,
    /// Inputs per block and layer.
    kept: u32,
}

impl ConvolutionState {
    /// For steps of which up to `rollback` tokens of a row are taken back.
    pub fn new(shape: ConvolutionShape, rollback: u32) -> Self {
        // A row that sits out takes one token back.
        Self { shape, kept: (shape.kernel - 1).saturating_add(rollback.max(1)).min(BLOCK_SIZE) }
    }

    /// Bytes of a block in all layers, for numbers of `width` bytes.
    pub(super) fn block_bytes(self, width: u64) -> u64 {
        let ConvolutionShape { layers, width: channels, .. } = self.shape;
        layers as u64 * u64::from(self.kept) * channels as u64 * width
    }
}

/// The inputs of all blocks and layers.
#[derive(Debug)]
pub(super) struct ConvolutionPool {
    state: ConvolutionState,
    dtype: Dtype,
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    /// `[blocks * kept, D]`.
    inputs: Array,
    /// The slots `[N]` and inputs `[N, 1, D]` of the last step, which the next one writes.
    pending: Option<(Array, Array)>,
}

impl Layer {
    fn write_pending(&mut self) -> Result<()> {
        if let Some((slots, inputs)) = self.pending.take() {
            // The assignment drops the old handle before evaluation. Otherwise MLX would copy the pool.
            self.inputs = scatter_single(&self.inputs, slots, inputs, 0)?;
        }
        Ok(())
    }
}

impl ConvolutionPool {
    /// Of `blocks` blocks.
    pub(super) fn new(state: ConvolutionState, dtype: Dtype, blocks: u32) -> Result<Self> {
        let mut pool = Self { state, dtype, layers: Vec::new() };
        let layer = |_| pool.zeros(blocks).map(|inputs| Layer { inputs, pending: None });
        pool.layers = (0..state.shape.layers).map(layer).collect::<Result<_>>()?;
        Ok(pool)
    }

    fn zeros(&self, blocks: u32) -> Result<Array> {
        let slots = (blocks * self.state.kept) as i32;
        ops::zeros_dtype(&[slots, self.state.shape.width], self.dtype)
    }

    /// All arrays that outlive a step.
    pub(super) fn arrays(&self) -> impl Iterator<Item = &Array> {
        let of_layer = self.layers.iter();
        of_layer
            .flat_map(|layer| [Some(&layer.inputs), layer.pending.as_ref().map(|(_, inputs)| inputs)])
            .flatten()
    }

    /// Bytes of the allocated blocks.
    pub(super) fn allocated_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.inputs.nbytes() as u64).sum()
    }

    /// Adds `blocks` blocks.
    pub(super) fn grow(&mut self, blocks: u32) -> Result<()> {
        let fresh = self.zeros(blocks)?;
        for layer in &mut self.layers {
            layer.inputs = ops::concatenate(&[&layer.inputs, &fresh], 0)?;
            layer.inputs.eval()?;
        }
        Ok(())
    }

    /// Keeps the first `blocks` blocks.
    pub(super) fn truncate(&mut self, blocks: u32) -> Result<()> {
        let slots = (blocks * self.state.kept) as i32;
        for layer in &mut self.layers {
            layer.write_pending()?;
            // Concatenating two halves makes a copy. A slice would keep the whole buffer alive.
            let halves = [layer.inputs.try_index(..slots / 2)?, layer.inputs.try_index(slots / 2..slots)?];
            layer.inputs = ops::concatenate(&halves, 0)?;
            layer.inputs.eval()?;
        }
        Ok(())
    }

    /// The indices of a step, for every layer.
    pub(super) fn step(&self, batch: &Batch) -> StepArrays {
        let ConvolutionState { shape, kept } = self.state;
        let StepIndex { before, taps, kept_tokens, slots } = StepIndex::new(batch, shape.kernel - 1, kept);
        StepArrays {
            before: index_array(&before),
            taps: taps.iter().map(|tap| index_array(tap)).collect(),
            kept_tokens: index_array(&kept_tokens),
            slots: index_array(&slots),
        }
    }
}

fn index_array(index: &[u32]) -> Array {
    Array::from_slice(index, &[index.len() as i32])
}

/// [`StepIndex`] on the device.
pub(super) struct StepArrays {
    before: Array,
    taps: Vec<Array>,
    kept_tokens: Array,
    slots: Array,
}

/// Where the tokens of a step find the inputs before them, and which inputs are kept.
#[derive(Debug, PartialEq, Eq)]
struct StepIndex {
    /// Slots of the inputs before each row, `reach` each, the oldest first. Before the start of a text it is any slot.
    before: Vec<u32>,
    /// See [`taps`].
    taps: Vec<Vec<u32>>,
    /// The tokens of the step whose inputs are kept.
    kept_tokens: Vec<u32>,
    /// Their slots; all distinct.
    slots: Vec<u32>,
}

impl StepIndex {
    fn new(batch: &Batch, reach: u32, kept: u32) -> Self {
        let slot = |row: &Row, position: u32| {
            row.blocks[(position / BLOCK_SIZE) as usize] * kept + position % BLOCK_SIZE % kept
        };
        let (mut before, mut kept_tokens, mut slots) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows = Vec::with_capacity(batch.rows.len());
        for row in &batch.rows {
            let (first, count) = (batch.positions[row.tokens.start], row.tokens.len() as u32);
            rows.push((count, first));
            let earlier = (1..=reach).rev().map(|back| first.checked_sub(back));
            before.extend(earlier.map(|position| position.map_or(0, |position| slot(row, position))));
            for (token, position) in (row.tokens.start as u32..).zip(first..first + count) {
                let block_end = (position / BLOCK_SIZE + 1) * BLOCK_SIZE;
                // Later tokens of the row would replace the others in the same step.
                if position + kept >= block_end.min(first + count) {
                    kept_tokens.push(token);
                    slots.push(slot(row, position));
                }
            }
        }
        Self { taps: taps(&rows, reach, before.len() as u32), before, kept_tokens, slots }
    }
}

/// For each distance from `reach` down to 1: the index of the input that lies so many tokens before each token.
///
/// The inputs lie one after another: one of zeros, for tokens before the start of a text; `before` that were kept, `reach` for
/// each row; those of the step. `rows` has the number of tokens of each row and the position of its first.
fn taps(rows: &[(u32, u32)], reach: u32, before: u32) -> Vec<Vec<u32>> {
    let of_distance = |back: u32| {
        let mut index = Vec::new();
        let mut start = 1 + before;
        for (row, (count, first)) in (0..).zip(rows) {
            index.extend((0..*count).map(|token| match token {
                _ if back > first + token => 0,
                token if token < back => 1 + (row + 1) * reach + token - back,
                token => start + token - back,
            }));
            start += count;
        }
        index
    };
    (1..=reach).rev().map(of_distance).collect()
}

impl PagedStep<'_> {
    /// Convolves the inputs `[T, D]` of `layer` and keeps those that later tokens need.
    pub(super) fn convolve(&mut self, layer: usize, inputs: &Array, weights: &[Array]) -> Result<Array> {
        let (Some(pool), Some(step)) = (&mut self.pool.convolutions, &self.convolutions) else {
            return Err("the model has convolutions that it did not declare".into());
        };
        let dtype = pool.dtype;
        let layer = &mut pool.layers[layer];
        layer.write_pending()?;
        let before = layer.inputs.take_axis(&step.before, 0)?.as_dtype(inputs.dtype())?;
        let kept = inputs.take_axis(&step.kept_tokens, 0)?.as_dtype(dtype)?.expand_dims(1)?;
        // The device computes this layer while the next layer's graph is built.
        transforms::async_eval([&layer.inputs, &kept])?;
        layer.pending = Some((step.slots.clone(), kept));
        sum_of_taps(inputs, Some(before), &step.taps, weights)
    }
}

/// Convolves `rows` complete texts of `length` tokens each, `[rows * length, D]`.
pub(super) fn convolve_texts(inputs: &Array, rows: usize, length: u32, weights: &[Array]) -> Result<Array> {
    let taps = taps(&vec![(length, 0); rows], weights.len() as u32 - 1, 0);
    let taps: Vec<Array> = taps.iter().map(|tap| index_array(tap)).collect();
    sum_of_taps(inputs, None, &taps, weights)
}

/// `weights` has one `[D]` for each token of the kernel, the newest last.
fn sum_of_taps(inputs: &Array, before: Option<Array>, taps: &[Array], weights: &[Array]) -> Result<Array> {
    let Some((newest, earlier)) = weights.split_last() else {
        return Err("a convolution over nothing".into());
    };
    let mut all = vec![ops::zeros_dtype(&[1, inputs.dim(1)], inputs.dtype())?];
    all.extend(before);
    all.push(inputs.clone());
    let all = ops::concatenate(&all, 0)?;
    let mut sum = inputs.multiply(newest)?;
    for (tap, weight) in taps.iter().zip(earlier) {
        sum = sum.add(all.take_axis(tap, 0)?.multiply(weight)?)?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests;
