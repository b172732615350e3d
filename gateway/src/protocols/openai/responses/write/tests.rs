use ipc_proto::Origin;
use ipc_proto::generate::{Alternative, Delta, Event as Neutral};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::protocols::openai::responses::compaction::{Summary, passes};
use crate::protocols::openai::usage::TEST_COUNTS as COUNTS;

fn builder() -> ResponseBuilder {
    let echo = json!({"tools": []}).as_object().unwrap().clone();
    let (id, model) = ("resp_1".into(), "m".into());
    let mut calls = CallForms::default();
    let form = |kind, namespace: Option<&str>, name: &str| CallForm {
        kind,
        namespace: namespace.map(Into::into),
        name: name.into(),
    };
    calls.insert("patch".into(), form(CallKind::Custom, None, "patch"));
    calls.insert("wx__get".into(), form(CallKind::Function, Some("wx"), "get"));
    calls.insert("tool_search".into(), form(CallKind::ToolSearch, None, "tool_search"));
    let head =
        ResponseHead { id, created_at: 5, model, echo, encrypt: true, calls, ..ResponseHead::default() };
    ResponseBuilder::new(head)
}

fn parts(parts: Vec<Part>) -> Neutral {
    Neutral::Delta(Delta { parts, ..Delta::default() })
}

fn finished(reason: FinishReason) -> Neutral {
    Neutral::Finished { reason, usage: COUNTS }
}

fn failure(kind: ErrorKind) -> Error {
    Error::new(kind, Origin::Worker, "no")
}

/// Parses the events, and checks that their numbers have no gap.
fn parse_events(buffer: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(buffer).unwrap();
    let events = text.split_terminator("\n\n").enumerate().map(|(number, event)| {
        let (name, data) = event.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(data["type"], name.strip_prefix("event: ").unwrap());
        assert_eq!(data["sequence_number"], number);
        data
    });
    events.collect()
}

fn stream(events: &[Neutral]) -> Vec<Value> {
    stream_of(builder(), events)
}

fn stream_of(mut wire: ResponseBuilder, events: &[Neutral]) -> Vec<Value> {
    let mut buffer = Vec::new();
    wire.open(&mut buffer, 7);
    let ends: Vec<bool> = events.iter().map(|event| wire.push(&mut buffer, 0, event)).collect();
    assert!(ends.iter().rev().skip(1).all(|end| !end));
    wire.end(&mut buffer, true);
    parse_events(&buffer)
}

#[test]
fn last_event_shows_whether_the_response_was_stored() {
    let mut echo = builder().head().clone();
    echo.echo.insert("store".into(), true.into());
    for kept in [true, false] {
        let (mut wire, mut buffer) = (ResponseBuilder::new(echo.clone()), Vec::new());
        wire.open(&mut buffer, 7);
        assert!(wire.push(&mut buffer, 0, &finished(FinishReason::Stop)));
        wire.end(&mut buffer, kept);
        let last = parse_events(&buffer).pop().unwrap();
        assert_eq!((&last["type"], &last["response"]["store"]), (&"response.completed".into(), &kept.into()));
    }
}

#[test]
fn queued_response_is_in_progress_once_generation_begins() {
    let (mut wire, mut buffer) = (builder(), Vec::new());
    wire.queue(&mut buffer);
    wire.open(&mut buffer, 7);
    wire.push(&mut buffer, 0, &finished(FinishReason::Stop));
    wire.end(&mut buffer, true);
    let events = parse_events(&buffer);
    let states = events.iter().map(|event| (&event["type"], &event["response"]["status"]));
    let states: Vec<_> =
        states.map(|(name, status)| (name.as_str().unwrap(), status.as_str().unwrap())).collect();
    let expected = [
        ("response.created", "queued"),
        ("response.queued", "queued"),
        ("response.in_progress", "in_progress"),
        ("response.completed", "completed"),
    ];
    assert_eq!(states, expected);
}

#[test]
fn only_a_completed_response_has_a_time_of_completion() {
    for (event, is_completed) in [
        (finished(FinishReason::Stop), true),
        (finished(FinishReason::Length), false),
        (Neutral::Failed(failure(ErrorKind::Internal)), false),
    ] {
        let events = stream(&[event]);
        let times: Vec<_> = events.iter().map(|event| &event["response"]["completed_at"]).collect();
        assert!(times[..times.len() - 1].iter().all(|time| time.is_null()), "{times:?}");
        assert_eq!(times[times.len() - 1].is_u64(), is_completed, "{times:?}");
    }
}

/// A builder of this form, whose preparation has found `outcome`.
fn prepared(form: Form, outcome: passes::CompactionResult) -> ResponseBuilder {
    let compacted = CompactionSlot::default();
    compacted.set(outcome).unwrap();
    ResponseBuilder::new(ResponseHead { form, compacted, ..builder().head().clone() })
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[test]
fn compaction_is_one_item_without_text() {
    let earlier = generate::Usage { prompt_tokens: 100, ..generate::Usage::default() };
    let wire =
        prepared(Form::Compaction, passes::CompactionResult { usage: earlier, kept_bytes: 9, summary: None });
    let events = stream_of(
        wire,
        &[
            parts(vec![Part::Reasoning("hm".into()), Part::Text(" so".into())]),
            parts(vec![Part::Text("me ".into())]),
            finished(FinishReason::Length),
        ],
    );
    let compacting = "response.compaction.compacting";
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        compacting,
        compacting,
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(names(&events), expected);
    assert_eq!(events[2]["item"], json!({"type": "compaction", "id": "cmp_1_0", "encrypted_content": ""}));
    assert_eq!((&events[3]["item_id"], &events[3]["output_index"]), (&json!("cmp_1_0"), &json!(0)));
    let response = &events[6]["response"];
    let sealed = response["output"][0]["encrypted_content"].as_str().unwrap();
    let summary = Summary { text: "some".into(), kept_bytes: 9, before_question: false };
    assert_eq!(Summary::open(sealed), Some(summary));
    assert_eq!(
        (response["output"].as_array().unwrap().len(), &response["usage"]["input_tokens"]),
        (1, &json!(107))
    );
}

#[test]
fn model_that_writes_no_summary_fails_the_compaction() {
    let events = stream_of(
        prepared(Form::Compaction, passes::CompactionResult::default()),
        &[finished(FinishReason::Stop)],
    );
    assert_eq!(names(&events).pop(), Some("response.failed"));
}

#[test]
fn automatic_compaction_precedes_the_answer() {
    let summary = Summary { text: "S".into(), kept_bytes: 9, before_question: true };
    let outcome =
        passes::CompactionResult { summary: Some(summary.clone()), ..passes::CompactionResult::default() };
    let events = stream_of(
        prepared(Form::Answer, outcome),
        &[parts(vec![Part::Text("x".into())]), finished(FinishReason::Stop)],
    );
    let added: Vec<_> = events.iter().filter(|event| event["type"] == "response.output_item.added").collect();
    assert_eq!((&added[0]["item"]["type"], &added[0]["output_index"]), (&json!("compaction"), &json!(0)));
    assert_eq!((&added[1]["item"]["type"], &added[1]["output_index"]), (&json!("message"), &json!(1)));
    let output = &events.last().unwrap()["response"]["output"];
    assert_eq!(output[0]["encrypted_content"], summary.seal());
    assert_eq!(output[1]["content"][0]["text"], "x");
}

#[test]
fn prefill_has_no_output() {
    let head = ResponseHead { form: Form::Nothing, ..builder().head().clone() };
    let delta = parts(vec![Part::Text("x".into())]);
    let events = stream_of(ResponseBuilder::new(head), &[delta, finished(FinishReason::Length)]);
    assert_eq!(names(&events), ["response.created", "response.in_progress", "response.completed"]);
    let response = &events[2]["response"];
    assert_eq!((&response["output"], &response["usage"]["output_tokens"]), (&json!([]), &json!(0)));
}

#[test]
fn stream_has_openais_event_order() {
    let call = Part::Call { id: "0".into(), name: "f".into() };
    let events = stream(&[
        parts(vec![Part::Reasoning("hm".into()), Part::Text("H".into())]),
        parts(vec![Part::Text("i".into()), call, Part::Arguments("{".into())]),
        parts(vec![Part::Arguments("}".into())]),
        finished(FinishReason::ToolCalls),
    ]);
    let names: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.reasoning_text.delta",
        "response.reasoning_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(names, expected);
    let response = &events.last().unwrap()["response"];
    let output = json!([
        {"type": "reasoning", "id": "rs_1_0", "status": "completed", "summary": [],
            "content": [{"type": "reasoning_text", "text": "hm"}], "encrypted_content": "mlxd1.aG0="},
        {"type": "message", "id": "msg_1_1", "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}]},
        {"type": "function_call", "id": "fc_1_2", "status": "completed", "call_id": "call_1_2", "name": "f",
            "arguments": "{}"},
    ]);
    assert_eq!(response["output"], output);
    let usage = json!({"input_tokens": 7, "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 4},
        "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 3}, "total_tokens": 12});
    assert_eq!((&response["usage"], &response["status"]), (&usage, &json!("completed")));
    assert_eq!((&response["id"], &events[0]["response"]["id"]), (&json!("resp_1"), &json!("resp_1")));
    assert_eq!((&response["tools"], &response["object"]), (&json!([]), &json!("response")));
    assert_eq!(events[2]["item"]["content"], json!([]));
    assert_eq!(events[15]["item"]["call_id"], "call_1_2");
}

/// With a summary requested, reasoning is written only as the summary.
#[test]
fn summary_has_its_own_events() {
    let head = ResponseHead { summarise: true, encrypt: false, ..builder().head().clone() };
    let events = stream_of(
        ResponseBuilder::new(head),
        &[
            parts(vec![Part::Reasoning("h".into())]),
            parts(vec![Part::Reasoning("m".into()), Part::Text("Hi".into())]),
            finished(FinishReason::Stop),
        ],
    );
    let names: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let expected = [
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
        "response.output_item.added",
    ];
    assert_eq!(names[2..10], expected);
    assert_eq!((&events[4]["delta"], &events[4]["summary_index"]), (&json!("h"), &json!(0)));
    assert_eq!((&events[6]["text"], &events[7]["part"]["text"]), (&json!("hm"), &json!("hm")));
    let item = json!({"type": "reasoning", "id": "rs_1_0", "status": "completed", "content": [],
        "summary": [{"type": "summary_text", "text": "hm"}]});
    assert_eq!(events[8]["item"], item);
}

fn call(name: &str, pieces: &[&str]) -> Vec<Neutral> {
    let begin = parts(vec![Part::Call { id: "0".into(), name: name.into() }]);
    let more = pieces.iter().map(|piece| parts(vec![Part::Arguments((*piece).into())]));
    std::iter::once(begin).chain(more).collect()
}

/// Name, delta and item of each event after the opening ones.
fn call_events(name: &str, pieces: &[&str], reason: FinishReason) -> Vec<Value> {
    let mut events = call(name, pieces);
    events.push(finished(reason));
    stream(&events).split_off(2)
}

#[test]
fn custom_call_is_streamed_as_text() {
    let pieces = [r#"{"input": "a\"#, r#"nb\ud83d"#, r#"\ude00"#, r#"\"c"}"#];
    let events = call_events("patch", &pieces, FinishReason::ToolCalls);
    let item = |status: &str, input: &str| {
        json!({"type": "custom_tool_call", "id": "ctc_1_0", "status": status, "call_id": "call_1_0",
            "name": "patch", "input": input})
    };
    let place = |kind: &str, number: usize| {
        json!({"type": format!("response.custom_tool_call_input.{kind}"), "sequence_number": number,
            "item_id": "ctc_1_0", "output_index": 0})
    };
    let with = |mut event: Value, field: &str, text: &str| {
        event[field] = text.into();
        event
    };
    assert_eq!(events[0]["item"], item("in_progress", ""));
    let deltas = [("a", 3), ("\nb", 4), ("😀", 5), ("\"c", 6)];
    for (event, (text, number)) in events[1..5].iter().zip(deltas) {
        assert_eq!(*event, with(place("delta", number), "delta", text));
    }
    assert_eq!(events[5], with(place("done", 7), "input", "a\nb😀\"c"));
    let whole = item("completed", "a\nb😀\"c");
    assert_eq!((&events[6]["type"], &events[6]["item"]), (&json!("response.output_item.done"), &whole));
    assert_eq!(events[7]["response"]["output"], json!([whole]));
}

#[test]
fn call_that_is_cut_off_is_incomplete() {
    for (name, pieces, shown) in [
        ("patch", &[r#"{"input": "a\"#][..], json!("a")),
        ("patch", &[r#"{"input": "a""#], json!("a")),
        ("f", &[r#"{"a": "#], json!(r#"{"a": "#)),
        ("tool_search", &[r#"{"query": "x"#], json!(r#"{"query": "x"#)),
    ] {
        for reason in [FinishReason::Length, FinishReason::StopText(0)] {
            let events = call_events(name, pieces, reason);
            let item = &events.last().unwrap()["response"]["output"][0];
            let text = item.get("input").unwrap_or(&item["arguments"]);
            assert_eq!((&item["status"], text), (&json!("incomplete"), &shown), "{name}");
        }
    }
}

#[test]
fn call_in_a_namespace_has_both_names_apart() {
    let events = call_events("wx__get", &["{}"], FinishReason::ToolCalls);
    let named = |item: &Value| (item["name"].clone(), item["namespace"].clone());
    let expected = (json!("get"), json!("wx"));
    assert_eq!(named(&events[0]["item"]), expected);
    assert_eq!(events[2]["name"], "get");
    assert_eq!(named(&events[3]["item"]), expected);
    assert_eq!(named(&events[4]["response"]["output"][0]), expected);
}

#[test]
fn tool_search_has_arguments_as_an_object_and_no_deltas() {
    let events = call_events("tool_search", &[r#"{"query":"#, r#" "x"}"#], FinishReason::ToolCalls);
    let names: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(names, ["response.output_item.added", "response.output_item.done", "response.completed"]);
    let item = |status: &str, arguments: Value| {
        json!({"type": "tool_search_call", "id": "tsc_1_0", "status": status, "call_id": "call_1_0",
            "execution": "client", "arguments": arguments})
    };
    assert_eq!(events[0]["item"], item("in_progress", json!({})));
    assert_eq!(events[1]["item"], item("completed", json!({"query": "x"})));
}

#[test]
fn last_event_has_the_outcome() {
    let last = |event: Neutral| stream(&[parts(vec![Part::Text("x".into())]), event]).pop().unwrap();
    let cut = last(finished(FinishReason::Length));
    assert_eq!(cut["type"], "response.incomplete");
    assert_eq!(cut["response"]["incomplete_details"]["reason"], "max_output_tokens");
    assert_eq!(cut["response"]["output"][0]["status"], "incomplete");
    for (kind, code, text) in [
        (ErrorKind::ContextLength, "context_length_exceeded", "no"),
        (ErrorKind::Overloaded, "rate_limit_exceeded", "no; try again in 1s"),
        (ErrorKind::InvalidRequest, "invalid_prompt", "no"),
        (ErrorKind::Unavailable, "server_error", "no"),
    ] {
        let failed = last(Neutral::Failed(failure(kind)));
        assert_eq!(failed["type"], "response.failed");
        assert_eq!(failed["response"]["error"], json!({"code": code, "message": text}));
        assert_eq!(failed["response"]["output"][0]["content"][0]["text"], "x");
    }
}

/// The model ended its turn inside the second call.
#[test]
fn call_that_was_cut_off_is_incomplete() {
    let call = |name: &str| Part::Call { id: "c".into(), name: name.into() };
    let arguments = |text: &str| Part::Arguments(text.into());
    let all = vec![call("f"), arguments("{\"a\": 1}"), call("g"), arguments("{\"a\": ")];
    for (reason, outcome) in
        [(FinishReason::Stop, "response.completed"), (FinishReason::Length, "response.incomplete")]
    {
        let events = stream(&[parts(all.clone()), finished(reason)]);
        let last = events.last().unwrap();
        assert_eq!(last["type"], outcome);
        let statuses = [0, 1].map(|at| last["response"]["output"][at]["status"].clone());
        assert_eq!(statuses, ["completed", "incomplete"]);
        let done = events.iter().filter(|event| event["type"] == "response.output_item.done");
        assert_eq!(
            done.map(|event| &event["item"]["status"]).collect::<Vec<_>>(),
            ["completed", "incomplete"]
        );
    }
}

#[test]
fn keep_alive_before_the_first_event_creates_the_response() {
    let (mut wire, mut buffer) = (builder(), Vec::new());
    wire.keep_alive(&mut buffer);
    wire.keep_alive(&mut buffer);
    wire.fail(&mut buffer, &failure(ErrorKind::Timeout));
    let names: Vec<_> = parse_events(&buffer).iter().map(|event| event["type"].clone()).collect();
    let progress = "response.in_progress";
    assert_eq!(names, ["response.created", progress, progress, "response.failed"]);
}

#[test]
fn log_probabilities_stay_with_their_text() {
    let scored = |text: &str| TokenLogprob {
        token: Alternative { bytes: text.as_bytes().to_vec(), logprob: Some(-0.5) },
        top: Vec::new(),
    };
    let delta = |text: &str| {
        Neutral::Delta(Delta {
            parts: vec![Part::Text(text.into())],
            logprobs: vec![scored(text)],
            ..Delta::default()
        })
    };
    let events = stream(&[delta("a"), delta("b"), finished(FinishReason::Stop)]);
    let deltas = events.iter().filter(|event| event["type"] == "response.output_text.delta");
    let tokens: Vec<_> = deltas.map(|event| event["logprobs"][0]["token"].clone()).collect();
    assert_eq!(tokens, ["a", "b"]);
    let whole = &events.last().unwrap()["response"]["output"][0]["content"][0]["logprobs"];
    assert_eq!(whole.as_array().unwrap().len(), 2);
}

#[test]
fn sealed_text_can_be_opened() {
    assert_eq!(sealed::open(&sealed::seal("hm ✓")).as_deref(), Some("hm ✓"));
    for foreign in ["gAAAAAB", "mlxd1.%", "mlxd1./w==", ""] {
        assert_eq!(sealed::open(foreign), None, "{foreign}");
    }
}

fn any_part() -> impl Strategy<Value = Part> {
    prop_oneof![
        "\\PC{0,6}".prop_map(Part::Text),
        "\\PC{0,6}".prop_map(Part::Reasoning),
        "[a-z]{1,4}|wx__get".prop_map(|name| Part::Call { id: "x".into(), name }),
        "[{}\":1]{0,6}".prop_map(Part::Arguments),
    ]
}

proptest! {
    /// For parts in any order: items open and close one after another, and deltas join to the text of their item. The last event
    /// contains all items.
    #[test]
    fn arbitrary_stream_is_well_formed_and_complete(
        deltas in prop::collection::vec(prop::collection::vec(any_part(), 0..4), 0..8),
    ) {
        let all: Vec<Part> = deltas.iter().flatten().cloned().collect();
        let mut events: Vec<Neutral> = deltas.into_iter().map(parts).collect();
        events.push(finished(FinishReason::Stop));
        let events = stream(&events);
        let (mut open, mut sum, mut done) = (false, String::new(), Vec::new());
        for event in &events[2..events.len() - 1] {
            prop_assert_eq!(&event["output_index"], &json!(done.len()));
            match event["type"].as_str().unwrap() {
                "response.output_item.added" => prop_assert!(!std::mem::replace(&mut open, true)),
                "response.output_item.done" => {
                    prop_assert!(std::mem::take(&mut open));
                    done.push(event["item"].clone());
                }
                name if name.ends_with(".delta") => {
                    prop_assert!(open);
                    sum.push_str(event["delta"].as_str().unwrap());
                }
                name if name.ends_with("text.done") || name.ends_with("arguments.done") => {
                    let whole = event.get("text").unwrap_or(&event["arguments"]).as_str().unwrap();
                    prop_assert_eq!(std::mem::take(&mut sum), whole);
                }
                _ => prop_assert!(open),
            }
        }
        prop_assert!(!open);
        prop_assert_eq!(&events.last().unwrap()["response"]["output"], &json!(done));
        let texts: String = all.iter().map(|part| match part {
            Part::Text(text) | Part::Reasoning(text) | Part::Arguments(text) => &**text,
            Part::Call { .. } => "",
        }).collect();
        let shown: String = done.iter().map(|item| {
            let text = item.pointer("/content/0/text").unwrap_or(&item["arguments"]);
            text.as_str().unwrap().to_owned()
        }).collect();
        prop_assert_eq!(texts, shown);
    }
}
