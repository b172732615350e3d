//! Runs ragged steps on MLX. Everything here lives on one thread: the one that loaded the model.

use std::path::{Path, PathBuf};

use ipc_proto::families;
use ipc_proto::worker::Memory;
use mlx_rs::{Array, Device, DeviceType, memory, transforms};

use crate::engine::runner::{Batch, Capacity, Mask, Outcome, Row, Runner, RunnerError};
use crate::models::{self, Model};
use crate::weights::LoadError;
use crate::weights::adapter::Adapter;
use crate::weights::config::{Config, language};
use crate::weights::loader::{Loader, Precision, Progress};
use crate::weights::safetensors::Shards;

pub mod attention;
pub mod kv;
pub mod reader;
pub mod sample;
pub mod scores;

use kv::{KvPool, KvStep};
use sample::Choices;

/// Tokens in a KV block.
pub const BLOCK_SIZE: u32 = 32;

/// Freed buffers that MLX keeps for reuse, at most; more than a step needs is memory the machine misses.
const CACHE_LIMIT_BYTES: usize = 256 << 20;

/// Prompt tokens after which freed buffers are given back.
const LONG_PREFILL_TOKENS: usize = 256;

/// How to load.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Bytes the KV pool may grow to; `None`: an eighth of the machine's memory, or what eight full contexts take.
    pub kv_bytes: Option<u64>,
    /// Blocks of the KV pool instead, where another model's pool says how many.
    pub kv_blocks: Option<u32>,
    /// What weights become in memory; `None`: fp32 on a CPU, as stored on a GPU.
    pub precision: Option<Precision>,
    /// The folder of an adapter in mlx-lm's format, to lay over the model.
    pub adapter: Option<PathBuf>,
    /// Prompt and output together, in tokens, at most; `None`: as the model's configuration says.
    pub context: Option<u32>,
}

/// A loaded model and its KV pool.
#[derive(Debug)]
pub struct MlxRunner {
    model: Box<dyn Model>,
    pool: KvPool,
    capacity: Capacity,
    /// Logits of the step that was begun, in float32: of the tokens that are scored or sampled, in order.
    begun: Option<Array>,
    /// Prompt tokens computed since freed buffers were last given back.
    prefilled: usize,
}

/// Loads the model in `folder`.
///
/// # Errors
/// With the file, field or tensor that is wrong; nothing has been read into memory then but headers.
pub fn load(folder: &Path, options: &LoadOptions, progress: Progress) -> Result<MlxRunner, LoadError> {
    let config = Config::read(folder)?;
    let build = models::find(&config.model_type)?;
    let mut shards = Shards::open(folder)?;
    let mut adapter = options.adapter.as_deref().map(Adapter::open).transpose()?;
    if families::is_part(&config.model_type) {
        shards.rename(|name| (!families::sees(name)).then(|| language::own_name(name)));
        if let Some(adapter) = &mut adapter {
            adapter.shards.rename(|name| Some(language::own_name(name)));
        }
    }
    let precision = precision(options.precision)?;
    let check = Loader::checking(&shards, &config, precision).adapted(adapter.as_ref());
    build(&check)?;
    check.finish()?;
    limit_cache()?;
    let before = memory::active_memory()?;
    let loader = Loader::loading(&shards, &config, precision, progress).adapted(adapter.as_ref());
    let model = build(&loader)?;
    memory::clear_cache()?;
    let weight_bytes = memory::active_memory()?.saturating_sub(before) as u64;
    let max_context = config.max_context().unwrap_or(4096).min(options.context.unwrap_or(u32::MAX));
    let shape = model.kv_shape()?;
    let kv_bytes = options.kv_blocks.map(|blocks| u64::from(blocks) * shape.block_bytes());
    let pool = KvPool::new(shape, max_context, kv_bytes.or(options.kv_bytes))?;
    let (blocks, window) = (pool.limit(), model.window());
    let capacity = Capacity { block_size: BLOCK_SIZE, blocks, max_context, weight_bytes, window };
    Ok(MlxRunner { model, pool, capacity, begun: None, prefilled: 0 })
}

/// What weights become where nobody asks for anything.
fn precision(asked: Option<Precision>) -> mlx_rs::error::Result<Precision> {
    match asked {
        Some(precision) => Ok(precision),
        None => match Device::try_default()?.get_type()? {
            DeviceType::Cpu => Ok(Precision::Float32),
            DeviceType::Gpu => Ok(Precision::Native),
        },
    }
}

/// Bounds what MLX keeps of freed buffers.
fn limit_cache() -> mlx_rs::error::Result<()> {
    memory::set_cache_limit(CACHE_LIMIT_BYTES).map(drop)
}

/// What the device holds.
fn memory_of() -> Memory {
    let bytes = |read: mlx_rs::error::Result<usize>| read.unwrap_or(0) as u64;
    Memory {
        active: bytes(memory::active_memory()),
        cached: bytes(memory::cache_memory()),
        peak: bytes(memory::peak_memory()),
        ..Memory::default()
    }
}

impl MlxRunner {
    /// The logits of every token that is scored or sampled, `[N, vocabulary]` in float32; writes the KV.
    ///
    /// # Errors
    /// When the device fails, or no row of the batch samples.
    pub fn logits(&mut self, batch: &Batch) -> Result<Array, RunnerError> {
        let logits = self.forward(batch).map_err(failed)?;
        let logits = logits.ok_or_else(|| RunnerError("no row of the batch samples".into()))?;
        self.settle([&logits]).map_err(failed)?;
        Ok(logits)
    }

    /// Builds the step's graph; `None` where no row samples or is scored.
    fn forward(&mut self, batch: &Batch) -> mlx_rs::error::Result<Option<Array>> {
        let length = batch.tokens.len() as i32;
        let ids = Array::from_slice(&batch.tokens, &[length]);
        let positions: Vec<f32> = batch.positions.iter().map(|p| *p as f32).collect();
        let positions = Array::from_slice(&positions, &[length]);
        let mut step = KvStep::new(&mut self.pool, batch)?;
        let hidden = self.model.hidden(&ids, &positions, &mut step)?;
        let told: Vec<u32> = batch.rows.iter().flat_map(told).map(|at| at as u32).collect();
        if told.is_empty() {
            return Ok(None);
        }
        // Only these go through the output layer, the largest matrix of small models.
        let hidden = if told.len() == batch.tokens.len() {
            hidden
        } else {
            hidden.take_axis(Array::from_slice(&told, &[told.len() as i32]), 0)?
        };
        self.model.logits(&hidden)?.as_dtype(mlx_rs::Dtype::Float32).map(Some)
    }

    /// Evaluates `outputs` and the pool, so that nothing lazy holds on to the step.
    fn settle<'a>(&'a self, outputs: impl IntoIterator<Item = &'a Array>) -> mlx_rs::error::Result<()> {
        transforms::eval(self.pool.arrays().chain(outputs))
    }

    fn choose(&mut self, batch: &Batch, masks: &[Mask]) -> mlx_rs::error::Result<Outcome> {
        let Some(logits) = self.begun.take() else {
            self.settle([])?;
            return Ok(Outcome::default());
        };
        let choices = Choices::new(batch, masks);
        let tokens = if choices.is_empty() {
            // Only prompts are scored, and none ends here.
            self.settle([&logits])?;
            Vec::new()
        } else {
            let chosen = choices.choose(&logits)?;
            self.settle([&chosen])?;
            chosen.as_slice::<u32>().to_vec()
        };
        let scores = match scores::Asked::new(batch) {
            None => Vec::new(),
            Some(asked) => asked.scores(&logits, batch, &tokens)?,
        };
        Ok(Outcome { tokens, scores })
    }

    /// Gives freed buffers back after a long prompt: its own are larger than what decoding reuses.
    fn tidy(&mut self, batch: &Batch) -> mlx_rs::error::Result<()> {
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
    fn capacity(&self) -> Capacity {
        self.capacity
    }

    fn memory(&self) -> Memory {
        Memory {
            weights: self.capacity.weight_bytes,
            kv_used: 0,
            kv_allocated: self.pool.allocated_bytes(),
            kv_limit: self.pool.limit_bytes(),
            ..memory_of()
        }
    }

    fn resize(&mut self, limit: u32, used: u32) -> Result<(), RunnerError> {
        self.pool.resize(limit, used).and_then(|()| memory::clear_cache()).map_err(failed)
    }

    fn launch(&mut self, batch: &Batch) -> Result<(), RunnerError> {
        self.begun = self.forward(batch).map_err(failed)?;
        match &self.begun {
            Some(logits) => transforms::async_eval([logits]).map_err(failed),
            None => Ok(()),
        }
    }

    fn finish(&mut self, batch: &Batch, masks: &[Mask]) -> Result<Outcome, RunnerError> {
        let outcome = self.choose(batch, masks).map_err(failed)?;
        self.tidy(batch).map_err(failed)?;
        Ok(outcome)
    }
}

/// Tokens of a row whose logits are asked for: those before its scored ones, and those that sample.
fn told(row: &Row) -> impl Iterator<Item = usize> + use<> {
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

#[cfg(test)]
pub(crate) mod tests;
