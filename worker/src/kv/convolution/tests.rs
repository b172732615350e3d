use mlx_rs::memory;
use proptest::prelude::*;

use super::*;
use crate::engine::runner::RowSampling;
use crate::kernels::device_lock::device;
use crate::kv::{BlockShape, KvPool, KvShape, KvStep};

const KV: KvShape = KvShape { layers: 1, kv_heads: 1, head_dim: 8, value_dim: None, dtype: Dtype::Float32 };
const WIDTH: i32 = 4;

/// A different number for each sequence, version of its text, position and layer.
fn input(sequence: u32, version: u32, position: u32, layer: usize) -> f32 {
    let mixed = (sequence * 7919 + version * 613 + position * 104_729 + layer as u32 * 37)
        .wrapping_mul(2_654_435_761);
    (mixed >> 8) as f32 / (1 << 24) as f32 - 0.5
}

/// A text, token by token: the version of each. A rejected draft leaves no trace in it.
#[derive(Debug, Clone)]
struct Text {
    sequence: u32,
    versions: Vec<u32>,
    blocks: Vec<u32>,
}

fn pool(kernel: u32, rollback: u32, blocks: u32) -> KvPool {
    let shape = ConvolutionShape { layers: 2, width: WIDTH, kernel };
    let convolutions = Some(ConvolutionState::new(shape, rollback));
    let shape = BlockShape { convolutions, ..KV.into() };
    let mut pool = KvPool::new(shape, 256, Some(u64::from(blocks) * shape.bytes())).unwrap();
    pool.ensure_block(blocks - 1).unwrap();
    pool
}

fn batch(rows: &[(&Text, std::ops::Range<usize>)]) -> Batch {
    let mut batch = Batch::default();
    for (text, range) in rows {
        let start = batch.tokens.len();
        for position in range.clone() {
            batch.tokens.push(0);
            batch.positions.push(position as u32);
            let block = text.blocks[position / BLOCK_SIZE as usize];
            batch.slots.push(block * BLOCK_SIZE + position as u32 % BLOCK_SIZE);
        }
        batch.rows.push(Row {
            tokens: start..batch.tokens.len(),
            blocks: text.blocks.clone(),
            samples: vec![RowSampling::GREEDY],
            ..Row::default()
        });
    }
    batch
}

fn weights(kernel: u32) -> Vec<Array> {
    (0..kernel).map(|tap| Array::from_slice(&[tap as f32 + 1.0; WIDTH as usize], &[WIDTH])).collect()
}

/// Computes the given tokens of each text in both layers and compares every output with plain arithmetic.
fn step(pool: &mut KvPool, kernel: u32, rows: &[(&Text, std::ops::Range<usize>)]) {
    let batch = batch(rows);
    let tokens = || rows.iter().flat_map(|(text, range)| range.clone().map(move |at| (*text, at)));
    let mut outputs = Vec::new();
    let mut step = KvStep::new(pool, &batch).unwrap();
    for layer in 0..2 {
        let numbers: Vec<f32> = tokens()
            .flat_map(|(text, at)| {
                [input(text.sequence, text.versions[at], at as u32, layer); WIDTH as usize]
            })
            .collect();
        let inputs = Array::from_slice(&numbers, &[batch.tokens.len() as i32, WIDTH]);
        outputs.push(step.convolve(layer, &inputs, &weights(kernel)).unwrap());
    }
    transforms::eval(pool.arrays().chain(&outputs)).unwrap();
    for (layer, output) in outputs.iter().enumerate() {
        for ((text, at), ours) in tokens().zip(output.as_slice::<f32>().chunks_exact(WIDTH as usize)) {
            let tap = |tap: u32| {
                let position = (at as u32).checked_sub(kernel - 1 - tap)?;
                let version = text.versions[position as usize];
                Some((tap as f32 + 1.0) * input(text.sequence, version, position, layer))
            };
            let expected: f32 = (0..kernel).filter_map(tap).sum();
            for ours in ours {
                assert!((ours - expected).abs() < 1e-5, "token {at} of {text:?}: {ours} for {expected}");
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Action {
    /// The tokens that the first and the second text compute in a step.
    Compute(usize, usize),
    /// The first text decodes with drafts. So many are proposed, and so many of them accepted.
    Draft(usize, usize),
    /// A copy of the first text continues beside it, from its last full block on.
    Fork(usize),
    /// The second text is preempted, and computed again in other blocks.
    Preempt,
    /// The pool gives unused blocks back and grows again.
    Resize,
}

fn action(drafts: usize) -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (1usize..40, 1usize..40).prop_map(|(first, second)| Action::Compute(first, second)),
        4 => (1usize..3).prop_map(|count| Action::Compute(count, 1)),
        4 => (0..=drafts, 0..=drafts).prop_map(|(one, other)| Action::Draft(one.max(other), one.min(other))),
        1 => (1usize..40).prop_map(Action::Fork),
        1 => Just(Action::Preempt),
        1 => Just(Action::Resize),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Chunks, single rows, drafts, forks, preemption and resizing, in any order.
    #[test]
    fn every_output_is_that_of_the_whole_text(
        kernel in 2u32..6,
        drafts in 1usize..6,
        actions in prop::collection::vec(action(5), 1..12),
        blocks in Just((1u32..60).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let _device = device();
        let mut pool = pool(kernel, drafts as u32, 64);
        let mut unused = blocks.into_iter();
        let mut first = Text { sequence: 1, versions: Vec::new(), blocks: Vec::new() };
        let mut second = Text { sequence: 2, ..first.clone() };
        let mut grow = |text: &mut Text, count: usize, version: u32| {
            text.versions.extend(std::iter::repeat_n(version, count));
            while text.blocks.len() * (BLOCK_SIZE as usize) < text.versions.len() {
                text.blocks.push(unused.next().unwrap());
            }
        };
        for (version, action) in (0u32..).zip(actions) {
            let (at, other) = (first.versions.len(), second.versions.len());
            match action {
                Action::Compute(count, beside) => {
                    grow(&mut first, count, version);
                    grow(&mut second, beside, version);
                    step(&mut pool, kernel, &[(&first, at..at + count), (&second, other..other + beside)]);
                }
                Action::Draft(proposed, accepted) => {
                    let (proposed, accepted) = (proposed.min(drafts), accepted.min(drafts));
                    grow(&mut first, 1 + proposed, 1000 + version);
                    step(&mut pool, kernel, &[(&first, at..at + 1 + proposed)]);
                    first.versions.truncate(at + 1 + accepted);
                }
                Action::Fork(count) => {
                    let whole = at / BLOCK_SIZE as usize;
                    let from = whole * BLOCK_SIZE as usize;
                    let mut copy = Text { blocks: first.blocks[..whole].to_vec(), ..first.clone() };
                    copy.versions.truncate(from);
                    grow(&mut copy, count, 2000 + version);
                    grow(&mut first, 1, version);
                    step(&mut pool, kernel, &[(&copy, from..from + count), (&first, at..at + 1)]);
                }
                Action::Preempt if other > 0 => {
                    second.blocks.clear();
                    grow(&mut second, 0, version);
                    step(&mut pool, kernel, &[(&second, 0..other)]);
                }
                Action::Preempt => {}
                Action::Resize => {
                    pool.resize(64, 60).unwrap();
                    pool.ensure_block(63).unwrap();
                }
            }
        }
    }

    /// In every step the kept inputs lie in distinct slots of the row's own blocks.
    #[test]
    fn kept_inputs_have_slots_of_their_own(
        kernel in 2u32..6,
        rollback in 0u32..20,
        rows in prop::collection::vec((0usize..100, 1usize..80), 1..5),
    ) {
        let state = ConvolutionState::new(ConvolutionShape { layers: 1, width: 1, kernel }, rollback);
        let text = |row: u32, end: usize| {
            let count = end.div_ceil(BLOCK_SIZE as usize) as u32;
            Text { sequence: row, versions: Vec::new(), blocks: (0..count).map(|at| row * 8 + at).collect() }
        };
        let texts: Vec<Text> = (0..).zip(&rows).map(|(row, (first, count))| text(row, first + count)).collect();
        let rows: Vec<_> = texts.iter().zip(&rows).map(|(text, (first, count))| (text, *first..first + count)).collect();
        let batch = batch(&rows);
        let index = StepIndex::new(&batch, kernel - 1, state.kept);
        let mut slots = index.slots.clone();
        slots.sort_unstable();
        slots.dedup();
        prop_assert_eq!(slots.len(), index.slots.len());
        for (token, slot) in index.kept_tokens.iter().zip(&index.slots) {
            let block = batch.slots[*token as usize] / BLOCK_SIZE;
            prop_assert_eq!(slot / state.kept, block);
        }
        for row in &batch.rows {
            prop_assert!(index.kept_tokens.contains(&(row.tokens.end as u32 - 1)), "the last input is kept");
        }
        prop_assert_eq!(index.before.len(), batch.rows.len() * (kernel as usize - 1));
        prop_assert!(index.taps.iter().all(|tap| tap.len() == batch.tokens.len()));
    }
}

/// Complete texts give the same outputs as a pool.
#[test]
fn texts_without_a_pool_are_convolved_alike() {
    let _device = device();
    let (kernel, lengths) = (4, [5u32, 2]);
    let numbers: Vec<f32> = (0..10).flat_map(|at| [input(at / 5, 0, at % 5, 0); WIDTH as usize]).collect();
    let inputs = Array::from_slice(&numbers, &[10, WIDTH]);
    let output = convolve_texts(&inputs, lengths.len(), 5, &weights(kernel)).unwrap();
    let output = output.as_slice::<f32>();
    for (row, length) in (0..).zip(lengths) {
        for at in 0..length {
            let tap =
                |tap: u32| Some((tap as f32 + 1.0) * input(row, 0, at.checked_sub(kernel - 1 - tap)?, 0));
            let expected: f32 = (0..kernel).filter_map(tap).sum();
            let ours = output[((row * 5 + at) * WIDTH as u32) as usize];
            assert!((ours - expected).abs() < 1e-5, "token {at} of text {row}: {ours} for {expected}");
        }
    }
}

/// The pool is updated in place: a step needs no second pool.
#[test]
fn step_does_not_copy_the_pool() {
    let _device = device();
    let shape = ConvolutionShape { layers: 2, width: 1024, kernel: 4 };
    let shape = BlockShape { convolutions: Some(ConvolutionState::new(shape, 0)), ..KV.into() };
    let mut pool = KvPool::new(shape, 1 << 16, Some(64 << 20)).unwrap();
    pool.ensure_block(pool.limit() - 1).unwrap();
    let text = Text { sequence: 1, versions: vec![0; 40], blocks: vec![7, 3] };
    let ones = ops::ones::<f32>(&[1, 1024]).unwrap();
    let weights: Vec<Array> = (0..4).map(|_| ops::ones::<f32>(&[1024]).unwrap()).collect();
    for position in 0..40 {
        memory::reset_peak_memory().unwrap();
        let before = memory::active_memory().unwrap();
        assert!(before > 60 << 20, "the pool takes {before} bytes");
        let batch = batch(&[(&text, position..position + 1)]);
        let mut step = KvStep::new(&mut pool, &batch).unwrap();
        let outputs = [0, 1].map(|layer| step.convolve(layer, &ones, &weights).unwrap());
        transforms::eval(pool.arrays().chain(&outputs)).unwrap();
        let more = memory::peak_memory().unwrap().saturating_sub(before);
        assert!(more < 1 << 20, "a step took {more} bytes");
    }
}

#[test]
fn blocks_count_the_inputs_that_they_keep() {
    let _device = device();
    let shape = ConvolutionShape { layers: 3, width: 16, kernel: 3 };
    // Two inputs before a token, and one for a row that sits out, or a draft each.
    for (rollback, kept) in [(0, 3), (1, 3), (4, 6), (100, 32)] {
        let state = ConvolutionState::new(shape, rollback);
        assert_eq!(state.block_bytes(4), 3 * 16 * kept * 4);
        let shape = BlockShape { convolutions: Some(state), ..KV.into() };
        let pool = KvPool::new(shape, 256, Some(100 * shape.bytes())).unwrap();
        assert_eq!((pool.limit(), pool.allocated_bytes()), (100, 32 * shape.bytes()));
        assert_eq!(pool.limit_bytes(), 100 * shape.bytes());
    }
}
