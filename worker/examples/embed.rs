//! Texts a second of the engine that reads alone, without sockets, and of the tokeniser before it:
//! `cargo run --release -p worker --example embed -- MODEL_DIR TEXTS.json [ROUNDS]`.
#![expect(clippy::print_stdout, reason = "a command-line tool")]

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use anyhow::Context;
use ipc_proto::worker::ModelKind;
use tokio::sync::oneshot;
use worker::adapters::sentence::Sentence;
use worker::adapters::tokenizer::Tokenizer;
use worker::embed::{Engine, Job, Piece};
use worker::engine::command::Command;
use worker::engine::counters::Counters;
use worker::engine::places::Places;
use worker::mlx::reader;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, texts] = [0, 1].map(|at| arguments.get(at).map(Path::new));
    let folder = folder.context("which model folder?")?;
    let rounds: usize = arguments.get(2).map_or(Ok(7), |text| text.parse())?;
    let texts = std::fs::read_to_string(texts.context("which texts?")?)?;
    let texts: Vec<String> = serde_json::from_str(&texts)?;
    let sentence = Sentence::read(folder).map_err(anyhow::Error::msg)?;
    let most = sentence.max_tokens.unwrap_or(512) as usize;
    let tokenizer = Tokenizer::read(folder).map_err(anyhow::Error::msg)?;
    let start = Instant::now();
    let whole = texts.iter().map(|text| tokenizer.encode_whole(text, None, most));
    let pieces: Vec<Piece> = whole
        .map(|whole| whole.map(|whole| Piece { second: whole.tokens.len(), tokens: whole.tokens }))
        .collect::<Result<_, _>>()
        .map_err(anyhow::Error::msg)?;
    let tokens: usize = pieces.iter().map(|piece| piece.tokens.len()).sum();
    println!(
        "{} texts, {tokens} tokens, tokenised in {:.1} ms",
        texts.len(),
        1e3 * start.elapsed().as_secs_f64()
    );
    let reader = reader::load(folder, &sentence, None, &mut |_, _| ())?;
    let (step_tokens, lanes) = (reader.step_tokens(), reader.lanes());
    let (sender, receiver) = mpsc::channel();
    let asking = std::thread::spawn(move || ask(&sender, &pieces, rounds));
    Engine::new(reader, step_tokens, lanes, Arc::new(Counters::default())).run(&receiver);
    asking.join().map_err(|_| anyhow::anyhow!("who asked has panicked"))?
}

fn ask(engine: &mpsc::Sender<Command>, pieces: &[Piece], rounds: usize) -> anyhow::Result<()> {
    let (mut measured, places) = (Vec::new(), Places::new(0, 1));
    // The first round is no part of what is measured.
    for round in 0..=rounds {
        let (reply, answer) = oneshot::channel();
        let place = places.take(ModelKind::Embed)?;
        let start = Instant::now();
        engine.send(Command::Embed(Box::new(Job { pieces: pieces.to_vec(), reply, place })))?;
        answer.blocking_recv()?.map_err(|error| anyhow::anyhow!("{error}"))?;
        if round > 0 {
            measured.push(pieces.len() as f64 / start.elapsed().as_secs_f64());
        }
    }
    engine.send(Command::Drain)?;
    measured.sort_by(f64::total_cmp);
    println!("{:.1} texts a second ({measured:.1?})", measured[measured.len() / 2]);
    Ok(())
}
