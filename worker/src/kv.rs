//! The paged KV pool, and attention over the keys and values of a step.
//!
//! Each layer has one array for keys and one for values, `[kv_heads, slots, d]`; block b holds slots `b * BLOCK_SIZE ..`. New
//! tokens are scattered in place: MLX reuses the pool's buffer if nothing else holds a handle to it. So a step costs the same
//! for every size of the pool (tested below). Kernels on a Linux CPU write in place themselves (`in_place.rs`). The pool
//! starts small and doubles on demand up to its limit, so that an idle model does not hold the limit. Blocks of models with
//! short convolutions hold their state, too (`convolution.rs`).

use mlx_rs::ops::indexing::{TryIndexOp, scatter_single};
use mlx_rs::{Array, Dtype, ops, transforms};

use self::attention::Kernel;
use crate::engine::runner::{Batch, StateId};
use crate::kernels::{HeadTransform, PagedAttentionParams, PagedBatch, Result};

pub use self::attention::{AttentionParams, ImageAttention};
pub use self::convolution::{ConvolutionShape, ConvolutionState};
pub use self::states::StateShape;

mod attention;
mod contiguous;
mod convolution;
mod groups;
mod in_place;
mod states;

pub use contiguous::{AttentionDirection, ContiguousStep};
use convolution::{ConvolutionPool, StepArrays};
use groups::{AttentionGroups, Keys, Queries, View};
use states::{StateStep, StateStore};

/// Tokens in a KV block.
pub const BLOCK_SIZE: u32 = 32;
/// Blocks of a new pool.
const INITIAL_BLOCKS: u32 = 32;
/// Maximum scores of one product. A chunk of a long prompt attends in pieces; otherwise its scores alone would need more
/// memory than a small model's weights. (On a CPU about six arrays of this size exist at a time: 96 MiB.)
const MAX_SCORES: usize = 4 << 20;
/// Default capacity of the pool, in full contexts.
const DEFAULT_CONTEXTS: u64 = 8;

/// Size and type of a token's keys and values in layers with equal heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvShape {
    /// Layers.
    pub layers: usize,
    /// Key and value heads of a layer.
    pub kv_heads: i32,
    /// Width d of a head.
    pub head_dim: i32,
    /// If a value is the first coordinates of its key: their number. Otherwise values are as wide as keys.
    pub value_dim: Option<i32>,
    /// The type in which the model computes, so that keys and values need no conversion.
    pub dtype: Dtype,
}

impl KvShape {
    /// Bytes of a block in all layers, keys and values together.
    fn block_bytes(self) -> u64 {
        self.layers as u64 * self.layer_block_bytes()
    }

    /// Bytes of a block in one layer.
    fn layer_block_bytes(self) -> u64 {
        let arrays = if self.value_dim.is_some() { 1 } else { 2 };
        arrays * (self.kv_heads as u64) * (self.head_dim as u64) * self.number_bytes() * u64::from(BLOCK_SIZE)
    }

    fn number_bytes(self) -> u64 {
        match self.dtype {
            Dtype::Float16 | Dtype::Bfloat16 => 2,
            _ => 4,
        }
    }
}

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockShape {
    /// Keys and values.
    pub kv: KvShape,
    /// Keys and values of the layers after those, if their heads have other sizes.
    pub other_kv: Option<KvShape>,
    /// Inputs of convolutions.
    pub convolutions: Option<ConvolutionState>,
    /// Recurrent states. They lie outside the blocks, but the blocks count for them.
    pub states: Option<StateShape>,
}

impl BlockShape {
    /// Bytes of a block in all layers, with its share of the states.
    pub(super) fn bytes(self) -> u64 {
        let share = |states: StateShape, blocks: u32| states.bytes().div_ceil(u64::from(blocks));
        self.own_bytes()
            + self.states.zip(self.blocks_per_state()).map_or(0, |(states, blocks)| share(states, blocks))
    }

    /// The same without the states.
    fn own_bytes(self) -> u64 {
        let of_convolutions = |state: ConvolutionState| state.block_bytes(self.kv.number_bytes());
        let other = self.other_kv.map_or(0, KvShape::block_bytes);
        (self.kv.block_bytes() + other + self.convolutions.map_or(0, of_convolutions)).max(1)
    }

    /// Blocks for which there is one state, so that all states take about as much memory as all blocks.
    pub(super) fn blocks_per_state(self) -> Option<u32> {
        let blocks = |states: StateShape| states.bytes().div_ceil(self.own_bytes()).max(1);
        self.states.map(|states| u32::try_from(blocks(states)).unwrap_or(u32::MAX))
    }
}

impl From<KvShape> for BlockShape {
    fn from(kv: KvShape) -> Self {
        Self { kv, other_kv: None, convolutions: None, states: None }
    }
}

/// The pool of all layers.
#[derive(Debug)]
pub struct KvPool {
    layers: Vec<Layer>,
    convolutions: Option<ConvolutionPool>,
    states: Option<StateStore>,
    /// Bytes of a block, with its share of the states.
    block_bytes: u64,
    /// Allocated blocks.
    blocks: u32,
    /// Maximum number of blocks.
    limit: u32,
    kernel: Kernel,
    max_scores: usize,
    image_attention: Option<ImageAttention>,
}

#[derive(Debug)]
struct Layer {
    /// That of all layers with equal heads.
    shape: KvShape,
    /// `[kv_heads, slots, d]`.
    keys: Array,
    /// `[kv_heads, slots, d]`; `None` if values are parts of keys.
    values: Option<Array>,
}

impl Layer {
    fn new(shape: KvShape, blocks: u32) -> Result<Self> {
        let sizes = [shape.kv_heads, (blocks * BLOCK_SIZE) as i32, shape.head_dim];
        let zeros = || ops::zeros_dtype(&sizes, shape.dtype);
        let values = shape.value_dim.is_none().then(zeros).transpose()?;
        Ok(Self { shape, keys: zeros()?, values })
    }

    fn arrays(&self) -> impl Iterator<Item = &Array> {
        [&self.keys].into_iter().chain(&self.values)
    }

    /// Replaces each array.
    fn change(&mut self, change: impl Fn(&Array) -> Result<Array>) -> Result<()> {
        for array in [&mut self.keys].into_iter().chain(&mut self.values) {
            *array = change(array)?;
        }
        transforms::eval(self.arrays())
    }
}

impl KvPool {
    /// A pool for sequences of up to `max_context` tokens that may grow to `bytes`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(shape: impl Into<BlockShape>, max_context: u32, bytes: Option<u64>) -> Result<Self> {
        let shape: BlockShape = shape.into();
        let block_bytes = shape.bytes();
        let contexts = u64::from(max_context.div_ceil(BLOCK_SIZE)) * DEFAULT_CONTEXTS;
        let blocks = match bytes {
            Some(bytes) => bytes / block_bytes,
            None => contexts.min(crate::memory::physical_bytes() / 8 / block_bytes),
        };
        // A slot's number has to fit MLX's signed 32-bit dimensions.
        let limit = blocks.clamp(1, u64::from(i32::MAX as u32 / BLOCK_SIZE)) as u32;
        let kernel = Kernel::of_device()?;
        let blocks = INITIAL_BLOCKS.min(limit);
        let BlockShape { kv, other_kv, convolutions, states } = shape;
        let of_convolutions = |state| ConvolutionPool::new(state, kv.dtype, blocks);
        let convolutions = convolutions.map(of_convolutions).transpose()?;
        let shapes = [Some(kv), other_kv].into_iter().flatten();
        let layers = shapes.flat_map(|shape| (0..shape.layers).map(move |_| Layer::new(shape, blocks)));
        Ok(Self {
            layers: layers.collect::<Result<_>>()?,
            convolutions,
            states: states.map(StateStore::new),
            block_bytes,
            blocks,
            limit,
            kernel,
            max_scores: MAX_SCORES,
            image_attention: None,
        })
    }

    /// Lets the tokens of an image attend to each other.
    #[must_use]
    pub fn with_image_attention(self, image_attention: Option<ImageAttention>) -> Self {
        Self { image_attention, ..self }
    }

    /// Maximum number of blocks.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Bytes of the allocated blocks.
    pub fn allocated_bytes(&self) -> u64 {
        let layers = self.layers.iter().flat_map(Layer::arrays);
        layers.map(|array| array.nbytes() as u64).sum::<u64>()
            + self.convolutions.as_ref().map_or(0, ConvolutionPool::allocated_bytes)
            + self.states.as_ref().map_or(0, StateStore::allocated_bytes)
    }

    /// Bytes of the maximum number of blocks.
    pub fn limit_bytes(&self) -> u64 {
        self.block_bytes * u64::from(self.limit)
    }

    /// Frees states that no row will read.
    pub fn forget_states(&mut self, states: &[StateId]) {
        if let Some(store) = &mut self.states {
            store.forget(states);
        }
    }

    /// All arrays of the pool.
    pub fn arrays(&self) -> impl Iterator<Item = &Array> {
        let convolutions = self.convolutions.iter().flat_map(ConvolutionPool::arrays);
        let states = self.states.iter().flat_map(StateStore::arrays);
        self.layers.iter().flat_map(Layer::arrays).chain(convolutions).chain(states)
    }

    /// Sets the limit to `limit` blocks. Frees blocks from `used` on if there are more than the limit or the initial number.
    ///
    /// # Errors
    /// When the device fails. Some layers may have freed their blocks then, but none in use.
    pub fn resize(&mut self, limit: u32, used: u32) -> Result<()> {
        self.limit = limit;
        let target = used.max(INITIAL_BLOCKS.min(limit)).min(self.blocks);
        if target == self.blocks {
            return Ok(());
        }
        // Set first: if a layer fails, the others may already be smaller.
        self.blocks = target;
        let slots = (target * BLOCK_SIZE) as i32;
        // Concatenating two halves makes a copy. A slice would keep the whole buffer alive.
        let truncate = |array: &Array| {
            let halves = [array.try_index((.., ..slots / 2))?, array.try_index((.., slots / 2..slots))?];
            ops::concatenate(&halves, 1)
        };
        for layer in &mut self.layers {
            layer.change(truncate)?;
        }
        self.convolutions.as_mut().map_or(Ok(()), |pool| pool.truncate(target))
    }

    /// Grows until block `block` exists.
    fn ensure_block(&mut self, block: u32) -> Result<()> {
        if block < self.blocks {
            return Ok(());
        }
        let target = (block + 1).next_power_of_two().max(self.blocks * 2).min(self.limit.max(block + 1));
        let added = target - self.blocks;
        // Layer by layer, so that memory holds only one layer twice.
        for layer in &mut self.layers {
            let fresh = Layer::new(layer.shape, added)?.keys;
            layer.change(|array| ops::concatenate(&[array, &fresh], 1))?;
        }
        if let Some(pool) = &mut self.convolutions {
            pool.grow(added)?;
        }
        self.blocks = target;
        Ok(())
    }
}

/// The keys and values of one step: writes them and attends to them.
pub struct KvStep<'a>(Storage<'a>);

enum Storage<'a> {
    /// The pool, which keeps keys and values for later steps.
    Paged(PagedStep<'a>),
    /// Complete texts, whose keys are not needed after the step.
    Contiguous(ContiguousStep),
}

/// A step over the pool.
struct PagedStep<'a> {
    pool: &'a mut KvPool,
    batch: &'a Batch,
    /// `[T]`.
    slots: Array,
    /// Block tables, for kernels that read keys in place.
    paged: PagedBatch,
    /// The groups for each window and size of heads among the layers.
    groups: Vec<((Option<u32>, KvShape), AttentionGroups)>,
    /// Whether a row has tokens of an image that attend to each other.
    has_whole_images: bool,
    convolutions: Option<StepArrays>,
    states: Option<StateStep>,
}

impl<'a> KvStep<'a> {
    /// A step over the pool, which grows to hold the batch.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(pool: &'a mut KvPool, batch: &'a Batch) -> Result<Self> {
        if let Some(block) = batch.rows.iter().flat_map(|row| &row.blocks).max() {
            pool.ensure_block(*block)?;
        }
        let slots = Array::from_slice(&batch.slots, &[batch.slots.len() as i32]);
        let mut paged = PagedBatch { block_size: BLOCK_SIZE, ..PagedBatch::default() };
        for row in &batch.rows {
            paged.push(row.tokens.clone(), batch.positions[row.tokens.start], &row.blocks);
        }
        let convolutions = pool.convolutions.as_ref().map(|pool| pool.step(batch));
        let states = pool.states.as_ref().map(|_| StateStep::new(batch));
        let has_whole_images =
            pool.image_attention.is_some() && batch.rows.iter().any(|row| !row.images.is_empty());
        let groups = Vec::new();
        let step = PagedStep { pool, batch, slots, paged, groups, has_whole_images, convolutions, states };
        Ok(Self(Storage::Paged(step)))
    }

    /// A step of complete texts, without a pool.
    pub fn contiguous(step: ContiguousStep) -> Self {
        Self(Storage::Contiguous(step))
    }

    /// Writes keys and values, `[T, kv_heads, d]` each, of `layer`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn write(&mut self, layer: usize, keys: &Array, values: &Array) -> Result<()> {
        match &mut self.0 {
            Storage::Paged(step) => step.write(layer, keys, values),
            Storage::Contiguous(step) => step.write(keys, values),
        }
    }

    /// Writes keys `[T, kv_heads, d]` of a layer whose values are their first coordinates.
    ///
    /// # Errors
    /// When the device fails, or for a step without a pool.
    pub fn write_latent(&mut self, layer: usize, keys: &Array) -> Result<()> {
        match &mut self.0 {
            Storage::Paged(step) => step.write_keys(layer, keys),
            Storage::Contiguous(_) => Err("latent keys need a pool".into()),
        }
    }

    /// Writes and attends in one kernel; `None` if no kernel applies.
    ///
    /// Takes each token's query, key and value heads, `[T, (H + 2 kv_heads) * d]`, and returns `[T, H * d]`.
    pub fn write_and_attend(
        &mut self,
        layer: usize,
        heads: &Array,
        transform: HeadTransform,
        params: PagedAttentionParams,
    ) -> Option<Result<Array>> {
        match &mut self.0 {
            // Kernels know no images.
            Storage::Paged(step) if step.has_whole_images => None,
            Storage::Paged(step) => step.write_and_attend(layer, heads, transform, params),
            Storage::Contiguous(_) => None,
        }
    }

    /// Attention of queries `[T, H, d]` over the keys of their rows in `layer`: `[T, H * d]`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn attend(&mut self, layer: usize, queries: &Array, params: AttentionParams) -> Result<Array> {
        match &mut self.0 {
            Storage::Paged(step) => step.attend(layer, queries, params),
            Storage::Contiguous(step) => step.attend(queries, params),
        }
    }

    /// Causal convolution of each channel of `inputs` `[T, D]` in `layer` of the convolutions: `[T, D]`. `weights` has one `[D]`
    /// for each token of the kernel, the newest last.
    ///
    /// # Errors
    /// When the device fails.
    pub fn convolve(&mut self, layer: usize, inputs: &Array, weights: &[Array]) -> Result<Array> {
        match &mut self.0 {
            Storage::Paged(step) => step.convolve(layer, inputs, weights),
            Storage::Contiguous(step) => step.convolve(inputs, weights),
        }
    }

    /// Lets `advance` compute the next layer's states `[R, H, rows, columns]` after the step from those before it, given the number
    /// of tokens of each row. Returns its output.
    ///
    /// # Errors
    /// When the device fails.
    pub fn recur(
        &mut self,
        shape: StateShape,
        advance: impl FnOnce(&[u32], &Array) -> Result<(Array, Array)>,
    ) -> Result<Array> {
        match &mut self.0 {
            Storage::Paged(step) => step.recur(advance),
            Storage::Contiguous(step) => step.recur(shape, advance),
        }
    }
}

impl PagedStep<'_> {
    fn write(&mut self, layer: usize, keys: &Array, values: &Array) -> Result<()> {
        let Layer { values: stored, .. } = &mut self.pool.layers[layer];
        if let Some(stored) = stored {
            scatter(stored, &self.slots, values)?;
        }
        self.write_keys(layer, keys)
    }

    fn write_keys(&mut self, layer: usize, keys: &Array) -> Result<()> {
        let layer = &mut self.pool.layers[layer];
        scatter(&mut layer.keys, &self.slots, keys)?;
        // The device computes this layer while the next layer's graph is built.
        transforms::async_eval(layer.arrays())
    }

    fn attend(&mut self, layer: usize, queries: &Array, params: AttentionParams) -> Result<Array> {
        let kernel = self.pool.kernel;
        // MLX's kernel stores no scores, but does not support softcaps.
        let stores_scores = kernel == Kernel::Products || params.softcap.is_some();
        let max_scores =
            if stores_scores { self.pool.max_scores / (queries.dim(1) as usize).max(1) } else { usize::MAX };
        let shape = self.pool.layers[layer].shape;
        let at = self.groups_for((params.window, shape), max_scores);
        let layer = &self.pool.layers[layer];
        let AttentionGroups { groups, order } = &self.groups[at].1;
        let mut outputs = Vec::with_capacity(groups.len());
        let mut scores = 0usize;
        for group in groups {
            let queries = group.queries.select(queries)?;
            let gather = |pool| group.keys.gather(pool, shape)?.as_dtype(queries.dtype());
            let keys = gather(&layer.keys)?;
            let values = match &layer.values {
                Some(values) => gather(values)?,
                None => keys.try_index((.., .., .., ..shape.value_dim.unwrap_or(shape.head_dim)))?,
            };
            // Evaluate large groups one after the other: together they would need the memory that splitting saves.
            if scores.saturating_add(group.scores) > max_scores {
                transforms::eval(&outputs)?;
                scores = 0;
            }
            scores = scores.saturating_add(group.scores);
            outputs.push(attention::attend(kernel, &queries, &keys, &values, &group.mask, params)?);
        }
        let outputs = match &outputs[..] {
            [only] => only.clone(),
            many => ops::concatenate(many, 0)?,
        };
        match order {
            None => Ok(outputs),
            Some(order) => outputs.take_axis(order, 0),
        }
    }

    /// The index of the groups for a window and size of heads, made on first use.
    fn groups_for(&mut self, key: (Option<u32>, KvShape), max_scores: usize) -> usize {
        if let Some(at) = self.groups.iter().position(|(known, _)| *known == key) {
            return at;
        }
        let whole_images = self.pool.image_attention.is_some_and(|images| images.applies(key.0));
        let view = View { window: key.0, whole_images };
        let groups = AttentionGroups::new(self.batch, view, key.1, (self.pool.blocks, max_scores));
        self.groups.push((key, groups));
        self.groups.len() - 1
    }
}

/// Puts `[T, kv_heads, d]` into `slots` of `[kv_heads, slots, d]`.
fn scatter(stored: &mut Array, slots: &Array, x: &Array) -> Result<()> {
    let shape = [x.dim(0), stored.dim(0), 1, stored.dim(2)];
    let x = x.reshape(&shape)?.as_dtype(stored.dtype())?;
    // The assignment drops the old handle before evaluation. Otherwise MLX would copy the pool.
    *stored = scatter_single(&*stored, slots, x, 1)?;
    Ok(())
}

impl Queries {
    /// The group's queries, from those of the step.
    fn select(&self, queries: &Array) -> Result<Array> {
        match self {
            Self::All => Ok(queries.clone()),
            Self::Slice(range) => queries.try_index(range.clone()),
            Self::Gather(tokens) => queries.take_axis(tokens, 0),
        }
    }
}

impl Keys {
    /// The group's keys or values from the pool: `[R, kv_heads, L, d]`.
    fn gather(&self, pool: &Array, shape: KvShape) -> Result<Array> {
        let KvShape { kv_heads, head_dim, .. } = shape;
        match self {
            Self::Slice(range) => pool.try_index((.., range.clone()))?.expand_dims(0),
            Self::Blocks { index, rows, tokens } => {
                // A block of one head is contiguous: gathering copies whole blocks and needs no transposition.
                let block = BLOCK_SIZE as i32 * head_dim;
                let gathered = pool.reshape(&[-1, block])?.take_axis(index, 0)?;
                let gathered = gathered.reshape(&[*rows, kv_heads, -1, head_dim])?;
                match tokens {
                    None => Ok(gathered),
                    Some(range) => gathered.try_index((.., .., range.clone())),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
