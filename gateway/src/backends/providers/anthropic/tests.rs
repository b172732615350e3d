use ipc_proto::generate::{
    ChatPrompt, Constraint, Content, Delta, Event, FinishReason, Generation, ImageDetail, Logprobs, Message,
    Part, Prompt, Role, Sampling, ToolCall, ToolChoice, Usage,
};
use ipc_proto::{ErrorKind, Field, Result};
use serde_json::{Value, json};

use super::events::Messages;
use super::request::{count, write};
use crate::backends::providers::openai::tests::{conversation, images};
use crate::backends::providers::translator::Translator;
use crate::dispatch::writer::ResponseWriter;
use crate::protocols::anthropic::messages::parse;
use crate::protocols::anthropic::messages::write::{MessageHead, MessageWriter};

fn chat(prompt: ChatPrompt) -> Generation {
    Generation { prompt: Prompt::Chat(prompt), ..Generation::default() }
}

fn body(generation: &Generation) -> Result<Value> {
    write("far", generation, 1, None)
}

/// The generation that this server's own endpoint makes of a request.
fn parsed(body: Value) -> Generation {
    parse::parse(serde_json::from_value(body).unwrap()).unwrap().request.generation
}

#[test]
fn images_mean_the_same_to_a_server_of_the_protocol() {
    let mut content = Content::from("a");
    for mut image in images() {
        // The protocol has no detail.
        image.detail = ImageDetail::Auto;
        content.push_image(image);
        content.push_text("b");
    }
    let user = Message { content: content.clone(), ..Message::default() };
    let call = ToolCall { id: "1".into(), name: "f".into(), arguments: "{}".into() };
    let calls = Message { tool_calls: vec![call], ..Message::text(Role::Assistant, "") };
    let messages = vec![user, calls, Message::result(Some("1".into()), Some("f".into()), content)];
    let written = body(&chat(ChatPrompt { messages: messages.clone(), ..ChatPrompt::default() })).unwrap();
    let source = json!({"type": "base64", "media_type": "image/jpeg", "data": "/9j/4A=="});
    assert_eq!(written["messages"][0]["content"][1]["source"], source);
    let Prompt::Chat(back) = parsed(written).prompt else { panic!("a chat") };
    assert_eq!(back.messages, messages);
}

#[test]
fn request_means_the_same_to_a_server_of_the_protocol() {
    let sampling =
        Sampling { temperature: Some(0.1), top_p: Some(0.9), top_k: Some(40), ..Sampling::default() };
    let generation =
        Generation { sampling, stop: vec!["END".into()], max_tokens: Some(99), ..chat(conversation()) };
    let back = parsed(body(&generation).unwrap());
    assert_eq!(back.sampling, generation.sampling);
    assert_eq!((&back.stop, back.max_tokens), (&generation.stop, Some(99)));
    let (Prompt::Chat(back), Prompt::Chat(mut sent)) = (back.prompt, generation.prompt) else {
        panic!("a chat")
    };
    // The protocol takes reasoning only with a signature of its own.
    sent.messages.iter_mut().for_each(|message| message.reasoning = None);
    assert_eq!((back.messages, back.tools), (sent.messages, sent.tools));
    assert_eq!((back.tool_choice, back.parallel_calls), (sent.tool_choice, true));
}

#[test]
fn roles_alternate_and_empty_texts_are_left_out() {
    let messages = vec![
        Message::text(Role::System, "A"),
        Message::text(Role::System, "B"),
        Message::text(Role::User, "one"),
        Message::text(Role::User, "two"),
        Message::text(Role::Assistant, " "),
        Message::text(Role::System, "later"),
    ];
    let body = body(&chat(ChatPrompt { messages, ..ChatPrompt::default() })).unwrap();
    assert_eq!(body["system"], "A\n\nB");
    let text = |text: &str| json!({"type": "text", "text": text});
    let expected = json!([
        {"role": "user", "content": [text("one"), text("two"), text("later")]},
    ]);
    assert_eq!(body["messages"], expected);
}

#[test]
fn limit_is_the_clients_or_the_settings_or_a_default() {
    let limit = |own, known| {
        let generation = Generation { max_tokens: own, ..chat(conversation()) };
        write("far", &generation, 1, known).unwrap()["max_tokens"].as_u64()
    };
    assert_eq!(
        (limit(Some(5), Some(7)), limit(None, Some(7)), limit(None, None)),
        (Some(5), Some(7), Some(8192))
    );
}

#[test]
fn choice_of_tools_is_translated() {
    let choice = |tool_choice, parallel_calls| {
        body(&chat(ChatPrompt { tool_choice, parallel_calls, ..conversation() })).unwrap()["tool_choice"]
            .clone()
    };
    assert_eq!(choice(ToolChoice::Auto, true), json!({"type": "auto"}));
    assert_eq!(choice(ToolChoice::None, true), json!({"type": "none"}));
    let named = json!({"type": "tool", "name": "weather", "disable_parallel_tool_use": true});
    assert_eq!(choice(ToolChoice::Named("weather".into()), false), named);
}

#[test]
fn wishes_for_reasoning_are_passed_on() {
    let with = |kwargs: &str, budget, messages: usize| {
        let tool_choice = ToolChoice::Auto;
        let mut prompt = ChatPrompt { template_kwargs: Some(kwargs.into()), tool_choice, ..conversation() };
        prompt.messages.truncate(messages);
        let generation = Generation { reasoning_budget: budget, max_tokens: Some(4096), ..chat(prompt) };
        body(&generation).unwrap()
    };
    let on = r#"{"enable_thinking":true,"reasoning_effort":"low"}"#;
    let body = with(on, None, 2);
    assert_eq!(
        (&body["thinking"]["type"], &body["output_config"]["effort"]),
        (&json!("adaptive"), &json!("low"))
    );
    assert_eq!(with(on, Some(2000), 2)["thinking"], json!({"type": "enabled", "budget_tokens": 2000}));
    assert_eq!(with(on, Some(5000), 2)["thinking"]["type"], "adaptive");
    assert_eq!(with(r#"{"enable_thinking":false}"#, None, 2)["thinking"]["type"], "disabled");
    assert_eq!(with(on, None, 4).get("thinking"), None, "amid a round of calls");
}

#[test]
fn forced_call_has_no_thinking() {
    let kwargs = Some(r#"{"enable_thinking":true}"#.into());
    let mut prompt = ChatPrompt { template_kwargs: kwargs, ..conversation() };
    prompt.messages.truncate(2);
    assert_eq!(body(&chat(prompt)).unwrap().get("thinking"), None);
}

#[test]
fn schemas_are_closed() {
    let schema = r#"{"type":"object","properties":{"team":{"type":"string"}}}"#;
    let constraint = Some(Constraint::JsonSchema(schema.into()));
    let body = body(&Generation { constraint, ..chat(conversation()) }).unwrap();
    assert_eq!(body["output_config"]["format"]["schema"]["additionalProperties"], false);
}

#[test]
fn what_the_protocol_cannot_say_is_refused_by_name() {
    let plain = || chat(conversation());
    let refused = |generation: Generation| body(&generation).unwrap_err().field.unwrap();
    let logprobs = Some(Logprobs::default());
    assert_eq!(refused(Generation { logprobs, ..plain() }), Field::from("logprobs"));
    let sampling = Sampling { min_p: Some(0.1), ..Sampling::default() };
    assert_eq!(refused(Generation { sampling, ..plain() }), Field::from("min_p"));
    let constraint = Some(Constraint::Regex("a+".into()));
    assert_eq!(refused(Generation { constraint, ..plain() }), Field::OutputFormat);
    assert_eq!(refused(Generation::default()), Field::Prompt);
    assert_eq!(write("far", &plain(), 2, None).unwrap_err().field, Some(Field::Choices));
    assert!(count("far", &Prompt::default()).is_err());
}

#[test]
fn count_has_the_conversation_only() {
    let body = count("far", &Prompt::Chat(conversation())).unwrap();
    assert!(body.get("max_tokens").is_none() && body["tools"].is_array() && body["system"] == "Be brief.");
}

fn delta(parts: Vec<Part>) -> Event {
    Event::Delta(Delta { parts, ..Delta::default() })
}

#[test]
fn stream_of_the_protocol_gives_the_events_back() {
    let usage = Usage { prompt_tokens: 9, cached_tokens: 4, completion_tokens: 7, ..Usage::default() };
    let sent = [
        delta(vec![Part::Reasoning("Let me see.".into()), Part::Text("I ask.".into())]),
        delta(vec![Part::Call { id: "c1".into(), name: "weather".into() }]),
        delta(vec![Part::Arguments("{\"city\":".into()), Part::Arguments("\"Oslo\"}".into())]),
        Event::Finished { reason: FinishReason::ToolCalls, usage },
    ];
    let mut writer = MessageWriter::new(MessageHead::default());
    let mut buffer = Vec::new();
    writer.open(&mut buffer, 9);
    for event in &sent {
        writer.push(&mut buffer, 0, event);
    }
    writer.end(&mut buffer, true);
    let text = String::from_utf8(buffer).unwrap();
    let mut messages = Messages::new(&[]);
    let mut back = Vec::new();
    for data in text.lines().filter_map(|line| line.strip_prefix("data: ")) {
        back.extend(messages.event(data).unwrap());
    }
    back.extend(messages.end().unwrap());
    let mut texts = [String::new(), String::new(), String::new()];
    for (_, event) in &back {
        let Event::Delta(delta) = event else { continue };
        for part in &delta.parts {
            match part {
                Part::Reasoning(text) => texts[0] += text,
                Part::Text(text) => texts[1] += text,
                Part::Arguments(text) => texts[2] += text,
                Part::Call { name, .. } => assert_eq!(name, "weather"),
            }
        }
    }
    assert_eq!(texts, ["Let me see.", "I ask.", "{\"city\":\"Oslo\"}"]);
    let Some((0, Event::Finished { reason, usage: counted })) = back.last() else { panic!("{back:?}") };
    assert_eq!((*reason, counted.completion_tokens), (FinishReason::ToolCalls, 7));
    assert_eq!((counted.prompt_tokens, counted.cached_tokens), (9, 4));
}

/// The events of a stream with these stop texts.
fn read(stops: &[&str], data: &[Value]) -> Result<Vec<(usize, Event)>> {
    let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
    let mut messages = Messages::new(&stops);
    let mut events = Vec::new();
    for data in data {
        events.extend(messages.event(&data.to_string())?);
    }
    events.extend(messages.end()?);
    Ok(events)
}

#[test]
fn call_without_arguments_has_an_empty_object() {
    let block = json!({"type": "tool_use", "id": "t1", "name": "now", "input": {}});
    let events = read(
        &[],
        &[
            json!({"type": "content_block_start", "index": 0, "content_block": block}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 3}}),
        ],
    );
    let parts: Vec<Part> = events
        .unwrap()
        .into_iter()
        .filter_map(|(_, event)| match event {
            Event::Delta(delta) => Some(delta.parts),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(parts, [Part::Call { id: "t1".into(), name: "now".into() }, Part::Arguments("{}".into())]);
}

#[test]
fn reason_of_the_end_is_translated() {
    let reason = |reason: &str, stop: Option<&str>| {
        let delta = json!({"stop_reason": reason, "stop_sequence": stop});
        let events = read(&["A", "B"], &[json!({"type": "message_delta", "delta": delta})]).unwrap();
        match events[..] {
            [(0, Event::Finished { reason, .. })] => reason,
            _ => panic!("{events:?}"),
        }
    };
    assert_eq!(reason("end_turn", None), FinishReason::Stop);
    assert_eq!(reason("stop_sequence", Some("B")), FinishReason::StopText(1));
    assert_eq!(reason("max_tokens", None), FinishReason::Length);
    assert_eq!(reason("refusal", None), FinishReason::Filtered);
}

#[test]
fn broken_streams_are_errors_of_the_provider() {
    assert_eq!(read(&[], &[json!({"type": "ping"})]).unwrap_err().kind, ErrorKind::Upstream);
    let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "later"}});
    let error = read(&[], &[error]).unwrap_err();
    assert_eq!((error.kind, &*error.message), (ErrorKind::Overloaded, "the provider failed: later"));
    assert!(!error.is_retryable());
}
