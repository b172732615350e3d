use serde_json::{Value, json};

use super::*;
use crate::inference::request::PromptRequest;
use crate::protocols::anthropic::messages::parse as anthropic;
use crate::protocols::common::{body, field_names};
use crate::protocols::openai::chat::parse::parse as chat;
use crate::protocols::openai::completions::parse::parse as completion;
use crate::protocols::openai::responses::parse as responses;

fn parsed<T: body::Body>(body: &Value) -> Result<T> {
    body::parse(body.to_string().as_bytes())
}

fn text_of(body: &Value) -> Result<(TokenizeApi, TokenizeRequest)> {
    parsed(body).and_then(parse_text)
}

fn blamed_field<T: std::fmt::Debug>(outcome: Result<T>) -> String {
    let error = outcome.unwrap_err();
    let param = field_names::param(&error, field_names::chat).unwrap_or_default();
    assert!(error.message.contains(&param), "{} does not name {param}", error.message);
    param
}

#[test]
fn each_dialect_has_its_own_defaults() {
    let checked = |add_special, parse_special, pieces| TokenizeRequest {
        prompt: Prompt::Text("a".into()),
        add_special,
        parse_special,
        pieces,
    };
    for (body, form, expected) in [
        (json!({"prompt": "a"}), TokenizeApi::Vllm, checked(true, true, false)),
        (
            json!({"prompt": "a", "add_special_tokens": false, "return_token_strs": true}),
            TokenizeApi::Vllm,
            checked(false, true, true),
        ),
        (json!({"content": "a"}), TokenizeApi::LlamaCpp, checked(false, true, false)),
        (
            json!({"content": "a", "add_special": true, "parse_special": false, "with_pieces": true}),
            TokenizeApi::LlamaCpp,
            checked(true, false, true),
        ),
        (
            json!({"content": "a", "prompt": null, "model": null}),
            TokenizeApi::LlamaCpp,
            checked(false, true, false),
        ),
    ] {
        assert_eq!(text_of(&body), Ok((form, expected)), "{body}");
    }
}

#[test]
fn field_of_the_other_dialect_is_refused_by_name() {
    for (body, field) in [
        (json!({}), "prompt"),
        (json!({"prompt": "a", "content": "b"}), "content"),
        (json!({"prompt": "a", "with_pieces": true}), "with_pieces"),
        (json!({"prompt": "a", "parse_special": true}), "parse_special"),
        (json!({"content": "a", "add_special_tokens": false}), "add_special_tokens"),
        (json!({"content": "a", "return_token_strs": false}), "return_token_strs"),
        (json!({"content": "a", "with_piece": true}), "with_piece"),
        (json!({"prompt": ["a"]}), "prompt"),
    ] {
        assert_eq!(blamed_field(text_of(&body)), field, "{body}");
    }
}

#[test]
fn conversation_refuses_text_and_special_tokens() {
    let checked = |body: &Value| {
        parsed(body).and_then(|extra: TokenizeChat| parse_conversation(&extra, Prompt::Text("a".into())))
    };
    assert!(!checked(&json!({"add_special_tokens": false, "content": null})).unwrap().add_special);
    assert!(checked(&json!({"return_token_strs": true})).unwrap().pieces);
    for field in ["prompt", "content"] {
        assert_eq!(blamed_field(checked(&json!({field: "a"}))), field);
    }
    assert_eq!(blamed_field(checked(&json!({"add_special_tokens": true}))), "add_special_tokens");
}

#[test]
fn too_many_token_ids_are_refused() {
    let ids = |count| parse_ids(Detokenize { model: None, tokens: vec![1; count] });
    assert_eq!(ids(MAX_TOKENS).unwrap().len(), MAX_TOKENS);
    assert_eq!(blamed_field(ids(MAX_TOKENS + 1)), "tokens");
    assert_eq!(blamed_field(parsed::<Detokenize>(&json!({"tokens": [1], "modle": "m"}))), "modle");
}

#[test]
fn each_prompt_is_rendered_once() {
    let shown = |more: Value| {
        let mut body = json!({"model": "m", "timeout": 2, "keep_alive": 5});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        PromptRequest::from(completion(parsed(&body).unwrap()).unwrap().request)
    };
    let all = shown(json!({"prompt": ["a", "a", "b"], "n": 2}));
    assert_eq!(all.prompts, ["a", "a", "b"].map(|text| Prompt::Text(text.into())));
    assert_eq!((&*all.model, all.time_limit_ms, all.keep_alive.is_some()), ("m", Some(2000), true));
    assert_eq!(shown(json!({"prompt": [[1, 2]], "best_of": 3})).prompts, [Prompt::Tokens(vec![1, 2])]);
}

#[test]
fn sanitize_control_tokens_is_passed_by_every_protocol() {
    let turns = json!([{"role": "user", "content": "Hi"}]);
    for wish in [Some(true), Some(false), None] {
        let body = |name: &str, value: &Value| {
            let mut body = json!({"model": "m", "max_tokens": 9, "sanitize_control_tokens": wish});
            body[name] = value.clone();
            body
        };
        let of_chat = body("messages", &turns);
        let mut of_responses = body("input", &json!("Hi"));
        of_responses.as_object_mut().unwrap().remove("max_tokens");
        let all: [PromptRequest; 5] = [
            chat(parsed(&of_chat).unwrap()).unwrap().request.into(),
            responses::parse(parsed(&of_responses).unwrap(), &[]).unwrap().request.into(),
            responses::parse_count(parsed(&of_responses).unwrap(), &[]).unwrap(),
            anthropic::parse(parsed(&of_chat).unwrap()).unwrap().request.into(),
            anthropic::parse_count(parsed(&of_chat).unwrap()).unwrap(),
        ];
        for PromptRequest { prompts, .. } in all {
            let [Prompt::Chat(prompt)] = &prompts[..] else { panic!("{prompts:?}") };
            assert_eq!(prompt.sanitize_control_tokens, wish);
        }
    }
}
