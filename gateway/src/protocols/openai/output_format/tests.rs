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
        (json!({"guided_json": {}, "json_schema": {"type": "array"}}), "json_schema"),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}),
            "response_format",
        ),
        (json!({"response_format": {"type": "json_object", "schema": 3}}), "response_format"),
    ] {
        let error = constrained(&more).unwrap_err();
        assert_eq!(error.field, Some(param.into()), "{more}");
        assert!(error.message.contains(param), "{error}");
    }
}

/// The places of a schema in requests of llama.cpp's, llama-cpp-python's and other clients.
#[test]
fn schema_is_obeyed_wherever_clients_write_it() {
    let schema = json!({"type": "object", "properties": {"team": {"type": "string"}}});
    let formats = [
        json!({"type": "json_object", "schema": schema}),
        json!({"type": "json_object", "schema": schema.to_string()}),
        json!({"type": "json_object", "json_schema": {"schema": schema}}),
        json!({"type": "json_schema", "schema": schema}),
        json!({"type": "json_schema", "json_schema": {"schema": schema}}),
        json!({"type": "json_schema", "json_schema": {"name": "x", "strict": true, "schema": schema}}),
        json!({"type": "json_schema", "json_schema": schema}),
    ];
    let expected = Ok(Some(Constraint::JsonSchema(schema.to_string())));
    for format in formats {
        assert_eq!(constrained(&json!({ "response_format": format })), expected, "{format}");
        let responses = FormatField { name: "text.format", schema: "schema" };
        assert_eq!(parse_format(&responses, &format), expected, "{format}");
    }
    let beside = json!({"response_format": {"type": "json_object"}, "json_schema": schema});
    assert_eq!(constrained(&beside), expected);
    let twice = json!({"guided_json": schema, "structured_outputs": {"json": schema}});
    assert_eq!(constrained(&twice), expected);
    for any in [json!({}), json!(null)] {
        let format = json!({"response_format": {"type": "json_object", "schema": any}});
        assert_eq!(constrained(&format), Ok(Some(Constraint::JsonObject)));
    }
}
