//! Runs encoders: padded steps, then pooling of the hidden states to vectors or scores.

use std::collections::VecDeque;
use std::path::Path;

use ipc_proto::worker::Memory;
use mlx_rs::{Array, Device, DeviceType, Dtype, Stream, ops, transforms, with_stream};

use super::{device_memory, failed, precision};
use crate::embed::{BatchRunner, EncoderInput};
use crate::engine::runner::RunnerError;
use crate::kv::{AttentionDirection, ContiguousStep, KvStep};
use crate::layers::Result;
use crate::layers::linear::Linear;
use crate::layers::rope::Positions;
use crate::models::classifier::{ClassifierPooling, Head};
use crate::models::encoder::{self, Encoder, Tokens};
use crate::text::sentence_transformers::{Dense, Pooling, SentenceConfig};
use crate::weights::LoadError;
use crate::weights::config::Config;
use crate::weights::loader::{Loader, OnProgress, Precision};
use crate::weights::safetensors::Shards;

/// Lower bound of the norm that vectors are divided by, against division by zero.
const MIN_NORM: f32 = 1e-12;

/// A loaded encoder with its pooling and projections.
#[derive(Debug)]
pub struct EncoderRunner {
    encoder: Box<dyn Encoder>,
    head: Option<Head>,
    direction: AttentionDirection,
    pooling: Pooling,
    dense: Vec<(Linear, bool)>,
    normalize: bool,
    weight_bytes: u64,
    /// Streams that compute parts of a step in parallel. MLX's CPU backend computes everything but matrix products on one
    /// thread, so there is a stream per core. A GPU needs only one.
    lanes: Vec<Stream>,
    step_tokens: usize,
    /// The parts of launched steps, oldest first.
    launched: VecDeque<Vec<Array>>,
}

/// Tokens of a step per core: few enough that intermediate results stay in the cache.
const CORE_TOKENS: usize = 512;
/// Tokens of a step on a GPU.
const GPU_TOKENS: usize = 16_384;
/// Maximum number of streams.
const MAX_LANES: usize = 16;

/// Loads the model in `folder`, as a cross-encoder if its configuration declares a classifier.
///
/// # Errors
/// Names the wrong file, field or tensor. Up to then only headers have been read.
pub fn load(
    folder: &Path,
    sentence: &SentenceConfig,
    requested: Option<Precision>,
    progress: OnProgress,
) -> Result<EncoderRunner, LoadError> {
    let config = Config::read(folder)?;
    let classifies = config.classifies();
    let mut shards = Shards::open(folder)?;
    // Decoders saved without an output layer lack the prefix of the inner model.
    if !encoder::is_encoder(&config.model_type) && shards.get("model.norm.weight").is_none() {
        shards.add_prefix("model.");
    }
    let precision = precision(requested)?;
    let check = Loader::checking(&shards, &config, precision).headless();
    encoder::build(&check, classifies)?;
    check.finish()?;
    super::limit_cache()?;
    let before = mlx_rs::memory::active_memory()?;
    let loader = Loader::loading(&shards, &config, precision, progress).headless();
    let built = encoder::build(&loader, classifies)?;
    let dense = if classifies { &[][..] } else { &sentence.dense };
    let dense = dense.iter().map(|layer| load_dense(folder, layer, &config, precision));
    let dense = dense.collect::<Result<_, _>>()?;
    mlx_rs::memory::clear_cache()?;
    let weight_bytes = mlx_rs::memory::active_memory()?.saturating_sub(before) as u64;
    let device = Device::try_default()?;
    let (lanes, step_tokens) = match device.get_type()? {
        DeviceType::Cpu => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_LANES);
            ((0..cores).map(|_| Stream::new_with_device(&device)).collect(), cores * CORE_TOKENS)
        }
        DeviceType::Gpu => (vec![Stream::try_default_on_device(&device)?], GPU_TOKENS),
    };
    Ok(EncoderRunner {
        encoder: built.encoder,
        head: built.head,
        direction: built.direction,
        pooling: sentence.pooling,
        dense,
        normalize: sentence.normalize,
        weight_bytes,
        lanes,
        step_tokens,
        launched: VecDeque::new(),
    })
}

fn load_dense(
    folder: &Path,
    layer: &Dense,
    config: &Config,
    precision: Precision,
) -> Result<(Linear, bool), LoadError> {
    let shards = Shards::single(folder.join(&layer.folder).join("model.safetensors"))?;
    let build = |loader: &Loader| Linear::load(loader, "linear", layer.inputs, layer.outputs, layer.bias);
    let check = Loader::checking(&shards, config, precision);
    build(&check)?;
    check.finish()?;
    Ok((build(&Loader::loading(&shards, config, precision, &mut |_, _| ()))?, layer.tanh))
}

impl EncoderRunner {
    /// Number of parts of a step that run in parallel.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Number of tokens that keeps the device busy.
    pub fn step_tokens(&self) -> usize {
        self.step_tokens
    }

    /// Bytes of weights in memory.
    pub fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    /// A vector or a single score per text, `[B, N]`.
    fn forward(&self, pieces: &[&EncoderInput]) -> Result<Array> {
        let lengths: Vec<u32> = pieces.iter().map(|piece| piece.tokens.len() as u32).collect();
        let tokens = padded(pieces);
        let mut kv = KvStep::contiguous(ContiguousStep::new(lengths.clone(), self.direction)?);
        let hidden = self.encoder.encode(&tokens, &mut kv)?;
        let hidden = hidden.reshape(&[tokens.rows, tokens.length, -1])?;
        if let Some(head) = &self.head {
            let pooling = match head.pooling {
                ClassifierPooling::First => Pooling::First,
                ClassifierPooling::Mean => Pooling::Mean,
            };
            let score = head.score(&pool(&hidden, &lengths, pooling)?)?;
            return ops::sigmoid(score)?.reshape(&[-1, 1])?.as_dtype(Dtype::Float32);
        }
        let mut x = pool(&hidden, &lengths, self.pooling)?;
        for (linear, tanh) in &self.dense {
            x = linear.forward(&x)?;
            if *tanh {
                x = ops::tanh(x)?;
            }
        }
        let x = x.as_dtype(Dtype::Float32)?;
        if !self.normalize {
            return Ok(x);
        }
        let length = x.multiply(&x)?.sum_axis(-1, true)?.sqrt()?;
        x.divide(ops::maximum(length, Array::from_f32(MIN_NORM))?)
    }
}

impl BatchRunner for EncoderRunner {
    fn launch(&mut self, pieces: &[EncoderInput]) -> Result<(), RunnerError> {
        // Texts arrive longest first: dealing them round-robin gives parts of similar size, which end at the same time.
        let lanes = self.lanes.len();
        let parts = self.lanes.iter().enumerate().take(pieces.len()).map(|(at, lane)| {
            let part: Vec<&EncoderInput> = pieces.iter().skip(at).step_by(lanes).collect();
            with_stream(lane, || self.forward(&part))
        });
        let parts = parts.collect::<Result<Vec<Array>>>().map_err(failed)?;
        transforms::async_eval(&parts).map_err(failed)?;
        self.launched.push_back(parts);
        Ok(())
    }

    fn finish(&mut self) -> Result<Vec<Vec<f32>>, RunnerError> {
        let parts = self.launched.pop_front().unwrap_or_default();
        transforms::eval(&parts).map_err(failed)?;
        let mut parts: Vec<_> = parts
            .iter()
            .map(|part| part.as_slice::<f32>().chunks_exact(part.dim(1).max(1) as usize))
            .collect();
        let mut rows = Vec::new();
        for at in (0..parts.len()).cycle() {
            let Some(row) = parts[at].next() else { break };
            rows.push(row.to_vec());
        }
        Ok(rows)
    }

    fn trim(&mut self) {
        if let Err(error) = mlx_rs::memory::clear_cache() {
            tracing::warn!(%error, "cannot free cached buffers");
        }
    }

    fn memory(&self) -> Memory {
        Memory { weights: self.weight_bytes, ..device_memory() }
    }
}

/// Pads the texts to one length.
fn padded(pieces: &[&EncoderInput]) -> Tokens {
    let length = pieces.iter().map(|piece| piece.tokens.len()).max().unwrap_or(0);
    let all = pieces.len() * length;
    let (mut ids, mut positions, mut types) =
        (Vec::with_capacity(all), Vec::with_capacity(all), Vec::with_capacity(all));
    for piece in pieces {
        let padding = length - piece.tokens.len();
        ids.extend_from_slice(&piece.tokens);
        ids.extend(std::iter::repeat_n(0u32, padding));
        positions.extend((0..length).map(|at| at as f32));
        types.extend((0..length).map(|at| u32::from(at >= piece.second_start && at < piece.tokens.len())));
    }
    let shape = [all as i32];
    Tokens {
        ids: Array::from_slice(&ids, &shape),
        positions: Positions::new(&positions),
        types: types.contains(&1).then(|| Array::from_slice(&types, &shape)),
        rows: pieces.len() as i32,
        length: length as i32,
    }
}

/// `[B, L, D]` → `[B, D]`.
fn pool(hidden: &Array, lengths: &[u32], pooling: Pooling) -> Result<Array> {
    let (rows, padded) = (lengths.len() as i32, hidden.dim(1));
    let weights: Vec<f32> =
        lengths.iter().flat_map(|length| weights(pooling, *length, padded as u32)).collect();
    if pooling == Pooling::Max {
        let counts = Array::from_slice(&weights, &[rows, padded, 1]);
        let least = Array::from_f32(f32::NEG_INFINITY).as_dtype(hidden.dtype())?;
        return ops::select(counts.gt(Array::from_f32(0.0))?, hidden, least)?.max_axis(1, false);
    }
    let weights = Array::from_slice(&weights, &[rows, 1, padded]).as_dtype(hidden.dtype())?;
    weights.matmul(hidden)?.squeeze_axes(&[1])
}

/// The weight of each token of a row; padding has weight 0.
fn weights(pooling: Pooling, length: u32, padded: u32) -> impl Iterator<Item = f32> {
    let count = length.max(1) as f32;
    (0..padded).map(move |at| match pooling {
        _ if at >= length => 0.0,
        Pooling::First => f32::from(u8::from(at == 0)),
        Pooling::Last => f32::from(u8::from(at + 1 == length)),
        Pooling::Mean => 1.0 / count,
        Pooling::MeanSqrt => 1.0 / count.sqrt(),
        Pooling::Weighted => (at + 1) as f32 * 2.0 / (count * (count + 1.0)),
        Pooling::Max => 1.0,
    })
}
