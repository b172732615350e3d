//! Models that read texts say what Transformers and sentence-transformers say. The golden files are made by
//! `cargo xtask goldens`.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipc_proto::embed::{EmbedRequest, Input};
use serde::Deserialize;
use worker::adapters::sentence::Sentence;
use worker::adapters::tokenizer::Tokenizer;
use worker::embed::admission::Reader;
use worker::embed::{Piece, Runner};
use worker::mlx::reader::{self, MlxReader};
use worker::weights::loader::Precision;

#[path = "common/models.rs"]
mod models;

const TOYS: [&str; 11] = [
    "bert",
    "bert-cls",
    "bert-max",
    "bert-weighted",
    "xlm-roberta",
    "modernbert",
    "qwen3",
    "gemma3_text",
    "bert-cross",
    "xlm-roberta-cross",
    "modernbert-cross",
];

/// MLX's CPU streams are shared by the process.
static DEVICE: Mutex<()> = Mutex::new(());

fn device() -> MutexGuard<'static, ()> {
    DEVICE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/reading")
}

/// Token ids, where second texts begin, and what becomes of each alone.
#[derive(Debug, Deserialize)]
struct Golden {
    texts: Vec<Vec<u32>>,
    second: Vec<usize>,
    results: Vec<Vec<f32>>,
}

fn load(folder: &Path) -> MlxReader {
    let sentence = Sentence::read(folder).unwrap();
    reader::load(folder, &sentence, Some(Precision::Float32), &mut |_, _| ()).unwrap()
}

/// Twice at once, as the engine overlaps steps.
fn run(reader: &mut MlxReader, pieces: &[Piece]) -> Vec<Vec<f32>> {
    reader.launch(pieces).unwrap();
    reader.launch(pieces).unwrap();
    let results = reader.finish().unwrap();
    assert_eq!(results, reader.finish().unwrap());
    results
}

fn toy(name: &str) -> (MlxReader, Vec<Piece>, Vec<Vec<f32>>) {
    let folder = goldens().join(name);
    let text = std::fs::read_to_string(folder.join("golden.json")).unwrap();
    let Golden { texts, second, results } = serde_json::from_str(&text).unwrap();
    let pieces = texts.into_iter().zip(second).map(|(tokens, second)| Piece { tokens, second });
    (load(&folder), pieces.collect(), results)
}

fn distance(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn each_text_alone_is_what_transformers_says() {
    let _device = device();
    for name in TOYS {
        let (mut reader, pieces, results) = toy(name);
        for (piece, theirs) in pieces.iter().zip(&results) {
            let ours = run(&mut reader, std::slice::from_ref(piece));
            let off = distance(&ours[0], theirs);
            assert!(off <= 1e-4, "{name}, {} tokens: off by {off}", piece.tokens.len());
        }
    }
}

/// Texts of 1 to 40 tokens in one step, in several orders.
#[test]
fn a_text_does_not_depend_on_its_company_or_padding() {
    let _device = device();
    for name in TOYS {
        let (mut reader, mut pieces, mut results) = toy(name);
        for _ in 0..pieces.len() {
            let ours = run(&mut reader, &pieces);
            for (ours, theirs) in ours.iter().zip(&results) {
                let off = distance(ours, theirs);
                assert!(off <= 1e-4, "{name} of {} texts: off by {off}", pieces.len());
            }
            pieces.rotate_left(1);
            results.rotate_left(1);
        }
    }
}

#[derive(Debug, Deserialize)]
struct Case {
    text: String,
    tokens: usize,
    vector: Vec<f32>,
}

#[test]
fn minilm_is_what_sentence_transformers_says() {
    let _device = device();
    let folder = models::model("all-MiniLM-L6-v2");
    let text = std::fs::read_to_string(goldens().join("all-MiniLM-L6-v2.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    let tokenizer = Tokenizer::read(&folder).unwrap();
    let most = Sentence::read(&folder).unwrap().max_tokens.unwrap() as usize;
    let mut reader = load(&folder);
    let pieces: Vec<Piece> = cases
        .iter()
        .map(|case| {
            let whole = tokenizer.encode_whole(&case.text, None, most).unwrap();
            assert_eq!(whole.tokens.len(), case.tokens, "{}", case.text);
            Piece { second: whole.tokens.len(), tokens: whole.tokens }
        })
        .collect();
    assert!(pieces.iter().any(|piece| piece.tokens.len() == most), "one is cut");
    let together = run(&mut reader, &pieces);
    for ((case, piece), together) in cases.iter().zip(&pieces).zip(&together) {
        let alone = run(&mut reader, std::slice::from_ref(piece)).remove(0);
        assert!(distance(&alone, together) <= 1e-5, "alone and together: {}", case.text);
        // Both have length 1.
        let cosine: f32 = together.iter().zip(&case.vector).map(|(a, b)| a * b).sum();
        assert!(cosine >= 0.9999, "{}: {cosine}", case.text);
    }
}

#[derive(Debug, Deserialize)]
struct Prompted {
    text: String,
    prompt: Option<String>,
    tokens: Vec<u32>,
    vector: Vec<f32>,
}

/// A toy that is made like EmbeddingGemma: two layers after pooling, special tokens at both ends, prompts none of which is the default.
#[test]
fn prompts_and_layers_of_embedding_gemma_are_what_sentence_transformers_says() {
    let _device = device();
    let folder = goldens().join("gemma3_text");
    let text = std::fs::read_to_string(folder.join("sentences.json")).unwrap();
    let cases: Vec<Prompted> = serde_json::from_str(&text).unwrap();
    let sentence = Sentence::read(&folder).unwrap();
    assert!(sentence.dense.len() == 2 && sentence.default_prompt.is_none());
    let mut runner = load(&folder);
    let (max_tokens, width) = (sentence.max_tokens.unwrap(), sentence.dense[1].outputs as u32);
    let tokenizer = Arc::new(Tokenizer::read(&folder).unwrap());
    let reader = Reader { tokenizer, sentence, max_tokens, vocabulary: 352, width, matryoshka: true };
    let mut longest = 0;
    for case in &cases {
        let inputs = vec![Input::Text(case.text.clone())];
        let request =
            EmbedRequest { inputs, dimensions: None, truncate: true, prompt_name: case.prompt.clone() };
        let pieces = reader.pieces(request).unwrap();
        assert_eq!(pieces[0].tokens, case.tokens, "{:?} {}", case.prompt, case.text);
        longest = longest.max(case.tokens.len());
        let off = distance(&run(&mut runner, &pieces)[0], &case.vector);
        assert!(off <= 1e-4, "{:?} {}: off by {off}", case.prompt, case.text);
    }
    assert!(longest == max_tokens as usize, "one is cut");
}
