//! Continued assistant messages, and reasoning that ends at its budget.

use ipc_proto::generate::{ChatPrompt, FinishReason, Message, Prompt, Role, Submission};

use super::harness::{chat, edited, text};
use crate::{finished, real, whole};

/// A question with the start of its answer.
fn continued(answer: &str, max_tokens: u32) -> Submission {
    let message = |role, content: &str| Message { role, content: content.into(), ..Message::default() };
    let question = message(Role::User, "What is the capital of France?");
    let messages = vec![question, message(Role::Assistant, answer)];
    let prompt = Prompt::Chat(ChatPrompt { messages, continues: true, ..ChatPrompt::default() });
    edited(text(0, "", max_tokens), |submission| submission.generation.prompt = prompt)
}

#[tokio::test]
async fn started_answer_is_continued() {
    let worker = whole(&[]);
    let mut gateway = worker.gateway(1).await;
    gateway.submit(chat(0, "What is the capital of France?", 12)).await.unwrap();
    let whole = gateway.answers(1).await.remove(0).text;
    let (head, rest) = whole.split_at(whole.find(" of").unwrap());
    gateway.submit(continued(head, 12)).await.unwrap();
    let answer = gateway.answers(1).await.remove(0);
    assert!(answer.text.starts_with(rest), "{head}|{rest}|{}", answer.text);
}

/// The text after the closing tokens is the answer. A worker that resumes the request counts the same.
#[tokio::test]
async fn reasoning_ends_at_its_budget() {
    let worker = real(&["--reasoning-format", "think"]);
    let mut gateway = worker.gateway(1).await;
    let free = continued("<think>Hm. Well, ", 24);
    let bounded = edited(free.clone(), |submission| submission.generation.reasoning_budget = Some(6));
    gateway.submit(bounded.clone()).await.unwrap();
    let answer = gateway.answers(1).await.remove(0);
    let usage = finished(&answer).1;
    // In this model the end marker is several text tokens, which count as reasoning until it is complete.
    assert!((7..14).contains(&usage.reasoning_tokens), "{usage:?}");
    assert!(!answer.text.is_empty() && !answer.text.contains("think"), "{}", answer.text);
    let head = answer.tokens[..8].to_vec();
    gateway
        .submit(edited(bounded, |submission| submission.choices[0].generated = head.clone()))
        .await
        .unwrap();
    let again = gateway.answers_after(&[head]).await.remove(0);
    assert_eq!(
        (&again.tokens, finished(&again).1.reasoning_tokens),
        (&answer.tokens, usage.reasoning_tokens)
    );
    gateway.submit(free).await.unwrap();
    let free = gateway.answers(1).await.remove(0);
    assert_eq!((finished(&free).0, free.text.as_str()), (FinishReason::Length, ""), "it reasons to the end");
    assert_eq!(free.tokens[..6], answer.tokens[..6]);
}
