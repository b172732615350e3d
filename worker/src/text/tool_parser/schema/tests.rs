use serde_json::json;

use super::*;

fn names(schema: &Value) -> Result<Vec<(String, bool)>, &'static str> {
    let members = members(schema)?;
    Ok(members.into_iter().map(|member| (member.name, member.required)).collect())
}

#[test]
fn members_follow_references() {
    let plain = json!({"properties": {"a": {}, "b": {"type": "string"}}, "required": ["b"]});
    let expected = vec![("a".to_owned(), false), ("b".to_owned(), true)];
    assert_eq!(names(&plain), Ok(expected.clone()));
    let referred = json!({"$ref": "#/$defs/F", "$defs": {"F": plain}});
    assert_eq!(names(&referred), Ok(expected.clone()));
    let both = json!({"allOf": [{"properties": {"a": {}}}, {"$ref": "#/definitions/B"}],
        "definitions": {"B": {"properties": {"b": {}}, "required": ["b"]}}});
    assert_eq!(names(&both), Ok(expected));
    assert_eq!(names(&json!({})), Ok(vec![]));
}

#[test]
fn members_of_a_schema_beyond_a_list_name_the_keyword() {
    let ring = json!({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}});
    for (schema, keyword) in [
        (json!({"anyOf": [{"properties": {"a": {}}}]}), "anyOf"),
        (json!({"properties": {"a": {}}, "minProperties": 1}), "minProperties"),
        (json!({"properties": {"a": {"items": {"$ref": "#"}}}}), "$ref"),
        (json!({"$ref": "#/$defs/none"}), "$ref"),
        (json!({"required": ["a"]}), "required"),
        (
            json!({"allOf": [{"properties": {"a": {"type": "null"}}}, {"properties": {"a": {"const": 1}}}]}),
            "allOf",
        ),
        (ring, "$ref"),
    ] {
        assert_eq!(members(&schema), Err(keyword), "{schema}");
    }
}

#[test]
fn string_parameters_are_found_among_other_types() {
    let schema = json!({"properties": {"a": {"type": "string"}, "b": {"const": "x"}, "c": {"$ref": "#/$defs/Unit"},
        "d": {"enum": ["x", 1]}, "e": {"type": ["string", "null"]}}, "$defs": {"Unit": {"enum": ["C"]}}});
    assert_eq!(string_parameters(&schema), ["a", "b", "c"]);
    let mut either = schema;
    either["anyOf"] = json!([{"required": ["a"]}]);
    assert_eq!(string_parameters(&either), ["a", "b", "c"]);
}

#[test]
fn string_rules_hold_enum_length_and_pattern() {
    let schema =
        json!({"type": "string", "minLength": 2, "maxLength": 3, "enum": ["x", 1, "yy"], "const": "yy"});
    let expected = StringRules { values: Some(vec!["yy".into()]), length: (2, Some(3)), pattern: None };
    assert_eq!(string_rules(&schema, true), Ok(expected));
    for keyword in ["format", "anyOf", "not"] {
        let schema = json!({"type": "string", keyword: "date"});
        assert_eq!(
            (string_rules(&schema, true), string_rules(&schema, false)),
            (Err(keyword), Ok(StringRules::default()))
        );
    }
    assert_eq!(string_rules(&json!({"pattern": "a^b"}), true), Err("pattern"));
}

#[test]
fn whole_text_pattern_keeps_anchors_at_the_ends_only() {
    for (pattern, expected) in [
        ("^[a-z]+$", Some("(?:[a-z]+)")),
        ("b|c", Some("(?s:.*)(?:b|c)(?s:.*)")),
        ("^b", Some("(?:b)(?s:.*)")),
        (r"cost\$", Some(r"(?s:.*)(?:cost\$)(?s:.*)")),
        ("^(a|b)$", Some("(?:(a|b))")),
        ("^[^|$]$", Some("(?:[^|$])")),
        ("^a|b$", None),
        ("a$b", None),
        (r"\bword", None),
    ] {
        assert_eq!(whole_text_pattern(pattern).as_deref(), expected, "{pattern}");
    }
}
