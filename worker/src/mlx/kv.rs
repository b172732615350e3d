//! The paged KV pool and attention over it.
//!
//! Each layer has one array for keys and one for values, `[kv_heads, slots, d]`; block b holds slots
//! `b * BLOCK_SIZE ..`. New tokens are scattered in place: MLX reuses the pool's buffer as long as nobody else
//! holds a handle to it, so a step costs the same whatever the pool's size (tested below). Kernels on a Linux CPU write in place
//! themselves (`in_place.rs`). The pool starts small and doubles on demand up to its limit, so that an idle model does not hold
//! the limit.

use mlx_rs::ops::indexing::{TryIndexOp, scatter_single};
use mlx_rs::{Array, Device, DeviceType, Dtype, ops, transforms};

use super::BLOCK_SIZE;
use super::attention::{self, Kernel};
use crate::engine::runner::Batch;
use crate::layers::kernels::{Paged, Scores, Turn};

pub use super::attention::Attend;

mod in_place;
mod parts;
mod whole;

use parts::{Keys, Parts, Queries};
pub use whole::{Sight, Whole};

type Result<T> = mlx_rs::error::Result<T>;

/// Blocks a pool starts with.
const FIRST_BLOCKS: u32 = 32;
/// Scores of one product, at most: a chunk of a long prompt attends piece by piece, or its scores alone would take more
/// memory than a small model's weights. (On a CPU some six arrays of this size are there at a time: 96 MiB.)
const MOST_SCORES: usize = 4 << 20;
/// Full contexts the pool has room for by default.
const DEFAULT_CONTEXTS: u64 = 8;

/// What one token's keys and values take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvShape {
    /// Layers.
    pub layers: usize,
    /// Key and value heads of a layer.
    pub kv_heads: i32,
    /// Width d of a head.
    pub head_dim: i32,
    /// What the model computes in; so nothing is converted on the way to the pool and back.
    pub dtype: Dtype,
}

impl KvShape {
    /// What a block takes in all layers, keys and values together.
    pub(super) fn block_bytes(self) -> u64 {
        (self.layers as u64 * self.layer_block_bytes()).max(1)
    }

    /// What it takes in one.
    fn layer_block_bytes(self) -> u64 {
        let width = match self.dtype {
            Dtype::Float16 | Dtype::Bfloat16 => 2,
            _ => 4,
        };
        2 * (self.kv_heads as u64) * (self.head_dim as u64) * width * u64::from(BLOCK_SIZE)
    }
}

/// The pool of all layers.
#[derive(Debug)]
pub struct KvPool {
    shape: KvShape,
    layers: Vec<Layer>,
    /// Blocks that exist now.
    blocks: u32,
    /// Blocks that may exist.
    limit: u32,
    kernel: Kernel,
    most_scores: usize,
}

#[derive(Debug)]
struct Layer {
    /// `[kv_heads, slots, d]`.
    keys: Array,
    /// `[kv_heads, slots, d]`.
    values: Array,
}

impl KvPool {
    /// A pool for sequences of up to `max_context` tokens that may grow to `bytes`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(shape: KvShape, max_context: u32, bytes: Option<u64>) -> Result<Self> {
        let block_bytes = shape.block_bytes();
        let contexts = u64::from(max_context.div_ceil(BLOCK_SIZE)) * DEFAULT_CONTEXTS;
        let blocks = match bytes {
            Some(bytes) => bytes / block_bytes,
            None => contexts.min(crate::memory::physical_bytes() / 8 / block_bytes),
        };
        // A slot's number has to fit MLX's signed 32-bit dimensions.
        let limit = blocks.clamp(1, u64::from(i32::MAX as u32 / BLOCK_SIZE)) as u32;
        let kernel = match Device::try_default()?.get_type()? {
            DeviceType::Cpu => Kernel::Products,
            DeviceType::Gpu => Kernel::Fused,
        };
        let mut pool = Self { shape, layers: Vec::new(), blocks: 0, limit, kernel, most_scores: MOST_SCORES };
        let first = FIRST_BLOCKS.min(limit);
        pool.layers = (0..shape.layers).map(|_| pool.layer(first)).collect::<Result<_>>()?;
        pool.blocks = first;
        Ok(pool)
    }

    /// Blocks it may grow to.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Bytes of the blocks that exist.
    pub fn allocated_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| (layer.keys.nbytes() + layer.values.nbytes()) as u64).sum()
    }

    /// Bytes it may grow to.
    pub fn limit_bytes(&self) -> u64 {
        self.allocated_bytes() / u64::from(self.blocks) * u64::from(self.limit)
    }

    /// Every array of the pool.
    pub fn arrays(&self) -> impl Iterator<Item = &Array> {
        self.layers.iter().flat_map(|layer| [&layer.keys, &layer.values])
    }

    fn layer(&self, blocks: u32) -> Result<Layer> {
        let shape = [self.shape.kv_heads, (blocks * BLOCK_SIZE) as i32, self.shape.head_dim];
        let zeros = || ops::zeros_dtype(&shape, self.shape.dtype);
        Ok(Layer { keys: zeros()?, values: zeros()? })
    }

    /// Lets it grow to `limit` blocks. Where it has more than that, or than the first few, gives back those from `used` on.
    ///
    /// # Errors
    /// When the device fails; some layers may have given back their blocks then, and none that is used.
    pub fn resize(&mut self, limit: u32, used: u32) -> Result<()> {
        self.limit = limit;
        let target = used.max(FIRST_BLOCKS.min(limit)).min(self.blocks);
        if target == self.blocks {
            return Ok(());
        }
        // From here on no layer has more blocks for sure.
        self.blocks = target;
        let slots = (target * BLOCK_SIZE) as i32;
        for index in 0..self.layers.len() {
            let layer = &mut self.layers[index];
            // Two halves put together are a copy; a slice would hold on to the whole.
            let kept = |pool: &Array| {
                let halves = [pool.try_index((.., ..slots / 2))?, pool.try_index((.., slots / 2..slots))?];
                ops::concatenate(&halves, 1)
            };
            layer.keys = kept(&layer.keys)?;
            layer.values = kept(&layer.values)?;
            transforms::eval([&layer.keys, &layer.values])?;
        }
        Ok(())
    }

    /// Grows until block `block` exists.
    fn reach(&mut self, block: u32) -> Result<()> {
        if block < self.blocks {
            return Ok(());
        }
        let target = (block + 1).next_power_of_two().max(self.blocks * 2).min(self.limit.max(block + 1));
        let more = target - self.blocks;
        // Layer by layer, so that only one layer is held twice.
        for index in 0..self.layers.len() {
            let fresh = self.layer(more)?;
            let layer = &mut self.layers[index];
            layer.keys = ops::concatenate(&[&layer.keys, &fresh.keys], 1)?;
            layer.values = ops::concatenate(&[&layer.values, &fresh.values], 1)?;
            transforms::eval([&layer.keys, &layer.values])?;
        }
        self.blocks = target;
        Ok(())
    }
}

/// Where the keys and values of one step go, and where they are read.
pub struct KvStep<'a>(Place<'a>);

enum Place<'a> {
    /// To the pool, among what earlier steps left there.
    Pool(PoolStep<'a>),
    /// Nowhere: the step's texts are whole, and nobody asks for their keys again.
    Whole(Whole),
}

/// One step's use of the pool.
struct PoolStep<'a> {
    pool: &'a mut KvPool,
    batch: &'a Batch,
    /// `[T]`.
    slots: Array,
    /// Where each row's keys are, for kernels that read them there.
    paged: Paged,
    /// Which rows attend together and what they see, for each window that a layer asked for.
    parts: Vec<(Option<u32>, Parts)>,
}

impl<'a> KvStep<'a> {
    /// Makes room for the batch.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(pool: &'a mut KvPool, batch: &'a Batch) -> Result<Self> {
        if let Some(block) = batch.rows.iter().flat_map(|row| &row.blocks).max() {
            pool.reach(*block)?;
        }
        let slots = Array::from_slice(&batch.slots, &[batch.slots.len() as i32]);
        let mut paged = Paged { block: BLOCK_SIZE, ..Paged::default() };
        for row in &batch.rows {
            paged.push(row.tokens.clone(), batch.positions[row.tokens.start], &row.blocks);
        }
        Ok(Self(Place::Pool(PoolStep { pool, batch, slots, paged, parts: Vec::new() })))
    }

    /// A step of whole texts, without a pool.
    pub fn whole(whole: Whole) -> Self {
        Self(Place::Whole(whole))
    }

    /// Writes keys and values, `[T, kv_heads, d]` each, of `layer`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn write(&mut self, layer: usize, keys: &Array, values: &Array) -> Result<()> {
        match &mut self.0 {
            Place::Pool(step) => step.write(layer, keys, values),
            Place::Whole(step) => step.write(keys, values),
        }
    }

    /// Of each token's query, key and value heads, `[T, (H + 2 kv_heads) * d]`: writes and attends in one, where there is a kernel
    /// for it: `[T, H * d]`.
    pub fn write_and_attend(
        &mut self,
        layer: usize,
        heads: &Array,
        turn: Turn,
        scores: Scores,
    ) -> Option<Result<Array>> {
        match &mut self.0 {
            Place::Pool(step) => step.write_and_attend(layer, heads, turn, scores),
            Place::Whole(_) => None,
        }
    }

    /// Attention of queries `[T, H, d]` over each row's own keys in `layer`: `[T, H * d]`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn attend(&mut self, layer: usize, queries: &Array, how: Attend) -> Result<Array> {
        match &mut self.0 {
            Place::Pool(step) => step.attend(layer, queries, how),
            Place::Whole(step) => step.attend(queries, how),
        }
    }
}

impl PoolStep<'_> {
    fn write(&mut self, layer: usize, keys: &Array, values: &Array) -> Result<()> {
        let KvShape { kv_heads, head_dim, .. } = self.pool.shape;
        let shape = [keys.dim(0), kv_heads, 1, head_dim];
        let layer = &mut self.pool.layers[layer];
        let as_stored = |x: &Array, pool: &Array| x.reshape(&shape)?.as_dtype(pool.dtype());
        // The assignment drops the old handle before anything is evaluated: without that the pool would be copied.
        layer.keys = scatter_single(&layer.keys, &self.slots, as_stored(keys, &layer.keys)?, 1)?;
        layer.values = scatter_single(&layer.values, &self.slots, as_stored(values, &layer.values)?, 1)?;
        // The device computes this layer while the next one's graph is built.
        transforms::async_eval([&layer.keys, &layer.values])
    }

    fn attend(&mut self, layer: usize, queries: &Array, how: Attend) -> Result<Array> {
        let kernel = self.pool.kernel;
        // MLX's kernel keeps no scores; but it knows no cap.
        let most = match kernel == Kernel::Products || how.softcap.is_some() {
            true => self.pool.most_scores / (queries.dim(1) as usize).max(1),
            false => usize::MAX,
        };
        let at = self.parts_for(how.window, most);
        let (layer, shape) = (&self.pool.layers[layer], self.pool.shape);
        let Parts { parts, order } = &self.parts[at].1;
        let mut outputs = Vec::with_capacity(parts.len());
        let mut scores = 0usize;
        for part in parts {
            let own = match &part.queries {
                Queries::All => queries.clone(),
                Queries::Run(range) => queries.try_index(range.clone())?,
                Queries::Tokens(tokens) => queries.take_axis(tokens, 0)?,
            };
            let of = |pool| part.keys.of(pool, shape)?.as_dtype(own.dtype());
            let (keys, values) = (of(&layer.keys)?, of(&layer.values)?);
            // Large parts one after the other: together they would need the memory that cutting saves.
            if scores.saturating_add(part.scores) > most {
                transforms::eval(&outputs)?;
                scores = 0;
            }
            scores = scores.saturating_add(part.scores);
            outputs.push(attention::attend(kernel, &own, &keys, &values, &part.mask, how)?);
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

    fn parts_for(&mut self, window: Option<u32>, most: usize) -> usize {
        if let Some(at) = self.parts.iter().position(|(of, _)| *of == window) {
            return at;
        }
        let parts = Parts::new(self.batch, window, self.pool.shape, (self.pool.blocks, most));
        self.parts.push((window, parts));
        self.parts.len() - 1
    }
}

impl Keys {
    /// The keys or values of a part: `[R, kv_heads, L, d]`.
    fn of(&self, pool: &Array, shape: KvShape) -> Result<Array> {
        let KvShape { kv_heads, head_dim, .. } = shape;
        match self {
            Self::Run(range) => pool.try_index((.., range.clone()))?.expand_dims(0),
            Self::Blocks { index, rows, cut } => {
                // A block of one head is one piece of memory: gathering copies pieces, and nothing is turned round.
                let piece = BLOCK_SIZE as i32 * head_dim;
                let gathered = pool.reshape(&[-1, piece])?.take_axis(index, 0)?;
                let gathered = gathered.reshape(&[*rows, kv_heads, -1, head_dim])?;
                match cut {
                    None => Ok(gathered),
                    Some(range) => gathered.try_index((.., .., range.clone())),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
