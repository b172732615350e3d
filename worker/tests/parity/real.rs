//! Parity of real models: prompts with Transformers, logits and text with mlx-lm.

use ipc_proto::generate::{ChatPrompt, Message, Role};
use serde::Deserialize;
use worker::text::detokenize::Detokenizer;
use worker::text::model_files::ModelFiles;
use worker::weights::loader::Precision;

use crate::driver::{Sequence, agrees, device, follow, goldens, load, prefill, step};
use crate::models::model;

const MODELS: [&str; 3] = ["SmolLM2-135M-Instruct", "toy-qwen2", "toy-qwen3-4bit"];

#[derive(Debug, Deserialize)]
struct Real {
    prompts: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    text: Option<String>,
    messages: Option<Vec<ChatMessage>>,
    tools: Option<serde_json::Value>,
    rendered: Option<String>,
    #[serde(flatten)]
    answer: Option<Answer>,
}

#[derive(Debug, Deserialize)]
struct ChatMessage {
    role: String,
    content: String,
}

#[derive(Debug, Deserialize)]
struct Answer {
    ids: Vec<u32>,
    greedy: Vec<u32>,
    leads: Vec<f32>,
    /// Some token ids and their logits.
    logits: Vec<(usize, f32)>,
    decoded: String,
}

fn read_cases(name: &str) -> Vec<Case> {
    let text = std::fs::read_to_string(goldens().join("real").join(format!("{name}.json"))).unwrap();
    serde_json::from_str::<Real>(&text).unwrap().prompts
}

fn answers(name: &str) -> Vec<Answer> {
    read_cases(name).into_iter().filter_map(|case| case.answer).collect()
}

fn chat(messages: &[ChatMessage], tools: Option<&serde_json::Value>) -> ChatPrompt {
    let role = |role: &str| match role {
        "system" => Role::System,
        "assistant" => Role::Assistant,
        _ => Role::User,
    };
    let message = |from: &ChatMessage| Message {
        role: role(&from.role),
        content: from.content.as_str().into(),
        ..Message::default()
    };
    let template_kwargs = tools.map(|tools| serde_json::json!({ "tools": tools }).to_string());
    ChatPrompt { messages: messages.iter().map(message).collect(), template_kwargs, ..ChatPrompt::default() }
}

#[test]
fn prompt_tokens_match_transformers() {
    for name in MODELS {
        let files = ModelFiles::read(&model(name)).unwrap();
        for case in read_cases(name) {
            let text = case.messages.as_ref().map(|messages| {
                let chat = chat(messages, case.tools.as_ref());
                let (_, template) = files.templates.choose(&chat).unwrap();
                template.render(&chat, None).unwrap().text
            });
            match (case.answer, text) {
                (Some(answer), Some(text)) => {
                    assert_eq!(files.tokenizer.encode(&text, false).unwrap(), answer.ids);
                }
                (Some(answer), None) => {
                    let ids = files.tokenizer.encode(&case.text.unwrap(), true).unwrap();
                    assert_eq!(ids, answer.ids);
                }
                (None, text) => assert_eq!(text, case.rendered),
            }
        }
    }
}

#[test]
fn detokenised_answers_match_transformers() {
    for name in MODELS {
        let files = ModelFiles::read(&model(name)).unwrap();
        for answer in answers(name) {
            let mut detokenizer = Detokenizer::new(files.tokenizer.clone());
            let pieces: Vec<String> = answer.greedy.iter().filter_map(|id| detokenizer.push(*id)).collect();
            assert_eq!(pieces.concat() + &detokenizer.finish(), answer.decoded);
        }
    }
}

/// Decodes the first prompt alone, then all prompts in one batch.
#[test]
fn logits_and_greedy_text_match_mlx_lm() {
    let _device = device();
    for name in MODELS {
        let answers = answers(name);
        let mut runner = load(&model(name), Precision::Float32);
        let mut rows: Vec<Sequence> = Vec::new();
        let mut logits: Vec<Vec<f32>> = Vec::new();
        for (first, answer) in (0u32..).step_by(4).zip(&answers) {
            let mut row = Sequence::new(&answer.ids, &[first, first + 1, first + 2, first + 3]);
            let ours = prefill(&mut runner, &mut row, usize::MAX);
            let off = answer.logits.iter().map(|(id, value)| (ours[*id] - value).abs()).fold(0.0, f32::max);
            assert!(off <= 1e-3, "{name}: logits are off by {off}");
            rows.push(row);
            logits.push(ours);
        }
        let alone = &answers[0];
        let mut row = rows[0].clone();
        let checked = follow(&mut runner, &mut row, logits[0].clone(), &alone.greedy, &alone.leads);
        assert!(checked > 50, "{name}: only {checked} tokens have a clear lead");
        for at in 0..answers[0].greedy.len() {
            for ((row, logits), answer) in rows.iter_mut().zip(&logits).zip(&answers) {
                agrees(logits, answer.greedy[at], answer.leads[at], at);
                row.push(answer.greedy[at]);
            }
            logits = step(&mut runner, &mut rows.iter_mut().collect::<Vec<_>>(), 1);
        }
    }
}
