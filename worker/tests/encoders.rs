//! Parity of encoders with Transformers and sentence-transformers. `cargo xtask goldens` makes the golden files.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipc_proto::embed::{EmbedRequest, Input};
use serde::Deserialize;
use worker::embed::admission::EncoderModel;
use worker::embed::{BatchRunner, EncoderInput};
use worker::mlx::encoder_runner::{self, EncoderRunner};
use worker::text::sentence_transformers::SentenceConfig;
use worker::text::tokenizer::Tokenizer;
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

/// Serialises tests: MLX's CPU streams are shared by the process.
static DEVICE: Mutex<()> = Mutex::new(());

fn device() -> MutexGuard<'static, ()> {
    DEVICE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/reading")
}

/// Token ids, starts of second texts, and the results of each text alone.
#[derive(Debug, Deserialize)]
struct Golden {
    texts: Vec<Vec<u32>>,
    second: Vec<usize>,
    results: Vec<Vec<f32>>,
}

fn load(folder: &Path) -> EncoderRunner {
    let sentence = SentenceConfig::read(folder).unwrap();
    encoder_runner::load(folder, &sentence, Some(Precision::Float32), &mut |_, _| ()).unwrap()
}

/// Runs two overlapping steps, as the engine does.
fn run(runner: &mut EncoderRunner, inputs: &[EncoderInput]) -> Vec<Vec<f32>> {
    runner.launch(inputs).unwrap();
    runner.launch(inputs).unwrap();
    let results = runner.finish().unwrap();
    assert_eq!(results, runner.finish().unwrap());
    results
}

fn toy(name: &str) -> (EncoderRunner, Vec<EncoderInput>, Vec<Vec<f32>>) {
    let folder = goldens().join(name);
    let text = std::fs::read_to_string(folder.join("golden.json")).unwrap();
    let Golden { texts, second, results } = serde_json::from_str(&text).unwrap();
    let inputs =
        texts.into_iter().zip(second).map(|(tokens, second_start)| EncoderInput { tokens, second_start });
    (load(&folder), inputs.collect(), results)
}

fn distance(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn single_text_matches_transformers() {
    let _device = device();
    for name in TOYS {
        let (mut runner, inputs, results) = toy(name);
        for (input, theirs) in inputs.iter().zip(&results) {
            let ours = run(&mut runner, std::slice::from_ref(input));
            let off = distance(&ours[0], theirs);
            assert!(off <= 1e-4, "{name}, {} tokens: off by {off}", input.tokens.len());
        }
    }
}

/// Runs texts of 1 to 40 tokens in one step, in several orders.
#[test]
fn result_does_not_depend_on_other_texts_or_padding() {
    let _device = device();
    for name in TOYS {
        let (mut runner, mut inputs, mut results) = toy(name);
        for _ in 0..inputs.len() {
            let ours = run(&mut runner, &inputs);
            for (ours, theirs) in ours.iter().zip(&results) {
                let off = distance(ours, theirs);
                assert!(off <= 1e-4, "{name} of {} texts: off by {off}", inputs.len());
            }
            inputs.rotate_left(1);
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
fn minilm_matches_sentence_transformers() {
    let _device = device();
    let folder = models::model("all-MiniLM-L6-v2");
    let text = std::fs::read_to_string(goldens().join("all-MiniLM-L6-v2.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    let tokenizer = Tokenizer::read(&folder).unwrap();
    let max_tokens = SentenceConfig::read(&folder).unwrap().max_tokens.unwrap() as usize;
    let mut runner = load(&folder);
    let inputs: Vec<EncoderInput> = cases
        .iter()
        .map(|case| {
            let whole = tokenizer.encode_input(&case.text, None, max_tokens).unwrap();
            assert_eq!(whole.tokens.len(), case.tokens, "{}", case.text);
            EncoderInput { second_start: whole.tokens.len(), tokens: whole.tokens }
        })
        .collect();
    assert!(inputs.iter().any(|input| input.tokens.len() == max_tokens), "one text is truncated");
    let together = run(&mut runner, &inputs);
    for ((case, input), together) in cases.iter().zip(&inputs).zip(&together) {
        let alone = run(&mut runner, std::slice::from_ref(input)).remove(0);
        assert!(distance(&alone, together) <= 1e-5, "alone and together: {}", case.text);
        // Both vectors have norm 1.
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

/// A toy like EmbeddingGemma: two layers after pooling, special tokens at both ends, and prompts without a default.
#[test]
fn embedding_gemma_toy_with_prompts_matches_sentence_transformers() {
    let _device = device();
    let folder = goldens().join("gemma3_text");
    let text = std::fs::read_to_string(folder.join("sentences.json")).unwrap();
    let cases: Vec<Prompted> = serde_json::from_str(&text).unwrap();
    let sentence = SentenceConfig::read(&folder).unwrap();
    assert!(sentence.dense.len() == 2 && sentence.default_prompt.is_none());
    let mut runner = load(&folder);
    let (max_tokens, width) = (sentence.max_tokens.unwrap(), sentence.dense[1].outputs as u32);
    let tokenizer = Arc::new(Tokenizer::read(&folder).unwrap());
    let model =
        EncoderModel { tokenizer, config: sentence, max_tokens, vocabulary: 352, width, matryoshka: true };
    let mut longest = 0;
    for case in &cases {
        let texts = vec![Input::Text(case.text.clone())];
        let request = EmbedRequest {
            inputs: texts,
            dimensions: None,
            max_tokens: None,
            truncate: true,
            prompt_name: case.prompt.clone(),
            prompt_candidates: Vec::new(),
        };
        let inputs = model.embed_inputs(request, &|| true).unwrap();
        assert_eq!(inputs[0].tokens, case.tokens, "{:?} {}", case.prompt, case.text);
        longest = longest.max(case.tokens.len());
        let off = distance(&run(&mut runner, &inputs)[0], &case.vector);
        assert!(off <= 1e-4, "{:?} {}: off by {off}", case.prompt, case.text);
    }
    assert!(longest == max_tokens as usize, "one text is truncated");
}
