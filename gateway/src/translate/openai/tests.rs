use ipc_proto::generate::{self, Part};
use ipc_proto::{ErrorKind, Source};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const USAGE: Usage = Usage { prompt_tokens: 7, cached_tokens: 2, completion_tokens: 5, reasoning_tokens: 0 };

fn head(endpoint: Endpoint) -> Head {
    Head { endpoint, id: "x-1".into(), created: 1_700_000_000, model: "m".into() }
}

/// The events of a stream, each as its JSON or the text `[DONE]`.
fn stream(endpoint: Endpoint, include_usage: bool, events: &[Event]) -> Vec<Value> {
    let mut chunks = Chunks::new(head(endpoint), include_usage);
    let mut buffer = Vec::new();
    let ends: Vec<bool> = events.iter().map(|event| chunks.push(&mut buffer, event)).collect();
    // Only the last event ends the stream.
    assert!(ends.iter().rev().skip(1).all(|end| !end));
    let text = String::from_utf8(buffer).unwrap();
    assert!(text.is_empty() || text.ends_with("\n\n"));
    let data = text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap());
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data))).collect()
}

fn text(text: &str) -> Event {
    Event::Delta(generate::Delta { parts: vec![Part::Text(text.into())], ..generate::Delta::default() })
}

fn finished(reason: FinishReason) -> Event {
    Event::Finished { reason, usage: USAGE }
}

fn failed() -> Event {
    Event::Failed(Error::new(ErrorKind::Unavailable, Source::Worker, "the worker is gone"))
}

#[test]
fn a_chat_stream_has_openais_shape() {
    let chunks = stream(Endpoint::Chat, true, &[text("Hi"), finished(FinishReason::Stop)]);
    let chunk = |choices: Value, usage: Value| {
        json!({"id": "x-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m",
            "choices": choices, "usage": usage})
    };
    let choice = |delta: Value, reason: Value| json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason}]);
    let usage = json!({"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 2}});
    let expected = [
        chunk(choice(json!({"role": "assistant", "content": ""}), Value::Null), Value::Null),
        chunk(choice(json!({"content": "Hi"}), Value::Null), Value::Null),
        chunk(choice(json!({}), json!("stop")), Value::Null),
        chunk(json!([]), usage),
        json!("[DONE]"),
    ];
    assert_eq!(chunks, expected);
}

#[test]
fn log_probabilities_are_told_as_openai_does() {
    let one = |bytes: &[u8], logprob| Alternative { bytes: bytes.to_vec(), logprob: Some(logprob) };
    let told = TokenLogprob {
        token: one(b"Hi", -0.5),
        top: vec![one(b"Hi", -0.5), one(b"\xff", f32::NEG_INFINITY)],
    };
    let expected = json!({"refusal": null, "content": [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105],
        "top_logprobs": [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105]},
            {"token": "\u{fffd}", "logprob": -9999.0, "bytes": [255]}]}]});
    let event = Event::Delta(generate::Delta {
        parts: vec![Part::Text("Hi".into())],
        logprobs: vec![told.clone()],
        ..generate::Delta::default()
    });
    let chunks = stream(Endpoint::Chat, false, &[event, finished(FinishReason::Stop)]);
    assert_eq!(chunks[1]["choices"][0]["logprobs"], expected);
    let answer = head(Endpoint::Chat).answer("Hi".into(), &[told], FinishReason::Stop, USAGE).unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["choices"][0]["logprobs"], expected);
}

#[test]
fn usage_is_left_out_unless_asked_for() {
    for endpoint in [Endpoint::Chat, Endpoint::Completions] {
        let chunks = stream(endpoint, false, &[text("Hi"), finished(FinishReason::Length)]);
        assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));
        assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "length");
    }
}

/// SDKs recognise an error by its `error` key, and raise.
#[test]
fn a_failure_ends_a_stream_without_done() {
    let chunks = stream(Endpoint::Chat, true, &[text("Hi"), failed()]);
    let last = chunks.last().unwrap();
    assert_eq!(last["error"]["message"], "the worker is gone");
    assert_eq!(last["error"]["type"], "server_error");
    assert!(!chunks.contains(&json!("[DONE]")));
}

#[test]
fn an_answer_has_openais_shape() {
    let answer = |endpoint| -> Value {
        let bytes = head(endpoint).answer("Hi".into(), &[], FinishReason::Stop, USAGE).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let chat = answer(Endpoint::Chat);
    assert_eq!(chat["object"], "chat.completion");
    let message = json!({"role": "assistant", "content": "Hi", "refusal": null});
    assert_eq!(chat["choices"][0]["message"], message);
    assert_eq!(chat["usage"]["total_tokens"], 12);
    let plain = answer(Endpoint::Completions);
    assert_eq!((&plain["object"], &plain["choices"][0]["text"]), (&json!("text_completion"), &json!("Hi")));
}

proptest! {
    /// A client that adds up what a stream brings has the whole text, whatever is in it.
    #[test]
    fn a_stream_adds_up_to_the_text(
        texts in prop::collection::vec("\\PC{1,12}|[\\n\\r\"\\\\]{1,3}", 0..12), chat: bool, include_usage: bool,
    ) {
        let endpoint = if chat { Endpoint::Chat } else { Endpoint::Completions };
        let pointer = if chat { "/choices/0/delta/content" } else { "/choices/0/text" };
        let mut events: Vec<Event> = texts.iter().map(|piece| text(piece)).collect();
        events.push(finished(FinishReason::Stop));
        let chunks = stream(endpoint, include_usage, &events);
        let sum: String = chunks.iter().filter_map(|chunk| chunk.pointer(pointer)?.as_str()).collect();
        prop_assert_eq!(sum, texts.concat());
        let reasons = chunks.iter().filter(|chunk| chunk.pointer("/choices/0/finish_reason").is_some_and(|r| !r.is_null()));
        prop_assert_eq!(reasons.count(), 1);
        let counts = chunks.iter().filter(|chunk| chunk.get("usage").is_some_and(|usage| !usage.is_null()));
        prop_assert_eq!(counts.count(), usize::from(include_usage));
        prop_assert_eq!(chunks.last().unwrap(), &json!("[DONE]"));
    }
}
