//! Measures the speed and peak memory of the model alone, without scheduler and sockets:
//! `cargo run --release -p worker --example decode -- MODEL_DIR [PROMPT_TOKENS] [STEPS] [ROWS]`.
#![expect(clippy::print_stdout, reason = "a command-line tool")]

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use worker::engine::runner::{Batch, Row, RowSampling, Runner};
use worker::kv::BLOCK_SIZE;
use worker::mlx::{self, LoadOptions, MlxRunner};

/// Prompt tokens of a step; the default of the engine.
const CHUNK: u32 = 512;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = arguments.first().context("which model folder?")?;
    let number = |at: usize, default: u32| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let (prompt, steps) = (number(1, 128)?, number(2, 64)?);
    let start = Instant::now();
    let mut runner = mlx::load(Path::new(folder), &LoadOptions::default(), &mut |_, _| ())?;
    println!("loaded in {:.2} s: {:?}", start.elapsed().as_secs_f64(), runner.capacity());
    let all = match arguments.get(3) {
        Some(rows) => vec![rows.parse()?],
        None => vec![1, 2, 4, 8, 16],
    };
    for rows in all {
        measure(&mut runner, rows, prompt, steps)?;
    }
    Ok(())
}

fn measure(runner: &mut MlxRunner, rows: u32, prompt: u32, steps: u32) -> anyhow::Result<()> {
    let blocks = (prompt + steps).div_ceil(BLOCK_SIZE);
    // The first call grows the pool and is not measured.
    prefill(runner, rows, prompt, blocks)?;
    let start = Instant::now();
    let mut last = prefill(runner, rows, prompt, blocks)?;
    let prefill = start.elapsed().as_secs_f64();
    let start = Instant::now();
    for position in prompt..prompt + steps {
        let mut batch = Batch::default();
        for row in 0..rows {
            push(&mut batch, row * blocks, blocks, position, &[last[row as usize]]);
        }
        last = step(runner, &batch)?;
    }
    let decode = start.elapsed().as_secs_f64() / f64::from(steps);
    println!(
        "{rows} rows: prefill {:.0} tok/s, decode {:.2} ms a step, {:.1} tok/s",
        f64::from(rows * prompt) / prefill,
        decode * 1e3,
        f64::from(rows) / decode,
    );
    let memory = runner.memory();
    let beside = memory.peak.saturating_sub(memory.weights + memory.kv_allocated);
    println!(
        "  at most {} MiB beside weights ({}) and KV ({})",
        beside >> 20,
        memory.weights >> 20,
        memory.kv_allocated >> 20
    );
    Ok(())
}

fn step(runner: &mut MlxRunner, batch: &Batch) -> anyhow::Result<Vec<u32>> {
    runner.launch(batch)?;
    Ok(runner.finish(batch, &[])?.tokens)
}

fn prefill(runner: &mut MlxRunner, rows: u32, prompt: u32, blocks: u32) -> anyhow::Result<Vec<u32>> {
    let mut first = Vec::new();
    for row in 0..rows {
        let tokens: Vec<u32> = (0..prompt).map(|i| 1000 + (i * 37 + row * 11) % 5000).collect();
        let mut sampled = Vec::new();
        for (position, chunk) in (0..prompt).step_by(CHUNK as usize).zip(tokens.chunks(CHUNK as usize)) {
            let mut batch = Batch::default();
            push(&mut batch, row * blocks, blocks, position, chunk);
            sampled = step(runner, &batch)?;
        }
        first.extend(sampled);
    }
    Ok(first)
}

fn push(batch: &mut Batch, first_block: u32, blocks: u32, position: u32, tokens: &[u32]) {
    let start = batch.tokens.len();
    batch.tokens.extend_from_slice(tokens);
    let positions = position..position + tokens.len() as u32;
    batch.positions.extend(positions.clone());
    batch.slots.extend(positions.map(|p| first_block * BLOCK_SIZE + p));
    let end = batch.tokens.len();
    let blocks = (first_block..first_block + blocks).collect();
    batch.rows.push(Row { tokens: start..end, blocks, samples: vec![RowSampling::GREEDY], ..Row::default() });
}
