use std::ops::Range;

use mlx_rs::{fast, memory};
use proptest::prelude::*;

use super::*;
use crate::engine::runner::{Row, RowSampling};
use crate::kernels::device_lock::device;
use crate::layers::rope::{Positions, Rope};

mod images;

const SHAPE: KvShape =
    KvShape { layers: 2, kv_heads: 2, head_dim: 8, value_dim: None, dtype: Dtype::Float32 };
const HEADS: usize = 4;
const WIDTH: usize = 8;

/// A deterministic number for each sequence, position, head and coordinate.
fn pseudo_random(salt: u32, sequence: u32, position: u32, head: usize, at: usize) -> f32 {
    let mixed = (salt * 31 + sequence * 7919 + position * 104_729 + (head * 613 + at * 37) as u32)
        .wrapping_mul(2_654_435_761);
    (mixed >> 8) as f32 / (1 << 24) as f32 - 0.5
}

/// `[T, heads, WIDTH]` of `(sequence, position)` pairs.
fn tensor(salt: u32, tokens: &[(u32, u32)], heads: usize) -> Array {
    let mut values = Vec::new();
    for (sequence, position) in tokens {
        for head in 0..heads {
            values.extend((0..WIDTH).map(|at| pseudo_random(salt, *sequence, *position, head, at)));
        }
    }
    Array::from_slice(&values, &[tokens.len() as i32, heads as i32, WIDTH as i32])
}

/// Attention of one query, in plain arithmetic.
fn reference(
    sequence: u32,
    position: u32,
    head: usize,
    window: Option<u32>,
    softcap: Option<f32>,
) -> Vec<f32> {
    let kv_head = head / (HEADS / SHAPE.kv_heads as usize);
    let first = window.map_or(0, |window| (position + 1).saturating_sub(window));
    let mut total = 0.0f64;
    let mut sum = [0.0f64; WIDTH];
    for key in first..=position {
        let dot: f32 = (0..WIDTH)
            .map(|at| {
                pseudo_random(1, sequence, position, head, at) * pseudo_random(2, sequence, key, kv_head, at)
            })
            .sum();
        let score = softcap.map_or(dot, |cap| cap * (dot / cap).tanh());
        let weight = f64::from(score).exp();
        total += weight;
        for (at, sum) in sum.iter_mut().enumerate() {
            *sum += weight * f64::from(pseudo_random(3, sequence, key, kv_head, at));
        }
    }
    sum.iter().map(|x| (x / total) as f32).collect()
}

fn row(batch: &mut Batch, blocks: &[u32], from: u32, to: u32) {
    let start = batch.tokens.len();
    for position in from..to {
        batch.tokens.push(0);
        batch.positions.push(position);
        batch.slots.push(blocks[(position / BLOCK_SIZE) as usize] * BLOCK_SIZE + position % BLOCK_SIZE);
    }
    batch.rows.push(Row {
        tokens: start..batch.tokens.len(),
        blocks: blocks.to_vec(),
        samples: vec![RowSampling::GREEDY],
        ..Row::default()
    });
}

/// Writes and attends in layer 1, by the kernel and by MLX operations, and compares every output.
fn step(pool: &mut KvPool, batch: &Batch, sequences: &[u32], window: Option<u32>, softcap: Option<f32>) {
    let mut tokens = Vec::new();
    for (row, sequence) in batch.rows.iter().zip(sequences) {
        tokens.extend(row.tokens.clone().map(|at| (*sequence, batch.positions[at])));
    }
    let heads = SHAPE.kv_heads as usize;
    let parts = [tensor(1, &tokens, HEADS), tensor(2, &tokens, heads), tensor(3, &tokens, heads)];
    let [queries, keys, values] = &parts;
    let compare = |output: &Array| {
        assert_eq!(output.shape(), [tokens.len() as i32, (HEADS * WIDTH) as i32]);
        let output = output.as_slice::<f32>();
        for (token, (sequence, position)) in tokens.iter().enumerate() {
            for head in 0..HEADS {
                let ours = &output[(token * HEADS + head) * WIDTH..][..WIDTH];
                for (a, b) in ours.iter().zip(reference(*sequence, *position, head, window, softcap)) {
                    assert!((a - b).abs() < 1e-5, "sequence {sequence}, position {position}: {a} for {b}");
                }
            }
        }
    };
    let mut step = KvStep::new(pool, batch).unwrap();
    if softcap.is_none() {
        let heads = joined(&[queries, keys, values]);
        let params = PagedAttentionParams { heads: HEADS as i32, scale: 1.0, window };
        let transform = HeadTransform { rotary: None, norms: None };
        if let Some(output) = step.write_and_attend(1, &heads, transform, params) {
            compare(&output.unwrap());
        }
        // Later steps then read the keys that the kernel wrote.
        if sequences[0].is_multiple_of(2) {
            return;
        }
    }
    step.write(1, keys, values).unwrap();
    let output =
        step.attend(1, queries, AttentionParams { scale: 1.0, window, softcap, sinks: None }).unwrap();
    transforms::eval(pool.arrays().chain([&output])).unwrap();
    compare(&output);
}

/// Concatenates the heads of each token: `[T, H * d]`.
fn joined(parts: &[&Array]) -> Array {
    let flat: Vec<Array> = parts.iter().map(|part| part.reshape(&[part.dim(0), -1]).unwrap()).collect();
    ops::concatenate(&flat, 1).unwrap()
}

/// Rotates all, some and no coordinates of a head, with and without norms. The kernel agrees with separate operations.
#[test]
fn kernel_norms_and_rotates_heads_before_attention() {
    let _device = device();
    let norms = [norm_weight(21), norm_weight(22)];
    let positions = Positions::new(&[0.0, 1.0, 2.0, 3.0, 4.0]);
    for normed in [false, true] {
        for rotated in [0, 4, WIDTH as i32] {
            let mut batch = Batch::default();
            row(&mut batch, &[1], 0, 3);
            row(&mut batch, &[0], 0, 2);
            let tokens: Vec<(u32, u32)> = (0..5).map(|at| (9, at)).collect();
            let heads = SHAPE.kv_heads as usize;
            let parts = [tensor(1, &tokens, HEADS), tensor(2, &tokens, heads), tensor(3, &tokens, heads)];
            let rotation = Rope::plain(rotated.max(2), 100.0).rotation(&positions, &parts[0]).unwrap();
            let prepare = |x: &Array, norm: &Array| {
                let x = if normed { fast::rms_norm(x, Some(norm), 1e-5).unwrap() } else { x.clone() };
                if rotated > 0 { rotation.apply(&x).unwrap() } else { x }
            };
            let mut pool = KvPool::new(SHAPE, 256, Some(1 << 20)).unwrap();
            let mut step = KvStep::new(&mut pool, &batch).unwrap();
            step.write(0, &prepare(&parts[1], &norms[1]), &parts[2]).unwrap();
            let params = AttentionParams { scale: 0.5, window: None, softcap: None, sinks: None };
            let theirs = step.attend(0, &prepare(&parts[0], &norms[0]), params).unwrap();
            let transform = HeadTransform {
                rotary: (rotated > 0).then(|| rotation.cos_sin()),
                norms: normed.then(|| (norms.each_ref(), 1e-5)),
            };
            let params = PagedAttentionParams { heads: HEADS as i32, scale: 0.5, window: None };
            let whole = joined(&parts.each_ref());
            let Some(ours) = step.write_and_attend(1, &whole, transform, params) else { return };
            let ours = ours.unwrap();
            transforms::eval(pool.arrays().chain([&ours, &theirs])).unwrap();
            let [one, other] = &pool.layers[..] else { panic!("two layers") };
            let stored = one.arrays().zip(other.arrays());
            for (ours, theirs) in [(&ours, &theirs)].into_iter().chain(stored) {
                for (a, b) in ours.as_slice::<f32>().iter().zip(theirs.as_slice::<f32>()) {
                    assert!((a - b).abs() < 1e-5, "normed {normed}, rotated {rotated}: {a} for {b}");
                }
            }
        }
    }
}

fn norm_weight(salt: u32) -> Array {
    let numbers: Vec<f32> = (0..WIDTH).map(|at| pseudo_random(salt, 0, 0, 0, at)).collect();
    Array::from_slice(&numbers, &[WIDTH as i32])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Sequences grow in chunks of any length, in blocks of any order, in a growing pool.
    #[test]
    fn attention_matches_plain_arithmetic(
        chunks in prop::collection::vec((1u32..50, 1u32..50), 1..4),
        blocks in Just((0u32..40).collect::<Vec<_>>()).prop_shuffle(),
        window in prop::option::of(1u32..40),
        softcap in prop::option::of(0.2f32..2.0),
        in_order: bool,
        max_scores in prop::sample::select(vec![MAX_SCORES, 2000, 100]),
    ) {
        let _device = device();
        let mut pool = KvPool::new(SHAPE, 256, Some(1 << 20)).unwrap();
        pool.max_scores = max_scores;
        let tables: [Vec<u32>; 2] =
            if in_order { [(2..8).collect(), (10..16).collect()] } else { [blocks[..6].into(), blocks[6..12].into()] };
        let mut at = (0, 0);
        for (first, second) in chunks {
            let mut batch = Batch::default();
            row(&mut batch, &tables[0], at.0, at.0 + first);
            row(&mut batch, &tables[1], at.1, at.1 + second);
            step(&mut pool, &batch, &[5, 6], window, softcap);
            at = (at.0 + first, at.1 + second);
        }
        let mut batch = Batch::default();
        row(&mut batch, &tables[1], at.1, at.1 + 1);
        step(&mut pool, &batch, &[6], window, softcap);
    }
}

/// The pool is updated in place: a step needs no second pool.
#[test]
fn step_does_not_copy_the_pool() {
    let _device = device();
    let mut pool = KvPool::new(SHAPE, 1 << 16, Some(64 << 20)).unwrap();
    pool.ensure_block(pool.limit() - 1).unwrap();
    let blocks: Vec<u32> = (0..4).collect();
    for position in 0..4 {
        memory::reset_peak_memory().unwrap();
        let before = memory::active_memory().unwrap();
        assert!(before > 60 << 20, "the pool takes {before} bytes");
        let mut batch = Batch::default();
        row(&mut batch, &blocks, position, position + 1);
        step(&mut pool, &batch, &[1], None, None);
        let more = memory::peak_memory().unwrap().saturating_sub(before);
        assert!(more < 1 << 20, "a step took {more} bytes");
    }
}

/// Rows of a decoding step in scattered blocks: gathered in groups within the limits.
#[test]
fn decoding_rows_attend_in_groups_without_mixing() {
    let _device = device();
    let mut pool = KvPool::new(SHAPE, 256, Some(1 << 20)).unwrap();
    let tables: Vec<Vec<u32>> = (0..7).map(|row| vec![row + 14, row, row + 7]).collect();
    let mut fill = Batch::default();
    let mut decode = Batch::default();
    for (table, length) in tables.iter().zip([70, 3, 40, 65, 9, 33, 90]) {
        row(&mut fill, table, 0, length);
        row(&mut decode, table, length, length + 1);
    }
    let sequences: Vec<u32> = (20..27).collect();
    step(&mut pool, &fill, &sequences, None, None);
    // Room for two rows of eight blocks.
    pool.max_scores = 2 * HEADS * 8 * BLOCK_SIZE as usize;
    // Kernels that read blocks in place do not support softcaps.
    for softcap in [None, Some(1.0)] {
        step(&mut pool, &decode, &sequences, None, softcap);
    }
}

/// The temporary memory of a chunk is bounded for every length of the text before it. Without splitting, the scores of this
/// chunk would take 512 MiB, and intermediate results five times as much again.
#[test]
fn chunk_of_a_long_prompt_has_bounded_memory() {
    let _device = device();
    let (heads, chunk, context) = (32, 512, 8192);
    let mut pool = KvPool::new(SHAPE, context, Some(64 << 20)).unwrap();
    let blocks: Vec<u32> = (0..context / BLOCK_SIZE).collect();
    pool.ensure_block(context / BLOCK_SIZE).unwrap();
    let mut batch = Batch::default();
    row(&mut batch, &blocks, context - chunk, context);
    let tensor = |heads: i32| ops::ones::<f32>(&[chunk as i32, heads, WIDTH as i32]).unwrap();
    let (keys, queries) = (tensor(2), tensor(heads));
    transforms::eval(pool.arrays().chain([&keys, &queries])).unwrap();
    memory::clear_cache().unwrap();
    memory::reset_peak_memory().unwrap();
    let before = memory::active_memory().unwrap();
    for softcap in [None, Some(30.0)] {
        let mut step = KvStep::new(&mut pool, &batch).unwrap();
        step.write(1, &keys, &keys).unwrap();
        let output = step
            .attend(1, &queries, AttentionParams { scale: 1.0, window: None, softcap, sinks: None })
            .unwrap();
        output.eval().unwrap();
        let more = memory::peak_memory().unwrap().saturating_sub(before);
        assert!(more < 128 << 20, "with a cap of {softcap:?}: {} MiB", more >> 20);
    }
}

/// Keys and values have the type in which the model computes.
#[test]
fn half_precision_pool_takes_half_the_memory() {
    let _device = device();
    let half = KvShape { dtype: Dtype::Bfloat16, ..SHAPE };
    assert_eq!(half.block_bytes() * 2, SHAPE.block_bytes());
    let mut pool = KvPool::new(half, 256, Some(100 * half.block_bytes())).unwrap();
    assert_eq!((pool.limit(), pool.allocated_bytes()), (100, 32 * half.block_bytes()));
    let mut batch = Batch::default();
    row(&mut batch, &[3, 1], 0, 40);
    let of =
        |heads: i32| ops::ones::<f32>(&[40, heads, WIDTH as i32]).unwrap().as_dtype(Dtype::Bfloat16).unwrap();
    let mut step = KvStep::new(&mut pool, &batch).unwrap();
    step.write(1, &of(2), &of(2)).unwrap();
    let params = AttentionParams { scale: 1.0, window: None, softcap: None, sinks: None };
    let output = step.attend(1, &of(4), params).unwrap();
    assert_eq!(output.dtype(), Dtype::Bfloat16);
    transforms::eval(pool.arrays().chain([&output])).unwrap();
    assert!(pool.arrays().all(|array| array.dtype() == Dtype::Bfloat16));
    let output = output.as_dtype(Dtype::Float32).unwrap();
    output.eval().unwrap();
    assert!(output.as_slice::<f32>().iter().all(|x| (x - 1.0).abs() < 0.02));
}

#[test]
fn pool_starts_small_and_keeps_its_limit() {
    let _device = device();
    let block_bytes = 2 * 2 * 2 * 8 * 4 * u64::from(BLOCK_SIZE);
    let pool = KvPool::new(SHAPE, 256, Some(100 * block_bytes + 1)).unwrap();
    assert_eq!((pool.limit(), pool.blocks), (100, INITIAL_BLOCKS));
    // Eight contexts of eight blocks.
    assert_eq!(KvPool::new(SHAPE, 256, None).unwrap().limit(), 64);
    assert_eq!(KvPool::new(SHAPE, 256, Some(0)).unwrap().limit(), 1);
    assert_eq!(KvPool::new(SHAPE, u32::MAX, Some(u64::MAX)).unwrap().limit(), i32::MAX as u32 / BLOCK_SIZE);
}

#[test]
fn resize_keeps_used_blocks_and_frees_the_rest() {
    let _device = device();
    let mut pool = KvPool::new(SHAPE, 1 << 16, Some(64 << 20)).unwrap();
    let blocks: Vec<u32> = (40..44).collect();
    let mut batch = Batch::default();
    row(&mut batch, &blocks, 0, 100);
    step(&mut pool, &batch, &[7], None, None);
    pool.ensure_block(pool.limit() - 1).unwrap();
    memory::clear_cache().unwrap();
    let before = memory::active_memory().unwrap();
    pool.resize(50, 44).unwrap();
    memory::clear_cache().unwrap();
    assert_eq!((pool.limit(), pool.blocks), (50, 44));
    let freed = before - memory::active_memory().unwrap();
    assert!(freed > 60 << 20, "{freed} bytes were freed");
    // Earlier keys are intact.
    let mut batch = Batch::default();
    row(&mut batch, &blocks, 100, 101);
    step(&mut pool, &batch, &[7], None, None);
    // It grows again, up to its limit.
    pool.ensure_block(45).unwrap();
    assert_eq!(pool.blocks, 50);
    pool.resize(2, 0).unwrap();
    assert_eq!((pool.limit(), pool.blocks), (2, 2));
}
