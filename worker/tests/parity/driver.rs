//! Runs a loaded model step by step, as the engine does, with block tables and chunk sizes chosen by the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use tempfile::TempDir;
use worker::engine::images::PromptImages;
use worker::engine::runner::{Batch, BlockId, Row, RowSampling, RowState, StateId};
use worker::kv::BLOCK_SIZE;
use worker::mlx::{self, LoadOptions, MlxRunner};
use worker::weights::loader::Precision;

use crate::made::Toy;

/// Serialises tests: MLX's CPU stream is shared, and the larger models together would not fit a small machine.
static DEVICE: Mutex<()> = Mutex::new(());

/// Smallest lead over the runner-up that is safe from rounding.
const CLEAR_LEAD: f32 = 0.05;

/// The device, for one test at a time.
pub(crate) fn device() -> MutexGuard<'static, ()> {
    DEVICE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The folder of golden files.
pub(crate) fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// A tensor of a file: name, type, shape and bytes.
pub(crate) type Tensor = (String, Dtype, Vec<usize>, Vec<u8>);

/// A copy of a toy with other tensors.
pub(crate) fn rewritten(name: &str, tensors: impl FnOnce(&SafeTensors) -> Vec<Tensor>) -> TempDir {
    let toy = Toy::open(name);
    let folder = tempfile::tempdir().unwrap();
    fs::copy(toy.path().join("config.json"), folder.path().join("config.json")).unwrap();
    let bytes = fs::read(toy.path().join("model.safetensors")).unwrap();
    let tensors = tensors(&SafeTensors::deserialize(&bytes).unwrap());
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    safetensors::serialize_to_file(views, None, &folder.path().join("model.safetensors")).unwrap();
    folder
}

/// Output of mlx-lm.
#[derive(Debug, Deserialize)]
pub(crate) struct Golden {
    pub(crate) prompt: Vec<u32>,
    pub(crate) logits: Vec<f32>,
    pub(crate) greedy: Vec<u32>,
    pub(crate) leads: Vec<f32>,
}

impl Golden {
    pub(crate) fn load(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join("golden.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

/// Loads a model with a pool of 64 MiB.
pub(crate) fn load(folder: &Path, precision: Precision) -> MlxRunner {
    load_adapted(folder, None, precision)
}

/// The same with an adapter.
pub(crate) fn load_adapted(folder: &Path, adapter: Option<PathBuf>, precision: Precision) -> MlxRunner {
    let options = LoadOptions {
        kv_bytes: Some(64 << 20),
        precision: Some(precision),
        adapter,
        ..LoadOptions::default()
    };
    mlx::load(folder, &options, &mut |_, _| ()).unwrap()
}

/// One sequence and its KV blocks.
#[derive(Debug, Clone)]
pub(crate) struct Sequence {
    tokens: Vec<u32>,
    computed: usize,
    blocks: Vec<BlockId>,
    /// The recurrent state after the computed tokens.
    state: Option<StateId>,
    images: PromptImages,
}

/// The name of the next state.
static NEXT_STATE: AtomicU64 = AtomicU64::new(0);

impl Sequence {
    pub(crate) fn new(prompt: &[u32], blocks: &[BlockId]) -> Self {
        let (tokens, blocks, images) = (prompt.to_vec(), blocks.to_vec(), PromptImages::default());
        Self { tokens, computed: 0, blocks, state: None, images }
    }

    pub(crate) fn with_images(self, images: PromptImages) -> Self {
        Self { images, ..self }
    }

    pub(crate) fn push(&mut self, token: u32) {
        self.tokens.push(token);
    }

    /// Takes the last `count` tokens back, as the engine does with rejected drafts.
    pub(crate) fn take_back(&mut self, count: usize) {
        self.tokens.truncate(self.tokens.len() - count);
        self.computed = self.computed.min(self.tokens.len());
    }

    /// Whether a step of at most `max_tokens` tokens computes all pending tokens.
    pub(crate) fn ends_within(&self, max_tokens: usize) -> bool {
        self.pending() <= max_tokens
    }

    fn pending(&self) -> usize {
        self.tokens.len() - self.computed
    }
}

/// Computes up to `max_tokens` pending tokens of every sequence in one step.
///
/// Returns the logits of the sequences without pending tokens.
pub(crate) fn step(runner: &mut MlxRunner, rows: &mut [&mut Sequence], max_tokens: usize) -> Vec<Vec<f32>> {
    let mut batch = Batch::default();
    for row in rows.iter_mut() {
        let count = row.pending().min(max_tokens);
        let start = batch.tokens.len();
        let after = NEXT_STATE.fetch_add(1, Ordering::Relaxed);
        for position in row.computed..row.computed + count {
            batch.tokens.push(row.tokens[position]);
            batch.positions.push(position as u32);
            let block = row.blocks[position / BLOCK_SIZE as usize];
            batch.slots.push(block * BLOCK_SIZE + position as u32 % BLOCK_SIZE);
        }
        // Request logits of all rows: `MlxRunner::logits` needs at least one.
        batch.rows.push(Row {
            tokens: start..start + count,
            blocks: row.blocks.clone(),
            // mlx-lm's longrope has the long factors in texts of every length.
            extended: true,
            images: row.images.in_row(&(row.computed..row.computed + count), start),
            samples: vec![RowSampling::GREEDY],
            state: Some(RowState { before: row.state, after, keep: after.is_multiple_of(3) }),
            ..Row::default()
        });
        row.state = Some(after);
        row.computed += count;
    }
    let logits = runner.logits(&batch).unwrap();
    let width = logits.dim(-1) as usize;
    let all = logits.as_slice::<f32>().chunks_exact(width);
    let done = rows.iter().map(|row| row.pending() == 0);
    all.zip(done).filter(|(_, done)| *done).map(|(row, _)| row.to_vec()).collect()
}

/// Prefills one sequence in chunks of at most `max_tokens` tokens; returns the logits of its last token.
pub(crate) fn prefill(runner: &mut MlxRunner, sequence: &mut Sequence, max_tokens: usize) -> Vec<f32> {
    loop {
        if let Some(logits) = step(runner, &mut [sequence], max_tokens).pop() {
            return logits;
        }
    }
}

/// Decodes `expected` by teacher forcing, starting from `logits`.
///
/// Asserts that the argmax is the expected token wherever the reference had a clear lead; returns the number of such tokens.
pub(crate) fn follow(
    runner: &mut MlxRunner,
    sequence: &mut Sequence,
    mut logits: Vec<f32>,
    expected: &[u32],
    leads: &[f32],
) -> usize {
    let mut checked = 0;
    for (at, (token, lead)) in expected.iter().zip(leads).enumerate() {
        checked += usize::from(agrees(&logits, *token, *lead, at));
        sequence.push(*token);
        logits = step(runner, &mut [sequence], 1).remove(0);
    }
    checked
}

/// Returns whether the lead is clear. If so, asserts that `token` is the argmax of `logits`.
pub(crate) fn agrees(logits: &[f32], token: u32, lead: f32, at: usize) -> bool {
    let clear = lead > CLEAR_LEAD;
    assert!(!clear || argmax(logits) == token, "token {at}: {} for {token}, lead {lead}", argmax(logits));
    clear
}

pub(crate) fn argmax(logits: &[f32]) -> u32 {
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.unwrap().0 as u32
}

/// The largest absolute difference.
pub(crate) fn distance(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
