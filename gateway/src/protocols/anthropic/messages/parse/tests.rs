use ipc_proto::generate::{Message, Priority, Role, ToolCall};
use proptest::prelude::*;

use super::*;
use crate::protocols::common::body;

fn valid(more: &Value) -> Result<ValidMessages> {
    let mut body = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body::parse(body.to_string().as_bytes()).and_then(parse)
}

fn prompt(more: &Value) -> ChatPrompt {
    let Prompt::Chat(prompt) = valid(more).unwrap().request.generation.prompt else { panic!("no chat") };
    prompt
}

/// Role and text of each turn.
fn turns(more: &Value) -> Vec<(Role, String)> {
    prompt(more).messages.into_iter().map(|turn| (turn.role, turn.content.text().into_owned())).collect()
}

fn user(content: &Value) -> Value {
    json!({"messages": [{"role": "user", "content": content}]})
}

fn kwargs(more: &Value) -> Value {
    serde_json::from_str(&prompt(more).template_kwargs.unwrap()).unwrap()
}

fn tools() -> Value {
    json!([{"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": true,
        "cache_control": {"type": "ephemeral"}}, {"type": "custom", "name": "g", "input_schema": {"type": "object"}}])
}

#[test]
fn every_setting_is_parsed() {
    let more = json!({"stream": true, "temperature": 0.5, "top_p": 0.25, "top_k": 7, "stop_sequences": ["a", "b"],
        "min_p": 0.125, "repeat_penalty": 1.5, "presence_penalty": 1, "frequency_penalty": -1, "seed": 3, "priority": "low", "metadata": {"user_id": "u"}, "service_tier": "auto", "speed": "standard",
        "cache_control": {"type": "ephemeral"}, "betas": ["x"], "inference_geo": "global", "diagnostics": {}, "timeout": 2, "cache_salt": "x",
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}, "effort": "max"}});
    let valid = valid(&more).unwrap();
    let generation = valid.request.generation;
    let sampling = Sampling {
        temperature: Some(0.5),
        top_p: Some(0.25),
        top_k: Some(7),
        min_p: Some(0.125),
        seed: Some(3),
        repetition_penalty: Some(1.5),
        presence_penalty: Some(1.0),
        frequency_penalty: Some(-1.0),
        ..Sampling::default()
    };
    assert_eq!(generation.sampling, sampling);
    assert_eq!((generation.max_tokens, generation.priority), (Some(9), Priority::Low));
    assert_eq!(generation.stop, ["a", "b"]);
    assert_eq!(generation.constraint, Some(Constraint::JsonSchema(json!({"type": "object"}).to_string())));
    assert_eq!((generation.time_limit_ms, &*valid.request.cache_salt), (Some(2000), "x"));
    assert_eq!(valid.request.labels.user.as_deref(), Some("u"));
    assert!(valid.request.stream.is_some() && valid.diagnose && !valid.hide_thinking);
    assert_eq!(valid.max_tokens, 9);
}

#[test]
fn system_text_is_first_without_attribution() {
    let line = "x-anthropic-billing-header: cc_version=2.1.37.0d9; cc_entrypoint=cli; cch=fa690;";
    let blocks = |first: &str| {
        json!({"system": [{"type": "text", "text": first}, {"type": "text", "text": "b",
            "cache_control": {"type": "ephemeral"}}]})
    };
    assert_eq!(turns(&blocks("a"))[0], (Role::System, "a\nb".into()));
    assert_eq!(turns(&blocks(line))[0], (Role::System, "b".into()));
    assert_eq!(turns(&json!({"system": line})).len(), 1);
    assert_eq!(turns(&json!({"system": "s"}))[0], (Role::System, "s".into()));
}

#[test]
fn blocks_become_messages() {
    let body = json!({"messages": [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "whatever"},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "c"},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "r"}]},
            {"type": "tool_result", "tool_use_id": "t2", "content": "bad", "is_error": true},
            {"type": "tool_result", "tool_use_id": "t3"},
            {"type": "text", "text": "d"},
        ]},
        {"role": "system", "content": "e"},
        {"role": "user", "content": "f"},
    ]});
    let result = |id: &str, name: Option<&str>, content: &str| Message {
        role: Role::Tool,
        content: content.into(),
        name: name.map(Into::into),
        tool_call_id: Some(id.into()),
        ..Message::default()
    };
    let said = |role, content: &str| Message { role, content: content.into(), ..Message::default() };
    let call = ToolCall { id: "t1".into(), name: "f".into(), arguments: "{\"x\":1}".into() };
    let expected = [
        said(Role::User, "a\nb"),
        Message { reasoning: Some("hm".into()), tool_calls: vec![call], ..said(Role::Assistant, "c") },
        result("t1", Some("f"), "r"),
        result("t2", None, "Error: bad"),
        result("t3", None, ""),
        said(Role::User, "d"),
        said(Role::System, "e"),
        said(Role::User, "f"),
    ];
    assert_eq!(prompt(&body).messages, expected);
}

#[test]
fn documents_become_tagged_text() {
    let text = json!([{"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "y"}]}},
        {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "z"}]},
        {"type": "text", "text": "?"}]);
    let expected = "<document title=\"T\">\nx\n</document>\n<document>\ny\n</document>\n\
        <search_result source=\"s\" title=\"t\">\nz\n</search_result>\n?";
    assert_eq!(turns(&user(&text)), [(Role::User, expected.into())]);
}

#[test]
fn tools_and_tool_choice_are_parsed() {
    let with = |choice: Value| prompt(&json!({"tools": tools(), "tool_choice": choice}));
    let auto = prompt(&json!({"tools": tools()}));
    let first = Tool {
        name: "f".into(),
        description: Some("d".into()),
        input: ToolInput::Json { schema: Some(r#"{"type":"object"}"#.into()), strict: true },
    };
    assert_eq!((&auto.tools[0], auto.tools.len()), (&first, 2));
    assert_eq!((auto.tool_choice, auto.parallel_calls), (ToolChoice::Auto, true));
    assert_eq!(with(json!({"type": "any"})).tool_choice, ToolChoice::Required);
    assert_eq!(with(json!({"type": "none"})).tool_choice, ToolChoice::None);
    let named = with(json!({"type": "tool", "name": "g", "disable_parallel_tool_use": true}));
    assert_eq!((named.tool_choice, named.parallel_calls), (ToolChoice::Named("g".into()), false));
}

#[test]
fn last_assistant_message_is_continued() {
    let body = json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "The answer is ("}]});
    let chat = prompt(&body);
    assert!(chat.continues && !prompt(&json!({})).continues);
    assert_eq!(chat.messages[1].content.text(), "The answer is (");
}

#[test]
fn input_examples_are_appended_to_the_description() {
    let more = json!({"tools": [{"name": "f", "description": "d", "input_schema": {}, "input_examples": [{"a": 1}],
        "defer_loading": false, "allowed_callers": ["direct"]}]});
    assert_eq!(prompt(&more).tools[0].description.as_deref(), Some("d\nExample: {\"a\":1}"));
}

#[test]
fn thinking_becomes_template_variables() {
    assert_eq!(kwargs(&json!({}))["enable_thinking"], false);
    let thinks = json!({"max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 1024}});
    assert_eq!(kwargs(&thinks), json!({"enable_thinking": true, "thinking": true, "thinking_budget": 1024}));
    assert_eq!(valid(&thinks).unwrap().request.generation.reasoning_budget, Some(1024));
    let adaptive = json!({"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "xhigh"},
        "chat_template_kwargs": {"thinking": 7}});
    let expected = json!({"enable_thinking": true, "thinking": 7, "reasoning_effort": "high"});
    assert_eq!(kwargs(&adaptive), expected);
    assert!(valid(&adaptive).unwrap().hide_thinking);
}

#[test]
fn invalid_field_is_named() {
    for (more, param) in [
        (json!({"messages": []}), "messages"),
        (json!({"max_tokens": null}), "max_tokens"),
        (json!({"max_tokens": 0}), "max_tokens"),
        (json!({"temperature": -0.1}), "temperature"),
        (json!({"temperature": 1.5}), "temperature"),
        (json!({"top_p": 2}), "top_p"),
        (json!({"top_k": -1}), "top_k"),
        (json!({"stop_sequences": [""]}), "stop_sequences"),
        (json!({"model": ""}), "model"),
        (json!({"container": "x"}), "container"),
        (json!({"mcp_servers": [{}]}), "mcp_servers"),
        (json!({"speed": "fast"}), "speed"),
        (json!({"service_tier": "gold"}), "service_tier"),
        (json!({"thinking": {"type": "enabled"}}), "thinking.budget_tokens"),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 9}}), "thinking.budget_tokens"),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 2048}}), "thinking.budget_tokens"),
        (json!({"thinking": {"type": "between_tools"}}), "thinking.type"),
        (json!({"thinking": {"type": "adaptive", "display": "x"}}), "thinking.display"),
        (json!({"output_config": {"effort": "x"}}), "output_config.effort"),
        (json!({"output_config": {"format": {"type": "json"}}}), "output_config.format"),
        (json!({"output_format": {"type": "json_schema"}}), "output_format"),
        (json!({"context_management": {"edits": [{"type": "compact"}]}}), "context_management.edits[0]"),
        (json!({"tools": [{"type": "web_search_20250305", "name": "w"}]}), "tools[0].type"),
        (json!({"tools": [{"name": "a b", "input_schema": {}}]}), "tools[0].name"),
        (json!({"tools": [{"name": "a"}]}), "tools[0].input_schema"),
        (json!({"tool_choice": {"type": "any"}}), "tool_choice"),
        (json!({"tools": tools(), "tool_choice": {"type": "tool", "name": "h"}}), "tool_choice"),
        (json!({"tools": tools(), "tool_choice": {"type": "king"}}), "tool_choice"),
        (json!({"messages": [{"role": "assistant", "content": ""}]}), "messages"),
        (
            json!({"messages": [{"role": "assistant", "content": "x"}], "tools": tools(), "tool_choice": {"type": "any"}}),
            "messages",
        ),
        (json!({"timeout": 0}), "timeout"),
        (json!({"cache_salt": "x".repeat(257)}), "cache_salt"),
        (json!({"metadata": {"user_id": "x".repeat(1025)}}), "metadata.user_id"),
        (json!({"thread": {"id": "t"}}), "thread"),
        (json!({"compaction": {}}), "compaction"),
        (json!({"fallbacks": [{}]}), "fallbacks"),
        (json!({"inference_geo": "us"}), "inference_geo"),
        (
            json!({"tools": [{"name": "a", "input_schema": {}, "defer_loading": true}]}),
            "tools[0].defer_loading",
        ),
        (
            json!({"tools": [{"name": "a", "input_schema": {}, "allowed_callers": ["code"]}]}),
            "tools[0].allowed_callers",
        ),
        (
            user(
                &json!([{"type": "document", "citations": {"enabled": true}, "source": {"type": "text", "data": "x"}}]),
            ),
            "messages[0].content[0].citations",
        ),
        (user(&json!([{"type": "image", "source": {}}])), "messages[0].content[0]"),
        (user(&json!([{"type": "text"}])), "messages[0].content[0].text"),
        (user(&json!([{"type": "document", "source": {"type": "url"}}])), "messages[0].content[0].source"),
        (user(&json!([{"type": "tool_result"}])), "messages[0].content[0].tool_use_id"),
        (
            user(&json!([{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image"}]}])),
            "messages[0].content[0].content[0]",
        ),
        (json!({"system": [{"type": "image"}]}), "system[0]"),
        (json!({"messages": [{"role": "user", "content": 3}]}), "messages[0].content"),
        (json!({"messages": [{"role": "king", "content": "x"}]}), "messages[0].role"),
    ] {
        let error = valid(&more).unwrap_err();
        assert_eq!(error.field, Some(param.into()), "{more}: {error}");
        let last = param.rsplit('.').next().unwrap();
        assert!(error.message.contains(last), "{} does not name {param}", error.message);
    }
}

#[test]
fn count_without_max_tokens_has_the_same_prompt() {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "tools": tools(), "system": "s"});
    let counted = body::parse(body.to_string().as_bytes()).and_then(parse_count).unwrap().prompts;
    assert_eq!(counted, [Prompt::Chat(prompt(&json!({"tools": tools(), "system": "s"})))]);
}

proptest! {
    #[test]
    fn arbitrary_body_does_not_panic(body in "\\PC{0,40}|[{}\\[\\]\":,a-z0-9]{0,60}") {
        let _ = body::parse::<Request>(body.as_bytes()).and_then(parse);
    }
}
