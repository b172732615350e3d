use crate::protocols::anthropic::messages::parse as messages;
use crate::protocols::common::{body, field_names};
use crate::protocols::openai::chat::parse as chat;
use crate::protocols::openai::completions::parse as completions;
use crate::protocols::openai::responses::parse as responses;
use serde_json::{Value, json};

/// What each endpoint says of a request with `more` in it: the field that it refuses.
fn blamed(more: &Value) -> [Option<String>; 4] {
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
            .and_then(|request| responses::create(request, &[]))
            .map(drop),
        body::parse(&ask(json!({"messages": turns, "max_tokens": 9}))).and_then(messages::messages).map(drop),
    ];
    outcomes.map(|outcome| {
        let error = outcome.err()?;
        let param = field_names::param(&error, field_names::chat).unwrap();
        assert!(error.message.contains(&param), "{} does not name {param}", error.message);
        Some(param)
    })
}

#[test]
fn what_other_servers_do_is_refused_everywhere_unless_it_is_off() {
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
        assert_eq!(blamed(&json!({ name: on })), [(); 4].map(|()| Some(name.to_owned())));
        assert_eq!(blamed(&json!({ name: off })), [const { None }; 4], "{name}");
        // What is of another kind is no way to say "off".
        assert_eq!(blamed(&json!({ name: {"x": 1} })), [(); 4].map(|()| Some(name.to_owned())));
    }
}

#[test]
fn what_does_nothing_by_itself_is_let_through() {
    let more = json!({"mirostat_tau": 5, "mirostat_eta": 0.1, "dry_base": 1.75, "dry_allowed_length": 2, "xtc_threshold": 0.1,
        "dynatemp_exponent": 1, "cache_prompt": true, "x": [1]});
    assert_eq!(blamed(&more), [const { None }; 4]);
}

#[test]
fn a_penalty_looks_back_over_everything() {
    for (name, all) in [
        ("repeat_last_n", json!(-1)),
        ("repetition_penalty_range", json!(0)),
        ("repetition_context_size", json!(null)),
    ] {
        assert_eq!(blamed(&json!({ name: 64 })), [const { None }; 4], "{name}: there is no penalty");
        assert_eq!(blamed(&json!({ name: 64, "repeat_penalty": 1.0 })), [const { None }; 4]);
        for penalty in ["repeat_penalty", "repetition_penalty", "presence_penalty", "frequency_penalty"] {
            let refused = [(); 4].map(|()| Some(name.to_owned()));
            assert_eq!(blamed(&json!({ name: 64, penalty: 1.5 })), refused, "{penalty}");
            assert_eq!(blamed(&json!({ name: all, penalty: 1.5 })), [const { None }; 4], "{penalty}");
        }
    }
}

#[test]
fn fields_of_chat_completions_are_not_passed_over_elsewhere() {
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
        let [_, _, responses, messages] = blamed(&json!({ name: on }));
        assert_eq!((responses.as_deref(), messages.as_deref()), (Some(name), Some(name)));
        let [_, _, responses, messages] = blamed(&json!({ name: off }));
        assert_eq!((responses, messages), (None, None), "{name}");
    }
    assert_eq!(blamed(&json!({"max_tokens": 9}))[2].as_deref(), Some("max_tokens"));
    assert_eq!(blamed(&json!({"stop": "x"}))[3].as_deref(), Some("stop"));
}
