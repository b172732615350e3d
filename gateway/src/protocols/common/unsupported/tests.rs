use crate::protocols::anthropic::messages::parse as messages;
use crate::protocols::common::{body, field_names};
use crate::protocols::openai::chat::parse as chat;
use crate::protocols::openai::completions::parse as completions;
use crate::protocols::openai::responses::parse as responses;
use serde_json::{Value, json};

mod peers;

/// Returns the field that each endpoint blames in a request with the fields of `more`.
fn blamed_fields(more: &Value) -> [Option<String>; 4] {
    let ask = |mut body: Value| {
        body["model"] = "m".into();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body.to_string().into_bytes()
    };
    let turns = json!([{"role": "user", "content": "Hi"}]);
    let outcomes = [
        body::parse(&ask(json!({"messages": turns}))).and_then(chat::parse).map(drop),
        body::parse(&ask(json!({"prompt": "Hi"}))).and_then(completions::parse).map(drop),
        body::parse(&ask(json!({"input": "Hi"})))
            .and_then(|request| responses::parse(request, &[]))
            .map(drop),
        body::parse(&ask(json!({"messages": turns, "max_tokens": 9}))).and_then(messages::parse).map(drop),
    ];
    outcomes.map(|outcome| {
        let error = outcome.err()?;
        let param = field_names::param(&error, field_names::chat).unwrap();
        assert!(error.message.contains(&param), "{} does not name {param}", error.message);
        Some(param)
    })
}

#[test]
fn unsupported_field_is_refused_by_every_endpoint_unless_neutral() {
    for (name, on, off) in [
        ("mirostat", json!(2), json!(0)),
        ("dry_multiplier", json!(0.8), json!(0.0)),
        ("xtc_probability", json!(0.5), json!(0)),
        ("typical_p", json!(0.9), json!(1)),
        ("typical", json!(0.9), json!(1.0)),
        ("tfs_z", json!(0.9), json!(1)),
        ("top_a", json!(0.1), json!(0)),
        ("top_n_sigma", json!(1.5), json!(-1)),
        ("dynatemp_range", json!(0.5), json!(0)),
        ("adaptive_target", json!(0.5), json!(-1.0)),
        ("smoothing_factor", json!(0.2), json!(0)),
        ("no_repeat_ngram_size", json!(3), json!(0)),
        ("samplers", json!(["top_k"]), json!(null)),
        ("logits_processors", json!(["x"]), json!([])),
        ("use_beam_search", json!(true), json!(false)),
        ("grammar", json!("root ::= x"), json!("")),
        ("bad_words", json!(["x"]), json!([])),
        ("allowed_token_ids", json!([1]), json!(null)),
        ("n_predict", json!(7), json!(-1)),
        ("t_max_predict_ms", json!(7), json!(0)),
        ("chat_template", json!("{{ x }}"), json!(null)),
        ("truncate_prompt_tokens", json!(9), json!(null)),
        ("lora", json!([{"id": 0, "scale": 1}]), json!([])),
        ("adapters", json!("x"), json!(null)),
        ("prompt_logprobs", json!(1), json!(null)),
        ("n_probs", json!(3), json!(0)),
        ("skip_special_tokens", json!(false), json!(true)),
        ("include_stop_str_in_output", json!(true), json!(false)),
    ] {
        assert_eq!(blamed_fields(&json!({ name: on })), [(); 4].map(|()| Some(name.to_owned())));
        assert_eq!(blamed_fields(&json!({ name: off })), [const { None }; 4], "{name}");
        // A value of another type is not neutral.
        assert_eq!(blamed_fields(&json!({ name: {"x": 1} })), [(); 4].map(|()| Some(name.to_owned())));
    }
}

#[test]
fn wrong_type_in_a_flattened_group_is_blamed_on_its_field() {
    for (name, wrong) in [
        ("temperature", json!("x")),
        ("guided_regex", json!(3)),
        ("priority", json!("urgent")),
        ("stop_token_ids", json!("a")),
    ] {
        assert_eq!(blamed_fields(&json!({ name: wrong })), [(); 4].map(|()| Some(name.to_owned())));
    }
}

#[test]
fn setting_without_effect_is_accepted() {
    let more = json!({"mirostat_tau": 5, "mirostat_eta": 0.1, "dry_base": 1.75, "dry_allowed_length": 2, "xtc_threshold": 0.1,
        "dynatemp_exponent": 1, "cache_prompt": true, "x": [1]});
    assert_eq!(blamed_fields(&more), [const { None }; 4]);
}

#[test]
fn penalty_window_is_refused_only_with_a_penalty() {
    for (name, all) in [
        ("repeat_last_n", json!(-1)),
        ("repetition_penalty_range", json!(0)),
        ("repetition_context_size", json!(null)),
    ] {
        assert_eq!(blamed_fields(&json!({ name: 64 })), [const { None }; 4], "{name}: there is no penalty");
        assert_eq!(blamed_fields(&json!({ name: 64, "repeat_penalty": 1.0 })), [const { None }; 4]);
        for penalty in ["repeat_penalty", "repetition_penalty", "presence_penalty", "frequency_penalty"] {
            let refused = [(); 4].map(|()| Some(name.to_owned()));
            assert_eq!(blamed_fields(&json!({ name: 64, penalty: 1.5 })), refused, "{penalty}");
            assert_eq!(blamed_fields(&json!({ name: all, penalty: 1.5 })), [const { None }; 4], "{penalty}");
        }
    }
}

#[test]
fn chat_field_is_refused_by_responses_and_messages() {
    for (name, on, off) in [
        ("n", json!(2), json!(1)),
        ("logit_bias", json!({"1": 2}), json!({})),
        ("logprobs", json!(true), json!(false)),
        ("min_tokens", json!(2), json!(0)),
        ("ignore_eos", json!(true), json!(false)),
        ("stop_token_ids", json!([1]), json!([])),
        ("reasoning_effort", json!("low"), json!(null)),
        ("max_completion_tokens", json!(9), json!(null)),
        ("response_format", json!({"type": "json_object"}), json!({"type": "text"})),
        ("guided_regex", json!("a"), json!(null)),
    ] {
        let [_, _, responses, messages] = blamed_fields(&json!({ name: on }));
        assert_eq!((responses.as_deref(), messages.as_deref()), (Some(name), Some(name)));
        let [_, _, responses, messages] = blamed_fields(&json!({ name: off }));
        assert_eq!((responses, messages), (None, None), "{name}");
    }
    assert_eq!(blamed_fields(&json!({"max_tokens": 9}))[2].as_deref(), Some("max_tokens"));
    assert_eq!(blamed_fields(&json!({"stop": "x"}))[3].as_deref(), Some("stop"));
}
