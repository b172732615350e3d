use ipc_proto::generate::{Delta as Pieces, Event as Neutral};
use ipc_proto::{ErrorKind, Origin};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::inference::output::Output;
use crate::protocols::openai::usage::TEST_COUNTS as COUNTS;

fn head() -> MessageHead {
    MessageHead {
        id: "msg_1".into(),
        request_id: "req_1".into(),
        model: "m".into(),
        stops: vec!["A".into(), "B".into()],
        max_tokens: 5,
        ..MessageHead::default()
    }
}

fn parts(parts: Vec<Part>) -> Neutral {
    Neutral::Delta(Pieces { parts, ..Pieces::default() })
}

fn text(text: &str) -> Part {
    Part::Text(text.into())
}

fn call(name: &str) -> Part {
    Part::Call { id: "0".into(), name: name.into() }
}

fn finished(reason: FinishReason) -> Neutral {
    Neutral::Finished { reason, usage: COUNTS }
}

fn failure() -> Error {
    Error::new(ErrorKind::Unavailable, Origin::Worker, "the worker is gone")
}

/// The events of a stream. Each event's name equals its type.
fn stream(head: MessageHead, events: &[Neutral]) -> Vec<Value> {
    let mut wire = MessageWriter::new(head);
    let mut buffer = Vec::new();
    wire.open(&mut buffer, 7);
    let ends: Vec<bool> = events.iter().map(|event| wire.push(&mut buffer, 0, event)).collect();
    assert!(ends.iter().rev().skip(1).all(|end| !end));
    parse_events(&buffer)
}

fn parse_events(buffer: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(buffer).unwrap();
    let events = text.split_terminator("\n\n").map(|event| {
        let (name, data) = event.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(data["type"], name.strip_prefix("event: ").unwrap());
        data
    });
    events.collect()
}

#[test]
fn stream_has_anthropics_event_order() {
    let arguments = |text: &str| Part::Arguments(text.into());
    let events = [
        parts(vec![Part::Reasoning("hm".into())]),
        parts(vec![text("Hi"), call("f"), arguments("{\"a\"")]),
        parts(vec![arguments(":1}"), call("g")]),
        finished(FinishReason::ToolCalls),
    ];
    let block = |index: u32, content_block: Value| json!({"type": "content_block_start", "index": index, "content_block": content_block});
    let delta =
        |index: u32, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let stop = |index: u32| json!({"type": "content_block_stop", "index": index});
    let usage = |input: u32, cached: u32, output: u32, thinking: u32| {
        let entered = cached * 2;
        json!({"input_tokens": input, "cache_creation_input_tokens": entered, "cache_read_input_tokens": cached,
            "output_tokens": output, "output_tokens_details": {"thinking_tokens": thinking}})
    };
    let expected = [
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "m",
            "content": [], "stop_reason": null, "stop_sequence": null, "stop_details": null, "container": null,
            "usage": usage(7, 0, 0, 0)}}),
        block(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "hm"})),
        delta(0, json!({"type": "signature_delta", "signature": "mlxd.1.0"})),
        stop(0),
        block(1, json!({"type": "text", "text": ""})),
        delta(1, json!({"type": "text_delta", "text": "Hi"})),
        stop(1),
        block(2, json!({"type": "tool_use", "id": "toolu_1_2", "name": "f", "input": {}})),
        delta(2, json!({"type": "input_json_delta", "partial_json": "{\"a\""})),
        delta(2, json!({"type": "input_json_delta", "partial_json": ":1}"})),
        stop(2),
        block(3, json!({"type": "tool_use", "id": "toolu_1_3", "name": "g", "input": {}})),
        stop(3),
        json!({"type": "message_delta", "usage": usage(1, 2, 5, 3), "delta": {"stop_reason": "tool_use",
            "stop_sequence": null, "stop_details": null, "container": null}}),
        json!({"type": "message_stop"}),
    ];
    assert_eq!(stream(head(), &events), expected);
}

#[test]
fn finish_reason_becomes_stop_reason() {
    let end = |reason, max_tokens| {
        let events =
            stream(MessageHead { max_tokens, ..head() }, &[parts(vec![text("x")]), finished(reason)]);
        let delta = &events[events.len() - 2]["delta"];
        (delta["stop_reason"].as_str().unwrap().to_owned(), delta["stop_sequence"].clone())
    };
    assert_eq!(end(FinishReason::Stop, 5), ("end_turn".into(), Value::Null));
    assert_eq!(end(FinishReason::StopText(1), 5), ("stop_sequence".into(), json!("B")));
    assert_eq!(end(FinishReason::Length, 5), ("max_tokens".into(), Value::Null));
    assert_eq!(end(FinishReason::Length, 6), ("model_context_window_exceeded".into(), Value::Null));
}

#[test]
fn failures_and_pings_have_anthropics_form() {
    let events = stream(head(), &[parts(vec![text("x")]), Neutral::Failed(failure())]);
    let expected = json!({"type": "error", "request_id": "req_1",
        "error": {"type": "overloaded_error", "message": "the worker is gone"}});
    assert_eq!(events.last(), Some(&expected));
    let (mut wire, mut buffer) = (MessageWriter::new(head()), Vec::new());
    wire.keep_alive(&mut buffer);
    wire.fail(&mut buffer, &failure());
    assert_eq!(parse_events(&buffer), [json!({"type": "ping"}), expected]);
}

#[test]
fn status_sets_the_error_type() {
    let status = |status| serde_json::to_value(error::Body::new(&failure(), status, "")).unwrap();
    for (code, name) in [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "overloaded_error"),
        (529, "overloaded_error"),
        (504, "timeout_error"),
    ] {
        assert_eq!(status(code)["error"]["type"], name);
    }
}

#[test]
fn hidden_thinking_keeps_its_signature() {
    let head = MessageHead { hide_thinking: true, diagnose: true, ..head() };
    let events =
        stream(head.clone(), &[parts(vec![Part::Reasoning("secret".into())]), finished(FinishReason::Stop)]);
    assert!(!json!(events).to_string().contains("secret"));
    assert_eq!(events[2]["delta"]["type"], "signature_delta");
    assert_eq!(events[0]["message"]["diagnostics"]["cache_miss_reason"]["type"], "unavailable");
    let output = Output { parts: vec![Part::Reasoning("secret".into())], ..Output::default() };
    let whole = CompleteOutput { output, reason: FinishReason::Stop, usage: COUNTS };
    assert!(!String::from_utf8(head.answer(whole).unwrap()).unwrap().contains("secret"));
}

fn whole(parts: Vec<Part>, reason: FinishReason) -> CompleteOutput {
    CompleteOutput { output: Output { parts, ..Output::default() }, reason, usage: COUNTS }
}

fn answered(head: &MessageHead, whole: CompleteOutput) -> Value {
    serde_json::from_slice(&head.answer(whole).unwrap()).unwrap()
}

#[test]
fn summary_is_one_compaction_block() {
    let change = json!({"type": "tool_removal", "tool": {"type": "tool_reference", "name": "f"}});
    let head = MessageHead { summarises: true, tool_changes: vec![change.clone()], ..head() };
    let said = || vec![Part::Reasoning("hm".into()), text("So far: x.")];
    let block = |content: Value| {
        json!({"type": "compaction", "content": content, "encrypted_content": null, "signature": "mlxd.1.0",
        "tool_changes": [change]})
    };
    for (reason, content) in [(FinishReason::Stop, json!("So far: x.")), (FinishReason::Length, Value::Null)]
    {
        let answer = answered(&head, whole(said(), reason));
        assert_eq!(
            (&answer["content"], &answer["stop_reason"]),
            (&json!([block(content.clone())]), &json!("compaction"))
        );
        let events = stream(head.clone(), &[parts(said()), finished(reason)]);
        let shown: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        let names = [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ];
        assert_eq!(shown, names);
        assert_eq!(events[1]["content_block"], block(Value::Null));
        let delta = json!({"type": "compaction_delta", "content": content, "encrypted_content": null});
        assert_eq!((&events[2]["delta"], &events[4]["delta"]["stop_reason"]), (&delta, &json!("compaction")));
    }
}

#[test]
fn compaction_before_an_answer_is_its_first_block() {
    let compacted = Compacted { summary: Some("x".into()), usage: COUNTS };
    let head = MessageHead { compacted: Some(compacted), ..head() };
    let answer = answered(&head, whole(vec![text("Hi")], FinishReason::Stop));
    let kinds = |blocks: &[Value]| {
        blocks.iter().map(|block| block["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(answer["content"].as_array().unwrap()), ["compaction", "text"]);
    let iteration = |kind: &str| {
        json!({"type": kind, "input_tokens": 1, "cache_creation_input_tokens": 4,
        "cache_read_input_tokens": 2, "output_tokens": 5})
    };
    assert_eq!(answer["usage"]["iterations"], json!([iteration("compaction"), iteration("message")]));
    let events = stream(head, &[parts(vec![text("Hi")]), finished(FinishReason::Stop)]);
    assert_eq!(
        (&events[1]["content_block"]["type"], &events[2]["delta"]["content"]),
        (&json!("compaction"), &json!("x"))
    );
    assert_eq!((&events[4]["index"], &events[4]["content_block"]["type"]), (&json!(1), &json!("text")));
    assert_eq!(events[7]["delta"]["stop_reason"], "end_turn");
}

#[test]
fn request_for_no_tokens_gets_an_empty_message() {
    let head = MessageHead { silent: true, ..head() };
    let answer = answered(&head, whole(vec![text("Hi")], FinishReason::Length));
    assert_eq!((&answer["content"], &answer["stop_reason"]), (&json!([]), &json!("max_tokens")));
    assert_eq!(answer["usage"]["output_tokens"], 0);
    let events = stream(head, &[parts(vec![text("Hi")]), finished(FinishReason::Length)]);
    assert_eq!(events.len(), 3);
}

#[test]
fn truncated_arguments_are_kept_as_invalid_json() {
    assert_eq!(parse_arguments(" "), json!({}));
    assert_eq!(parse_arguments("{\"a\": [1]}"), json!({"a": [1]}));
    assert_eq!(parse_arguments("{\"a\": [1"), json!({"INVALID_JSON": "{\"a\": [1"}));
    assert_eq!(parse_arguments("[1]"), json!({"INVALID_JSON": "[1]"}));
}

fn any_part() -> impl Strategy<Value = Part> {
    prop_oneof![
        "\\PC{0,6}".prop_map(Part::Text),
        "\\PC{0,6}".prop_map(Part::Reasoning),
        "[a-z]{1,4}".prop_map(|name| Part::Call { id: "x".into(), name }),
        "[{}\":1]{0,6}".prop_map(Part::Arguments),
    ]
}

/// Accumulates a stream like the SDKs, with their checks.
fn accumulated(events: &[Value]) -> Vec<Value> {
    assert_eq!(events[0]["type"], "message_start");
    let mut blocks: Vec<Value> = Vec::new();
    let mut open = false;
    for event in &events[1..events.len() - 2] {
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                assert!(!open);
                assert_eq!(event["index"], blocks.len());
                blocks.push(event["content_block"].clone());
                open = true;
            }
            "content_block_delta" => {
                assert!(open);
                assert_eq!(event["index"], blocks.len() - 1);
                let block = blocks.last_mut().unwrap();
                let (kind, field, from) = match event["delta"]["type"].as_str().unwrap() {
                    "text_delta" => ("text", "text", "text"),
                    "thinking_delta" => ("thinking", "thinking", "thinking"),
                    "signature_delta" => ("thinking", "signature", "signature"),
                    _ => ("tool_use", "json", "partial_json"),
                };
                assert_eq!(block["type"], kind);
                let so_far = block[field].as_str().unwrap_or_default();
                block[field] = json!(format!("{so_far}{}", event["delta"][from].as_str().unwrap()));
            }
            other => {
                assert_eq!(other, "content_block_stop");
                assert!(std::mem::take(&mut open));
            }
        }
    }
    assert!(!open);
    assert_eq!(events[events.len() - 2]["type"], "message_delta");
    assert_eq!(events[events.len() - 1]["type"], "message_stop");
    blocks
}

proptest! {
    /// For parts in any order, the stream is well formed and accumulates to the complete answer.
    #[test]
    fn arbitrary_stream_is_well_formed_and_complete(
        deltas in prop::collection::vec(prop::collection::vec(any_part(), 0..4), 0..8),
    ) {
        let mut output = Output::default();
        for parts in &deltas {
            output.add(Pieces { parts: parts.clone(), ..Pieces::default() });
        }
        let mut events: Vec<Neutral> = deltas.into_iter().map(parts).collect();
        events.push(finished(FinishReason::Stop));
        let blocks = accumulated(&stream(head(), &events));
        let whole = CompleteOutput { output, reason: FinishReason::Stop, usage: COUNTS };
        let answer: Value = serde_json::from_slice(&head().answer(whole).unwrap()).unwrap();
        let said = |blocks: &[Value], kind: &str| -> String {
            blocks.iter().filter(|block| block["type"] == kind).map(|block| block[kind].as_str().unwrap()).collect()
        };
        let answered = answer["content"].as_array().unwrap();
        for kind in ["text", "thinking"] {
            prop_assert_eq!(said(&blocks, kind), said(answered, kind));
        }
        let calls = |blocks: &[Value]| -> Vec<Value> {
            blocks.iter().filter(|block| block["type"] == "tool_use").map(|block| block["name"].clone()).collect()
        };
        prop_assert_eq!(calls(&blocks), calls(answered));
        let ids: std::collections::BTreeSet<_> =
            blocks.iter().filter_map(|block| block["id"].as_str()).collect();
        prop_assert_eq!(ids.len(), calls(&blocks).len());
    }
}
