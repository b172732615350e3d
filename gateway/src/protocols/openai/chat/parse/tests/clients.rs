//! Fields as clients write them that do not follow OpenAI's documentation to the letter.

use super::*;

const LIMITS: [(&str, Option<u32>); 4] =
    [("-1", None), ("9999999999", Some(u32::MAX)), ("1024.0", Some(1024)), ("7", Some(7))];

fn number(written: &str) -> Value {
    written.parse().unwrap()
}

#[test]
fn limits_of_tokens_are_taken_in_every_form() {
    for (written, tokens) in LIMITS {
        for name in ["max_tokens", "max_completion_tokens"] {
            let valid = chat_of(&with(hello(), &json!({ name: number(written) }))).unwrap();
            assert_eq!(valid.generation.max_tokens, tokens, "{name}: {written}");
        }
        let valid =
            completion_of(&json!({"model": "m", "prompt": "a", "max_tokens": number(written)})).unwrap();
        assert_eq!(valid.generation.max_tokens, tokens, "{written}");
        for name in ["thinking_budget", "thinking_token_budget", "reasoning_budget_tokens"] {
            let valid = chat_of(&with(hello(), &json!({ name: number(written) }))).unwrap();
            assert_eq!(valid.generation.reasoning_budget, tokens, "{name}: {written}");
        }
    }
    for wrong in [json!(0), json!(-2), json!("9"), json!(1.5)] {
        for name in ["max_tokens", "max_completion_tokens"] {
            let error = chat_of(&with(hello(), &json!({ name: wrong }))).unwrap_err();
            assert_eq!(error.field, Some(name.into()), "{wrong}");
            assert!(!error.message.contains("u32") && !error.message.contains("column"), "{error}");
        }
    }
}

/// The answer is a call. Frameworks send their output schema with every request.
#[test]
fn format_beside_a_forced_call_does_not_apply() {
    let tool = json!({"type": "function", "function": {"name": "f"}});
    let formatted = json!({"tools": [tool], "response_format": {"type": "json_object"}});
    for (choice, applies) in [
        (json!("required"), false),
        (json!({"type": "function", "function": {"name": "f"}}), false),
        (json!("auto"), true),
        (json!("none"), true),
    ] {
        let valid =
            chat_of(&with(hello(), &with(formatted.clone(), &json!({ "tool_choice": choice })))).unwrap();
        assert_eq!(valid.generation.constraint.is_some(), applies, "{choice}");
        let Prompt::Chat(prompt) = valid.generation.prompt else { panic!() };
        assert_eq!(matches!(prompt.tool_choice, ToolChoice::Required | ToolChoice::Named(_)), !applies);
    }
}

#[test]
fn last_turn_is_echoed_if_it_is_the_assistants() {
    let turns = json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "The "}]);
    let echo = |more: Value| choices_of(&with(hello(), &more)).unwrap().form.echo;
    let own = [Echo::Text("The ".into())];
    assert_eq!(echo(json!({"messages": turns, "echo": true, "continue_final_message": true})), own);
    assert_eq!(echo(json!({"messages": turns, "echo": true})), own);
    assert_eq!(echo(json!({"messages": turns})), []);
    assert_eq!(echo(json!({"echo": true})), []);
}

#[test]
fn minus_one_draws_a_seed() {
    let seed =
        |seed: i64| chat_of(&with(hello(), &json!({ "seed": seed }))).unwrap().generation.sampling.seed;
    assert_eq!((seed(-1), seed(7)), (None, Some(7)));
}

#[test]
fn telemetry_of_a_stream_needs_the_progress_of_its_prompt() {
    let ask = |more: Value| choices_of(&with(hello(), &more)).unwrap();
    let plain = ask(json!({"stream": true}));
    assert!(!plain.request.generation.report_progress && !plain.form.telemetry.needs_progress());
    for more in [
        json!({"return_progress": true}),
        json!({"timings_per_token": true}),
        json!({"stream_options": {"continuous_usage_stats": true}}),
    ] {
        assert!(ask(with(json!({"stream": true}), &more)).request.generation.report_progress, "{more}");
    }
    assert!(!ask(json!({"return_progress": true})).request.generation.report_progress, "not streamed");
}

#[test]
fn ids_of_request_and_conversation_are_taken() {
    let valid = choices_of(&with(hello(), &json!({"request_id": "a-1", "session_id": "s"}))).unwrap();
    assert_eq!(valid.form.request_id.as_deref(), Some("a-1"));
    assert_eq!(valid.request.labels.session.as_deref(), Some("s"));
    for wrong in ["", "a b", &"x".repeat(129)] {
        let more = json!({ "request_id": wrong });
        assert_eq!(blamed_field(chat_of(&with(hello(), &more))), "request_id");
    }
}
