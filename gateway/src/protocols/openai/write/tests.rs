use ipc_proto::generate::{self, Alternative, Part, TokenLogprob};
use ipc_proto::{ErrorKind, Origin};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::inference::output::Output;
use crate::protocols::openai::choices::{Echo, Telemetry};
use crate::protocols::openai::tools::call_forms::{CallForm, CallForms, CallKind};

const USAGE: Usage = Usage {
    prompt_tokens: 7,
    cached_tokens: 2,
    cache_written_tokens: 0,
    completion_tokens: 5,
    reasoning_tokens: 0,
};

fn head(endpoint: Endpoint) -> AnswerHead {
    AnswerHead {
        endpoint,
        id: "x-1".into(),
        created: 1_700_000_000,
        model: "m".into(),
        form: AnswerForm::default(),
    }
}

fn whole(parts: Vec<Part>, logprobs: Vec<TokenLogprob>, reason: FinishReason) -> CompleteOutput {
    CompleteOutput { output: Output { parts, logprobs, ..Output::default() }, reason, usage: USAGE }
}

fn answer(head: &AnswerHead, all: Vec<CompleteOutput>) -> Value {
    serde_json::from_slice(&head.answer(all, Timer::new(Instant::now())).unwrap()).unwrap()
}

/// The events of a stream, each as its JSON or the text `[DONE]`.
fn stream(endpoint: Endpoint, include_usage: bool, events: &[Event]) -> Vec<Value> {
    let events: Vec<(usize, Event)> = events.iter().map(|event| (0, event.clone())).collect();
    let mut chunks = chunked(head(endpoint), 1, include_usage, &events);
    // Timings differ in every run.
    let timed = chunks.iter_mut().filter_map(|chunk| chunk.as_object_mut()?.remove("timings")).count();
    assert!(timed <= 1);
    chunks
}

fn chunked(head: AnswerHead, choices: usize, include_usage: bool, events: &[(usize, Event)]) -> Vec<Value> {
    let mut chunks = ChunkWriter::new(head, choices, include_usage, Timer::new(Instant::now()));
    let mut buffer = Vec::new();
    let ends: Vec<bool> =
        events.iter().map(|(choice, event)| chunks.push(&mut buffer, *choice, event)).collect();
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
    Event::Failed(Error::new(ErrorKind::Unavailable, Origin::Worker, "the worker is gone"))
}

#[test]
fn chat_stream_has_openais_form() {
    let chunks = stream(Endpoint::Chat, true, &[text("Hi"), finished(FinishReason::Stop)]);
    let chunk = |choices: Value, usage: Value| {
        json!({"id": "x-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m",
            "choices": choices, "system_fingerprint": FINGERPRINT, "usage": usage})
    };
    let choice = |delta: Value, reason: Value| json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason}]);
    let usage = json!({"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 2}, "completion_tokens_details": {"reasoning_tokens": 0}});
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
fn log_probabilities_have_openais_form() {
    let one = |bytes: &[u8], logprob| Alternative { bytes: bytes.to_vec(), logprob: Some(logprob) };
    let scored = TokenLogprob {
        token: one(b"Hi", -0.5),
        top: vec![one(b"Hi", -0.5), one(b"\xff", f32::NEG_INFINITY)],
    };
    let expected = json!({"refusal": null, "content": [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105],
        "top_logprobs": [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105]},
            {"token": "\u{fffd}", "logprob": -9999.0, "bytes": [255]}]}]});
    let event = Event::Delta(generate::Delta {
        parts: vec![Part::Text("Hi".into())],
        logprobs: vec![scored.clone()],
        ..generate::Delta::default()
    });
    let chunks = stream(Endpoint::Chat, false, &[event, finished(FinishReason::Stop)]);
    assert_eq!(chunks[1]["choices"][0]["logprobs"], expected);
    let whole = whole(vec![Part::Text("Hi".into())], vec![scored], FinishReason::Stop);
    let answer = answer(&head(Endpoint::Chat), vec![whole]);
    assert_eq!(answer["choices"][0]["logprobs"], expected);
}

#[test]
fn usage_is_absent_unless_requested() {
    for endpoint in [Endpoint::Chat, Endpoint::Completions] {
        let chunks = stream(endpoint, false, &[text("Hi"), finished(FinishReason::Length)]);
        assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));
        assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "length");
    }
}

/// SDKs raise an exception only for an error below the key `error`.
#[test]
fn failure_ends_the_stream_without_done() {
    let chunks = stream(Endpoint::Chat, true, &[text("Hi"), failed()]);
    let error = json!({"message": "the worker is gone", "type": "server_error", "param": null, "code": "unavailable"});
    assert_eq!(chunks.last(), Some(&json!({ "error": error })));
    assert!(!chunks.contains(&json!("[DONE]")));
}

#[test]
fn answer_has_openais_form() {
    let hi = || whole(vec![Part::Text("Hi".into())], Vec::new(), FinishReason::Stop);
    let chat = answer(&head(Endpoint::Chat), vec![hi()]);
    assert_eq!(chat["object"], "chat.completion");
    let message = json!({"role": "assistant", "content": "Hi", "refusal": null});
    assert_eq!(chat["choices"][0]["message"], message);
    assert_eq!(chat["usage"]["total_tokens"], 12);
    assert_eq!((&chat["timings"]["prompt_n"], &chat["timings"]["predicted_n"]), (&json!(5), &json!(5)));
    let plain = answer(&head(Endpoint::Completions), vec![hi()]);
    assert_eq!((&plain["object"], &plain["choices"][0]["text"]), (&json!("text_completion"), &json!("Hi")));
}

fn calling() -> Vec<Part> {
    let call = |name: &str| Part::Call { id: format!("call_{name}"), name: name.into() };
    let more = |text: &str| Part::Arguments(text.into());
    vec![Part::Reasoning("Hm.".into()), call("f"), more("{\"a\""), more(": 1}"), call("g"), more("{}")]
}

#[test]
fn streamed_calls_and_reasoning_have_openais_form() {
    let delta =
        |part: Part| Event::Delta(generate::Delta { parts: vec![part], ..generate::Delta::default() });
    let mut events: Vec<Event> = calling().into_iter().map(delta).collect();
    events.push(finished(FinishReason::ToolCalls));
    let chunks = stream(Endpoint::Chat, false, &events);
    let deltas: Vec<&Value> = chunks.iter().filter_map(|chunk| chunk.pointer("/choices/0/delta")).collect();
    let begin = |index: u32, name: &str| {
        json!({"tool_calls": [{"index": index, "id": format!("call_{name}"), "type": "function",
            "function": {"name": name, "arguments": ""}}]})
    };
    let more =
        |index: u32, text: &str| json!({"tool_calls": [{"index": index, "function": {"arguments": text}}]});
    let expected = [
        json!({"role": "assistant", "content": ""}),
        json!({"reasoning_content": "Hm."}),
        begin(0, "f"),
        more(0, "{\"a\""),
        more(0, ": 1}"),
        begin(1, "g"),
        more(1, "{}"),
        json!({}),
    ];
    assert_eq!(deltas, expected.iter().collect::<Vec<_>>());
    assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "tool_calls");
}

/// A head whose tool `patch` is a custom one.
fn custom_head() -> AnswerHead {
    let mut calls = CallForms::default();
    let form = CallForm { kind: CallKind::Custom, namespace: None, name: "patch".into() };
    calls.insert("patch".into(), form);
    AnswerHead { form: AnswerForm { calls, ..AnswerForm::default() }, ..head(Endpoint::Chat) }
}

fn custom_call() -> Vec<Part> {
    let arguments = |text: &str| Part::Arguments(text.into());
    vec![
        Part::Call { id: "call_p".into(), name: "patch".into() },
        arguments(r#"{"input": "a\"#),
        arguments(r#"nb"}"#),
        Part::Call { id: "call_f".into(), name: "f".into() },
        arguments("{}"),
    ]
}

#[test]
fn custom_call_has_its_text() {
    let answered = answer(&custom_head(), vec![whole(custom_call(), Vec::new(), FinishReason::ToolCalls)]);
    let calls = json!([
        {"id": "call_p", "type": "custom", "custom": {"name": "patch", "input": "a\nb"}},
        {"id": "call_f", "type": "function", "function": {"name": "f", "arguments": "{}"}},
    ]);
    assert_eq!(answered["choices"][0]["message"]["tool_calls"], calls);
}

#[test]
fn streamed_custom_call_has_its_text() {
    let delta =
        |part: Part| Event::Delta(generate::Delta { parts: vec![part], ..generate::Delta::default() });
    let mut events: Vec<(usize, Event)> = custom_call().into_iter().map(|part| (0, delta(part))).collect();
    events.push((0, finished(FinishReason::ToolCalls)));
    let chunks = chunked(custom_head(), 1, false, &events);
    let deltas: Vec<&Value> =
        chunks.iter().filter_map(|chunk| chunk.pointer("/choices/0/delta/tool_calls/0")).collect();
    let expected = [
        json!({"index": 0, "id": "call_p", "type": "custom", "custom": {"name": "patch", "input": ""}}),
        json!({"index": 0, "custom": {"input": "a"}}),
        json!({"index": 0, "custom": {"input": "\nb"}}),
        json!({"index": 1, "id": "call_f", "type": "function", "function": {"name": "f", "arguments": ""}}),
        json!({"index": 1, "function": {"arguments": "{}"}}),
    ];
    assert_eq!(deltas, expected.iter().collect::<Vec<_>>());
}

#[test]
fn calls_and_reasoning_have_modern_or_legacy_form() {
    let choice = |legacy| {
        let head =
            AnswerHead { form: AnswerForm { legacy, ..AnswerForm::default() }, ..head(Endpoint::Chat) };
        answer(&head, vec![whole(calling(), Vec::new(), FinishReason::ToolCalls)])["choices"][0].clone()
    };
    let function = |name: &str, arguments: &str| json!({"name": name, "arguments": arguments});
    let call = |name: &str, arguments: &str| json!({"id": format!("call_{name}"), "type": "function", "function": function(name, arguments)});
    let calls = [call("f", "{\"a\": 1}"), call("g", "{}")];
    let message = json!({"role": "assistant", "content": null, "refusal": null, "reasoning_content": "Hm.", "tool_calls": calls});
    let new = choice(false);
    assert_eq!((&new["message"], &new["finish_reason"]), (&message, &json!("tool_calls")));
    let old = choice(true);
    assert_eq!(old["message"]["function_call"], function("f", "{\"a\": 1}"));
    assert!(old["finish_reason"] == "function_call" && old["message"].get("tool_calls").is_none());
}

#[test]
fn choices_are_numbered_and_their_prompt_counts_once() {
    let events = [
        (1, text("b")),
        (0, text("a")),
        (1, finished(FinishReason::Stop)),
        (0, finished(FinishReason::Length)),
    ];
    let form = AnswerForm { candidates: 2, returned: 2, ..AnswerForm::default() };
    let chunks = chunked(AnswerHead { form: form.clone(), ..head(Endpoint::Chat) }, 2, true, &events);
    let of = |index: u32| -> String {
        let choices = chunks.iter().filter_map(|chunk| chunk.pointer("/choices/0"));
        let own = choices.filter(|choice| choice["index"] == index);
        own.filter_map(|choice| choice.pointer("/delta/content")?.as_str()).collect()
    };
    assert_eq!((of(0), of(1)), ("a".to_owned(), "b".to_owned()));
    let usage = &chunks[chunks.len() - 2]["usage"];
    assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(7), &json!(10)));
    let one = |text: &str| whole(vec![Part::Text(text.into())], Vec::new(), FinishReason::Stop);
    let answered = answer(&AnswerHead { form, ..head(Endpoint::Chat) }, vec![one("a"), one("b")]);
    assert_eq!(
        (&answered["choices"][1]["index"], &answered["choices"][1]["message"]["content"]),
        (&json!(1), &json!("b"))
    );
    assert_eq!(answered["usage"]["total_tokens"], 17);
}

/// OpenAI's Python library fails if choice 1 begins before choice 0.
#[test]
fn choices_of_a_chat_stream_begin_in_order() {
    let form = AnswerForm { candidates: 3, returned: 3, ..AnswerForm::default() };
    let mut events = vec![(2, text("c")), (1, text("b")), (0, text("a"))];
    events.extend([1, 2, 0].map(|choice| (choice, finished(FinishReason::Stop))));
    let chunks = chunked(AnswerHead { form, ..head(Endpoint::Chat) }, 3, false, &events);
    let delta = |chunk: &Value| (chunk["choices"][0]["index"].clone(), chunk["choices"][0]["delta"].clone());
    let opening = json!({"role": "assistant", "content": ""});
    let begins: Vec<_> = chunks[..4].iter().map(delta).collect();
    let expected: Vec<_> = (0..3).map(|index| (json!(index), opening.clone())).collect();
    assert_eq!(begins[..3], expected);
    assert_eq!(begins[3], (json!(2), json!({"content": "c"})));
}

#[test]
fn echoes_of_a_stream_begin_in_order() {
    let echo = vec![Echo::Text("one ".into()), Echo::Text("two ".into())];
    let form = AnswerForm { echo, ..AnswerForm::default() };
    let mut events = vec![(1, text("b")), (0, text("a"))];
    events.extend([1, 0].map(|choice| (choice, finished(FinishReason::Stop))));
    let chunks = chunked(AnswerHead { form, ..head(Endpoint::Completions) }, 2, false, &events);
    let texts: Vec<&Value> = chunks[..4].iter().map(|chunk| &chunk["choices"][0]["text"]).collect();
    assert_eq!(texts, ["one ", "two ", "b", "a"]);
}

fn progress(processed: u32) -> Event {
    let progress = PromptProgress { total: 7, cached: 2, processed, elapsed_ms: 30 };
    Event::Progress(progress)
}

#[test]
fn progress_of_the_prompt_has_llama_cpps_form() {
    let telemetry = Telemetry { progress: true, ..Telemetry::default() };
    for (endpoint, text_pointer) in
        [(Endpoint::Chat, "/choices/0/delta"), (Endpoint::Completions, "/choices/0/text")]
    {
        let head = AnswerHead { form: AnswerForm { telemetry, ..AnswerForm::default() }, ..head(endpoint) };
        let events = [progress(4), progress(7), text("Hi"), finished(FinishReason::Stop)];
        let chunks = chunked(head, 1, false, &events.map(|event| (0, event)));
        let reported: Vec<&Value> = chunks.iter().filter_map(|chunk| chunk.get("prompt_progress")).collect();
        let expected =
            [4, 7].map(|processed| json!({"total": 7, "cache": 2, "processed": processed, "time_ms": 30}));
        assert_eq!(reported, expected.iter().collect::<Vec<_>>());
        let empty = chunks.iter().find(|chunk| chunk.get("prompt_progress").is_some()).unwrap();
        assert!([json!({}), json!("")].contains(empty.pointer(text_pointer).unwrap()), "{empty}");
    }
}

#[test]
fn progress_that_was_not_requested_is_not_written() {
    let chunks = stream(Endpoint::Chat, false, &[progress(7), text("Hi"), finished(FinishReason::Stop)]);
    assert!(chunks.iter().all(|chunk| chunk.get("prompt_progress").is_none()));
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
}

#[test]
fn continuous_usage_counts_in_each_chunk() {
    let telemetry = Telemetry { usage: true, timings: true, progress: false };
    let delta = |index: u32| {
        Event::Delta(generate::Delta {
            index,
            parts: vec![Part::Text("x".into())],
            ..generate::Delta::default()
        })
    };
    for endpoint in [Endpoint::Chat, Endpoint::Completions] {
        let head = AnswerHead { form: AnswerForm { telemetry, ..AnswerForm::default() }, ..head(endpoint) };
        let events = [progress(7), delta(0), delta(3), finished(FinishReason::Stop)];
        let chunks = chunked(head, 1, false, &events.map(|event| (0, event)));
        let counts: Vec<[&Value; 3]> = chunks[..chunks.len() - 1]
            .iter()
            .map(|chunk| {
                ["prompt_tokens", "completion_tokens", "total_tokens"].map(|name| &chunk["usage"][name])
            })
            .collect();
        let written = |completion: u32| [json!(7), json!(completion), json!(7 + completion)];
        let mut expected = vec![written(1), written(4), written(5), written(5)];
        if endpoint == Endpoint::Chat {
            expected.insert(0, written(1));
        }
        assert_eq!(counts, expected.iter().map(|row| row.each_ref()).collect::<Vec<_>>());
        let timed = chunks[..chunks.len() - 2].iter();
        assert!(timed.clone().all(|chunk| chunk["timings"]["cache_n"] == 2), "{chunks:?}");
        assert_eq!(chunks[chunks.len() - 2]["choices"], json!([]));
    }
}

#[test]
fn echoed_turn_comes_before_the_answer() {
    let echo = vec![Echo::Text("The ".into())];
    let head = AnswerHead { form: AnswerForm { echo, ..AnswerForm::default() }, ..head(Endpoint::Chat) };
    let one = whole(vec![Part::Text("sea".into())], Vec::new(), FinishReason::Stop);
    assert_eq!(answer(&head, vec![one])["choices"][0]["message"]["content"], "The sea");
    let chunks = chunked(head, 1, false, &[(0, text("sea")), (0, finished(FinishReason::Stop))]);
    let contents = chunks.iter().filter_map(|chunk| chunk.pointer("/choices/0/delta/content")?.as_str());
    assert_eq!(contents.collect::<Vec<_>>(), ["", "The ", "sea"]);
}

fn likely(bytes: &[u8], logprob: Option<f32>) -> TokenLogprob {
    let token = Alternative { bytes: bytes.to_vec(), logprob };
    TokenLogprob { top: logprob.map(|_| token.clone()).into_iter().collect(), token }
}

#[test]
fn best_of_returns_the_likeliest_completions() {
    let one = |text: &str, logprob| {
        whole(vec![Part::Text(text.into())], vec![likely(b"x", Some(logprob))], FinishReason::Stop)
    };
    let form = AnswerForm { candidates: 3, returned: 1, ..AnswerForm::default() };
    let all =
        vec![one("a", -2.0), one("b", -1.0), one("c", -3.0), one("d", -1.0), one("e", -5.0), one("f", -4.0)];
    let answered = answer(&AnswerHead { form, ..head(Endpoint::Completions) }, all);
    let texts: Vec<&Value> =
        answered["choices"].as_array().unwrap().iter().map(|choice| &choice["text"]).collect();
    assert_eq!(texts, ["b", "d"]);
    assert_eq!(answered["choices"][1]["index"], 1);
    assert_eq!(answered["choices"][0]["logprobs"], Value::Null, "they were not asked for");
}

#[test]
fn echoed_prompt_has_log_probabilities() {
    let form = AnswerForm { echo: vec![Echo::Tokens], logprobs: true, ..AnswerForm::default() };
    let head = AnswerHead { form, ..head(Endpoint::Completions) };
    let prompt = vec![likely("ü".as_bytes(), None), likely(b"\xff", Some(-1.0))];
    let expected = json!({"tokens": ["ü", "bytes:\\xff", "Hi"], "token_logprobs": [null, -1.0, -0.5],
        "top_logprobs": [null, {"bytes:\\xff": -1.0}, {"Hi": -0.5}], "text_offset": [0, 1, 2]});
    let mut whole = whole(vec![Part::Text("Hi".into())], vec![likely(b"Hi", Some(-0.5))], FinishReason::Stop);
    whole.output.prompt = prompt.clone();
    let answered = answer(&head, vec![whole]);
    assert_eq!(
        (&answered["choices"][0]["text"], &answered["choices"][0]["logprobs"]),
        (&json!("ü\u{fffd}Hi"), &expected)
    );
    let delta = generate::Delta {
        parts: vec![Part::Text("Hi".into())],
        logprobs: vec![likely(b"Hi", Some(-0.5))],
        ..generate::Delta::default()
    };
    let events =
        [(0, Event::Prompt { tokens: prompt }), (0, Event::Delta(delta)), (0, finished(FinishReason::Stop))];
    let chunks = chunked(head, 1, false, &events);
    let text: String = chunks.iter().filter_map(|chunk| chunk.pointer("/choices/0/text")?.as_str()).collect();
    assert_eq!(text, "ü\u{fffd}Hi");
    assert_eq!(chunks[1]["choices"][0]["logprobs"]["text_offset"], json!([2]));
}

/// OpenAI's API returns up to one token more than requested.
#[test]
fn chosen_token_is_among_the_likeliest_of_a_completion() {
    let one = |text: &str, logprob| Alternative { bytes: text.into(), logprob: Some(logprob) };
    let scored = |top: Vec<Alternative>| TokenLogprob { token: one(" sky", -12.5), top };
    let form = AnswerForm { echo: vec![Echo::Tokens], logprobs: true, ..AnswerForm::default() };
    let head = AnswerHead { form, ..head(Endpoint::Completions) };
    for (top, expected) in [
        (vec![], json!({" sky": -12.5})),
        (vec![one("-", -0.5)], json!({"-": -0.5, " sky": -12.5})),
        (vec![one(" sky", -12.5)], json!({" sky": -12.5})),
    ] {
        let mut whole = whole(vec![Part::Text(" sky".into())], vec![scored(top.clone())], FinishReason::Stop);
        whole.output.prompt = vec![scored(top)];
        let answered = answer(&head, vec![whole]);
        assert_eq!(answered["choices"][0]["logprobs"]["top_logprobs"], json!([expected, expected]));
    }
}

proptest! {
    /// The deltas of a stream join to the whole text, for any characters.
    #[test]
    fn stream_adds_up_to_the_text(
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
