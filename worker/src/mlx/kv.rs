//! The paged KV pool and attention over it.
//!
//! Each layer has one array for keys and one for values, `[kv_heads, slots, d]`; block b holds slots
//! `b * BLOCK_SIZE ..`. New tokens are scattered in place: MLX reuses the pool's buffer as long as nobody else
//! holds a handle to it, so a step costs the same whatever the pool's size (tested below). The pool starts small and
//! doubles on demand up to its limit, so that an idle model does not hold the limit.

use std::cell::OnceCell;
use std::ops::Range;

use mlx_rs::fast::{ScaledDotProductAttentionMask, scaled_dot_product_attention};
use mlx_rs::ops::indexing::{TryIndexOp, scatter_single};
use mlx_rs::{Array, Dtype, ops, transforms};

use super::BLOCK_SIZE;
use crate::engine::runner::{Batch, Row};

type Result<T> = mlx_rs::error::Result<T>;

/// Blocks a pool starts with.
const FIRST_BLOCKS: u32 = 32;
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
        let token_bytes = (shape.layers as u64) * 2 * (shape.kv_heads as u64) * (shape.head_dim as u64) * 4;
        let block_bytes = (token_bytes * u64::from(BLOCK_SIZE)).max(1);
        let contexts = u64::from(max_context.div_ceil(BLOCK_SIZE)) * DEFAULT_CONTEXTS;
        let blocks = match bytes {
            Some(bytes) => bytes / block_bytes,
            None => contexts.min(crate::memory::physical_bytes() / 8 / block_bytes),
        };
        // A slot's number has to fit MLX's signed 32-bit dimensions.
        let limit = blocks.clamp(1, u64::from(i32::MAX as u32 / BLOCK_SIZE)) as u32;
        let mut pool = Self { shape, layers: Vec::new(), blocks: 0, limit };
        let first = FIRST_BLOCKS.min(limit);
        pool.layers = (0..shape.layers).map(|_| pool.layer(first)).collect::<Result<_>>()?;
        pool.blocks = first;
        Ok(pool)
    }

    /// Blocks it may grow to.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Every array of the pool.
    pub fn arrays(&self) -> impl Iterator<Item = &Array> {
        self.layers.iter().flat_map(|layer| [&layer.keys, &layer.values])
    }

    fn layer(&self, blocks: u32) -> Result<Layer> {
        let shape = [self.shape.kv_heads, (blocks * BLOCK_SIZE) as i32, self.shape.head_dim];
        let zeros = || ops::zeros_dtype(&shape, Dtype::Float32);
        Ok(Layer { keys: zeros()?, values: zeros()? })
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

/// How a layer attends.
#[derive(Debug, Clone, Copy)]
pub struct Attend {
    /// Multiplies the scores.
    pub scale: f32,
    /// How many tokens back a token sees, itself included; `None`: all.
    pub window: Option<u32>,
    /// Scores s become cap · tanh(s / cap).
    pub softcap: Option<f32>,
}

/// One step's use of the pool.
pub struct KvStep<'a> {
    pool: &'a mut KvPool,
    batch: &'a Batch,
    /// `[T]`.
    slots: Array,
    /// Where each row's visible keys lie, for each window that a layer asked for.
    views: Vec<(Option<u32>, Vec<View>)>,
}

/// The keys a row sees.
enum Place {
    /// Consecutive slots: a slice of the pool, which costs nothing.
    Run { start: i32, end: i32 },
    /// Scattered slots, `[L]`.
    Slots(Array),
}

struct View {
    place: Place,
    mask: Mask,
}

enum Mask {
    /// One token, which sees all of the view.
    None,
    /// Token i of the row sees all but the last `rows - 1 - i` keys; as an array once somebody needs that.
    Causal(OnceCell<Array>),
    /// `[tokens, L]`, true where seen.
    Window(Array),
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
        Ok(Self { pool, batch, slots, views: Vec::new() })
    }

    /// Writes keys and values, `[T, kv_heads, d]` each, to the step's slots of `layer`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn write(&mut self, layer: usize, keys: &Array, values: &Array) -> Result<()> {
        let KvShape { kv_heads, head_dim, .. } = self.pool.shape;
        let shape = [keys.dim(0), kv_heads, 1, head_dim];
        let layer = &mut self.pool.layers[layer];
        let as_stored = |x: &Array, pool: &Array| x.reshape(&shape)?.as_dtype(pool.dtype());
        // The assignment drops the old handle before anything is evaluated: without that the pool would be copied.
        layer.keys = scatter_single(&layer.keys, &self.slots, as_stored(keys, &layer.keys)?, 1)?;
        layer.values = scatter_single(&layer.values, &self.slots, as_stored(values, &layer.values)?, 1)?;
        Ok(())
    }

    /// Attention of queries `[T, H, d]` over each row's own keys in `layer`: `[T, H * d]`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn attend(&mut self, layer: usize, queries: &Array, how: Attend) -> Result<Array> {
        let at = self.views_for(how.window);
        let (heads, width) = (queries.dim(1), queries.dim(2));
        let layer = &self.pool.layers[layer];
        let mut outputs = Vec::with_capacity(self.batch.rows.len());
        for (row, view) in self.batch.rows.iter().zip(&self.views[at].1) {
            let (start, end) = (row.tokens.start as i32, row.tokens.end as i32);
            let whole = self.batch.rows.len() == 1;
            let own = if whole { queries.clone() } else { queries.try_index(start..end)? };
            let own = own.swap_axes(0, 1)?.expand_dims(0)?;
            let (keys, values) = (view.place.of(&layer.keys)?, view.place.of(&layer.values)?);
            let (keys, values) = (keys.as_dtype(own.dtype())?, values.as_dtype(own.dtype())?);
            let output = match how.softcap {
                Some(cap) => capped_attention(&own, &keys, &values, how.scale, cap, &view.mask)?,
                None => attention(&own, &keys, &values, how.scale, &view.mask)?,
            };
            outputs.push(output.squeeze_axes(&[0])?.swap_axes(0, 1)?.reshape(&[end - start, heads * width])?);
        }
        match &outputs[..] {
            [only] => Ok(only.clone()),
            many => ops::concatenate(many, 0),
        }
    }

    fn views_for(&mut self, window: Option<u32>) -> usize {
        if let Some(at) = self.views.iter().position(|(of, _)| *of == window) {
            return at;
        }
        let rows = self.batch.rows.iter();
        let views = rows.map(|row| View::new(row, self.batch.positions[row.tokens.start], window)).collect();
        self.views.push((window, views));
        self.views.len() - 1
    }
}

impl Place {
    /// The keys or values at this place: `[1, kv_heads, L, d]`.
    fn of(&self, pool: &Array) -> Result<Array> {
        match self {
            Self::Run { start, end } => pool.try_index((.., *start..*end))?.expand_dims(0),
            Self::Slots(slots) => pool.take_axis(slots, 1)?.expand_dims(0),
        }
    }
}

impl View {
    /// What a row whose first token stands at `first` sees.
    fn new(row: &Row, first: u32, window: Option<u32>) -> Self {
        let tokens = row.tokens.len() as u32;
        let context = first + tokens;
        // The earliest key that the first token sees.
        let from = window.map_or(0, |window| (first + 1).saturating_sub(window));
        Self { place: place(row, from, context), mask: mask(first, tokens, from, window) }
    }
}

fn place(row: &Row, from: u32, context: u32) -> Place {
    let blocks = &row.blocks[(from / BLOCK_SIZE) as usize..context.div_ceil(BLOCK_SIZE) as usize];
    let start = blocks[0] * BLOCK_SIZE + from % BLOCK_SIZE;
    if blocks.windows(2).all(|pair| pair[1] == pair[0] + 1) {
        return Place::Run { start: start as i32, end: (start + context - from) as i32 };
    }
    let slot =
        |position: u32| row.blocks[(position / BLOCK_SIZE) as usize] * BLOCK_SIZE + position % BLOCK_SIZE;
    let slots: Vec<u32> = (from..context).map(slot).collect();
    Place::Slots(Array::from_slice(&slots, &[slots.len() as i32]))
}

fn mask(first: u32, tokens: u32, from: u32, window: Option<u32>) -> Mask {
    let context = first + tokens;
    match window {
        _ if tokens == 1 => Mask::None,
        Some(window) if context > window => Mask::Window(seen(first..context, from..context, window)),
        _ => Mask::Causal(OnceCell::new()),
    }
}

/// `[queries, keys]`: whether the token at a position sees the one at another.
fn seen(queries: Range<u32>, keys: Range<u32>, window: u32) -> Array {
    let mut seen = Vec::with_capacity(queries.len() * keys.len());
    for query in queries.clone() {
        seen.extend(keys.clone().map(|key| key <= query && query - key < window));
    }
    Array::from_slice(&seen, &[queries.len() as i32, keys.len() as i32])
}

/// Queries `[1, H, T, d]`, keys and values `[1, kv_heads, L, d]` → `[1, H, T, d]`.
fn attention(queries: &Array, keys: &Array, values: &Array, scale: f32, mask: &Mask) -> Result<Array> {
    let mask = match mask {
        Mask::None => None,
        Mask::Causal(_) => Some(ScaledDotProductAttentionMask::Causal),
        Mask::Window(mask) => Some(ScaledDotProductAttentionMask::Array(mask)),
    };
    scaled_dot_product_attention(queries, keys, values, scale, mask, None)
}

/// The same with capped scores, which MLX's own attention does not have.
fn capped_attention(
    queries: &Array,
    keys: &Array,
    values: &Array,
    scale: f32,
    cap: f32,
    mask: &Mask,
) -> Result<Array> {
    let number = |value: f32| Array::from_f32(value).as_dtype(queries.dtype());
    let (heads, tokens, width) = (queries.dim(1), queries.dim(2), queries.dim(3));
    let (kv_heads, length) = (keys.dim(1), keys.dim(2));
    let grouped = queries.reshape(&[kv_heads, heads / kv_heads, tokens, width])?.multiply(number(scale)?)?;
    let (keys, values) = (keys.swap_axes(0, 1)?, values.swap_axes(0, 1)?);
    let scores = grouped.matmul(keys.swap_axes(2, 3)?)?;
    let mut scores = ops::tanh(scores.divide(number(cap)?)?)?.multiply(number(cap)?)?;
    let context = length as u32;
    let seen = match mask {
        Mask::None => None,
        Mask::Causal(all) => {
            Some(all.get_or_init(|| seen(context - tokens as u32..context, 0..context, u32::MAX)))
        }
        Mask::Window(mask) => Some(mask),
    };
    if let Some(seen) = seen {
        scores = ops::select(seen, &scores, number(f32::NEG_INFINITY)?)?;
    }
    let weights = ops::softmax_axis(&scores, -1, true)?;
    weights.matmul(values)?.reshape(&[1, heads, tokens, width])
}

#[cfg(test)]
mod tests;
