//! Fuzz targets: random bytes as requests, and random events through the stream writers. Each function panics if an invariant is
//! violated. `fuzz/` runs them for a long time, the tests here for a short one.

use std::time::Instant;

use ipc_proto::generate::{Delta, Event, FinishReason, Part, Usage};
use ipc_proto::{Error, ErrorKind, Origin, Result};
use serde_json::Value;

use crate::dispatch::writer::ResponseWriter;
use crate::protocols::anthropic::messages::{parse as message, write as anthropic};
use crate::protocols::common::body;
use crate::protocols::embeddings::cohere::parse as cohere;
use crate::protocols::embeddings::parse as embeddings;
use crate::protocols::ollama::parse as ollama;
use crate::protocols::openai::chat::parse as chat;
use crate::protocols::openai::choices::AnswerForm;
use crate::protocols::openai::completions::parse as completion;
use crate::protocols::openai::decisions::parse as decisions;
use crate::protocols::openai::responses::{parse as response, write as responses};
use crate::protocols::openai::write as openai;

/// Parses a body for one of the endpoints, which the first byte selects. Returns whether the body is valid.
///
/// # Panics
/// An error does not blame the client, or has no message.
pub fn request(data: &[u8]) -> bool {
    let Some((which, bytes)) = data.split_first() else { return false };
    let outcome: Result<()> = match which % 12 {
        0 => body::parse(bytes).and_then(chat::parse).map(drop),
        1 => body::parse(bytes).and_then(completion::parse).map(drop),
        2 => body::parse(bytes).and_then(|request| response::parse(request, &[])).map(drop),
        3 => body::parse(bytes).and_then(|request| response::parse_count(request, &[])).map(drop),
        4 => body::parse(bytes).and_then(message::parse).map(drop),
        5 => body::parse(bytes).and_then(message::parse_count).map(drop),
        6 => body::parse(bytes).and_then(embeddings::parse_embed).map(drop),
        7 => body::parse(bytes).and_then(embeddings::parse_rerank).map(drop),
        8 => body::parse(bytes).and_then(cohere::parse).map(drop),
        9 => body::parse(bytes).and_then(ollama::chat).map(drop),
        10 => body::parse(bytes).and_then(|request| ollama::generate(request, true)).map(drop),
        _ => body::parse(bytes).and_then(decisions::parse).map(drop),
    };
    match outcome {
        Ok(()) => true,
        Err(error) => {
            assert!(error.origin == Origin::Client && !error.message.is_empty(), "{error:?}");
            false
        }
    }
}

/// The generated texts by kind: answer, reasoning, arguments.
type Texts = [String; 3];

/// Streams an answer with the writer of each protocol. The frames must be well-formed and add up to the texts of the answer.
///
/// # Panics
/// A frame is malformed, or the texts differ.
pub fn stream(data: &[u8]) {
    let (events, expected) = answer(data);
    let ends = data.first().copied().unwrap_or_default();
    let head = openai::AnswerHead {
        endpoint: openai::Endpoint::Chat,
        id: "1".into(),
        created: 0,
        model: "m".into(),
        form: AnswerForm::default(),
    };
    let chunks = openai::ChunkWriter::new(head, 1, ends & 1 == 1, openai::Timer::new(Instant::now()));
    check("chat", write_all(chunks, &events, ends), &expected, |frame, texts| {
        let delta = frame.pointer("/choices/0/delta").unwrap_or(&Value::Null);
        for (kind, more) in
            [&delta["content"], &delta["reasoning_content"], &delta["tool_calls"][0]["function"]["arguments"]]
                .into_iter()
                .enumerate()
        {
            texts[kind] += more.as_str().unwrap_or_default();
        }
    });
    let blocks = anthropic::MessageWriter::new(anthropic::MessageHead::default());
    check("messages", write_all(blocks, &events, ends), &expected, |frame, texts| {
        for (kind, key) in ["text", "thinking", "partial_json"].into_iter().enumerate() {
            texts[kind] += frame["delta"][key].as_str().unwrap_or_default();
        }
    });
    let items = responses::ResponseBuilder::new(responses::ResponseHead::default());
    check("responses", write_all(items, &events, ends), &expected, |frame, texts| {
        let kind = match frame["type"].as_str() {
            Some("response.output_text.delta") => 0,
            Some("response.reasoning_text.delta") => 1,
            Some("response.function_call_arguments.delta") => 2,
            _ => return,
        };
        texts[kind] += frame["delta"].as_str().unwrap_or_default();
    });
}

/// The events that `data` encodes, and their texts.
fn answer(data: &[u8]) -> (Vec<Event>, Texts) {
    let (mut events, mut texts) = (Vec::new(), Texts::default());
    let mut calls = 0;
    let mut parts = Vec::new();
    for piece in data.chunks(7) {
        let Some((kind, text)) = piece.split_first() else { break };
        let text = String::from_utf8_lossy(text).into_owned();
        match kind % 4 {
            0 if !text.is_empty() => {
                texts[0] += &text;
                parts.push(Part::Text(text));
            }
            1 if !text.is_empty() => {
                texts[1] += &text;
                parts.push(Part::Reasoning(text));
            }
            2 => {
                calls += 1;
                texts[2] += &text;
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
    (events, texts)
}

/// The output of a writer for `events`, with keep-alives between them, and an end or a failure. `ends` is a bit set.
fn write_all(mut writer: impl ResponseWriter, events: &[Event], ends: u8) -> Vec<u8> {
    let mut buffer = Vec::new();
    writer.open(&mut buffer, 3);
    for event in events {
        if ends & 2 == 2 {
            writer.keep_alive(&mut buffer);
        }
        assert!(!writer.push(&mut buffer, 0, event), "the stream ends too early");
    }
    if ends & 4 == 4 {
        writer.fail(&mut buffer, &Error::new(ErrorKind::Internal, Origin::Worker, "no"));
    } else {
        let usage = Usage { prompt_tokens: 3, completion_tokens: 5, ..Usage::default() };
        let reason = if ends & 8 == 8 { FinishReason::Length } else { FinishReason::Stop };
        assert!(writer.push(&mut buffer, 0, &Event::Finished { reason, usage }), "the stream does not end");
        writer.end(&mut buffer, true);
    }
    buffer
}

fn check(name: &str, buffer: Vec<u8>, expected: &Texts, add: impl Fn(&Value, &mut Texts)) {
    let text = String::from_utf8(buffer).unwrap_or_default();
    assert!(text.ends_with("\n\n"), "{name}: a frame has no end: {text}");
    let mut texts = Texts::default();
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
        add(&json, &mut texts);
    }
    assert_eq!(&texts, expected, "{name}: {text}");
}

#[cfg(test)]
mod tests;
