//! Measures texts per second of the encoder engine, without sockets, and the time of the tokeniser.
//!
//! `cargo run --release -p worker --example embed -- MODEL_DIR TEXTS.json [ROUNDS]`.
#![expect(clippy::print_stdout, reason = "a command-line tool")]

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use anyhow::Context;
use ipc_proto::worker::ModelKind;
use tokio::sync::oneshot;
use worker::embed::{EncoderEngine, EncoderInput, Job};
use worker::engine::admission_limits::AdmissionLimits;
use worker::engine::command::Command;
use worker::engine::counters::Counters;
use worker::mlx::encoder_runner;
use worker::text::sentence_transformers::SentenceConfig;
use worker::text::tokenizer::Tokenizer;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, texts] = [0, 1].map(|at| arguments.get(at).map(Path::new));
    let folder = folder.context("which model folder?")?;
    let rounds: usize = arguments.get(2).map_or(Ok(7), |text| text.parse())?;
    let texts = std::fs::read_to_string(texts.context("which texts?")?)?;
    let texts: Vec<String> = serde_json::from_str(&texts)?;
    let sentence = SentenceConfig::read(folder).map_err(anyhow::Error::msg)?;
    let most = sentence.max_tokens.unwrap_or(512) as usize;
    let tokenizer = Tokenizer::read(folder).map_err(anyhow::Error::msg)?;
    let start = Instant::now();
    let whole = texts.iter().map(|text| tokenizer.encode_input(text, None, most));
    let pieces: Vec<EncoderInput> = whole
        .map(|whole| {
            whole.map(|whole| EncoderInput { second_start: whole.tokens.len(), tokens: whole.tokens })
        })
        .collect::<Result<_, _>>()
        .map_err(anyhow::Error::msg)?;
    let tokens: usize = pieces.iter().map(|piece| piece.tokens.len()).sum();
    println!(
        "{} texts, {tokens} tokens, tokenised in {:.1} ms",
        texts.len(),
        1e3 * start.elapsed().as_secs_f64()
    );
    let runner = encoder_runner::load(folder, &sentence, None, &mut |_, _| ())?;
    let (step_tokens, lanes) = (runner.step_tokens(), runner.lanes());
    let (sender, receiver) = mpsc::channel();
    let client = std::thread::spawn(move || send_rounds(&sender, &pieces, rounds));
    EncoderEngine::new(runner, step_tokens, lanes, Arc::new(Counters::default())).run(&receiver);
    client.join().map_err(|_| anyhow::anyhow!("the client thread panicked"))?
}

fn send_rounds(engine: &mpsc::Sender<Command>, pieces: &[EncoderInput], rounds: usize) -> anyhow::Result<()> {
    let (mut measured, admission_limits) = (Vec::new(), AdmissionLimits::new(0, 1));
    // The first round is a warm-up.
    for round in 0..=rounds {
        let (reply, answer) = oneshot::channel();
        let permit = admission_limits.acquire(ModelKind::Embed, 1, 0)?.swap_remove(0);
        let start = Instant::now();
        engine.send(Command::Embed(Box::new(Job { inputs: pieces.to_vec(), reply, permit })))?;
        answer.blocking_recv()?.map_err(|error| anyhow::anyhow!("{error}"))?;
        if round > 0 {
            measured.push(pieces.len() as f64 / start.elapsed().as_secs_f64());
        }
    }
    engine.send(Command::Drain)?;
    measured.sort_by(f64::total_cmp);
    println!("{:.1} texts per second ({measured:.1?})", measured[measured.len() / 2]);
    Ok(())
}
