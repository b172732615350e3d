use super::*;

fn prepared(mut schema: Value) -> Value {
    prepare(&mut schema);
    schema
}

#[test]
fn keywords_that_say_nothing_are_left_out() {
    for (from, to) in [
        (json!({"type": "object", "propertyNames": {"type": "string"}}), json!({"type": "object"})),
        (json!({"type": "string", "format": "path"}), json!({"type": "string"})),
        (json!({"format": "lowercase", "pattern": "^[^A-Z]*$"}), json!({"pattern": "^[^A-Z]*$"})),
        (json!({"type": "array", "uniqueItems": false}), json!({"type": "array"})),
        (json!({"maxItems": 1, "uniqueItems": true}), json!({"maxItems": 1})),
        (json!({"properties": {"a": {"title": "A", "not": {}}}}), json!({"properties": {"a": false}})),
        (
            json!({"description": "D", "allOf": [{"$ref": "#/$defs/A"}]}),
            json!({"description": "D", "$ref": "#/$defs/A"}),
        ),
    ] {
        assert_eq!(prepared(from.clone()), to, "{from}");
    }
}

#[test]
fn keywords_that_restrict_stay() {
    for schema in [
        json!({"type": "string", "format": "ipv6"}),
        json!({"type": "string", "format": "date", "pattern": "^2"}),
        json!({"type": "array", "uniqueItems": true}),
        json!({"not": {"type": "null"}}),
        json!({"propertyNames": {"maxLength": 3}, "properties": {"a": {}}}),
        json!({"propertyNames": {"maxLength": 3, "pattern": "a"}}),
        json!({"allOf": [{"$ref": "#/$defs/A"}], "type": "object"}),
        // Names of properties are no keywords.
        json!({"properties": {"format": {"type": "null"}, "not": {}, "uniqueItems": {"type": "null"}}}),
        json!({"const": {"format": "path"}, "default": {"format": "path"}}),
    ] {
        assert_eq!(prepared(schema.clone()), schema);
    }
}

#[test]
fn property_names_become_properties_or_patterns() {
    let members = json!({"type": "boolean"});
    for (names, keyword, all) in [
        (json!({"type": "string", "enum": ["a", "b"]}), "properties", json!({"a": members, "b": members})),
        (json!({"$ref": "#/$defs/Colour"}), "properties", json!({"red": members})),
        (json!({"pattern": "^k"}), "patternProperties", json!({"^k": members})),
        (json!({"maxLength": 3}), "patternProperties", json!({"^(?s:.{0,3})$": members})),
        (json!({"minLength": 2}), "patternProperties", json!({"^(?s:.{2,})$": members})),
    ] {
        let defs = json!({"Colour": {"type": "string", "title": "Colour", "enum": ["red"]}});
        let schema = json!({"propertyNames": names, "additionalProperties": members, "$defs": defs});
        assert_eq!(prepared(schema), json!({keyword: all, "additionalProperties": false, "$defs": defs}));
    }
}
