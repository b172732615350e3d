//! Runs ragged steps on MLX. Everything here stays on the thread that loaded the model.

use std::path::{Path, PathBuf};

use ipc_proto::families;
use ipc_proto::worker::Memory;
use mlx_rs::{Array, Device, DeviceType, memory, transforms};

use crate::engine::runner::{
    Batch, Row, Runner, RunnerCapacity, RunnerError, StateId, StepOutcome, TokenMask,
};
use crate::kv::{BLOCK_SIZE, BlockShape, ConvolutionState, KvPool, KvStep};
use crate::layers::rope::Positions;
use crate::models::{self, Model, StepInput};
use crate::weights::LoadError;
use crate::weights::adapter::Adapter;
use crate::weights::config::{Config, language};
use crate::weights::loader::{Loader, OnProgress, Precision};
use crate::weights::safetensors::Shards;

pub mod encoder_runner;
pub mod images;
pub mod sample;
pub mod scores;

use images::ImageEncoder;
use sample::Samples;

/// Most bytes of freed buffers that MLX keeps for reuse. More than a step needs would waste memory.
const CACHE_LIMIT_BYTES: usize = 256 << 20;

/// Prefilled tokens after which cached buffers are freed.
const LONG_PREFILL_TOKENS: usize = 256;

/// Options of [`load`].
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Maximum size of the KV pool, in bytes. `None`: eight full contexts, at most an eighth of the machine's memory.
    pub kv_bytes: Option<u64>,
    /// Number of KV blocks instead of `kv_bytes`. A draft model uses that of the served model.
    pub kv_blocks: Option<u32>,
    /// Precision of weights in memory; `None`: fp32 on a CPU, as stored on a GPU.
    pub precision: Option<Precision>,
    /// Folder of an adapter in mlx-lm's format.
    pub adapter: Option<PathBuf>,
    /// Maximum prompt plus output, in tokens; `None` uses the model's configuration.
    pub context: Option<u32>,
    /// Most drafted tokens of a row in a step.
    pub drafts: u32,
}

/// A loaded model and its KV pool.
#[derive(Debug)]
pub struct MlxRunner {
    model: Box<dyn Model>,
    images: Option<ImageEncoder>,
    pool: KvPool,
    capacity: RunnerCapacity,
    /// Logits of the launched step, in float32: of scored or sampled tokens, in order.
    launched: Option<Array>,
    /// Prompt tokens computed since cached buffers were last freed.
    prefilled: usize,
}

/// Loads the model in `folder`.
///
/// # Errors
/// Names the wrong file, field or tensor. Up to then only headers have been read.
pub fn load(folder: &Path, options: &LoadOptions, progress: OnProgress) -> Result<MlxRunner, LoadError> {
    let config = Config::read(folder)?;
    let build = models::find(&config.model_type)?;
    let mut shards = Shards::open(folder)?;
    let mut adapter = options.adapter.as_deref().map(Adapter::open).transpose()?;
    // A folder may lack the part that reads images: of a converted model, only the language model is left.
    let has_tower = config.has("vision_config") && shards.names().any(families::is_vision_tensor);
    let build_tower = models::vision::find(&config.model_type).filter(|_| has_tower);
    if families::is_part(&config.model_type) {
        let keeps_vision = build_tower.is_some();
        shards.rename(|name| match families::vision_tensor(name) {
            Some(vision) => keeps_vision.then(|| models::vision::names::canonical(vision)),
            None => Some(language::language_model_name(name)),
        });
        if let Some(adapter) = &mut adapter {
            adapter.shards.rename(|name| Some(language::language_model_name(name)));
        }
    }
    let precision = precision(options.precision)?;
    let check = Loader::checking(&shards, &config, precision).with_adapter(adapter.as_ref());
    build(&check)?;
    build_tower.map(|build| build(&check)).transpose()?;
    check.finish()?;
    limit_cache()?;
    let before = memory::active_memory()?;
    let loader = Loader::loading(&shards, &config, precision, progress).with_adapter(adapter.as_ref());
    let model = build(&loader)?;
    let images = build_tower.map(|build| build(&loader)).transpose()?.map(ImageEncoder::new);
    memory::clear_cache()?;
    let weight_bytes = memory::active_memory()?.saturating_sub(before) as u64;
    let max_context = config.max_context().unwrap_or(4096).min(options.context.unwrap_or(u32::MAX));
    let convolutions = model.convolutions().map(|shape| ConvolutionState::new(shape, options.drafts));
    let (kv, other_kv) = (model.kv_shape()?, model.other_kv_shape()?);
    let shape = BlockShape { kv, other_kv, convolutions, states: model.states() };
    let kv_bytes = options.kv_blocks.map(|blocks| u64::from(blocks) * shape.bytes());
    let image_attention = model.image_attention().filter(|_| images.is_some());
    let pool =
        KvPool::new(shape, max_context, kv_bytes.or(options.kv_bytes))?.with_image_attention(image_attention);
    let (blocks, window) = (pool.limit(), model.window());
    let original_context = model.original_context();
    let capacity = RunnerCapacity {
        block_size: BLOCK_SIZE,
        blocks,
        max_context,
        weight_bytes,
        window,
        original_context,
        blocks_per_state: shape.blocks_per_state(),
        whole_images: image_attention.map(|whole| whole.tokens),
    };
    Ok(MlxRunner { model, images, pool, capacity, launched: None, prefilled: 0 })
}

/// The requested precision, or the default of the device.
fn precision(requested: Option<Precision>) -> mlx_rs::error::Result<Precision> {
    if let Some(precision) = requested {
        return Ok(precision);
    }
    Ok(match Device::try_default()?.get_type()? {
        DeviceType::Cpu => Precision::Float32,
        DeviceType::Gpu => Precision::Native,
    })
}

/// Bounds the freed buffers that MLX keeps.
fn limit_cache() -> mlx_rs::error::Result<()> {
    memory::set_cache_limit(CACHE_LIMIT_BYTES).map(drop)
}

/// Memory use of the device.
fn device_memory() -> Memory {
    let bytes = |read: mlx_rs::error::Result<usize>| read.unwrap_or(0) as u64;
    Memory {
        active: bytes(memory::active_memory()),
        cached: bytes(memory::cache_memory()),
        peak: bytes(memory::peak_memory()),
        ..Memory::default()
    }
}

impl MlxRunner {
    /// Computes the logits of scored and sampled tokens, `[N, vocabulary]` in float32, and writes the KV.
    ///
    /// # Errors
    /// When the device fails, or no row of the batch samples.
    pub fn logits(&mut self, batch: &Batch) -> Result<Array, RunnerError> {
        let logits = self.forward(batch).map_err(failed)?;
        let logits = logits.ok_or_else(|| RunnerError("no row of the batch samples".into()))?;
        self.evaluate([&logits]).map_err(failed)?;
        Ok(logits)
    }

    /// Builds the step's graph; `None` if no row samples or is scored.
    fn forward(&mut self, batch: &Batch) -> mlx_rs::error::Result<Option<Array>> {
        let length = batch.tokens.len() as i32;
        let ids = Array::from_slice(&batch.tokens, &[length]);
        let positions: Vec<f32> = batch.positions.iter().map(|p| *p as f32).collect();
        let mut positions = Positions::new(&positions);
        if batch.rows.iter().any(|row| row.extended) {
            let extended = batch.rows.iter().flat_map(|row| row.tokens.clone().map(|_| row.extended));
            positions = positions.with_extended(&extended.collect::<Vec<_>>());
        }
        if !batch.axes.is_empty() {
            positions = positions.with_axes(&batch.axes);
        }
        let images = match &mut self.images {
            Some(encoder) => encoder.rows(batch)?,
            None => None,
        };
        let input = StepInput { ids, positions, images };
        let mut step = KvStep::new(&mut self.pool, batch)?;
        let hidden = self.model.hidden(&input, &mut step)?;
        let rows: Vec<u32> = batch.rows.iter().flat_map(logit_rows).map(|at| at as u32).collect();
        if rows.is_empty() {
            return Ok(None);
        }
        // Only these tokens go through the output layer, the largest matrix of small models.
        let hidden = if rows.len() == batch.tokens.len() {
            hidden
        } else {
            hidden.take_axis(Array::from_slice(&rows, &[rows.len() as i32]), 0)?
        };
        self.model.logits(&hidden)?.as_dtype(mlx_rs::Dtype::Float32).map(Some)
    }

    /// Evaluates `outputs` and the pool, so that no lazy array keeps the step's graph alive.
    fn evaluate<'a>(&'a self, outputs: impl IntoIterator<Item = &'a Array>) -> mlx_rs::error::Result<()> {
        transforms::eval(self.pool.arrays().chain(outputs))
    }

    fn sample(&mut self, batch: &Batch, masks: &[TokenMask]) -> mlx_rs::error::Result<StepOutcome> {
        let Some(logits) = self.launched.take() else {
            self.evaluate([])?;
            return Ok(StepOutcome::default());
        };
        let samples = Samples::new(batch, masks);
        let tokens = if samples.is_empty() {
            // Prompt tokens are scored, but no row samples.
            self.evaluate([&logits])?;
            Vec::new()
        } else {
            let chosen = samples.draw(&logits)?;
            self.evaluate([&chosen])?;
            chosen.as_slice::<u32>().to_vec()
        };
        let scores = match scores::ScoredTokens::new(batch) {
            None => Vec::new(),
            Some(scored) => scored.scores(&logits, batch, &tokens)?,
        };
        Ok(StepOutcome { tokens, scores })
    }

    /// Frees cached buffers after a long prefill: they are larger than those that decoding reuses.
    fn trim_after_prefill(&mut self, batch: &Batch) -> mlx_rs::error::Result<()> {
        if batch.tokens.len() > batch.rows.len() {
            self.prefilled += batch.tokens.len();
        } else if self.prefilled > LONG_PREFILL_TOKENS {
            self.prefilled = 0;
            memory::clear_cache()?;
        }
        Ok(())
    }
}

impl Runner for MlxRunner {
    fn capacity(&self) -> RunnerCapacity {
        self.capacity
    }

    fn memory(&self) -> Memory {
        Memory {
            weights: self.capacity.weight_bytes,
            kv_used: 0,
            kv_allocated: self.pool.allocated_bytes(),
            kv_limit: self.pool.limit_bytes(),
            ..device_memory()
        }
    }

    fn resize(&mut self, limit: u32, used: u32) -> Result<(), RunnerError> {
        self.pool.resize(limit, used).and_then(|()| memory::clear_cache()).map_err(failed)
    }

    fn forget_states(&mut self, states: &[StateId]) {
        self.pool.forget_states(states);
    }

    fn launch(&mut self, batch: &Batch) -> Result<(), RunnerError> {
        self.launched = self.forward(batch).map_err(failed)?;
        match &self.launched {
            Some(logits) => transforms::async_eval([logits]).map_err(failed),
            None => Ok(()),
        }
    }

    fn finish(&mut self, batch: &Batch, masks: &[TokenMask]) -> Result<StepOutcome, RunnerError> {
        let outcome = self.sample(batch, masks).map_err(failed)?;
        self.trim_after_prefill(batch).map_err(failed)?;
        Ok(outcome)
    }
}

/// Tokens of a row whose logits are needed: those before scored tokens, and those that sample.
fn logit_rows(row: &Row) -> impl Iterator<Item = usize> + use<> {
    let scored = row.score.as_ref().map_or(0..0, |score| {
        let first = row.tokens.start + score.first;
        first..first + score.targets.len()
    });
    scored.chain(row.tokens.end - row.samples.len()..row.tokens.end)
}

#[expect(clippy::needless_pass_by_value, reason = "the form map_err takes")]
fn failed(error: mlx_rs::error::Exception) -> RunnerError {
    RunnerError(format!("MLX failed: {error}"))
}
