//! What fuzzers feed: made-up bytes as requests, and made-up events through the writers of streams. Each function panics where a
//! promise is broken. `fuzz/` runs them for long, the tests here for a moment.

use std::time::Instant;

use ipc_proto::generate::{Delta, Event, FinishReason, Part, Usage};
use ipc_proto::{Error, ErrorKind, Origin, Result};
use serde_json::Value;

use crate::dispatch::writer::Wire;
use crate::protocols::anthropic::messages::{parse as message, write as anthropic};
use crate::protocols::common::body;
use crate::protocols::embeddings::parse as embeddings;
use crate::protocols::openai::chat::parse as chat;
use crate::protocols::openai::choices::Form;
use crate::protocols::openai::completions::parse as completion;
use crate::protocols::openai::responses::{parse as response, write as responses};
use crate::protocols::openai::write as openai;

/// A body for one of the endpoints, which the first byte picks: it is taken or refused, and a refusal is the client's fault. True
/// where it is taken.
///
/// # Panics
/// Where that is not so.
pub fn request(data: &[u8]) -> bool {
    let Some((which, bytes)) = data.split_first() else { return false };
    let outcome: Result<()> = match which % 8 {
        0 => body::parse(bytes).and_then(chat::parse).map(drop),
        1 => body::parse(bytes).and_then(completion::parse).map(drop),
        2 => body::parse(bytes).and_then(|request| response::create(request, &[])).map(drop),
        3 => body::parse(bytes).and_then(|request| response::count(request, &[])).map(drop),
        4 => body::lenient(bytes).and_then(message::messages).map(drop),
        5 => body::lenient(bytes).and_then(message::count).map(drop),
        6 => body::parse(bytes).and_then(embeddings::embed).map(drop),
        _ => body::parse(bytes).and_then(embeddings::rerank).map(drop),
    };
    match outcome {
        Ok(()) => true,
        Err(error) => {
            assert!(error.origin == Origin::Client && !error.message.is_empty(), "{error:?}");
            false
        }
    }
}

/// What was said, by kind: answer, thoughts, arguments.
type Said = [String; 3];

/// An answer that each protocol's writer streams: the frames are well-formed, and say together what the answer said.
///
/// # Panics
/// Where that is not so.
pub fn stream(data: &[u8]) {
    let (events, expected) = answer(data);
    let ends = data.first().copied().unwrap_or_default();
    let head = openai::Head {
        endpoint: openai::Endpoint::Chat,
        id: "1".into(),
        created: 0,
        model: "m".into(),
        form: Form::default(),
    };
    let chunks = openai::Chunks::new(head, 1, ends & 1 == 1, openai::Timer::new(Instant::now()));
    check("chat", written(chunks, &events, ends), &expected, |frame, said| {
        let delta = frame.pointer("/choices/0/delta").unwrap_or(&Value::Null);
        for (kind, more) in
            [&delta["content"], &delta["reasoning_content"], &delta["tool_calls"][0]["function"]["arguments"]]
                .into_iter()
                .enumerate()
        {
            said[kind] += more.as_str().unwrap_or_default();
        }
    });
    let blocks = anthropic::Blocks::new(anthropic::Head::default());
    check("messages", written(blocks, &events, ends), &expected, |frame, said| {
        for (kind, key) in ["text", "thinking", "partial_json"].into_iter().enumerate() {
            said[kind] += frame["delta"][key].as_str().unwrap_or_default();
        }
    });
    let items = responses::Items::new(responses::Head::default());
    check("responses", written(items, &events, ends), &expected, |frame, said| {
        let kind = match frame["type"].as_str() {
            Some("response.output_text.delta") => 0,
            Some("response.reasoning_text.delta") => 1,
            Some("response.function_call_arguments.delta") => 2,
            _ => return,
        };
        said[kind] += frame["delta"].as_str().unwrap_or_default();
    });
}

/// Events that `data` stands for, and what they say.
fn answer(data: &[u8]) -> (Vec<Event>, Said) {
    let (mut events, mut said) = (Vec::new(), Said::default());
    let mut calls = 0;
    let mut parts = Vec::new();
    for piece in data.chunks(7) {
        let Some((kind, text)) = piece.split_first() else { break };
        let text = String::from_utf8_lossy(text).into_owned();
        match kind % 4 {
            0 if !text.is_empty() => {
                said[0] += &text;
                parts.push(Part::Text(text));
            }
            1 if !text.is_empty() => {
                said[1] += &text;
                parts.push(Part::Reasoning(text));
            }
            2 => {
                calls += 1;
                said[2] += &text;
                parts.push(Part::Call { id: calls.to_string(), name: "f".into() });
                parts.push(Part::Arguments(text));
            }
            _ => {}
        }
        if kind & 8 == 8 && !parts.is_empty() {
            events.push(Event::Delta(Delta { parts: std::mem::take(&mut parts), ..Delta::default() }));
        }
    }
    if !parts.is_empty() {
        events.push(Event::Delta(Delta { parts, ..Delta::default() }));
    }
    (events, said)
}

/// What a writer makes of events, with signs of life between them, and an end or a failure.
fn written(mut wire: impl Wire, events: &[Event], ends: u8) -> Vec<u8> {
    let mut buffer = Vec::new();
    wire.open(&mut buffer, 3);
    for event in events {
        if ends & 2 == 2 {
            wire.keep_alive(&mut buffer);
        }
        assert!(!wire.push(&mut buffer, 0, event), "it ends too early");
    }
    if ends & 4 == 4 {
        wire.fail(&mut buffer, &Error::new(ErrorKind::Internal, Origin::Worker, "no"));
    } else {
        let usage = Usage { prompt_tokens: 3, completion_tokens: 5, ..Usage::default() };
        let reason = if ends & 8 == 8 { FinishReason::Length } else { FinishReason::Stop };
        assert!(wire.push(&mut buffer, 0, &Event::Finished { reason, usage }), "it does not end");
        wire.end(&mut buffer, true);
    }
    buffer
}

fn check(name: &str, buffer: Vec<u8>, expected: &Said, add: impl Fn(&Value, &mut Said)) {
    let text = String::from_utf8(buffer).unwrap_or_default();
    assert!(text.ends_with("\n\n"), "{name}: a frame has no end: {text}");
    let mut said = Said::default();
    for frame in text.split_terminator("\n\n") {
        let data = match frame.split_once('\n') {
            Some((head, data)) => {
                assert!(head.starts_with("event: "), "{name}: {frame}");
                data
            }
            None => frame,
        };
        if data.starts_with(':') || data == "data: [DONE]" {
            continue;
        }
        let json = data.strip_prefix("data: ").and_then(|data| serde_json::from_str(data).ok());
        let json: Value = json.unwrap_or_default();
        assert!(json.is_object(), "{name}: no JSON: {frame}");
        add(&json, &mut said);
    }
    assert_eq!(&said, expected, "{name}: {text}");
}

#[cfg(test)]
mod tests;
