use ipc_proto::{ErrorKind, Field, Origin};
use serde_json::json;

use super::*;
use crate::inference::output::Output;
use crate::protocols::openai::usage::TEST_COUNTS;

fn head(endpoint: Endpoint) -> AnswerHead {
    AnswerHead::new(endpoint, "m".into())
}

/// The lines without their times.
fn lines(buffer: &[u8]) -> Vec<Value> {
    let lines = std::str::from_utf8(buffer).unwrap().lines();
    lines.map(|line| without_times(serde_json::from_str(line).unwrap())).collect()
}

fn without_times(mut value: Value) -> Value {
    let fields = value.as_object_mut().unwrap();
    if let Some(time) = fields.remove("created_at") {
        assert!(chrono::DateTime::parse_from_rfc3339(time.as_str().unwrap()).is_ok(), "{time}");
    }
    for name in ["total_duration", "prompt_eval_duration", "eval_duration"] {
        assert!(fields.remove(name).is_none_or(|time| time.is_u64()), "{name}");
    }
    value
}

fn delta(parts: Vec<Part>) -> Event {
    Event::Delta(Delta { parts, ..Delta::default() })
}

fn call(id: &str, name: &str) -> Part {
    Part::Call { id: id.into(), name: name.into() }
}

fn stream(endpoint: Endpoint, events: &[Event]) -> Vec<Value> {
    let (mut writer, mut buffer) = (LineWriter::new(head(endpoint)), Vec::new());
    for (at, event) in events.iter().enumerate() {
        assert_eq!(writer.push(&mut buffer, 0, event), at + 1 == events.len());
    }
    lines(&buffer)
}

const END: Event = Event::Finished { reason: FinishReason::Stop, usage: TEST_COUNTS };

#[test]
fn chat_stream_has_a_line_for_each_piece_and_counts_at_the_end() {
    let events = [delta(vec![Part::Reasoning("hm".into())]), delta(vec![Part::Text("a".into())]), END];
    let line = |message: Value| json!({"model": "m", "message": message, "done": false});
    assert_eq!(
        stream(Endpoint::Chat, &events),
        [
            line(json!({"role": "assistant", "content": "", "thinking": "hm"})),
            line(json!({"role": "assistant", "content": "a"})),
            json!({"model": "m", "message": {"role": "assistant", "content": ""}, "done": true,
                   "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 5}),
        ]
    );
}

#[test]
fn generate_stream_has_the_text_in_response() {
    let events = [delta(vec![Part::Text("a".into())]), END];
    let lines = stream(Endpoint::Generate, &events);
    assert_eq!(lines[0], json!({"model": "m", "response": "a", "done": false}));
    assert_eq!((&lines[1]["response"], &lines[1]["done"]), (&json!(""), &json!(true)));
}

#[test]
fn calls_are_written_when_they_are_complete() {
    let arguments = |text: &str| delta(vec![Part::Arguments(text.into())]);
    let events = [
        delta(vec![call("c1", "f")]),
        arguments("{\"a\""),
        arguments(": 1}"),
        delta(vec![call("c2", "g")]),
        Event::Finished { reason: FinishReason::ToolCalls, usage: TEST_COUNTS },
    ];
    let lines = stream(Endpoint::Chat, &events);
    let calls: Vec<_> = lines.iter().map(|line| line["message"]["tool_calls"].clone()).collect();
    let written = |id: &str, index: u32, name: &str, arguments: Value| json!([{"id": id, "function": {"index": index, "name": name, "arguments": arguments}}]);
    assert_eq!(
        calls,
        [written("c1", 0, "f", json!({"a": 1})), written("c2", 1, "g", json!({})), Value::Null]
    );
    assert_eq!(lines[2]["done_reason"], "stop");
}

#[test]
fn call_that_was_cut_off_is_not_written() {
    let cut = Event::Finished { reason: FinishReason::Length, usage: TEST_COUNTS };
    let events = [delta(vec![call("c1", "f"), Part::Arguments("{\"a\": ".into())]), cut];
    let lines = stream(Endpoint::Chat, &events);
    assert_eq!((lines.len(), &lines[0]["done_reason"]), (1, &json!("length")));
}

#[test]
fn failure_in_a_stream_is_a_line_with_its_error() {
    let failure = Error::new(ErrorKind::Internal, Origin::Worker, "no such keyword");
    let failed = Event::Failed(failure.with_field(Field::OutputFormat));
    let lines = stream(Endpoint::Chat, &[delta(vec![Part::Text("a".into())]), failed]);
    assert_eq!(lines[1], json!({"error": "format: no such keyword"}));
}

#[test]
fn keep_alive_is_a_line_without_text() {
    let (mut writer, mut buffer) = (LineWriter::new(head(Endpoint::Chat)), Vec::new());
    writer.keep_alive(&mut buffer);
    writer.loading(&mut buffer, 40);
    let empty = json!({"role": "assistant", "content": ""});
    assert_eq!(lines(&buffer), [json!({"model": "m", "message": empty, "done": false})]);
}

#[test]
fn complete_answer_is_one_object() {
    let parts = vec![
        Part::Reasoning("hm".into()),
        Part::Text("a".into()),
        call("c1", "f"),
        Part::Arguments("{}".into()),
    ];
    let output = Output { parts, ..Output::default() };
    let whole = CompleteOutput { output, reason: FinishReason::ToolCalls, usage: TEST_COUNTS };
    let written = head(Endpoint::Chat).answer(&whole).unwrap();
    let message = json!({"role": "assistant", "content": "a", "thinking": "hm",
        "tool_calls": [{"id": "c1", "function": {"index": 0, "name": "f", "arguments": {}}}]});
    assert_eq!(
        lines(&written),
        [json!({"model": "m", "message": message, "done": true, "done_reason": "stop",
                "prompt_eval_count": 7, "eval_count": 5})]
    );
}

#[test]
fn loading_is_answered_without_text_or_counts() {
    let written = head(Endpoint::Generate).without_text("load").unwrap();
    let line = json!({"model": "m", "response": "", "done": true, "done_reason": "load"});
    assert_eq!(lines(&written), [line]);
}

/// `httpx` splits a stream of Ollama's Python client wherever Unicode has a line break.
#[test]
fn stream_with_unicode_line_breaks_has_a_line_for_each_piece() {
    let text = "a\u{2028}b\u{2029}c\u{85}d";
    let (mut writer, mut buffer) = (LineWriter::new(head(Endpoint::Chat)), Vec::new());
    writer.push(&mut buffer, 0, &delta(vec![Part::Text(text.into())]));
    let line = std::str::from_utf8(&buffer).unwrap();
    assert!(!line.contains(['\u{85}', '\u{2028}', '\u{2029}']), "{line}");
    assert_eq!(lines(&buffer)[0]["message"]["content"], text);
}
