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
fn text_parameters_are_found_among_other_types() {
    let schema = json!({"properties": {"a": {"type": "string"}, "b": {"const": "x"}, "c": {"$ref": "#/$defs/Unit"},
        "d": {"enum": ["x", 1]}, "e": {"type": ["string", "null"]}, "f": {"type": ["string", "integer"]},
        "g": {"type": "string", "nullable": true}},
        "$defs": {"Unit": {"enum": ["C"]}}});
    let expected = [("a", false), ("b", false), ("c", false), ("e", true), ("g", true)]
        .map(|(name, null)| (name.to_owned(), null));
    assert_eq!(text_parameters(&schema), expected);
    let mut either = schema;
    either["anyOf"] = json!([{"required": ["a"]}]);
    assert_eq!(text_parameters(&either), expected);
}

#[test]
fn texts_of_libraries_are_found() {
    let root = json!({"$defs": {"Unit": {"type": "string", "enum": ["C"]}, "Maybe": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/Unit"}]}}});
    let text = json!({"type": "string", "maxLength": 5});
    let unit = &root["$defs"]["Unit"];
    let listed = json!({"type": ["string", "null"], "enum": ["C"]});
    let found = |schemas: &[&Value], nullable| {
        Some(Texts { schemas: schemas.iter().map(|schema| (*schema).clone()).collect(), nullable })
    };
    for (schema, expected) in [
        (json!({"anyOf": [text, {"type": "null"}], "default": null}), found(&[&text], true)),
        (json!({"oneOf": [text, {"$ref": "#/$defs/Unit"}]}), found(&[&text, unit], false)),
        (json!({"$ref": "#/$defs/Maybe"}), found(&[unit], true)),
        (json!({"type": ["string", "null"], "maxLength": 5}), found(&[&text], true)),
        (json!({"enum": ["C", null]}), found(&[unit], true)),
        (json!({"type": ["string", "null"], "enum": ["C"]}), found(&[&listed], false)),
        (json!({"anyOf": [text, {"type": "integer"}]}), None),
        (json!({"type": ["integer", "null"]}), None),
        (json!({"type": "null"}), None),
        (json!({"enum": [null]}), None),
        (json!({}), None),
    ] {
        assert_eq!(texts(&schema, &root), expected, "{schema}");
    }
}

#[test]
fn string_rules_hold_enum_length_and_pattern() {
    let schema =
        json!({"type": "string", "minLength": 2, "maxLength": 3, "enum": ["x", 1, "yy"], "const": "yy"});
    let expected =
        StringRules { values: Some(vec!["yy".into()]), length: (2, Some(3)), ..StringRules::default() };
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
