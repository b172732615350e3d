use super::*;
use crate::protocols::common::body;

/// The only function of a request with these tools, given as JSON text.
fn tool_of(tools: &str) -> Tool {
    let body = format!(r#"{{"model": "m", "messages": [], "tools": {tools}}}"#);
    let tools = parse(&mut body::parse(body.as_bytes()).unwrap()).unwrap().tools;
    assert_eq!(tools.len(), 1);
    tools.into_iter().next().unwrap()
}

fn with_parameters(schema: &str) -> Option<String> {
    tool_of(&format!(r#"[{{"type": "function", "function": {{"name": "f", "parameters": {schema}}}}}]"#))
        .parameters()
        .map(str::to_owned)
}

#[test]
fn function_needs_only_a_name() {
    let bare = tool_of(r#"[{"type": "function", "function": {"name": "f"}}]"#);
    assert_eq!(bare, Tool { name: "f".into(), ..Tool::default() });
    let nulls = r#"[{"type": "function", "function": {"name": "f", "description": null, "parameters": null, "strict": null}}]"#;
    assert_eq!(tool_of(nulls), bare);
}

#[test]
fn null_tools_are_no_tools() {
    let body = r#"{"model": "m", "messages": [], "tools": null, "functions": null, "tool_choice": null,
        "function_call": null, "parallel_tool_calls": null}"#;
    let expected = Tools { parallel: true, ..Tools::default() };
    assert_eq!(parse(&mut body::parse(body.as_bytes()).unwrap()), Ok(expected));
}

#[test]
fn parameter_schemas_are_unchanged() {
    for schema in [
        "{}",
        r#"{"properties":{"b":{},"a":{"description":"no type"}}}"#,
        r#"{"type":["object","null"],"properties":{"x":{"type":["string","integer"],"enum":[1,"a",null]}}}"#,
        r##"{"required":["z","a"],"properties":{"z":{"anyOf":[{"type":"null"},true]},"a":{"$ref":"#/$defs/a"}},"$defs":{"a":{"const":1.0}}}"##,
    ] {
        assert_eq!(with_parameters(schema).as_deref(), Some(schema));
    }
}
