use std::time::Instant;

use ipc_proto::gateway::ProviderKind::{self, Openai, OpenaiCompatible};
use ipc_proto::generate::{
    ChatPrompt, Constraint, Content, Delta, Event, FinishReason, Generation, Image, ImageDetail, ImageSource,
    Message, Part, Prompt, Role, Sampling, Tool, ToolCall, ToolChoice, ToolInput, Usage,
};
use ipc_proto::{ErrorKind, Field, Result};
use serde_json::{Value, json};

use super::events::Chat;
use super::request::write;
use crate::backends::providers::translator::Translator;
use crate::dispatch::writer::ResponseWriter;
use crate::protocols::openai::chat::parse;
use crate::protocols::openai::choices::AnswerForm;
use crate::protocols::openai::write::{AnswerHead, ChunkWriter, Endpoint, Timer};

/// A conversation with everything that the neutral form can say.
pub(in super::super) fn conversation() -> ChatPrompt {
    let call = ToolCall { id: "c1".into(), name: "weather".into(), arguments: r#"{"city":"Oslo"}"#.into() };
    let schema = r#"{"type":"object","properties":{"city":{"type":"string"}},"required":["city"],"additionalProperties":false}"#;
    ChatPrompt {
        messages: vec![
            Message::text(Role::System, "Be brief."),
            Message::text(Role::User, "Weather in Oslo?"),
            Message {
                reasoning: Some("A tool knows.".into()),
                tool_calls: vec![call],
                ..Message::text(Role::Assistant, "")
            },
            Message::result(Some("c1".into()), Some("weather".into()), "sunny"),
        ],
        tools: vec![Tool {
            name: "weather".into(),
            description: Some("Of a city".into()),
            input: ToolInput::Json { schema: Some(schema.into()), strict: true },
        }],
        tool_choice: ToolChoice::Required,
        parallel_calls: true,
        ..ChatPrompt::default()
    }
}

fn chat(prompt: ChatPrompt) -> Generation {
    Generation { prompt: Prompt::Chat(prompt), ..Generation::default() }
}

fn body(generation: &Generation, kind: ProviderKind) -> Result<Value> {
    write("far", generation, (1, true), kind)
}

/// The generation that this server's own endpoint makes of a request.
fn parsed(body: Value) -> Generation {
    parse::parse(serde_json::from_value(body).unwrap()).unwrap().request.generation
}

/// An image of each source and detail.
pub(in super::super) fn images() -> [Image; 2] {
    let data = ImageSource::Data((&b"\xff\xd8\xff\xe0"[..]).into());
    let url = ImageSource::Url("https://a.example/b.png".into());
    [Image { source: data, detail: ImageDetail::Auto }, Image { source: url, detail: ImageDetail::Low }]
}

#[test]
fn images_mean_the_same_to_a_server_of_the_protocol() {
    let [mut content, mut more] = [Content::from("a"), Content::default()];
    let [data, url] = images();
    content.push_image(data.clone());
    content.push_text("b");
    content.push_image(url.clone());
    let user = Message { content, ..Message::default() };
    let generation = chat(ChatPrompt { messages: vec![user.clone()], ..ChatPrompt::default() });
    let written = body(&generation, Openai).unwrap();
    assert_eq!(
        written["messages"][0]["content"][1]["image_url"],
        json!({"url": "data:image/jpeg;base64,/9j/4A=="})
    );
    let Prompt::Chat(back) = parsed(written).prompt else { panic!("a chat") };
    assert_eq!(back.messages, std::slice::from_ref(&user));
    // A result is a text, so its image follows the round of results.
    more.push_text("seen:");
    more.push_image(data);
    let call = |id: &str| ToolCall { id: id.into(), name: "f".into(), arguments: "{}".into() };
    let calls = Message { tool_calls: vec![call("1"), call("2")], ..Message::text(Role::Assistant, "") };
    let result = |id: &str, content: Content| Message::result(Some(id.into()), Some("f".into()), content);
    let messages = vec![user, calls, result("1", more), result("2", "x".into())];
    let written = body(&chat(ChatPrompt { messages, ..ChatPrompt::default() }), Openai).unwrap();
    let roles: Vec<_> = (0..5).map(|at| written["messages"][at]["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "tool", "user"]);
    assert_eq!(written["messages"][2]["content"], "seen:\n[image: see below]");
    assert_eq!(written["messages"][4]["content"][0]["type"], "image_url");
}

#[test]
fn request_means_the_same_to_a_server_of_the_protocol() {
    let sampling = Sampling {
        temperature: Some(0.1),
        top_p: Some(0.9),
        top_k: Some(40),
        min_p: Some(0.05),
        seed: Some(7),
        repetition_penalty: Some(1.1),
        presence_penalty: Some(0.5),
        frequency_penalty: Some(-0.5),
        logit_bias: vec![(5, 2.5)],
    };
    let generation = Generation {
        sampling,
        stop: vec!["END".into()],
        max_tokens: Some(99),
        min_tokens: 3,
        stop_tokens: vec![8],
        ..chat(conversation())
    };
    let back = parsed(body(&generation, OpenaiCompatible).unwrap());
    assert_eq!(back.sampling, generation.sampling);
    assert_eq!((&back.stop, back.max_tokens, back.min_tokens), (&generation.stop, Some(99), 3));
    assert_eq!(back.stop_tokens, generation.stop_tokens);
    let (Prompt::Chat(back), Prompt::Chat(sent)) = (back.prompt, generation.prompt) else { panic!("a chat") };
    assert_eq!((back.messages, back.tools), (sent.messages, sent.tools));
    assert_eq!((back.tool_choice, back.parallel_calls), (sent.tool_choice, true));
}

#[test]
fn format_is_sent_as_a_schema() {
    let schema = r#"{"type":"object","properties":{"team":{"type":"string"}},"required":["team"],"additionalProperties":false}"#;
    let prompt = ChatPrompt { messages: vec![Message::text(Role::User, "Who?")], ..ChatPrompt::default() };
    let constraint = Some(Constraint::JsonSchema(schema.into()));
    let generation = Generation { constraint, ..chat(prompt) };
    let body = body(&generation, Openai).unwrap();
    assert_eq!(body["response_format"]["json_schema"]["strict"], true);
    assert_eq!(parsed(body).constraint, generation.constraint);
}

#[test]
fn openai_gets_no_fields_of_others() {
    let generation = Generation { max_tokens: Some(9), ..chat(conversation()) };
    let body = body(&generation, Openai).unwrap();
    assert_eq!((body["max_completion_tokens"].as_u64(), body.get("max_tokens")), (Some(9), None));
    assert!(!body.to_string().contains("reasoning_content"));
    let sampling = Sampling { top_k: Some(5), ..Sampling::default() };
    let error = write("far", &Generation { sampling, ..generation }, (1, true), Openai).unwrap_err();
    assert_eq!(error.field, Some(Field::Named("top_k".into())));
}

#[test]
fn wishes_for_reasoning_are_passed_on() {
    let with = |kwargs: &str, kind| {
        let prompt = ChatPrompt { template_kwargs: Some(kwargs.into()), ..conversation() };
        body(&chat(prompt), kind).unwrap()
    };
    assert_eq!(
        with(r#"{"enable_thinking":true,"reasoning_effort":"low"}"#, Openai)["reasoning_effort"],
        "low"
    );
    let off = with(r#"{"enable_thinking":false}"#, OpenaiCompatible);
    assert_eq!(off["reasoning_effort"], "none");
    assert_eq!(off["chat_template_kwargs"], json!({"enable_thinking": false}));
    assert_eq!(with(r#"{"enable_thinking":true}"#, Openai).get("chat_template_kwargs"), None);
}

#[test]
fn schema_with_optional_properties_is_not_strict() {
    let schema = r#"{"type":"object","properties":{"team":{"type":"string"}}}"#;
    let constraint = Some(Constraint::JsonSchema(schema.into()));
    let tool = Tool {
        name: "f".into(),
        description: None,
        input: ToolInput::Json { schema: Some(schema.into()), strict: true },
    };
    let prompt = ChatPrompt { tools: vec![tool], tool_choice: ToolChoice::Auto, ..conversation() };
    let body = body(&Generation { constraint, ..chat(prompt) }, Openai).unwrap();
    let format = &body["response_format"]["json_schema"];
    assert_eq!(
        (&format["strict"], &format["schema"]["additionalProperties"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(body["tools"][0]["function"]["strict"], false);
}

#[test]
fn assumed_lack_of_thinking_is_not_said() {
    let kwargs = r#"{"enable_thinking":false,"thinking":false}"#;
    let generation = chat(ChatPrompt { template_kwargs: Some(kwargs.into()), ..conversation() });
    let body = |kind| write("far", &generation, (1, false), kind).unwrap();
    for kind in [Openai, OpenaiCompatible] {
        assert_eq!(body(kind).get("reasoning_effort"), None);
    }
    assert_eq!(body(OpenaiCompatible)["chat_template_kwargs"]["enable_thinking"], false);
    assert_eq!(body(Openai).get("chat_template_kwargs"), None);
}

#[test]
fn budget_of_thinking_is_refused_by_its_name_in_messages() {
    let generation = Generation { reasoning_budget: Some(1024), ..chat(conversation()) };
    let error = body(&generation, Openai).unwrap_err();
    assert!(error.message.contains("thinking.budget_tokens"), "{error}");
    assert_eq!(body(&generation, OpenaiCompatible).unwrap()["thinking_token_budget"], 1024);
}

#[test]
fn whole_biases_are_integers() {
    let sampling = Sampling { logit_bias: vec![(5, -100.0), (6, 2.5)], ..Sampling::default() };
    let body = body(&Generation { sampling, ..chat(conversation()) }, Openai).unwrap();
    assert_eq!(body["logit_bias"].to_string(), r#"{"5":-100,"6":2.5}"#);
}

#[test]
fn what_the_protocol_cannot_say_is_refused_by_name() {
    let plain = || chat(conversation());
    let refused = |generation: Generation| body(&generation, OpenaiCompatible).unwrap_err().field;
    let grammar = Some(Constraint::Lark("start: \"a\"".into()));
    assert_eq!(refused(Generation { constraint: grammar, ..plain() }), Some(Field::OutputFormat));
    let continues = ChatPrompt { continues: true, ..conversation() };
    assert_eq!(refused(chat(continues)), Some(Field::Messages));
}

/// The events of a stream that this server's own writer makes of `events`.
fn relayed(events: &[(usize, Event)], choices: usize) -> Vec<(usize, Event)> {
    let head = AnswerHead {
        endpoint: Endpoint::Chat,
        id: "1".into(),
        created: 0,
        model: "m".into(),
        form: AnswerForm::default(),
    };
    let mut writer = ChunkWriter::new(head, choices, true, Timer::new(Instant::now()));
    let mut buffer = Vec::new();
    writer.open(&mut buffer, 3);
    for (choice, event) in events {
        writer.push(&mut buffer, *choice, event);
    }
    writer.end(&mut buffer, true);
    let text = String::from_utf8(buffer).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    let mut chat = Chat::new(choices);
    let mut all: Vec<_> = data.flat_map(|data| chat.event(data).unwrap()).collect();
    all.extend(chat.end().unwrap());
    all
}

/// The parts of one choice, consecutive ones of a kind joined.
fn parts(events: &[(usize, Event)], choice: usize) -> Vec<Part> {
    let mut joined: Vec<Part> = Vec::new();
    for (at, event) in events {
        let Event::Delta(delta) = event else { continue };
        for part in delta.parts.iter().filter(|_| *at == choice) {
            match (joined.last_mut(), part) {
                (Some(Part::Text(text)), Part::Text(more))
                | (Some(Part::Reasoning(text)), Part::Reasoning(more))
                | (Some(Part::Arguments(text)), Part::Arguments(more)) => text.push_str(more),
                (_, part) => joined.push(part.clone()),
            }
        }
    }
    joined
}

fn delta(parts: Vec<Part>) -> Event {
    Event::Delta(Delta { parts, ..Delta::default() })
}

#[test]
fn stream_of_the_protocol_gives_the_events_back() {
    let usage = Usage {
        prompt_tokens: 9,
        cached_tokens: 4,
        completion_tokens: 7,
        reasoning_tokens: 2,
        ..Usage::default()
    };
    let call = |id: &str, name: &str| Part::Call { id: id.into(), name: name.into() };
    let sent = vec![
        (0, delta(vec![Part::Reasoning("Let me".into())])),
        (0, delta(vec![Part::Reasoning(" see.".into()), Part::Text("I ask.".into())])),
        (0, delta(vec![call("c1", "weather"), Part::Arguments("{\"city\":".into())])),
        (0, delta(vec![Part::Arguments("\"Oslo\"}".into())])),
        (0, delta(vec![call("c2", "time"), Part::Arguments("{}".into())])),
        (0, Event::Finished { reason: FinishReason::ToolCalls, usage }),
    ];
    let back = relayed(&sent, 1);
    let ids = |parts: Vec<Part>| {
        parts.into_iter().map(|part| match part {
            // A server may give calls ids of its own.
            Part::Call { name, .. } => Part::Call { id: String::new(), name },
            part => part,
        })
    };
    assert!(ids(parts(&back, 0)).eq(ids(parts(&sent, 0))), "{back:?}");
    let Some((0, Event::Finished { reason, usage: counted })) = back.last() else { panic!("{back:?}") };
    assert_eq!((*reason, counted.prompt_tokens, counted.completion_tokens), (FinishReason::ToolCalls, 9, 7));
    assert_eq!((counted.cached_tokens, counted.reasoning_tokens), (4, 2));
}

#[test]
fn choices_are_kept_apart() {
    let finished = |reason| Event::Finished { reason, usage: Usage::default() };
    let sent = [
        (1, delta(vec![Part::Text("b".into())])),
        (0, delta(vec![Part::Text("a".into())])),
        (0, finished(FinishReason::Stop)),
        (1, finished(FinishReason::Length)),
    ];
    let back = relayed(&sent, 2);
    assert_eq!(parts(&back, 0), [Part::Text("a".into())]);
    assert_eq!(parts(&back, 1), [Part::Text("b".into())]);
    let reasons = back.iter().filter_map(|(choice, event)| match event {
        Event::Finished { reason, .. } => Some((*choice, *reason)),
        _ => None,
    });
    assert_eq!(reasons.collect::<Vec<_>>(), [(0, FinishReason::Stop), (1, FinishReason::Length)]);
}

fn chunk(delta: &Value, reason: Option<&str>) -> String {
    json!({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}).to_string()
}

#[test]
fn servers_may_say_stop_after_a_call_and_leave_out_its_id() {
    let mut chat = Chat::new(1);
    let call = json!({"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]});
    let events = chat.event(&chunk(&call, None)).unwrap();
    let [Part::Call { id, name }, Part::Arguments(arguments)] = &parts(&events, 0)[..] else {
        panic!("{events:?}")
    };
    assert!(id.starts_with("call_") && name == "f" && arguments == "{}");
    chat.event(&chunk(&json!({}), Some("stop"))).unwrap();
    assert!(matches!(
        chat.end().unwrap()[..],
        [(0, Event::Finished { reason: FinishReason::ToolCalls, .. })]
    ));
}

#[test]
fn broken_streams_are_errors_of_the_provider() {
    let failed = |data: &[String]| {
        let mut chat = Chat::new(1);
        let outcome = data.iter().try_for_each(|data| chat.event(data).map(drop));
        let error = outcome.and_then(|()| chat.end().map(drop)).unwrap_err();
        assert!(!error.is_retryable(), "another server would begin the answer anew: {error}");
        (error.kind, error.message)
    };
    assert_eq!(failed(&[chunk(&json!({"content": "a"}), None)]).0, ErrorKind::Upstream);
    assert_eq!(failed(&["{".into()]).0, ErrorKind::Upstream);
    let other = json!({"choices": [{"index": 3, "delta": {"content": "a"}}]}).to_string();
    assert!(failed(&[other]).1.contains("choice 3"));
    let error = json!({"error": {"message": "too hot", "code": "rate_limit_exceeded"}}).to_string();
    assert_eq!(failed(&[error]), (ErrorKind::RateLimited, "the provider failed: too hot".into()));
    let nameless = json!({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]});
    assert!(failed(&[chunk(&nameless, None)]).1.contains("without the function's name"));
}

#[test]
fn withheld_answer_is_said_so() {
    let mut chat = Chat::new(1);
    chat.event(&chunk(&json!({"content": "a"}), Some("content_filter"))).unwrap();
    assert!(matches!(chat.end().unwrap()[..], [(0, Event::Finished { reason: FinishReason::Filtered, .. })]));
}
