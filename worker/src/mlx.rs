//! Runs ragged steps on MLX. Everything here lives on one thread: the one that loaded the model.

use std::path::{Path, PathBuf};

use mlx_rs::{Array, Device, DeviceType, memory, transforms};

use crate::engine::runner::{Batch, Capacity, Runner, RunnerError};
use crate::models::{self, Model};
use crate::weights::LoadError;
use crate::weights::adapter::Adapter;
use crate::weights::config::Config;
use crate::weights::loader::{Loader, Precision, Progress};
use crate::weights::safetensors::Shards;

pub mod attention;
pub mod kv;
pub mod sample;

use kv::{KvPool, KvStep};

/// Tokens in a KV block.
pub const BLOCK_SIZE: u32 = 32;

/// Freed buffers that MLX keeps for reuse, at most; more than a step needs is memory the machine misses.
const CACHE_LIMIT_BYTES: usize = 256 << 20;

/// How to load.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Bytes the KV pool may grow to; `None`: an eighth of the machine's memory, or what eight full contexts take.
    pub kv_bytes: Option<u64>,
    /// What weights become in memory; `None`: fp32 on a CPU, as stored on a GPU.
    pub precision: Option<Precision>,
    /// The folder of an adapter in mlx-lm's format, to lay over the model.
    pub adapter: Option<PathBuf>,
}

/// A loaded model and its KV pool.
#[derive(Debug)]
pub struct MlxRunner {
    model: Box<dyn Model>,
    pool: KvPool,
    capacity: Capacity,
}

/// Loads the model in `folder`.
///
/// # Errors
/// With the file, field or tensor that is wrong; nothing has been read into memory then but headers.
pub fn load(folder: &Path, options: &LoadOptions, progress: Progress) -> Result<MlxRunner, LoadError> {
    let config = Config::read(folder)?;
    let build = models::find(&config.model_type)?;
    let shards = Shards::open(folder)?;
    let adapter = options.adapter.as_deref().map(Adapter::open).transpose()?;
    let precision = match options.precision {
        Some(precision) => precision,
        None => match Device::try_default()?.get_type()? {
            DeviceType::Cpu => Precision::Float32,
            DeviceType::Gpu => Precision::Native,
        },
    };
    let check = Loader::checking(&shards, &config, precision).adapted(adapter.as_ref());
    build(&check)?;
    check.finish()?;
    memory::set_cache_limit(CACHE_LIMIT_BYTES)?;
    let before = memory::active_memory()?;
    let loader = Loader::loading(&shards, &config, precision, progress).adapted(adapter.as_ref());
    let model = build(&loader)?;
    memory::clear_cache()?;
    let weight_bytes = memory::active_memory()?.saturating_sub(before) as u64;
    let max_context = config.max_context().unwrap_or(4096);
    let pool = KvPool::new(model.kv_shape(), max_context, options.kv_bytes)?;
    let capacity = Capacity { block_size: BLOCK_SIZE, blocks: pool.limit(), max_context, weight_bytes };
    Ok(MlxRunner { model, pool, capacity })
}

impl MlxRunner {
    /// The logits after the last token of every row that samples, `[N, vocabulary]` in float32; writes the KV.
    ///
    /// # Errors
    /// When the device fails.
    pub fn logits(&mut self, batch: &Batch) -> Result<Array, RunnerError> {
        let logits = self.forward(batch).map_err(failed)?;
        match logits {
            Some(logits) => self.finish(&logits).map(|()| logits).map_err(failed),
            None => Err(RunnerError("no row of the batch samples".into())),
        }
    }

    /// Builds the step's graph; `None` where no row samples.
    fn forward(&mut self, batch: &Batch) -> mlx_rs::error::Result<Option<Array>> {
        let length = batch.tokens.len() as i32;
        let ids = Array::from_slice(&batch.tokens, &[length]);
        let positions: Vec<f32> = batch.positions.iter().map(|p| *p as f32).collect();
        let positions = Array::from_slice(&positions, &[length]);
        let mut step = KvStep::new(&mut self.pool, batch)?;
        let hidden = self.model.hidden(&ids, &positions, &mut step)?;
        let last = batch.rows.iter().filter(|row| row.sample.is_some()).map(|row| row.tokens.end as u32 - 1);
        let last: Vec<u32> = last.collect();
        if last.is_empty() {
            return Ok(None);
        }
        // Only these rows go through the output layer, the largest matrix of small models.
        let hidden = if last.len() == batch.tokens.len() {
            hidden
        } else {
            hidden.take_axis(Array::from_slice(&last, &[last.len() as i32]), 0)?
        };
        self.model.logits(&hidden)?.as_dtype(mlx_rs::Dtype::Float32).map(Some)
    }

    /// Evaluates `output` and the pool, so that nothing lazy holds on to the step.
    fn finish(&self, output: &Array) -> mlx_rs::error::Result<()> {
        transforms::eval(self.pool.arrays().chain([output]))
    }
}

impl Runner for MlxRunner {
    fn capacity(&self) -> Capacity {
        self.capacity
    }

    fn step(&mut self, batch: &Batch) -> Result<Vec<u32>, RunnerError> {
        let Some(logits) = self.forward(batch).map_err(failed)? else {
            transforms::eval(self.pool.arrays()).map_err(failed)?;
            return Ok(Vec::new());
        };
        let sampling = batch.rows.iter().filter_map(|row| Some((row.sample?, &row.adjust[..])));
        let (rows, adjust): (Vec<_>, Vec<_>) = sampling.unzip();
        let logits = sample::adjust(logits, &adjust).map_err(failed)?;
        let tokens = sample::sample(&logits, &rows).map_err(failed)?;
        self.finish(&tokens).map_err(failed)?;
        let tokens = tokens.try_as_slice::<u32>().map_err(|e| RunnerError(e.to_string()))?;
        Ok(tokens.to_vec())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the form map_err takes")]
fn failed(error: mlx_rs::error::Exception) -> RunnerError {
    RunnerError(format!("MLX failed: {error}"))
}

#[cfg(test)]
pub(crate) mod tests;
