use serde_json::{Value, json};

use super::*;

fn embedding(change: &Value) -> Result<ValidEmbed> {
    let mut body = json!({"model": "m", "input": "a"});
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    parse_embed(serde_json::from_value(body).unwrap())
}

fn ranking(change: &Value) -> Result<ValidRerank> {
    let mut body = json!({"model": "m", "query": "q", "documents": ["a", {"text": "b"}]});
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    parse_rerank(serde_json::from_value(body).unwrap())
}

#[test]
fn inputs_of_every_type_are_parsed() {
    let inputs = |input: Value| embedding(&json!({"input": input})).unwrap().request.inputs;
    let text = |text: &str| Input::Text(text.into());
    assert_eq!(inputs(json!("a")), [text("a")]);
    assert_eq!(inputs(json!(["a", "b"])), [text("a"), text("b")]);
    assert_eq!(inputs(json!([1, 2])), [Input::Tokens(vec![1, 2])]);
    assert_eq!(inputs(json!([[1], [2]])), [Input::Tokens(vec![1]), Input::Tokens(vec![2])]);
    let valid = embedding(&json!({"encoding_format": "base64", "dimensions": 8, "truncate": true,
                                 "prompt_name": "query", "user": "u", "timeout": 1.5}))
    .unwrap();
    assert_eq!((valid.call.labels.user.as_deref(), valid.call.time_limit_ms), (Some("u"), Some(1500)));
    let EmbedRequest { dimensions, truncate, prompt_name, .. } = valid.request;
    assert!(truncate);
    assert_eq!(valid.encoding, Encoding::Base64(NumberType::Float32, ByteOrder::Little));
    assert_eq!((dimensions, prompt_name.as_deref()), (Some(8), Some("query")));
}

#[test]
fn invalid_embeddings_field_is_named() {
    let too_many = vec!["a"; 2049];
    for (change, field) in [
        (json!({"input": []}), "input"),
        (json!({"input": ""}), "input[0]"),
        (json!({"input": ["a", ""]}), "input[1]"),
        (json!({"input": [[1], []]}), "input[1]"),
        (json!({"input": too_many}), "input"),
        (json!({"encoding_format": "int8"}), "encoding_format"),
        (json!({"dimensions": 0}), "dimensions"),
        (json!({"prompt_name": "x".repeat(257)}), "prompt_name"),
        (json!({"timeout": 0}), "timeout"),
        (json!({"user": "x".repeat(1025)}), "user"),
        (json!({"model": ""}), "model"),
    ] {
        assert_eq!(embedding(&change).unwrap_err().field, Some(field.into()));
    }
}

#[test]
fn invalid_rerank_field_is_named() {
    for (change, field) in [
        (json!({"documents": []}), "documents"),
        (json!({"query": ""}), "query"),
        (json!({"rank_fields": ["title"]}), "rank_fields"),
        (json!({"use_activation": false}), "use_activation"),
        (json!({"documents": null}), "documents"),
        (json!({"documents": null, "texts": []}), "texts"),
        (json!({"texts": ["a"]}), "texts"),
        (json!({"raw_scores": true}), "raw_scores"),
        (json!({"truncation_direction": "Left"}), "truncation_direction"),
        (json!({"timeout": -1}), "timeout"),
        (json!({"max_chunks_per_doc": 1}), "max_chunks_per_doc"),
    ] {
        assert_eq!(ranking(&change).unwrap_err().field, Some(field.into()));
    }
}

#[test]
fn documents_are_parsed_from_texts_or_objects() {
    let valid = ranking(&json!({})).unwrap();
    assert_eq!(valid.request.documents, ["a", "b"]);
    assert!((valid.top_n, valid.return_documents, valid.request.truncate) == (2, false, false));
    assert_eq!((valid.request.max_document_tokens, valid.call.time_limit_ms), (None, None));
    let valid =
        ranking(&json!({"top_n": 1, "return_documents": true, "truncate": true, "max_tokens_per_doc": 7,
        "timeout": 2}))
        .unwrap();
    assert_eq!((valid.request.max_document_tokens, valid.call.time_limit_ms), (Some(7), Some(2000)));
    assert!((valid.top_n, valid.return_documents, valid.request.truncate) == (1, true, true));
}

#[test]
fn vllms_fields_of_embeddings_are_implemented_or_refused() {
    let request = |change: Value| embedding(&change).unwrap().request;
    let cut = request(json!({"truncate_prompt_tokens": 3}));
    assert_eq!((cut.truncate, cut.max_tokens), (true, Some(3)));
    let cut = request(json!({"truncate_prompt_tokens": -1}));
    assert_eq!((cut.truncate, cut.max_tokens), (true, None));
    let coded = json!({"encoding_format": "base64", "embed_dtype": "float16", "endianness": "big"});
    let coded = embedding(&coded).unwrap().encoding;
    assert_eq!(coded, Encoding::Base64(NumberType::Float16, ByteOrder::Big));
    for (change, field) in [
        (json!({"truncate_prompt_tokens": 0}), "truncate_prompt_tokens"),
        (json!({"encoding_format": "base64", "embed_dtype": "fp8_e4m3"}), "embed_dtype"),
        (json!({"encoding_format": "base64", "endianness": "middle"}), "endianness"),
        (json!({"embed_dtype": "float16"}), "embed_dtype"),
        (json!({"endianness": "big"}), "endianness"),
        (json!({"truncation_side": "left"}), "truncation_side"),
        (json!({"use_activation": false}), "use_activation"),
        (json!({"embd_normalize": 0}), "embd_normalize"),
        (json!({"add_special_tokens": false}), "add_special_tokens"),
    ] {
        assert_eq!(embedding(&change).unwrap_err().field, Some(field.into()), "{change}");
    }
    let neutral =
        json!({"embed_dtype": "float32", "endianness": "native", "truncation_side": "right", "priority": 0});
    assert_eq!(embedding(&neutral).unwrap().encoding, Encoding::Numbers);
}

/// Cohere's and vLLM's clients send 0 where they mean all.
#[test]
fn zero_is_no_limit_in_rerank() {
    let valid = ranking(&json!({"max_tokens_per_doc": 0, "top_n": 0})).unwrap();
    assert_eq!((valid.request.max_document_tokens, valid.top_n), (None, 2));
    assert_eq!(ranking(&json!({"max_tokens_per_doc": 7})).unwrap().request.max_document_tokens, Some(7));
    let error = ranking(&json!({"truncate_prompt_tokens": 5})).unwrap_err();
    assert_eq!(error.field, Some("truncate_prompt_tokens".into()));
}

#[test]
fn texts_are_documents_in_teis_form() {
    let valid =
        ranking(&json!({"documents": null, "texts": ["a", "b"], "return_text": true, "raw_scores": false,
                               "truncation_direction": "Right"}))
        .unwrap();
    assert_eq!(valid.request.documents, ["a", "b"]);
    assert!(valid.is_tei && valid.return_documents);
    assert!(!ranking(&json!({})).unwrap().is_tei);
}
