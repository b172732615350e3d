use ipc_proto::generate::{Message, Role, Sampling, ToolCall, ToolChoice};
use proptest::prelude::*;

use super::*;
use crate::protocols::common::body;
use crate::protocols::openai::responses::compaction::Summary;
use crate::protocols::openai::responses::sealed;

fn valid_after(history: &[Item], more: &Value) -> Result<ValidResponse> {
    let mut body = json!({"model": "m", "input": "Hi"});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    parse(body::parse(body.to_string().as_bytes())?, history)
}

fn valid(more: &Value) -> Result<ValidResponse> {
    valid_after(&[], more)
}

fn prompt(more: &Value) -> ChatPrompt {
    let Prompt::Chat(prompt) = valid(more).unwrap().request.generation.prompt else { panic!("no chat") };
    prompt
}

fn message(role: Role, content: &str) -> Message {
    Message { role, content: content.into(), ..Message::default() }
}

fn tools() -> Value {
    json!([{"type": "web_search"}, {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": true},
        {"type": "custom", "name": "patch"}, {"type": "function", "name": "g", "parameters": null, "strict": null}])
}

#[test]
fn every_setting_is_parsed() {
    let more = json!({"stream": true, "temperature": 0.5, "top_p": 0.25, "top_k": 7, "min_p": 0.125, "seed": 3,
        "repetition_penalty": 1.5, "presence_penalty": 1, "frequency_penalty": -1, "stop": "a", "top_logprobs": 2,
        "max_output_tokens": 9, "service_tier": "flex", "timeout": 2, "cache_salt": "x", "truncation": "disabled",
        "include": ["reasoning.encrypted_content", "web_search_call.results"],
        "reasoning": {"effort": "minimal", "summary": "auto", "max_tokens": 64}, "max_tool_calls": 3,
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": true}},
        "metadata": {"k": "v"}, "user": "u", "prompt_cache_key": "p", "store": false, "chat_template_kwargs": {"x": 1},
        "previous_response_id": "resp_0"});
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
    assert_eq!((generation.time_limit_ms, &*valid.request.cache_salt), (Some(2000), "x"));
    assert_eq!(generation.stop, ["a"]);
    assert_eq!(generation.logprobs, Some(Logprobs { top: 2, prompt: false }));
    assert_eq!(generation.constraint, Some(Constraint::JsonSchema(json!({"type": "object"}).to_string())));
    let Prompt::Chat(chat) = generation.prompt else { panic!("no chat") };
    let kwargs: Value = serde_json::from_str(&chat.template_kwargs.unwrap()).unwrap();
    let expected = json!({"enable_thinking": true, "thinking": true, "thinking_budget": 64,
        "reasoning_effort": "low", "x": 1});
    assert_eq!(kwargs, expected);
    assert_eq!(generation.reasoning_budget, Some(64));
    assert_eq!(
        (valid.request.labels.user.as_deref(), valid.request.affinity.as_deref()),
        (Some("u"), Some("p"))
    );
    assert!(valid.summarise);
    assert!(valid.request.stream.is_some() && valid.encrypt && !valid.background);
    assert_eq!((valid.store, valid.previous.as_deref()), (Some(false), Some("resp_0")));
    let echo = Value::Object(valid.echo);
    for (field, value) in [
        ("temperature", json!(0.5)),
        ("metadata", json!({"k": "v"})),
        ("service_tier", json!("flex")),
        ("max_output_tokens", json!(9)),
        ("previous_response_id", json!("resp_0")),
        ("tool_choice", json!("auto")),
        ("reasoning", json!({"effort": "minimal", "summary": "auto"})),
    ] {
        assert_eq!(echo[field], value, "{field}");
    }
}

#[test]
fn service_tier_sets_the_priority() {
    for (name, priority, tier) in [
        ("fast", Priority::High, "priority"),
        ("ultrafast", Priority::High, "priority"),
        ("flex", Priority::Low, "flex"),
        ("scale", Priority::Normal, "default"),
    ] {
        let valid = valid(&json!({ "service_tier": name })).unwrap();
        assert_eq!(
            (valid.request.generation.priority, &valid.echo["service_tier"]),
            (priority, &json!(tier))
        );
    }
}

#[test]
fn truncation_auto_is_echoed_and_lets_turns_go() {
    for (name, truncates) in [("auto", true), ("disabled", false)] {
        let more = json!({ "truncation": name });
        assert_eq!(
            (prompt(&more).truncates, &valid(&more).unwrap().echo["truncation"]),
            (truncates, &json!(name))
        );
    }
    assert!(!prompt(&json!({})).truncates);
}

#[test]
fn verbosity_is_echoed_and_a_hint_in_the_system_message() {
    let more = json!({"instructions": "a", "text": {"verbosity": "low"}});
    assert_eq!(prompt(&more).messages[0], message(Role::System, "a\n\nAnswer briefly."));
    assert_eq!(valid(&more).unwrap().echo["text"]["verbosity"], "low");
    assert_eq!(prompt(&json!({"text": {"verbosity": "medium"}})), prompt(&json!({})));
}

#[test]
fn trigger_or_threshold_asks_for_a_compaction() {
    let compaction = |more: Value| valid(&more).unwrap().compaction;
    assert_eq!(compaction(json!({})), Compaction::Never);
    assert_eq!(compaction(json!({"context_management": []})), Compaction::Never);
    let above = json!([{"type": "compaction", "compact_threshold": 900}, {"type": "compaction"}]);
    assert_eq!(compaction(json!({ "context_management": above })), Compaction::Above(Some(900)));
    assert_eq!(compaction(json!({"context_management": [{"type": "compaction"}]})), Compaction::Above(None));
    let trigger = json!([{"role": "user", "content": "x"}, {"type": "compaction_trigger"}]);
    assert_eq!(compaction(json!({"input": trigger, "context_management": above})), Compaction::Now);
}

#[test]
fn compaction_item_is_read_as_a_summary_and_a_foreign_one_passed_over() {
    let sealed = Summary { text: "S".into(), kept_bytes: 100, before_question: false }.seal();
    let texts = |kind: &str, content: &str| {
        let more = json!({"input": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "a"},
            {"type": kind, "encrypted_content": content},
            {"role": "user", "content": "next"},
        ]});
        let messages = prompt(&more).messages;
        messages.iter().map(|message| message.content.text().into_owned()).collect::<Vec<_>>()
    };
    for kind in ["compaction", "context_compaction"] {
        let texts = texts(kind, &sealed);
        assert_eq!((texts.len(), &*texts[0], &*texts[2]), (3, "q", "next"), "{texts:?}");
        assert!(texts[1].ends_with("\n\nS"), "{texts:?}");
    }
    assert_eq!(texts("compaction", "gAAAA"), ["q", "a", "next"]);
}

#[test]
fn generate_false_and_prewarm_generate_nothing() {
    for more in [json!({"generate": false}), json!({"prompt_cache_options": {"prewarm": true}})] {
        assert!(!valid(&more).unwrap().generates, "{more}");
    }
    assert!(valid(&json!({"generate": true})).unwrap().generates && valid(&json!({})).unwrap().generates);
}

#[test]
fn prefill_may_come_before_any_question() {
    let developer = json!({"role": "developer", "content": "D"});
    for (input, count) in [(json!([]), 0), (json!([developer]), 1)] {
        let warm = valid(&json!({"generate": false, "input": input})).unwrap();
        let Prompt::Chat(prompt) = warm.request.generation.prompt else { panic!("no chat") };
        assert_eq!(prompt.messages.last(), Some(&message(Role::User, "")));
        assert_eq!((prompt.messages.len(), warm.input.len()), (count + 1, count));
        assert!(valid(&json!({"input": input})).is_err());
    }
}

#[test]
fn instructions_and_developer_messages_form_one_system_message() {
    let more = json!({"instructions": "a", "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "b"}]},
        {"role": "system", "content": "c"},
        {"role": "user", "content": [{"type": "input_text", "text": "d"}, {"type": "input_text", "text": "e"}]},
    ]});
    assert_eq!(prompt(&more).messages, [message(Role::System, "a\n\nb\n\nc"), message(Role::User, "de")]);
}

#[test]
fn images_are_parts_and_files_of_earlier_turns_get_a_stand_in() {
    let image =
        json!({"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"});
    let file = json!({"type": "input_file", "file_data": "x"});
    let asked = json!({"role": "user", "content": [image, file]});
    let answer = json!({"role": "assistant", "content": "No."});
    let earlier = prompt(&json!({"input": [asked, answer, {"role": "user", "content": "Go on."}]}));
    let content = &earlier.messages[0].content;
    assert_eq!(content.text(), "[file left out: this model reads text only]");
    assert_eq!(content.parts()[0].as_image().unwrap().detail, ipc_proto::generate::ImageDetail::Low);
}

#[test]
fn items_are_grouped_into_messages() {
    let call = |id: &str| json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"});
    let result = |id: &str| json!({"type": "function_call_output", "call_id": id, "output": "r"});
    let answer = |text: &str| json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]});
    let more = json!({"input": [
        {"role": "user", "content": "q"},
        {"type": "reasoning", "id": "rs", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        answer("a"), call("1"), call("2"), result("1"), result("2"),
        {"type": "reasoning", "summary": [], "encrypted_content": sealed::seal("so")},
        {"type": "reasoning", "summary": [], "encrypted_content": "foreign"},
        answer("b"), answer("c"),
    ]});
    let calls = ["1", "2"].map(|id| ToolCall { id: id.into(), name: "f".into(), arguments: "{}".into() });
    let result = |id: &str| Message {
        name: Some("f".into()),
        tool_call_id: Some(id.into()),
        ..message(Role::Tool, "r")
    };
    let expected = [
        message(Role::User, "q"),
        Message { reasoning: Some("hm".into()), tool_calls: calls.into(), ..message(Role::Assistant, "a") },
        result("1"),
        result("2"),
        Message { reasoning: Some("so".into()), ..message(Role::Assistant, "b") },
        message(Role::Assistant, "c"),
    ];
    assert_eq!(prompt(&more).messages, expected);
}

/// A summary of this server is the whole reasoning, so it becomes reasoning again.
#[test]
fn items_of_hosted_tools_are_omitted() {
    let more = json!({"input": [
        {"role": "user", "content": "q"},
        {"type": "web_search_call", "id": "ws", "status": "completed", "action": {"type": "search"}},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "content": []},
        {"type": "message", "role": "assistant", "content": "a"},
    ]});
    let answer = Message { reasoning: Some("hm".into()), ..message(Role::Assistant, "a") };
    assert_eq!(prompt(&more).messages, [message(Role::User, "q"), answer]);
}

#[test]
fn history_precedes_the_new_items() {
    let history: Vec<Item> = serde_json::from_value(json!([
        {"type": "message", "role": "user", "content": "1"},
        {"type": "message", "id": "msg", "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": "2", "annotations": [], "logprobs": []}]},
    ]))
    .unwrap();
    let valid = valid_after(&history, &json!({"instructions": "s"})).unwrap();
    let Prompt::Chat(chat) = valid.request.generation.prompt else { panic!("no chat") };
    let texts: Vec<_> = chat.messages.iter().map(|turn| turn.content.text()).collect();
    assert_eq!(texts, ["s", "1", "2", "Hi"]);
    assert_eq!(valid.input.len(), 1);
    assert!(valid_after(&history, &json!({"input": null})).is_ok());
}

#[test]
fn client_tools_are_parsed_and_other_tools_omitted() {
    let with = |choice: Value| {
        prompt(&json!({"tools": tools(), "tool_choice": choice, "parallel_tool_calls": false}))
    };
    let auto = with(json!("auto"));
    assert_eq!(
        auto.tools.iter().map(|tool| (&*tool.name, tool.is_strict())).collect::<Vec<_>>(),
        [("f", true), ("patch", true), ("g", false)]
    );
    assert_eq!((auto.tool_choice, auto.parallel_calls), (ToolChoice::Auto, false));
    assert_eq!(with(json!("none")).tool_choice, ToolChoice::None);
    assert_eq!(with(json!("required")).tool_choice, ToolChoice::Required);
    let named = with(json!({"type": "function", "name": "g"}));
    assert_eq!(named.tool_choice, ToolChoice::Named("g".into()));
    let allowed =
        json!({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]});
    let prompt = with(allowed.clone());
    assert_eq!((prompt.tools.len(), prompt.tool_choice), (1, ToolChoice::Required));
    let echo = valid(&json!({"tools": tools(), "tool_choice": allowed})).unwrap().echo;
    let shown = echo["tools"].as_array().unwrap();
    assert_eq!(shown[0], json!({"type": "web_search"}));
    assert_eq!((shown.len(), &shown[3]["name"], &echo["tool_choice"]), (4, &json!("g"), &allowed));
}

#[test]
fn invalid_field_is_named() {
    let item = |item: Value| json!({"input": [item]});
    for (more, param) in [
        (json!({"input": null}), "input"),
        (json!({"input": []}), "input"),
        (json!({"input": 3}), "input"),
        (json!({"model": ""}), "model"),
        (json!({"temperature": -1}), "temperature"),
        (json!({"top_p": 1.5}), "top_p"),
        (json!({"top_logprobs": 21}), "top_logprobs"),
        (json!({"max_output_tokens": 0}), "max_output_tokens"),
        (json!({"conversation": "c"}), "conversation"),
        (json!({"prompt": {"id": "p"}}), "prompt"),
        (json!({"truncation": "sideways"}), "truncation"),
        (json!({"service_tier": "gold"}), "service_tier"),
        (json!({"context_management": [{"type": "magic"}]}), "context_management[0].type"),
        (
            json!({"context_management": [{"type": "compaction", "compact_threshold": 0}]}),
            "context_management[0].compact_threshold",
        ),
        (item(json!({"type": "compaction"})), "input[0].encrypted_content"),
        (
            json!({"input": [{"type": "compaction_trigger"}, {"role": "user", "content": "x"}]}),
            "input[0].type",
        ),
        (json!({"background": true, "store": false}), "background"),
        (json!({"text": {"verbosity": "huge"}}), "text.verbosity"),
        (json!({"text": {"format": {"type": "xml"}}}), "text.format"),
        (json!({"text": {"format": {"type": "json_schema"}}}), "text.format"),
        (json!({"reasoning": {"effort": "huge"}}), "reasoning.effort"),
        (json!({"reasoning": {"mode": "pro"}}), "reasoning.mode"),
        (json!({"tools": [{"type": "function"}]}), "tools[0].name"),
        (json!({"tool_choice": "required"}), "tool_choice"),
        (json!({"tools": tools(), "tool_choice": {"type": "function", "name": "h"}}), "tool_choice"),
        (json!({"tool_choice": {"type": "web_search"}}), "tool_choice"),
        (json!({"tool_choice": "king"}), "tool_choice"),
        (json!({"tools": [{"type": "function", "name": "a b"}]}), "tools[0].name"),
        (json!({"tools": [{"type": "function", "name": "f"}, {"type": "function", "name": "f"}]}), "tools"),
        (
            json!({"tools": tools(), "tool_choice": {"type": "allowed_tools", "mode": "auto",
                "tools": [{"type": "function", "name": "h"}]}}),
            "tool_choice",
        ),
        (json!({"include": ["everything"]}), "include"),
        (json!({"reasoning": {"summary": "long"}}), "reasoning.summary"),
        (json!({"reasoning": {"max_tokens": 0}}), "reasoning.max_tokens"),
        (json!({"prompt_cache_retention": "24h"}), "prompt_cache_retention"),
        (json!({"prompt_cache_options": {"mode": "explicit"}}), "prompt_cache_options.mode"),
        (json!({"metadata": {"a": "x".repeat(1025)}}), "metadata"),
        (item(json!({"type": "custom_tool_call"})), "input[0].call_id"),
        (item(json!({"type": "custom_tool_call", "call_id": "c", "name": "f"})), "input[0].input"),
        (item(json!({"role": "user", "content": {"text": "x"}})), "input[0].content"),
        (item(json!({"type": "additional_tools", "tools": 3})), "input[0].tools"),
        (item(json!({"type": "item_reference", "id": "msg_x"})), "input[0].id"),
        (item(json!({"role": "user"})), "input[0].content"),
        (item(json!({"content": "x"})), "input[0].role"),
        (
            item(json!({"role": "user", "content": [{"type": "input_image"}]})),
            "input[0].content[0].image_url",
        ),
        (item(json!({"type": "function_call", "name": "f", "arguments": "{}"})), "input[0].call_id"),
        (item(json!({"type": "function_call_output", "call_id": "c"})), "input[0].output"),
    ] {
        let error = valid(&more).unwrap_err();
        assert_eq!(error.field, Some(param.into()), "{more}: {error}");
        let last = param.rsplit('.').next().unwrap();
        assert!(error.message.contains(last), "{} does not name {param}", error.message);
    }
}

#[test]
fn limit_of_tokens_is_taken_in_every_form() {
    for (written, tokens) in [("-1", None), ("9999999999", Some(u32::MAX)), ("1024.0", Some(1024))] {
        let limit: Value = written.parse().unwrap();
        let valid = valid(&json!({ "max_output_tokens": limit })).unwrap();
        assert_eq!(valid.request.generation.max_tokens, tokens, "{written}");
        assert_eq!(valid.echo["max_output_tokens"], json!(tokens));
    }
}

/// The answer is a call.
#[test]
fn format_beside_a_forced_call_does_not_apply() {
    for (choice, applies) in [("required", false), ("auto", true)] {
        let more =
            json!({"tools": tools(), "tool_choice": choice, "text": {"format": {"type": "json_object"}}});
        assert_eq!(valid(&more).unwrap().request.generation.constraint.is_some(), applies);
    }
}

#[test]
fn count_has_the_same_prompt() {
    let body = json!({"model": "m", "input": "Hi", "tools": tools(), "instructions": "s"});
    let counted = parse_count(body::parse(body.to_string().as_bytes()).unwrap(), &[]).unwrap().prompts;
    assert_eq!(counted, [Prompt::Chat(prompt(&json!({"tools": tools(), "instructions": "s"})))]);
}

proptest! {
    #[test]
    fn arbitrary_body_does_not_panic(body in "\\PC{0,40}|[{}\\[\\]\":,a-z0-9]{0,60}") {
        let _ = body::parse::<Request>(body.as_bytes()).and_then(|request| parse(request, &[]));
    }
}
