use super::*;
use crate::text::grammar::tests::SMOLLM2;

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
        (json!({"description": "D", "allOf": [{"$ref": "#/$defs/A"}]}), json!({"$ref": "#/$defs/A"})),
        (
            json!({"$ref": "#/$defs/A", "x-order": 1, "deprecated": true, "$defs": {"A": {"title": "A"}}}),
            json!({"$ref": "#/$defs/A", "$defs": {"A": {}}}),
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
        json!({"properties": {"format": {"type": "null"}, "title": {}, "uniqueItems": {"type": "null"}}}),
        json!({"const": {"format": "path"}, "enum": [{"title": "path"}]}),
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
        (
            json!({"anyOf": [{"const": "a"}, {"const": "b"}]}),
            "properties",
            json!({"a": members, "b": members}),
        ),
        (json!({"pattern": "^k"}), "patternProperties", json!({"^k": members})),
        (json!({"pattern": "^k", "format": "uuid"}), "patternProperties", json!({"^k": members})),
        (
            json!({"format": "ulid"}),
            "patternProperties",
            json!({"^(?:[0-7][0-9A-HJKMNP-TV-Z]{25})$": members}),
        ),
        (json!({"maxLength": 3}), "patternProperties", json!({"^(?s:.{0,3})$": members})),
        (json!({"minLength": 2}), "patternProperties", json!({"^(?s:.{2,})$": members})),
    ] {
        let defs = json!({"Colour": {"type": "string", "enum": ["red"]}});
        let schema = json!({"propertyNames": names, "additionalProperties": members, "$defs": defs});
        assert_eq!(prepared(schema), json!({keyword: all, "additionalProperties": false, "$defs": defs}));
    }
}

fn accepts(schema: &Value, texts: &[&str]) {
    let constraint = crate::text::grammar::tests::schema(&schema.to_string());
    texts.iter().for_each(|text| assert!(SMOLLM2.accepts(&constraint, text), "{text} for {schema}"));
}

fn refuses(schema: &Value, texts: &[&str]) {
    let constraint = crate::text::grammar::tests::schema(&schema.to_string());
    texts.iter().for_each(|text| assert!(!SMOLLM2.accepts(&constraint, text), "{text} for {schema}"));
}

#[test]
fn names_of_every_kind_are_enforced() {
    for (names, valid, invalid) in [
        (json!({"format": "uuid"}), r#"{"f81d4fae-7dec-11d0-a765-00a0c91e6bf6": 1}"#, r#"{"f81d4fae": 1}"#),
        (json!({"format": "ipv4"}), r#"{"10.0.0.1": 1}"#, r#"{"10.0.0": 1}"#),
        (json!({"format": "ipv6"}), r#"{"2001:db8::1": 1}"#, r#"{"1::2::3": 1}"#),
        (json!({"format": "email"}), r#"{"a@b.co": 1}"#, r#"{"a": 1}"#),
        (json!({"anyOf": [{"const": "a"}, {"pattern": "^k"}]}), r#"{"a": 2, "k1": 1}"#, r#"{"b": 1}"#),
    ] {
        let schema =
            json!({"type": "object", "propertyNames": names, "additionalProperties": {"type": "integer"}});
        accepts(&schema, &[valid, "{}"]);
        refuses(&schema, &[invalid]);
    }
}

#[test]
fn names_with_patterns_only_exclude_others() {
    let patterns = json!({"type": "object", "patternProperties": {"^k": {"type": "integer"}}});
    accepts(&patterns, &[r#"{"k1": 1}"#]);
    refuses(&patterns, &[r#"{"a": 1}"#]);
    let with_own =
        json!({"allOf": [{"type": "object", "properties": {"a": {}}, "required": ["a"]}, patterns]});
    accepts(&with_own, &[r#"{"a": "x", "k1": 1}"#]);
}

#[test]
fn schemas_of_older_drafts_and_of_openapi_hold() {
    let open = json!({"type": "number", "minimum": 0, "exclusiveMinimum": true, "maximum": 1, "exclusiveMaximum": true});
    accepts(&open, &["0.5"]);
    refuses(&open, &["0", "1", "1.5"]);
    let closed = json!({"type": "integer", "minimum": 0, "exclusiveMinimum": false, "exclusiveMaximum": 2});
    accepts(&closed, &["0", "1"]);
    refuses(&closed, &["2"]);
    accepts(&json!({"type": "string", "nullable": true, "maxLength": 2}), &["null", r#""ab""#]);
    refuses(&json!({"type": "string", "nullable": false}), &["null"]);
    let listed = json!({"type": "string", "nullable": true, "enum": ["a", null]});
    accepts(&listed, &["null", r#""a""#]);
    refuses(&listed, &[r#""b""#]);
    accepts(&json!({"type": "string", "nullable": true, "enum": [null]}), &["null"]);
    let chain = json!({"type": "object", "required": ["boss"], "properties":
        {"boss": {"nullable": true, "allOf": [{"$ref": "#"}]}}, "additionalProperties": false});
    accepts(&chain, &[r#"{"boss": {"boss": null}}"#]);
    let pair = json!({"type": "array", "items": [{"type": "null"}], "additionalItems": {"type": "boolean"}});
    accepts(&pair, &["[null, true, false]"]);
    refuses(&pair, &["[true]"]);
}

#[test]
fn references_with_escaped_names_and_annotations_resolve() {
    for (name, reference) in [("a/b~", "a~1b~0"), ("a b", "a%20b"), ("ü", "%C3%BC"), ("x", "x")] {
        for keyword in DEFINITIONS {
            let reference = format!("#/{keyword}/{reference}");
            let own = json!({"type": "array", "items": {"title": "T", "x-a": 1, "deprecated": true, "$ref": reference}});
            accepts(&json!({"$ref": reference, keyword: {name: own}}), &["[[], [[]]]"]);
        }
    }
}

#[test]
fn patterns_with_look_around_that_libraries_write_are_enforced() {
    let iban =
        json!({"type": "string", "format": "iban", "pattern": r"^[A-Z]{2}(?!00|01|99)\d{2}[A-Z0-9]{11,30}$"});
    accepts(&iban, &[r#""DE89370400440532013000""#]);
    refuses(&iban, &[r#""DE01370400440532013000""#, r#""DE99370400440532013000""#]);
    let domain = r"^(?=.{1,253}$)([a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.)+[a-zA-Z]{2,63}$";
    let domain = json!({"type": "string", "pattern": domain});
    accepts(&domain, &[r#""www.example.com""#]);
    refuses(&domain, &[r#""example""#, r#""-a.com""#]);
}
