//! Turns that have begun: gone on with, and thinking that is closed when its tokens are used up.

use ipc_proto::generate::{ChatPrompt, FinishReason, GenerateRequest, Message, Prompt, Role};

use super::harness::{chat, text};
use crate::{finished, real};

/// A question, and how its answer begins.
fn begun(answer: &str, max_tokens: u32) -> GenerateRequest {
    let turn = |role, content: &str| Message { role, content: content.into(), ..Message::default() };
    let messages = vec![turn(Role::User, "What is the capital of France?"), turn(Role::Assistant, answer)];
    let prompt = Prompt::Chat(ChatPrompt { messages, continues: true, ..ChatPrompt::default() });
    GenerateRequest { prompt, ..text(0, "", max_tokens) }
}

#[tokio::test]
async fn an_answer_that_has_begun_goes_on() {
    let worker = real(&[]);
    let mut gateway = worker.gateway(1).await;
    gateway.submit(chat(0, "What is the capital of France?", 12)).await.unwrap();
    let whole = gateway.answers(1).await.remove(0).text;
    let (head, rest) = whole.split_at(whole.find(" of").unwrap());
    gateway.submit(begun(head, 12)).await.unwrap();
    let answer = gateway.answers(1).await.remove(0);
    assert!(answer.text.starts_with(rest), "{head}|{rest}|{}", answer.text);
}

/// The text that comes after what closes it is the answer; a worker that takes it up again makes the same of it.
#[tokio::test]
async fn thinking_ends_with_its_budget() {
    let worker = real(&["--reasoning-format", "think"]);
    let mut gateway = worker.gateway(1).await;
    let free = begun("<think>Hm. Well, ", 24);
    let bounded = GenerateRequest { reasoning_budget: Some(6), ..free.clone() };
    gateway.submit(bounded.clone()).await.unwrap();
    let answer = gateway.answers(1).await.remove(0);
    let usage = finished(&answer).1;
    // What closes it is some tokens of text in this model, and counts as thought until it is whole.
    assert!((7..14).contains(&usage.reasoning_tokens), "{usage:?}");
    assert!(!answer.text.is_empty() && !answer.text.contains("think"), "{}", answer.text);
    let head = answer.tokens[..8].to_vec();
    gateway.submit(GenerateRequest { generated: head.clone(), ..bounded }).await.unwrap();
    let again = gateway.answers_after(&[head]).await.remove(0);
    assert_eq!(
        (&again.tokens, finished(&again).1.reasoning_tokens),
        (&answer.tokens, usage.reasoning_tokens)
    );
    gateway.submit(free).await.unwrap();
    let free = gateway.answers(1).await.remove(0);
    assert_eq!((finished(&free).0, free.text.as_str()), (FinishReason::Length, ""), "it thinks to the end");
    assert_eq!(free.tokens[..6], answer.tokens[..6]);
}
