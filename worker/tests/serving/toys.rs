//! Parity of toy models with mlx-lm through the whole engine: alone, with a cached prompt, and in a batch. Covers windows,
//! adapters and blocks that are freed while a sequence runs.

use std::path::{Path, PathBuf};

use ipc_proto::generate::{Logprobs, Prompt, Submission};
use serde::Deserialize;
use tempfile::TempDir;
use worker::engine::runner::{Batch, Row, RowSampling, Runner};
use worker::kv::BLOCK_SIZE;
use worker::mlx::{self, LoadOptions};

use super::harness::{Gateway, Worker, edited, text};
use crate::made::Toy;
use crate::models::model;
use crate::{SMOL, finished};

/// Smallest lead over the runner-up that is safe from rounding.
const CLEAR_LEAD: f32 = 0.05;

#[derive(Deserialize)]
struct Golden {
    prompt: Vec<u32>,
    greedy: Vec<u32>,
    leads: Vec<f32>,
}

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn golden(folder: &Path) -> Golden {
    read_golden(&folder.join("golden.json"))
}

fn read_golden(file: &Path) -> Golden {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// A toy with some changed fields and the tokenizer of a real model. Its vocabulary is the first tokens of it.
fn toy(name: &str, changes: &[(&str, serde_json::Value)]) -> TempDir {
    let toy = Toy::open(name);
    let folder = tempfile::tempdir().unwrap();
    for file in ["model.safetensors", "golden.json"] {
        std::fs::copy(toy.path().join(file), folder.path().join(file)).unwrap();
    }
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(model(SMOL).join(file), folder.path().join(file)).unwrap();
    }
    let config = std::fs::read_to_string(toy.path().join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    for (field, value) in changes {
        config[*field] = value.clone();
    }
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    folder
}

/// A request for log probabilities, so that every token has a delta, even without text.
fn request(id: u64, prompt: &[u32], max_tokens: u32) -> Submission {
    edited(text(id, "", max_tokens), |submission| {
        submission.generation.prompt = Prompt::Tokens(prompt.to_vec());
        submission.generation.ignore_eos = true;
        submission.generation.logprobs = Some(Logprobs { top: 0, prompt: false });
    })
}

/// Runs one request alone; returns its tokens and the number of cached prompt tokens.
async fn run_alone(gateway: &mut Gateway, prompt: &[u32], max_tokens: u32) -> (Vec<u32>, u32) {
    gateway.submit(request(0, prompt, max_tokens)).await.unwrap();
    let answer = gateway.answers(1).await.remove(0);
    let cached = finished(&answer).1.cached_tokens;
    (answer.tokens, cached)
}

/// The tokens before the first one without a clear lead.
fn clear_prefix<'a>(golden: &Golden, tokens: &'a [u32]) -> &'a [u32] {
    let unsure = golden.leads.iter().position(|lead| *lead <= CLEAR_LEAD).unwrap_or(golden.leads.len());
    assert!(unsure >= 5, "only {unsure} tokens have a clear lead");
    &tokens[..unsure]
}

async fn assert_parity(folder: &Path, golden: &Golden, arguments: &[&str]) {
    let worker = Worker::start(folder, false, arguments);
    let mut gateway = worker.gateway(1).await;
    let count = golden.greedy.len() as u32;
    let (first, cached) = run_alone(&mut gateway, &golden.prompt, count).await;
    assert_eq!((clear_prefix(golden, &first), cached), (clear_prefix(golden, &golden.greedy), 0));
    let (again, cached) = run_alone(&mut gateway, &golden.prompt, count).await;
    assert_eq!((&again, cached), (&first, 32), "with a cached prompt");
    // Beside requests of other lengths, which share its prefix.
    let lengths = [40, 33, 5, 17];
    for (id, length) in (0..).zip(lengths) {
        gateway.submit(request(id, &golden.prompt[..length], count)).await.unwrap();
    }
    let together = gateway.answers(lengths.len()).await;
    assert_eq!(together[0].tokens, first, "in a batch");
    for (length, answer) in lengths.into_iter().zip(&together).skip(1) {
        assert_eq!(run_alone(&mut gateway, &golden.prompt[..length], count).await.0, answer.tokens);
    }
}

/// Requests without log probabilities, which may draft.
fn plain_request(id: u64, golden: &Golden) -> Submission {
    edited(request(id, &golden.prompt, golden.greedy.len() as u32), |submission| {
        submission.generation.logprobs = None;
    })
}

/// The state of LFM2's convolutions follows its text through chunks, drafts, preemption and another worker.
#[tokio::test]
async fn text_of_a_model_with_convolutions_is_always_the_same() {
    assert_same_text("lfm2-fp32", &["--draft-tokens", "--draft-model"]).await;
}

/// So do the states of Qwen 3.5's linear attention, but for drafts, which are off.
#[tokio::test]
async fn text_of_a_model_with_recurrent_states_is_always_the_same() {
    assert_same_text("qwen3_5-fp32", &[]).await;
}

#[tokio::test]
async fn text_of_a_model_with_recurrent_states_and_experts_is_always_the_same() {
    assert_same_text("qwen3_5_moe-fp32", &[]).await;
}

#[tokio::test]
async fn text_of_a_model_with_convolutions_and_experts_is_always_the_same() {
    assert_same_text("lfm2_moe-fp32", &["--draft-model"]).await;
}

/// Gemma 4 has heads of two widths, windows, and layers that read the keys of others.
#[tokio::test]
async fn text_of_a_model_with_shared_keys_is_always_the_same() {
    assert_same_text("gemma4-fp32", &["--draft-model"]).await;
}

/// `drafting`: the options with which the model must draft; empty if it never may. Text that repeats nothing has no look-up.
async fn assert_same_text(name: &str, drafting: &[&str]) {
    let folder = toy(name, &[]);
    let golden = golden(folder.path());
    assert_parity(folder.path(), &golden, &[]).await;
    assert_parity(folder.path(), &golden, &["--prefill-tokens", "7"]).await;
    let count = golden.greedy.len() as u32;
    let whole = {
        let worker = Worker::start(folder.path(), false, &[]);
        run_alone(&mut worker.gateway(1).await, &golden.prompt, count).await.0
    };
    let draft = folder.path().to_str().unwrap();
    for arguments in [["--draft-tokens", "4"], ["--draft-model", draft]] {
        let worker = Worker::start(folder.path(), false, &arguments);
        let mut gateway = worker.gateway(1).await;
        gateway.submit(plain_request(0, &golden)).await.unwrap();
        let answer = gateway.answers(1).await.remove(0);
        // Tokens without text of their own belong to no delta.
        assert!(answer.tokens.len() > 20 && whole.starts_with(&answer.tokens), "{arguments:?}: {answer:?}");
        let made = gateway.until(|health| health.running == 0).await.drafts;
        if drafting.is_empty() {
            assert_eq!(made.proposed, 0, "{arguments:?}");
            continue;
        }
        if drafting.contains(&arguments[0]) {
            // The text repeats little, so look-up is mostly wrong; a model that drafts for itself is right.
            let right = arguments[0] == "--draft-tokens" || made.accepted > 0;
            assert!(made.proposed > 0 && right, "{arguments:?}: {made:?}");
        }
    }
    // A pool for about half of the requests.
    let worker = Worker::start(folder.path(), false, &["--kv-mib", "1"]);
    let mut gateway = worker.gateway(1).await;
    let requests = 32;
    for id in 0..requests {
        gateway.submit(request(id, &golden.prompt, count)).await.unwrap();
    }
    for answer in gateway.answers(requests as usize).await {
        assert_eq!(answer.tokens, whole, "after preemption");
    }
    let health = gateway.until(|health| health.running == 0).await;
    assert!(health.steps > u64::from(count) + 5, "only preemption explains so many steps: {health:?}");
    // The requests of a worker that crashed go on in another one.
    let worker = Worker::start(folder.path(), false, &[]);
    let mut gateway = worker.gateway(1).await;
    let cuts: Vec<Vec<u32>> = [1, 9, 24, 25, 55, 63].map(|cut| whole[..cut].to_vec()).into();
    for (id, generated) in (0..).zip(&cuts) {
        let resumed = edited(request(id, &golden.prompt, count), |submission| {
            submission.choices[0].generated = generated.clone();
        });
        gateway.submit(resumed).await.unwrap();
    }
    for (answer, generated) in gateway.answers_after(&cuts).await.iter().zip(&cuts) {
        assert_eq!(answer.tokens, whole, "after {} tokens", generated.len());
    }
}

/// Attention over one latent vector of each token.
#[tokio::test]
async fn text_of_a_model_with_latent_attention_is_always_the_same() {
    assert_same_text("deepseek_v3-fp32", &["--draft-model"]).await;
}

/// Windows of eight tokens in some layers, and outputs of 64 tokens.
#[tokio::test]
async fn models_with_windows_match_mlx_lm_past_the_window() {
    for name in
        ["gemma3_text-fp32", "gemma3-fp32", "gpt_oss-fp32", "olmo3-fp32", "cohere2-fp32", "exaone4-fp32"]
    {
        let folder = toy(name, &[]);
        assert_parity(folder.path(), &golden(folder.path()), &[]).await;
    }
}

/// Interleaved coordinates, norms of another span, and growing queries, whose prompt is cached.
#[tokio::test]
async fn models_with_other_attention_match_mlx_lm_with_a_cached_prompt() {
    for name in ["glm4_moe-fp32", "minimax_m2-fp32", "ministral3-fp32", "hunyuan_v1_dense-fp32"] {
        let folder = toy(name, &[]);
        assert_parity(folder.path(), &golden(folder.path()), &[]).await;
    }
}

/// The original context has 64 tokens. Longer texts have other rotary factors.
#[tokio::test]
async fn longrope_text_beyond_the_original_context_matches_transformers() {
    let golden = read_golden(&goldens().join("phi3-fp32/transformers.json"));
    let clear = golden.prompt.len() + clear_prefix(&golden, &golden.greedy).len();
    assert!(golden.prompt.len() <= 64 && clear > 64 + 5, "only {clear} tokens are clear");
    let folder = toy("phi3-fp32", &[]);
    assert_parity(folder.path(), &golden, &[]).await;
}

#[tokio::test]
async fn adapted_model_matches_mlx_lm_and_differs_from_the_base() {
    let folder = toy("llama-fp32", &[]);
    let adapter = goldens().join("adapters/lora");
    let with = golden(&adapter.join("llama-fp32"));
    assert_parity(folder.path(), &with, &["--adapter", adapter.to_str().unwrap()]).await;
    let without = golden(&goldens().join("llama-fp32"));
    assert_parity(folder.path(), &without, &[]).await;
    assert!(with.prompt == without.prompt && clear_prefix(&with, &with.greedy)[..5] != without.greedy[..5]);
}

/// Greedy output without the engine: one token per step, and no block is freed.
fn reference(folder: &Path, prompt: &[u32], count: usize) -> Vec<u32> {
    let mut runner = mlx::load(folder, &LoadOptions::default(), &mut |_, _| ()).unwrap();
    let mut tokens = prompt.to_vec();
    let mut computed = 0;
    while tokens.len() < prompt.len() + count {
        let mut batch = Batch::default();
        for position in computed as u32..tokens.len() as u32 {
            batch.tokens.push(tokens[position as usize]);
            batch.positions.push(position);
            batch.slots.push(position);
        }
        let blocks = (0..(tokens.len() as u32).div_ceil(BLOCK_SIZE)).collect();
        let all = 0..batch.tokens.len();
        batch.rows.push(Row { tokens: all, blocks, samples: vec![RowSampling::GREEDY], ..Row::default() });
        runner.launch(&batch).unwrap();
        computed = tokens.len();
        tokens.extend(runner.finish(&batch, &[]).unwrap().tokens);
    }
    tokens.split_off(prompt.len())
}

/// Every layer has a window of 40 tokens, so a text of any length needs at most three blocks.
#[tokio::test]
async fn freeing_blocks_behind_the_window_leaves_the_text_unchanged() {
    let changes = |window: u32| [("sliding_window", window.into()), ("max_position_embeddings", 2048.into())];
    let folder = toy("mistral-fp32", &changes(40));
    let prompt: Vec<u32> = (0..100).map(|n| (7 * n * n + 3 * n) % 160).collect();
    // Compute the reference here and not in parallel: MLX allows one computing thread. The worker is another process.
    let [expected, unbounded] = [40, 2000].map(|window| {
        let folder = toy("mistral-fp32", &changes(window));
        reference(folder.path(), &prompt, 300)
    });
    assert_ne!(expected, unbounded, "the window has an effect");
    let worker = Worker::start(folder.path(), false, &[]);
    let mut gateway = worker.gateway(1).await;
    assert_eq!(run_alone(&mut gateway, &prompt, 300).await, (expected.clone(), 0));
    // Freed blocks stay in the prefix cache.
    assert_eq!(run_alone(&mut gateway, &prompt, 300).await, (expected.clone(), 96));
    for id in 0..4 {
        gateway.submit(request(id, &prompt[..100 - id as usize], 1900)).await.unwrap();
    }
    let before = gateway.control.health(super::harness::context()).await.unwrap().steps;
    let late = gateway.until(|health| health.steps > before + 1000).await;
    assert_eq!(late.running, 4);
    assert!(late.kv_blocks_used <= 4 * 3, "{late:?}");
    let answers = gateway.answers(4).await;
    assert_eq!(answers[0].tokens[..300], expected[..]);
    assert_eq!(gateway.until(|health| health.running == 0).await.kv_blocks_used, 0);
}
