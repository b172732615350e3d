use serde_json::{Value, json};

use super::*;

fn parsed(change: &Value) -> Result<ValidCohereEmbed> {
    let mut body = json!({"model": "m", "texts": ["a", "b"], "input_type": "search_query"});
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    parse(serde_json::from_value(body).unwrap())
}

#[test]
fn texts_are_truncated_floats_by_default() {
    let valid = parsed(&json!({})).unwrap();
    assert_eq!(valid.request.inputs, ["a", "b"].map(|text| Input::Text(text.into())));
    assert!(valid.request.truncate);
    assert_eq!((valid.types, valid.texts), (vec![EmbeddingType::Float], vec!["a".into(), "b".into()]));
    assert!(!parsed(&json!({"truncate": "NONE"})).unwrap().request.truncate);
    assert_eq!(parsed(&json!({"output_dimension": 8})).unwrap().request.dimensions, Some(8));
}

#[test]
fn inputs_of_texts_are_joined() {
    let inputs = json!([{"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]);
    assert_eq!(parsed(&json!({"texts": null, "inputs": inputs})).unwrap().texts, ["a\nb"]);
}

#[test]
fn input_type_selects_prompts_by_name() {
    let names = |kind: &str| parsed(&json!({"input_type": kind})).unwrap().request.prompt_candidates;
    assert_eq!(names("search_query"), ["search_query", "query"]);
    assert_eq!(names("search_document"), ["search_document", "document", "passage"]);
    assert!(parsed(&json!({"input_type": null})).unwrap().request.prompt_candidates.is_empty());
}

#[test]
fn invalid_field_is_named() {
    let image = json!([{"content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}]);
    for (change, field) in [
        (json!({"texts": []}), "texts"),
        (json!({"texts": null}), "texts"),
        (json!({"texts": ["a", ""]}), "texts[1]"),
        (json!({"inputs": []}), "inputs"),
        (json!({"texts": null, "inputs": image}), "inputs[0].content[1].type"),
        (json!({"images": ["data:"]}), "images"),
        (json!({"input_type": "image"}), "input_type"),
        (json!({"embedding_types": ["float", "int8"]}), "embedding_types"),
        (json!({"truncate": "START"}), "truncate"),
        (json!({"output_dimension": 0}), "output_dimension"),
        (json!({"max_tokens": 9}), "max_tokens"),
        (json!({"priority": 5}), "priority"),
    ] {
        assert_eq!(parsed(&change).unwrap_err().field, Some(field.into()), "{change}");
    }
}
