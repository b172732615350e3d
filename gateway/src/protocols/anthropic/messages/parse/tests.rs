use ipc_proto::generate::{Message, Priority, Role, Tool, ToolCall, ToolChoice, ToolInput};
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

/// A system message after the user's.
fn system_message(fields: Value) -> Value {
    let Value::Object(mut message) = fields else { panic!("{fields} has no fields") };
    message.insert("role".into(), json!("system"));
    json!({"messages": [{"role": "user", "content": "Hi"}, message]})
}

fn kwargs(more: &Value) -> Value {
    serde_json::from_str(&prompt(more).template_kwargs.unwrap()).unwrap()
}

#[test]
fn lack_of_thinking_is_assumed_or_said() {
    for (more, is_assumed) in [(json!({}), true), (json!({"thinking": {"type": "disabled"}}), false)] {
        assert_eq!(valid(&more).unwrap().request.assumes_no_thinking, is_assumed);
        assert_eq!(kwargs(&more)["enable_thinking"], false);
    }
}

fn tools() -> Value {
    json!([{"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": true,
        "cache_control": {"type": "ephemeral"}}, {"type": "custom", "name": "g", "input_schema": {"type": "object"}}])
}

#[test]
fn every_setting_is_parsed() {
    let more = json!({"stream": true, "temperature": 0.5, "top_p": 0.25, "top_k": 7, "stop_sequences": ["a", "b"],
        "min_p": 0.125, "repeat_penalty": 1.5, "presence_penalty": 1, "frequency_penalty": -1, "seed": 3, "priority": "low", "metadata": {"user_id": "u"}, "service_tier": "auto", "speed": "standard",
        "cache_control": {"type": "ephemeral"}, "betas": ["x"], "inference_geo": "global", "diagnostics": {"previous_message_id": "msg_1"}, "timeout": 2, "cache_salt": "x",
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
    let joined = format!("{line}\nrule");
    let block = |text: &str| json!({"type": "text", "text": text, "cache_control": {"type": "ephemeral"}});
    for system in [
        json!("rule"),
        json!(joined),
        json!([block(&joined)]),
        json!([block(line), block("rule")]),
        json!([block("rule"), block(line)]),
    ] {
        assert_eq!(turns(&json!({"system": system}))[0], (Role::System, "rule".into()), "{system}");
    }
    assert_eq!(turns(&json!({"system": [block("a"), block("b")]}))[0], (Role::System, "a\nb".into()));
    assert_eq!(turns(&json!({"system": line})).len(), 1);
    let later = turns(&system_message(json!({"content": joined})));
    assert_eq!(later[1], (Role::System, "rule".into()));
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
fn system_message_is_cleared_by_the_next_user_message() {
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let mut note = turn("system", "note");
    note["clear_at"] = "next_user_message".into();
    let shown = json!({"messages": [turn("user", "a"), note]});
    assert_eq!(turns(&shown).last(), Some(&(Role::System, "note".into())));
    let cleared = json!({"messages": [turn("user", "a"), note, turn("assistant", "b"), turn("user", "c")]});
    assert_eq!(turns(&cleared).len(), 3);
}

#[test]
fn effort_of_a_system_message_overrides_the_requests() {
    let mut body = system_message(json!({"output_config": {"effort": "low"}}));
    body["output_config"] = json!({"effort": "max"});
    assert_eq!(kwargs(&body)["reasoning_effort"], "low");
    assert_eq!(turns(&body), [(Role::User, "Hi".into())]);
}

/// The kinds of a turn's parts: the text of a text, and `image`.
fn parts(body: &Value, at: usize) -> Vec<String> {
    let turn = prompt(body).messages.remove(at);
    turn.content.parts().iter().map(|part| part.as_text().unwrap_or("image").to_owned()).collect()
}

#[test]
fn images_stay_at_their_places_and_other_media_get_a_stand_in() {
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}});
    let far = json!({"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}});
    let pdf = json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": ""}});
    let text = |text: &str| json!({"type": "text", "text": text});
    let said = |role: &str, content: Value| json!({"role": role, "content": content});
    let asked = json!([text("a"), text("b"), image, text("c"), far]);
    assert_eq!(parts(&json!({"messages": [said("user", asked)]}), 0), ["a\nb", "image", "c", "image"]);
    let earlier = json!({"messages": [said("user", json!([image, pdf])), said("assistant", json!("No.")), said("user", json!("Go on."))]});
    let left_out = "<document>\n[document left out: this model reads text only]\n</document>";
    assert_eq!(parts(&earlier, 0), ["image", left_out]);
    let call = json!([{"type": "tool_use", "id": "t", "name": "f", "input": {}}]);
    let result =
        json!({"type": "tool_result", "tool_use_id": "t", "content": [text("d"), image], "is_error": true});
    let kept = json!({"type": "image", "source": {"type": "file", "file_id": "f"}});
    let agent = json!({"messages": [said("user", json!("Look.")), said("assistant", call), said("user", json!([result, image, kept]))]});
    assert_eq!(parts(&agent, 2), ["Error: d", "image"]);
    assert_eq!(parts(&agent, 3), ["image", "[image left out: it cannot be read]"]);
}

#[test]
fn added_tool_is_described_in_its_turn_and_callable() {
    let late = json!({"name": "late", "description": "x", "input_schema": {"type": "object"}});
    let addition = json!({"type": "tool_addition", "tool": {"type": "tool_definition", "definition": late}});
    let described = "These functions can be called from here on:\n<tools>\n\
        {\"type\":\"function\",\"function\":{\"name\":\"late\",\"description\":\"x\",\"parameters\":{\"type\":\"object\"}}}\n</tools>";
    let in_user = user(&json!([{"type": "text", "text": "a"}, addition, {"type": "text", "text": "b"}]));
    let in_system = system_message(json!({"content": [addition]}));
    for (mut body, role, text) in
        [(in_user, Role::User, format!("a\n{described}\nb")), (in_system, Role::System, described.to_owned())]
    {
        body["tools"] = tools();
        body["tool_choice"] = json!({"type": "tool", "name": "late"});
        assert_eq!(turns(&body).last(), Some(&(role, text)));
        let prompt = prompt(&body);
        assert_eq!((prompt.tools.len(), &*prompt.tool_changes.added[0].name), (2, "late"));
    }
}

/// The prompt before an added tool is the same without it, so it stays cached.
#[test]
fn earlier_turns_do_not_change_when_a_tool_is_added() {
    let mut late = tools();
    late[1]["defer_loading"] = true.into();
    let call = json!([{"type": "tool_use", "id": "t", "name": "f", "input": {}}]);
    let found = json!([{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_reference", "tool_name": "g"}]}]);
    let history = [
        json!({"role": "user", "content": "a"}),
        json!({"role": "assistant", "content": call}),
        json!({"role": "user", "content": found}),
    ];
    let before = prompt(&json!({"tools": late, "messages": history[..1]}));
    let after = prompt(&json!({"tools": late, "messages": history}));
    let longer = [&history[..], &[json!({"role": "user", "content": "b"})]].concat();
    let later = prompt(&json!({"tools": late, "messages": longer}));
    assert_eq!((&before.tools, &before.messages[..]), (&after.tools, &after.messages[..1]));
    assert_eq!((&after.tools, &after.tool_changes), (&later.tools, &later.tool_changes));
    assert_eq!(after.messages[..], later.messages[..3]);
    assert_eq!((before.tool_changes.added.len(), &*after.tool_changes.added[0].name), (0, "g"));
    assert!(after.messages[2].content.text().contains("\"name\":\"g\""));
}

#[test]
fn results_of_server_tools_become_calls_or_are_left_out() {
    let content = json!([
        {"type": "server_tool_use", "id": "w", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "w", "content": [{"type": "web_search_result", "title": "t", "url": "u", "encrypted_content": "e"}]},
        {"type": "server_tool_use", "id": "s", "name": "tool_search_tool_regex", "input": {"query": "x"}},
        {"type": "tool_search_tool_result", "tool_use_id": "s", "content":
            {"type": "tool_search_tool_search_result", "tool_references": [{"type": "tool_reference", "tool_name": "g"}]}},
        {"type": "mcp_tool_use", "id": "m", "name": "look", "server_name": "eyes", "input": {}},
        {"type": "mcp_tool_result", "tool_use_id": "m", "is_error": false, "content": [{"type": "text", "text": "seen"}]},
        {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}},
        {"type": "text", "text": "Found."},
    ]);
    let history = json!({"tools": tools(), "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": content}, {"role": "user", "content": "b"}]});
    let prompt = prompt(&history);
    let calls: Vec<_> =
        prompt.messages.iter().flat_map(|turn| &turn.tool_calls).map(|call| &*call.name).collect();
    assert_eq!(calls, ["tool_search_tool_regex", "look"]);
    let texts: Vec<_> =
        prompt.messages.iter().map(|turn| (turn.role, turn.content.text().into_owned())).collect();
    let expected = [
        (Role::User, "a"),
        (Role::Assistant, ""),
        (Role::Tool, "These functions can be called: g"),
        (Role::Assistant, ""),
        (Role::Tool, "seen"),
        (Role::Assistant, "Found."),
        (Role::User, "b"),
    ];
    assert_eq!(texts, expected.map(|(role, text)| (role, text.to_owned())));
}

#[test]
fn compaction_replaces_what_precedes_it() {
    let summary =
        json!({"type": "compaction", "content": "So far: x.", "encrypted_content": null, "signature": "s"});
    let said = |role: &str, content: Value| json!({"role": role, "content": content});
    let text = "The earlier part of this conversation was replaced by this summary:\n<summary>\nSo far: x.\n</summary>";
    let first =
        json!({"system": "s", "messages": [said("user", json!([summary])), said("user", json!("b"))]});
    assert_eq!(
        turns(&first),
        [(Role::System, "s".into()), (Role::User, text.into()), (Role::User, "b".into())]
    );
    let old = json!([{"type": "text", "text": "old"}, summary, {"type": "text", "text": "new"}]);
    let failed = json!([{"type": "compaction", "content": null}, {"type": "text", "text": "c"}]);
    let within = json!({"messages": [said("user", json!("a")), said("assistant", old), said("user", json!("b")), said("assistant", failed), said("user", json!("d"))]});
    let expected = [
        (Role::User, text),
        (Role::Assistant, "new"),
        (Role::User, "b"),
        (Role::Assistant, "c"),
        (Role::User, "d"),
    ];
    assert_eq!(turns(&within), expected.map(|(role, text)| (role, text.to_owned())));
    // The answer to a paused compaction begins anew.
    let paused = json!({"messages": [said("user", json!("a")), said("assistant", json!([summary]))]});
    assert_eq!(turns(&paused), [(Role::User, text.into())]);
    assert!(!prompt(&paused).continues);
}

#[test]
fn tools_of_a_replaced_part_stay_offered() {
    let mut late = tools();
    late[1]["defer_loading"] = true.into();
    let addition = json!({"type": "tool_addition", "tool": {"type": "tool_reference", "name": "g"}});
    let summary = json!({"type": "compaction", "content": "x"});
    let mut stated = summary.clone();
    stated["tool_changes"] = json!([addition]);
    for messages in [
        json!([{"role": "user", "content": [{"type": "text", "text": "a"}, addition]}, {"role": "assistant", "content": [summary]}, {"role": "user", "content": "b"}]),
        json!([{"role": "user", "content": [stated]}, {"role": "user", "content": "b"}]),
    ] {
        let prompt = prompt(&json!({"tools": late, "messages": messages}));
        assert_eq!(&*prompt.tool_changes.added[0].name, "g");
        assert!(prompt.messages[0].content.text().contains("\"name\":\"g\""), "{messages}");
    }
}

#[test]
fn compaction_parameter_asks_for_a_summary_only() {
    let body = json!({"compaction": {"type": "summarize", "instructions": "Be short."}, "tools": tools(), "stop_sequences": ["x"],
        "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]});
    let valid = valid(&body).unwrap();
    assert!(valid.summarises && valid.request.generation.stop.is_empty());
    let prompt = prompt(&body);
    assert_eq!(prompt.messages.last().unwrap().content.text(), "Be short.");
    assert!(prompt.callable_tools().is_empty() && prompt.tools.len() == 2 && !prompt.continues);
    let count = body::parse(json!({"model": "m", "compaction": {"type": "summarize"}, "messages": [{"role": "user", "content": "Hi"}]}).to_string().as_bytes());
    assert_eq!(count.and_then(parse_count).unwrap().prompts, [Prompt::Chat(self::prompt(&json!({})))]);
}

#[test]
fn edits_clear_reasoning_and_compact() {
    let edits = json!([{"type": "clear_thinking_20251015", "keep": {"type": "thinking_turns", "value": 1}}, {"type": "compact_20260112"}]);
    let thought = |text: &str| json!({"role": "assistant", "content": [{"type": "thinking", "thinking": text}, {"type": "text", "text": "x"}]});
    let asked = json!({"role": "user", "content": "q"});
    let body = json!({"context_management": {"edits": edits}, "messages": [asked, thought("a"), asked, thought("b"), asked]});
    let thoughts: Vec<_> = prompt(&body).messages.into_iter().filter_map(|turn| turn.reasoning).collect();
    assert_eq!(thoughts, ["b"]);
    assert_eq!(valid(&body).unwrap().compaction.unwrap().trigger, 150_000);
}

/// Anthropic's API fills the cache so.
#[test]
fn request_for_no_tokens_takes_one() {
    let valid = valid(&json!({"max_tokens": 0})).unwrap();
    assert_eq!((valid.max_tokens, valid.request.generation.max_tokens), (0, Some(1)));
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
    for off in ["disabled", "between_tools"] {
        assert_eq!(kwargs(&json!({"thinking": {"type": off}}))["enable_thinking"], false);
    }
    let updates = json!({"thinking": {"type": "adaptive", "display": "updates", "block_binding": {}}});
    assert!(valid(&updates).unwrap().hide_thinking && kwargs(&updates)["enable_thinking"] == true);
    let adaptive = json!({"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "xhigh"},
        "chat_template_kwargs": {"thinking": 7}});
    let expected = json!({"enable_thinking": true, "thinking": 7, "reasoning_effort": "high"});
    assert_eq!(kwargs(&adaptive), expected);
    assert!(valid(&adaptive).unwrap().hide_thinking);
}

#[test]
fn limit_of_tokens_is_taken_in_every_form() {
    for (written, tokens) in [("-1", u32::MAX), ("9999999999", u32::MAX), ("1024.0", 1024)] {
        let limit: Value = written.parse().unwrap();
        let valid = valid(&json!({ "max_tokens": limit })).unwrap();
        assert_eq!((valid.max_tokens, valid.request.generation.max_tokens), (tokens, Some(tokens)));
    }
}

/// The answer is a call.
#[test]
fn format_beside_a_forced_call_does_not_apply() {
    let format = json!({"format": {"type": "json_schema", "schema": {"type": "object"}}});
    let tools = json!([{"name": "f", "input_schema": {}}]);
    for (kind, applies) in [("any", false), ("auto", true)] {
        let more = json!({"tools": tools, "tool_choice": {"type": kind}, "output_config": format});
        assert_eq!(valid(&more).unwrap().request.generation.constraint.is_some(), applies);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of fields")]
fn invalid_field_is_named() {
    for (more, param) in [
        (json!({"messages": []}), "messages"),
        (json!({"max_tokens": null}), "max_tokens"),
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
        (json!({"thinking": {"type": "dreaming"}}), "thinking.type"),
        (json!({"thinking": {"type": "adaptive", "display": "x"}}), "thinking.display"),
        (json!({"output_config": {"effort": "x"}}), "output_config.effort"),
        (json!({"output_config": {"format": {"type": "json"}}}), "output_config.format"),
        (json!({"output_format": {"type": "json_schema"}}), "output_format"),
        (json!({"context_management": {"edits": [{"type": "compact"}]}}), "context_management.edits[0]"),
        (json!({"compaction": {"type": "shorten"}}), "compaction.type"),
        (
            json!({"compaction": {"type": "summarize"}, "context_management": {"edits": [{"type": "compact_20260112"}]}}),
            "compaction",
        ),
        (
            json!({"compaction": {"type": "summarize"}, "messages": [{"role": "system", "content": "x"}]}),
            "messages",
        ),
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
        (json!({"fallbacks": [{}]}), "fallbacks"),
        (json!({"inference_geo": "us"}), "inference_geo"),
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
        (user(&json!([{"type": "image"}])), "messages[0].content[0].source"),
        (user(&json!([{"type": "image", "source": {}}])), "messages[0].content[0].source.type"),
        (
            user(&json!([{"type": "image", "source": {"type": "file", "file_id": "f"}}])),
            "messages[0].content[0].source",
        ),
        (
            user(&json!([{"type": "image", "source": {"type": "base64", "data": "aGk="}}])),
            "messages[0].content[0].source.data",
        ),
        (
            user(&json!([{"type": "image", "source": {"type": "url", "url": "/etc/passwd"}}])),
            "messages[0].content[0].source.url",
        ),
        (user(&json!([{"type": "text"}])), "messages[0].content[0].text"),
        (user(&json!([{"type": "document", "source": {"type": "url"}}])), "messages[0].content[0].source"),
        (user(&json!([{"type": "tool_result"}])), "messages[0].content[0].tool_use_id"),
        (user(&json!([{"type": "compaction", "content": ""}])), "messages[0].content[0].content"),
        (user(&json!([{"type": "container_upload", "file_id": "f"}])), "messages[0].content[0]"),
        (user(&json!([{"type": "tool_removal"}])), "messages[0].content[0].tool"),
        (user(&json!({"type": "text", "text": "a"})), "messages[0].content"),
        (json!({"messages": [{"role": "user"}]}), "messages[0].content"),
        (
            json!({"messages": [{"role": "user", "content": "x", "clear_at": "never"}]}),
            "messages[0].clear_at",
        ),
        (system_message(json!({"content": "x", "clear_at": "noon"})), "messages[1].clear_at"),
        (
            system_message(json!({"content": [{"type": "compaction", "content": "x"}]})),
            "messages[1].content[0]",
        ),
        (system_message(json!({"output_config": {}})), "messages[1].content"),
        (system_message(json!({"output_config": {"effort": "x"}})), "messages[1].output_config.effort"),
        (
            system_message(json!({"content": "x", "output_config": {"format": {"type": "json_schema"}}})),
            "messages[1].output_config.format",
        ),
        (json!({"cache_control": {"type": "eternal"}}), "cache_control.type"),
        (
            json!({"system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1d"}}]}),
            "system[0].cache_control.ttl",
        ),
        (
            user(&json!(vec![
                json!({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}});
                5
            ])),
            "cache_control",
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
