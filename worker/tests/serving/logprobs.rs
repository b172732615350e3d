//! Log probabilities of prompts and outputs.

use ipc_proto::generate::{Logprobs, Prompt, Submission, TokenLogprob};

use super::harness::{edited, text};
use crate::{finished, real, whole};

const TOP_5: Option<Logprobs> = Some(Logprobs { top: 5, prompt: true });
const PROMPT: &str = "The capital of France is";

fn scored() -> Submission {
    edited(text(0, PROMPT, 6), |submission| submission.generation.logprobs = TOP_5)
}

fn bytes(tokens: &[TokenLogprob]) -> Vec<u8> {
    tokens.iter().flat_map(|scored| scored.token.bytes.clone()).collect()
}

#[tokio::test]
async fn logprobs_cover_every_token_with_its_alternatives() {
    let worker = real(&[]);
    let mut gateway = worker.gateway(1).await;
    gateway.submit(scored()).await.unwrap();
    let answer = gateway.answers(1).await.remove(0);
    let usage = finished(&answer).1;
    assert_eq!((answer.prompt.len(), answer.logprobs.len()), (usage.prompt_tokens as usize, 6));
    assert_eq!(answer.prompt[0].token.logprob, None);
    assert_eq!(bytes(&answer.prompt), PROMPT.as_bytes());
    assert_eq!(bytes(&answer.logprobs), answer.text.as_bytes());
    for scored in answer.prompt[1..].iter().chain(&answer.logprobs) {
        let own = scored.token.logprob.unwrap();
        let top: Vec<f32> = scored.top.iter().map(|other| other.logprob.unwrap()).collect();
        assert!(top.len() == 5 && top.is_sorted_by(|a, b| a >= b), "{top:?}");
        assert!(own <= top[0] && own < 0.0 && top.iter().map(|l| l.exp()).sum::<f32>() <= 1.0001);
    }
    // Greedy sampling takes the most likely token.
    assert!(answer.logprobs.iter().all(|scored| scored.token == scored.top[0]));
}

/// The prompt is scored in chunks that do not divide it evenly.
#[tokio::test]
async fn output_scores_the_same_as_part_of_a_prompt() {
    let worker = whole(&[]);
    let mut gateway = worker.gateway(1).await;
    gateway.submit(scored()).await.unwrap();
    let answer = gateway.answers(1).await.remove(0);
    let whole = format!("{PROMPT}{}", answer.text);
    let again = edited(scored(), |submission| {
        submission.generation.prompt = Prompt::Text(whole);
        submission.generation.max_tokens = Some(0);
    });
    gateway.submit(again).await.unwrap();
    let again = gateway.answers(1).await.remove(0);
    assert_eq!(finished(&again).1.completion_tokens, 0);
    for (a, b) in again.prompt.iter().skip(answer.prompt.len()).zip(&answer.logprobs) {
        assert_eq!(a.token.bytes, b.token.bytes);
        assert!((a.token.logprob.unwrap() - b.token.logprob.unwrap()).abs() < 1e-3);
    }
}

/// The worker computes these scores over several steps.
#[tokio::test]
async fn long_prompt_is_scored_completely() {
    let worker = whole(&[]);
    let mut gateway = worker.gateway(1).await;
    let long = "The quick brown fox jumps over the lazy dog. ".repeat(20);
    let long = edited(text(0, long.trim_end(), 0), |submission| {
        submission.generation.logprobs = TOP_5;
        submission.generation.max_tokens = Some(0);
    });
    gateway.submit(long).await.unwrap();
    let long = gateway.answers(1).await.remove(0);
    assert_eq!(long.prompt.len(), finished(&long).1.prompt_tokens as usize);
    assert!(long.prompt.len() > 150 && long.prompt[1..].iter().all(|scored| scored.token.logprob.is_some()));
    // Repeated text is likely, also at the start of each chunk.
    let late: f32 = long.prompt[100..].iter().filter_map(|scored| scored.token.logprob).sum();
    assert!(late > -0.5 * (long.prompt.len() - 100) as f32, "{late}");
}

/// The tokens before come from the prefix cache.
#[tokio::test]
async fn scores_from_a_token_on_equal_those_of_the_whole_prompt() {
    let worker = real(&[]);
    let mut gateway = worker.gateway(1).await;
    let long = "The quick brown fox jumps over the lazy dog. ".repeat(20);
    let long = edited(text(0, long.trim_end(), 0), |submission| {
        submission.generation.logprobs = TOP_5;
        submission.generation.max_tokens = Some(0);
    });
    gateway.submit(long.clone()).await.unwrap();
    let whole = gateway.answers(1).await.remove(0);
    let from = whole.prompt.len() - 3;
    gateway.submit(edited(long, |submission| submission.generation.scored_from = from as u32)).await.unwrap();
    let part = gateway.answers(1).await.remove(0);
    assert_eq!(bytes(&part.prompt), bytes(&whole.prompt[from..]));
    for (a, b) in part.prompt.iter().zip(&whole.prompt[from..]) {
        assert!((a.token.logprob.unwrap() - b.token.logprob.unwrap()).abs() < 1e-3);
    }
    assert!(finished(&part).1.cached_tokens > 100, "{:?}", finished(&part).1);
}
