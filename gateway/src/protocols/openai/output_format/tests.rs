use serde_json::json;

use super::*;
use crate::protocols::common::body;
use crate::protocols::openai::chat::wire::Request;

fn constrained(more: &Value) -> Result<Option<Constraint>> {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    let request: Request = body::parse(body.to_string().as_bytes())?;
    request.groups.format.parse()
}

#[test]
fn constraints_of_every_server_are_equivalent() {
    let schema = Constraint::JsonSchema(r#"{"type":"object"}"#.into());
    let regex = Constraint::Regex("a+".into());
    let lark = Constraint::Lark(r#"start: "x""#.into());
    let choice = Constraint::Lark(r#"start: "yes" | "no \"way\"""#.into());
    for (more, wanted) in [
        (json!({"response_format": {"type": "json_object"}}), Constraint::JsonObject),
        (json!({"guided_json": {"type": "object"}}), schema.clone()),
        (json!({"guided_json": r#"{"type":"object"}"#}), schema.clone()),
        (json!({"json_schema": {"type": "object"}}), schema.clone()),
        (json!({"structured_outputs": {"json": {"type": "object"}}}), schema),
        (json!({"guided_regex": "a+"}), regex.clone()),
        (json!({"structured_outputs": {"regex": "a+"}}), regex),
        (json!({"guided_grammar": "start: \"x\""}), lark.clone()),
        (json!({"structured_outputs": {"grammar": "start: \"x\""}}), lark),
        (json!({"guided_choice": ["yes", "no \"way\""]}), choice.clone()),
        (json!({"structured_outputs": {"choice": ["yes", "no \"way\""]}}), choice),
        (json!({"structured_outputs": {"json_object": true}}), Constraint::JsonObject),
    ] {
        assert_eq!(constrained(&more), Ok(Some(wanted)), "{more}");
    }
    let none = json!({"guided_json": null, "response_format": {"type": "text"}, "structured_outputs": {}});
    assert_eq!(constrained(&none), Ok(None));
}

#[test]
fn invalid_or_second_constraint_is_named() {
    for (more, param) in [
        (json!({"guided_json": 3}), "guided_json"),
        (json!({"guided_json": "no schema"}), "guided_json"),
        (json!({"guided_choice": []}), "guided_choice"),
        (json!({"guided_choice": [""]}), "guided_choice"),
        (json!({"structured_outputs": {"structural_tag": "{}"}}), "structured_outputs.structural_tag"),
        (json!({"guided_regex": "a", "response_format": {"type": "json_object"}}), "guided_regex"),
    ] {
        let error = constrained(&more).unwrap_err();
        assert_eq!(error.field, Some(param.into()), "{more}");
        assert!(error.message.contains(param), "{error}");
    }
}
