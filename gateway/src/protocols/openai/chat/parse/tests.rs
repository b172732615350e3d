use proptest::prelude::*;

use ipc_proto::generate::{
    Constraint, Message, Role, Sampling, TextGrammar, Tool, ToolCall, ToolChoice, ToolInput,
};

use super::*;
use crate::inference::request::{PromptRequest, Streaming};
use crate::protocols::common::checks::MAX_STOPS;
use crate::protocols::common::labels;
use crate::protocols::common::{body, field_names};
use crate::protocols::openai::choices::Echo;
use crate::protocols::openai::completions::parse as completions;

mod clients;

fn choices_of(body: &Value) -> Result<ChoicesRequest> {
    body::parse(body.to_string().as_bytes()).and_then(parse)
}

fn chat_of(body: &Value) -> Result<InferenceRequest> {
    choices_of(body).map(|choices| choices.request)
}

fn completions_of(body: &Value) -> Result<ChoicesRequest> {
    body::parse(body.to_string().as_bytes()).and_then(completions::parse)
}

fn completion_of(body: &Value) -> Result<InferenceRequest> {
    completions_of(body).map(|choices| choices.request)
}

/// `base` with the fields of `more`.
fn with(mut base: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        base[name] = value.clone();
    }
    base
}

fn hello() -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]})
}

fn blamed_field(outcome: Result<InferenceRequest>) -> String {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind, ipc_proto::ErrorKind::InvalidRequest);
    let param = field_names::param(&error, field_names::chat).unwrap_or_default();
    assert!(error.message.contains(&param), "{} does not name {param}", error.message);
    param
}

#[test]
fn plain_request_has_default_settings() {
    let valid = chat_of(&hello()).unwrap();
    assert_eq!((valid.model.as_str(), valid.stream), ("m", None));
    assert_eq!(valid.generation.sampling, Sampling::default());
    assert_eq!((valid.generation.max_tokens, valid.generation.stop.len()), (None, 0));
    let message = Message { content: "Hi".into(), ..Message::default() };
    let prompt = ChatPrompt { messages: vec![message], parallel_calls: true, ..ChatPrompt::default() };
    assert_eq!(valid.generation.prompt, Prompt::Chat(prompt));
}

#[test]
fn every_setting_is_parsed() {
    let valid = chat_of(&with(
        hello(),
        &json!({
            "temperature": 0.5, "top_p": 0.25, "top_k": 7, "min_p": 0.125, "seed": -2, "stop": ["a", "b"],
            "repetition_penalty": 1.5, "presence_penalty": -0.5, "frequency_penalty": 2, "logit_bias": {"7": -100, "3": 1.5},
            "max_tokens": 5, "max_completion_tokens": 9, "stream": true, "stream_options": {"include_usage": true},
            "chat_template_kwargs": {"enable_thinking": false},
        }),
    ))
    .unwrap();
    let sampling = Sampling {
        temperature: Some(0.5),
        top_p: Some(0.25),
        top_k: Some(7),
        min_p: Some(0.125),
        seed: Some(u64::MAX - 1),
        repetition_penalty: Some(1.5),
        presence_penalty: Some(-0.5),
        frequency_penalty: Some(2.0),
        logit_bias: vec![(3, 1.5), (7, -100.0)],
    };
    assert_eq!(valid.generation.sampling, sampling);
    assert_eq!((valid.generation.max_tokens, valid.generation.stop), (Some(9), vec!["a".into(), "b".into()]));
    assert_eq!(valid.stream, Some(Streaming { include_usage: true }));
    let Prompt::Chat(chat) = valid.generation.prompt else { panic!() };
    assert_eq!(chat.template_kwargs.as_deref(), Some(r#"{"enable_thinking":false}"#));
}

#[test]
fn messages_of_every_role_are_parsed() {
    let body = json!({"model": "m", "messages": [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "name": "eve", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant"},
        {"role": "assistant", "content": null, "tool_calls": []},
        {"role": "tool", "content": "42"},
    ]});
    let Prompt::Chat(chat) = chat_of(&body).unwrap().generation.prompt else { panic!() };
    let turns = chat.messages.iter().map(|m| (m.role, m.content.clone(), m.name.as_deref()));
    let turns: Vec<_> = turns.collect();
    let expected = [
        (Role::System, "Be brief.", None),
        (Role::User, "ab", Some("eve")),
        (Role::Assistant, "", None),
        (Role::Assistant, "", None),
        (Role::Tool, "42", None),
    ];
    assert_eq!(turns, expected.map(|(role, text, name)| (role, text.into(), name)));
}

#[test]
fn invalid_field_is_named() {
    for (more, param) in [
        (json!({"messages": []}), "messages"),
        (json!({"messages": [{"role": "user"}]}), "messages[0].content"),
        (json!({"messages": [{"role": "king", "content": "x"}]}), "messages[0].role"),
        (json!({"messages": [{"role": "user", "content": 3}]}), "messages[0].content"),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
            "messages[0].content[0].image_url",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "text"}]}]}),
            "messages[0].content[0].text",
        ),
        (
            json!({"messages": [{"role": "assistant", "content": "", "tool_calls": [{}]}]}),
            "messages[0].tool_calls[0].function",
        ),
        (
            json!({"messages": [{"role": "assistant", "tool_calls": [{"type": "custom", "custom": {}}]}]}),
            "messages[0].tool_calls[0].custom",
        ),
        (
            json!({"messages": [{"role": "assistant", "tool_calls": [{"type": "other"}]}]}),
            "messages[0].tool_calls[0].type",
        ),
        (
            json!({"messages": [{"role": "user", "content": "", "tool_calls": [{"function": {"name": "f"}}]}]}),
            "messages[0].tool_calls",
        ),
        (json!({"n": 0}), "n"),
        (json!({"n": 129}), "n"),
        (json!({"user": "x".repeat(1025)}), "user"),
        (json!({"metadata": {"a": 1}}), "metadata.a"),
        (json!({"metadata": {"a": "x".repeat(1025)}}), "metadata"),
        (json!({"service_tier": "gold"}), "service_tier"),
        (json!({"reasoning_effort": "huge"}), "reasoning_effort"),
        (json!({"parallel_tool_calls": 1}), "parallel_tool_calls"),
        (json!({"temperature": -0.1}), "temperature"),
        (json!({"temperature": "hot"}), "temperature"),
        (json!({"top_p": 1.1}), "top_p"),
        (json!({"min_p": -1}), "min_p"),
        (json!({"repetition_penalty": 0}), "repetition_penalty"),
        (json!({"presence_penalty": 2.5}), "presence_penalty"),
        (json!({"frequency_penalty": -2.5}), "frequency_penalty"),
        (json!({"logit_bias": {"x": 1}}), "logit_bias"),
        (json!({"logit_bias": {"-1": 1}}), "logit_bias"),
        (json!({"logit_bias": {"1": 101}}), "logit_bias"),
        (json!({"top_k": -2}), "top_k"),
        (json!({"max_tokens": 0}), "max_tokens"),
        (json!({"max_completion_tokens": 0}), "max_completion_tokens"),
        (json!({"stop": ""}), "stop"),
        (json!({"stop": vec!["x"; 17]}), "stop"),
        (json!({"stream_options": {}}), "stream_options"),
        (
            json!({"stream": true, "stream_options": {"include_obfuscation": true}}),
            "stream_options.include_obfuscation",
        ),
        (json!({"stop_token_ids": vec![1; 65]}), "stop_token_ids"),
        (json!({"thinking_budget": 0}), "thinking_budget"),
        (json!({"reasoning": {"max_tokens": 0}}), "reasoning.max_tokens"),
        (json!({"continue_final_message": true}), "continue_final_message"),
        (json!({"continue_final_message": true, "add_generation_prompt": true}), "continue_final_message"),
        (json!({"model": ""}), "model"),
        (json!({"model": "x".repeat(513)}), "model"),
        (json!({"temperature": 1e39}), "temperature"),
        (json!({"top_p": -0.1}), "top_p"),
        (json!({"min_p": 1.5}), "min_p"),
        (json!({"presence_penalty": -1e39}), "presence_penalty"),
        (json!({"frequency_penalty": 1e39}), "frequency_penalty"),
        (json!({"logit_bias": {"1": 1e39}}), "logit_bias"),
        (json!({"stop": ["x", ""]}), "stop"),
        (json!({"stop": "x".repeat(1025)}), "stop"),
    ] {
        assert_eq!(blamed_field(chat_of(&with(hello(), &more))), param, "{more}");
    }
}

#[test]
fn missing_required_field_is_named() {
    for field in ["model", "messages"] {
        let mut body = hello();
        body.as_object_mut().unwrap().remove(field);
        assert_eq!(blamed_field(chat_of(&body)), field);
    }
}

#[test]
fn unsupported_field_is_refused_unless_neutral() {
    for (name, on, off) in [
        ("prompt_cache_retention", json!("24h"), json!("in_memory")),
        ("modalities", json!(["audio"]), json!(["text"])),
        ("audio", json!({"voice": "alloy", "format": "wav"}), json!(null)),
        ("prediction", json!({"type": "content", "content": "x"}), json!(null)),
        ("web_search_options", json!({}), json!(null)),
        ("store", json!(true), json!(false)),
    ] {
        assert_eq!(blamed_field(chat_of(&with(hello(), &json!({ name: on })))), name);
        chat_of(&with(hello(), &json!({ name: off }))).unwrap();
        chat_of(&with(hello(), &json!({ name: null }))).unwrap();
    }
}

#[test]
fn verbosity_is_a_hint_in_the_system_message() {
    let first = |level: &str| {
        let valid = chat_of(&with(hello(), &json!({ "verbosity": level })))?;
        let Prompt::Chat(chat) = valid.generation.prompt else { panic!("no chat") };
        Ok::<_, Error>(chat.messages[0].content.text().into_owned())
    };
    assert_eq!(first("low").unwrap(), "Answer briefly.");
    assert_eq!(first("medium").unwrap(), "Hi");
    assert_eq!(first("huge").unwrap_err().field, Some("verbosity".into()));
}

#[test]
fn formats_become_constraints() {
    let constraint = |format: Value| {
        chat_of(&with(hello(), &json!({ "response_format": format })))
            .map(|valid| valid.generation.constraint)
    };
    let schema = json!({"type": "object"});
    let named =
        json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": true}});
    assert_eq!(constraint(json!({"type": "text"})), Ok(None));
    assert_eq!(constraint(json!(null)), Ok(None));
    assert_eq!(constraint(json!({"type": "json_object"})), Ok(Some(Constraint::JsonObject)));
    assert_eq!(constraint(named), Ok(Some(Constraint::JsonSchema(schema.to_string()))));
    let regex = json!({"type": "regex", "pattern": "a+"});
    assert_eq!(constraint(regex), Ok(Some(Constraint::Regex("a+".into()))));
    let grammar = json!({"type": "grammar", "grammar": "start: \"x\""});
    assert_eq!(constraint(grammar), Ok(Some(Constraint::Lark("start: \"x\"".into()))));
    for wrong in
        [json!("json"), json!({"type": "xml"}), json!({"type": "json_schema"}), json!({"type": "regex"})]
    {
        let more = json!({ "response_format": wrong });
        assert_eq!(blamed_field(chat_of(&with(hello(), &more))), "response_format", "{more}");
    }
}

#[test]
fn extension_fields_are_parsed() {
    let more = json!({"min_tokens": 3, "ignore_eos": true, "priority": "low", "cache_salt": "a", "timeout": 1.5,
        "logprobs": true, "top_logprobs": 4});
    let request = chat_of(&with(hello(), &more)).unwrap();
    let valid = request.generation;
    assert_eq!((valid.min_tokens, valid.ignore_eos, valid.priority), (3, true, Priority::Low));
    assert_eq!((request.cache_salt.as_str(), valid.time_limit_ms), ("a", Some(1500)));
    assert_eq!(valid.logprobs, Some(Logprobs { top: 4, prompt: false }));
}

#[test]
fn extension_field_outside_its_range_is_named() {
    for (more, param) in [
        (json!({"timeout": 0}), "timeout"),
        (json!({"timeout": 1e9}), "timeout"),
        (json!({"priority": "urgent"}), "priority"),
        (json!({"cache_salt": "x".repeat(257)}), "cache_salt"),
        (json!({"logprobs": true, "top_logprobs": 21}), "top_logprobs"),
        (json!({"top_logprobs": 2}), "top_logprobs"),
    ] {
        assert_eq!(blamed_field(chat_of(&with(hello(), &more))), param, "{more}");
    }
}

#[test]
fn field_names_of_other_servers_are_equivalent() {
    let more = json!({"repeat_penalty": 1.5, "stop_token_ids": [3], "service_tier": "scale",
        "stream": true, "stream_options": {"include_usage": null, "include_obfuscation": false}});
    let valid = choices_of(&with(hello(), &more)).unwrap();
    assert_eq!(valid.request.generation.sampling.repetition_penalty, Some(1.5));
    assert_eq!(valid.request.generation.stop_tokens, [3]);
    assert_eq!(valid.request.stream, Some(Streaming { include_usage: false }));
    assert_eq!((valid.form.tier, valid.form.hide_reasoning), (Some("default"), false));
    for hides in [json!({"include_reasoning": false}), json!({"reasoning": {"exclude": true}})] {
        assert!(choices_of(&with(hello(), &hides)).unwrap().form.hide_reasoning);
    }
}

#[test]
fn reasoning_settings_of_every_client_are_parsed() {
    let parsed = |more: Value| {
        let valid = chat_of(&with(hello(), &more)).unwrap().generation;
        let Prompt::Chat(chat) = valid.prompt else { panic!() };
        let kwargs: Value = chat.template_kwargs.unwrap().parse().unwrap();
        (kwargs["enable_thinking"].clone(), kwargs["reasoning_effort"].clone(), valid.reasoning_budget)
    };
    // Without an effort variable, a template that reads only the effort does not turn reasoning on.
    assert_eq!(parsed(json!({"reasoning_effort": "none"})), (json!(false), json!(null), None));
    assert_eq!(parsed(json!({"reasoning": {"effort": "high"}})), (json!(true), json!("high"), None));
    let bounded = json!({"reasoning": {"enabled": true, "max_tokens": 9}});
    assert_eq!(parsed(bounded), (json!(true), json!(null), Some(9)));
    for name in ["thinking_budget", "thinking_token_budget"] {
        assert_eq!(parsed(json!({ name: 7 })).2, Some(7));
        assert_eq!(parsed(json!({ name: 7, "reasoning_effort": "none" })).2, None);
    }
}

#[test]
fn continue_final_message_continues_the_last_message() {
    let turns = json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "The "}]);
    let more = json!({"messages": turns, "continue_final_message": true, "add_generation_prompt": false});
    let chat = prompt_of(&more).unwrap();
    assert_eq!((chat.continues, chat.template_kwargs), (true, None));
    let formatted = with(more, &json!({"response_format": {"type": "json_object"}}));
    assert_eq!(blamed_field(chat_of(&with(hello(), &formatted))), "continue_final_message");
    let plain = prompt_of(&json!({"messages": turns, "add_generation_prompt": false})).unwrap();
    assert_eq!(
        (plain.continues, plain.template_kwargs.as_deref()),
        (false, Some(r#"{"add_generation_prompt":false}"#))
    );
}

#[test]
fn labels_and_priority_are_derived_from_the_request() {
    let more =
        json!({"user": "u", "safety_identifier": "s", "metadata": {"k": "v"}, "prompt_cache_key": "p"});
    let valid = chat_of(&with(hello(), &more)).unwrap();
    assert_eq!(
        (valid.labels.user.as_deref(), valid.labels.notes.as_deref()),
        (Some("u"), Some(r#"{"k":"v"}"#))
    );
    assert_eq!(valid.affinity.as_deref(), Some("p"));
    // A session header sets the affinity unless the body does.
    let headers = [("x-claude-code-session-id".parse().unwrap(), "s".parse().unwrap())].into_iter().collect();
    assert_eq!(valid.with_labels(labels::from_headers(&headers)).affinity.as_deref(), Some("p"));
    let sent = chat_of(&hello()).unwrap().with_labels(labels::from_headers(&headers));
    assert_eq!((sent.affinity.as_deref(), sent.labels.session.as_deref()), (Some("s"), Some("s")));
    let task = "### Task:\nGenerate a title.\n<chat_history>\nUSER: Hi\n</chat_history>";
    let task = json!({"messages": [{"role": "user", "content": task}]});
    assert_eq!(chat_of(&with(hello(), &task)).unwrap().generation.priority, Priority::Low);
    let asked = with(task, &json!({"priority": "normal"}));
    assert_eq!(chat_of(&with(hello(), &asked)).unwrap().generation.priority, Priority::Normal);
    assert_eq!(chat_of(&hello()).unwrap().generation.priority, Priority::Normal);
}

#[test]
fn every_parameter_of_openais_clients_is_accepted() {
    let more = json!({"audio": null, "frequency_penalty": 0, "logit_bias": {}, "logprobs": false, "max_completion_tokens": 5,
        "max_tokens": 5, "metadata": {}, "modalities": ["text"], "safety_identifier": "s", "n": 1, "prediction": null,
        "parallel_tool_calls": true, "presence_penalty": 0, "prompt_cache_key": "k", "prompt_cache_retention": "in_memory",
        "reasoning_effort": "low", "response_format": {"type": "text"}, "seed": 1, "service_tier": "auto", "stop": "x",
        "store": false, "stream": true, "stream_options": {"include_usage": true}, "temperature": 1, "tool_choice": "auto",
        "tools": [tool("f")], "top_logprobs": null, "top_p": 1, "user": "u", "verbosity": "medium", "web_search_options": null});
    let valid = chat_of(&with(hello(), &more)).unwrap();
    assert_eq!((valid.generation.stop, valid.generation.max_tokens), (vec!["x".to_owned()], Some(5)));
}

#[test]
fn unknown_field_is_ignored() {
    chat_of(&with(hello(), &json!({"user": "u", "metadata": {}, "service_tier": "auto", "x": [1]}))).unwrap();
}

fn tool(name: &str) -> Value {
    json!({"type": "function", "function": {"name": name, "description": "d", "parameters": {"type": "object"},
        "strict": true}})
}

fn prompt_of(more: &Value) -> Result<ChatPrompt> {
    let valid = chat_of(&with(hello(), more))?;
    let Prompt::Chat(chat) = valid.generation.prompt else { panic!() };
    Ok(chat)
}

#[test]
fn custom_tools_and_their_choice_are_parsed() {
    let custom =
        |name: &str, format: Value| json!({"type": "custom", "custom": {"name": name, "format": format}});
    let lark = json!({"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: \"x\""}});
    let regex = json!({"type": "grammar", "grammar": {"syntax": "regex", "definition": "x+"}});
    let tools = json!([
        custom("a", Value::Null),
        custom("b", json!({"type": "text"})),
        custom("c", lark),
        custom("d", regex),
        tool("f")
    ]);
    let chat = prompt_of(&json!({ "tools": tools })).unwrap();
    let texts =
        [None, None, Some(TextGrammar::Lark("start: \"x\"".into())), Some(TextGrammar::Regex("x+".into()))];
    for (tool, text) in chat.tools.iter().zip(texts) {
        assert_eq!(tool.input, ToolInput::Text(text), "{}", tool.name);
    }
    let with = |choice: Value| prompt_of(&json!({"tools": tools, "tool_choice": choice})).unwrap();
    let named = with(json!({"type": "custom", "custom": {"name": "c"}}));
    assert_eq!(named.tool_choice, ToolChoice::Named("c".into()));
    let allowed = with(json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [
        {"type": "custom", "custom": {"name": "d"}}, {"type": "function", "function": {"name": "f"}}]}}));
    let names: Vec<_> = allowed.tools.iter().map(|tool| &*tool.name).collect();
    assert_eq!((names, allowed.tool_choice), (vec!["d", "f"], ToolChoice::Required));
}

#[test]
fn functions_are_parsed_in_modern_and_legacy_form() {
    let expected = Tool {
        name: "f".into(),
        description: Some("d".into()),
        input: ToolInput::Json { schema: Some(r#"{"type":"object"}"#.into()), strict: true },
    };
    let chat = prompt_of(&json!({"tools": [tool("f")]})).unwrap();
    assert_eq!(
        (&chat.tools, &chat.tool_choice, chat.parallel_calls),
        (&vec![expected], &ToolChoice::Auto, true)
    );
    let named = json!({"type": "function", "function": {"name": "f"}});
    for (choice, wanted) in [
        (json!("none"), ToolChoice::None),
        (json!("required"), ToolChoice::Required),
        (named.clone(), ToolChoice::Named("f".into())),
    ] {
        let more = json!({"tools": [tool("f")], "tool_choice": choice, "parallel_tool_calls": false});
        let chat = prompt_of(&more).unwrap();
        assert_eq!((chat.tool_choice, chat.parallel_calls), (wanted, false));
    }
    let allowed = json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named]}});
    let chat = prompt_of(&json!({"tools": [tool("g"), tool("f")], "tool_choice": allowed})).unwrap();
    assert_eq!((chat.tools.len(), &*chat.tools[0].name, chat.tool_choice), (1, "f", ToolChoice::Required));
    let legacy = json!({"functions": [{"name": "f"}], "function_call": {"name": "f"}});
    let valid = choices_of(&with(hello(), &legacy)).unwrap();
    assert!(valid.form.legacy);
    let chat = prompt_of(&legacy).unwrap();
    assert_eq!((chat.tool_choice, chat.parallel_calls), (ToolChoice::Named("f".into()), false));
}

#[test]
fn invalid_function_field_is_named() {
    for (more, param) in [
        (json!({"tools": [{"type": "web_search"}]}), "tools[0].type"),
        (json!({"tools": [{"type": "custom"}]}), "tools[0].custom"),
        (json!({"tools": [{"type": "custom", "custom": {"name": "a b"}}]}), "tools[0].custom.name"),
        (
            json!({"tools": [{"type": "custom", "custom": {"name": "c", "format": {"type": "xml"}}}]}),
            "tools[0].custom.format.type",
        ),
        (
            json!({"tools": [{"type": "custom", "custom": {"name": "c",
                "format": {"type": "grammar", "grammar": {"syntax": "ebnf", "definition": ""}}}}]}),
            "tools[0].custom.format.syntax",
        ),
        (
            json!({"tools": [tool("f")], "tool_choice": {"type": "custom", "custom": {"name": "f"}}}),
            "tool_choice",
        ),
        (json!({"tools": [{"type": "function"}]}), "tools[0].function"),
        (json!({"tools": [{"type": "function", "function": {"name": "a b"}}]}), "tools[0].function.name"),
        (
            json!({"tools": [{"type": "function", "function": {"name": "a", "parameters": 3}}]}),
            "tools[0].function.parameters",
        ),
        (json!({"tools": [tool("f"), tool("f")]}), "tools"),
        (json!({"tool_choice": "required"}), "tool_choice"),
        (json!({"tools": [tool("f")], "tool_choice": "perhaps"}), "tool_choice"),
        (
            json!({"tools": [tool("f")], "tool_choice": {"type": "function", "function": {"name": "g"}}}),
            "tool_choice",
        ),
        (json!({"tools": [tool("f")], "tool_choice": {"type": "function"}}), "tool_choice.function"),
        (json!({"tools": [tool("f")], "tool_choice": {"type": "web_search"}}), "tool_choice.type"),
        (json!({"tools": [tool("f")], "tool_choice": {"type": "custom"}}), "tool_choice.custom"),
        (json!({"tools": [tool("f")], "functions": [{"name": "g"}]}), "functions"),
        (json!({"functions": [{"name": "f"}], "function_call": "required"}), "function_call"),
    ] {
        assert_eq!(blamed_field(chat_of(&with(hello(), &more))), param, "{more}");
    }
}

#[test]
fn calls_and_results_are_parsed() {
    let body = json!({"model": "m", "messages": [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": null, "reasoning_content": "why", "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}},
            {"id": "2", "type": "function", "function": {"name": "g", "arguments": ""}}]},
        {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "r"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}], "function_call": {"name": "h", "arguments": "{}"}},
        {"role": "function", "name": "h", "content": "s"},
        {"role": "assistant", "content": null, "refusal": "never", "reasoning": "a", "reasoning_content": "b"},
    ]});
    let Prompt::Chat(chat) = chat_of(&body).unwrap().generation.prompt else { panic!() };
    let call = |id: &str, name: &str, arguments: &str| ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: arguments.into(),
    };
    let [_, calls, result, old, answer, refused] = chat.messages.as_slice() else { panic!() };
    assert_eq!((&*refused.content.text(), refused.reasoning.as_deref()), ("never", Some("b")));
    assert_eq!(calls.tool_calls, [call("1", "f", "{\"a\": 1}"), call("2", "g", "{}")]);
    assert_eq!((calls.reasoning.as_deref(), &*calls.content.text()), (Some("why"), ""));
    assert_eq!((result.role, result.name.as_deref(), &*result.content.text()), (Role::Tool, Some("g"), "r"));
    assert_eq!((&*old.content.text(), &old.tool_calls), ("no", &vec![call("", "h", "{}")]));
    assert_eq!((answer.role, answer.name.as_deref()), (Role::Tool, Some("h")));
}

#[test]
fn reasoning_and_documents_become_template_variables() {
    let kwargs =
        |more: Value| prompt_of(&more).unwrap().template_kwargs.map(|text| text.parse::<Value>().unwrap());
    assert_eq!(kwargs(json!({})), None);
    let none = kwargs(json!({"reasoning_effort": "none"})).unwrap();
    assert_eq!(none["enable_thinking"], false);
    let own = json!({"reasoning_effort": "xhigh", "chat_template_kwargs": {"enable_thinking": false}, "documents": [{"a": 1}]});
    let own = kwargs(own).unwrap();
    assert_eq!((&own["enable_thinking"], &own["reasoning_effort"]), (&json!(false), &json!("high")));
    assert_eq!(own["documents"], json!([{"a": 1}]));
}

#[test]
fn choices_share_seed_and_priority_of_their_request() {
    let valid = choices_of(&with(hello(), &json!({"n": 3, "seed": 5, "service_tier": "flex"}))).unwrap();
    // The worker adds each choice's index to the seed.
    assert_eq!((valid.request.generation.sampling.seed, valid.request.choices), (Some(5), 3));
    assert_eq!((valid.form.candidates, valid.form.tier), (3, Some("flex")));
    assert_eq!(valid.request.generation.priority, Priority::Low);
    for name in ["priority", "fast"] {
        let valid = choices_of(&with(hello(), &json!({ "service_tier": name }))).unwrap();
        assert_eq!((valid.request.generation.priority, valid.form.tier), (Priority::High, Some("priority")));
    }
    let both = json!({"priority": "high", "service_tier": "flex"});
    assert_eq!(chat_of(&with(hello(), &both)).unwrap().generation.priority, Priority::High);
}

fn completed(more: &Value) -> Result<ChoicesRequest> {
    completions_of(&with(json!({"model": "m", "prompt": "Once"}), more))
}

#[test]
fn completion_prompts_of_every_type_are_parsed() {
    let valid = completed(&json!({})).unwrap();
    assert_eq!(valid.request.generation.prompt, Prompt::Text("Once".into()));
    assert_eq!((valid.request.generation.max_tokens, valid.request.generation.logprobs), (Some(16), None));
    let prompts = |prompt: Value| -> Vec<Prompt> {
        let valid = completed(&json!({ "prompt": prompt })).unwrap();
        PromptRequest::from(valid.request).prompts
    };
    assert_eq!(prompts(json!(["a", "b"])), [Prompt::Text("a".into()), Prompt::Text("b".into())]);
    assert_eq!(prompts(json!([1, 2])), [Prompt::Tokens(vec![1, 2])]);
    assert_eq!(prompts(json!([[1], [2, 3]])), [Prompt::Tokens(vec![1]), Prompt::Tokens(vec![2, 3])]);
    let infill = completed(&json!({"suffix": "end"})).unwrap().request.generation.prompt;
    assert_eq!(infill, Prompt::Infill { before: "Once".into(), after: "end".into() });
}

#[test]
fn invalid_completion_field_is_named() {
    for (more, param) in [
        (json!({"prompt": ""}), "prompt"),
        (json!({"prompt": []}), "prompt"),
        (json!({"prompt": [[]]}), "prompt"),
        (json!({"prompt": null}), "prompt"),
        (json!({"prompt": [-1]}), "prompt"),
        (json!({"prompt": vec!["a"; 129]}), "prompt"),
        (json!({"prompt": vec!["a"; 64], "n": 3}), "n"),
        (json!({"best_of": 1, "n": 2}), "best_of"),
        (json!({"best_of": 2, "stream": true}), "best_of"),
        (json!({"prompt": [1], "suffix": "x"}), "suffix"),
        (json!({"echo": true, "suffix": "x"}), "echo"),
        (json!({"logprobs": 21}), "logprobs"),
        (json!({"max_tokens": 0}), "max_tokens"),
    ] {
        assert_eq!(blamed_field(completed(&more).map(|valid| valid.request)), param, "{more}");
    }
}

#[test]
fn echo_and_logprobs_decide_prompt_scoring() {
    let parsed = |more: Value| {
        let valid = completed(&more).unwrap();
        (
            valid.request.generation.logprobs.map(|logprobs| (logprobs.top, logprobs.prompt)),
            valid.form.echo[0].clone(),
            valid.form.logprobs,
        )
    };
    assert_eq!(parsed(json!({"echo": true})), (None, Echo::Text("Once".into()), false));
    assert_eq!(parsed(json!({"echo": true, "logprobs": 2})), (Some((2, true)), Echo::Tokens, true));
    assert_eq!(parsed(json!({"echo": true, "prompt": [1]})), (Some((0, true)), Echo::Tokens, false));
    assert_eq!(
        parsed(json!({"echo": true, "max_tokens": 0})),
        (Some((0, true)), Echo::Text("Once".into()), false)
    );
    let both = completed(&json!({"echo": true, "prompt": ["a", "b"]})).unwrap();
    assert_eq!(both.form.echo, [Echo::Text("a".into()), Echo::Text("b".into())]);
    assert_eq!(parsed(json!({"logprobs": 0})), (Some((0, false)), Echo::None, true));
    assert_eq!(parsed(json!({"best_of": 2})), (Some((0, false)), Echo::None, false));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        prop::sample::select(vec!["user", "assistant", "text", "m"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let keys = "role content type text name tool_calls include_usage".split(' ').collect::<Vec<_>>();
        let keys = prop::sample::select(keys);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(keys, inner, 0..4)
                .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

const FIELDS: &str = "model messages prompt stream stream_options max_tokens temperature top_p top_k seed stop n tools \
    chat_template_kwargs";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// Accepted requests are within their bounds.
    #[test]
    fn arbitrary_json_is_accepted_or_refused_with_a_reason(
        fields in prop::collection::btree_map(prop::sample::select(FIELDS.split(' ').collect::<Vec<_>>()), any_json(), 0..6),
    ) {
        let body = with(hello(), &fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        for outcome in [chat_of(&body), completion_of(&body)] {
            match outcome {
                Ok(valid) => {
                    prop_assert!(!valid.model.is_empty());
                    prop_assert!(valid.generation.stop.len() <= MAX_STOPS);
                    prop_assert!(valid.generation.max_tokens != Some(0));
                }
                Err(error) => prop_assert!(!error.message.is_empty()),
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let parsed: Result<Request> = body::parse(&bytes);
        prop_assert!(parsed.is_err());
    }
}
