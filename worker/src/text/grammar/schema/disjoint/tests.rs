use serde_json::json;

use super::*;

fn disjoint(a: &Value, b: &Value) -> bool {
    let mut keywords = json!({"oneOf": [a, b]}).as_object().unwrap().clone();
    let definitions = json!({"$defs": {"Cat": {"type": "object", "properties": {"kind": {"const": "cat"}}, "required": ["kind"]},
        "Dogs": {"anyOf": [{"type": "object", "properties": {"kind": {"const": "dog"}}, "required": ["kind"]}]},
        "Loop": {"$ref": "#/$defs/Loop"}}});
    rewrite_one_of(&mut keywords, &definitions);
    keywords.contains_key("anyOf")
}

fn object(kind: &Value) -> Value {
    json!({"type": "object", "properties": {"kind": kind}, "required": ["kind"]})
}

#[test]
fn options_that_exclude_each_other_are_found() {
    for (a, b) in [
        (json!({"type": "string"}), json!({"type": ["integer", "null"]})),
        (json!({"enum": ["a", 1]}), json!({"enum": ["b", 2, true]})),
        (json!({"type": "string"}), json!({"const": 1})),
        (json!({"type": "integer", "maximum": 2}), json!({"type": "number", "minimum": 2.5})),
        (json!({"type": "integer", "exclusiveMaximum": 2}), json!({"type": "integer", "minimum": 2})),
        (object(&json!({"const": 400})), object(&json!({"const": 500}))),
        (object(&json!({"enum": ["a", "b"]})), object(&json!({"const": "c"}))),
        (json!({"$ref": "#/$defs/Cat"}), json!({"$ref": "#/$defs/Dogs"})),
        (json!({"$ref": "#/$defs/Cat"}), json!({"oneOf": [{"$ref": "#/$defs/Dogs"}, {"type": "null"}]})),
        (
            json!({"allOf": [object(&json!({"const": 1})), {"minProperties": 2}]}),
            object(&json!({"const": 2})),
        ),
        (
            json!({"type": "object", "required": ["a"]}),
            json!({"type": "object", "properties": {"b": {}}, "additionalProperties": false}),
        ),
    ] {
        assert!(disjoint(&a, &b) && disjoint(&b, &a), "{a} {b}");
    }
}

#[test]
fn options_that_may_overlap_stay() {
    let optional = |kind: &str| json!({"type": "object", "properties": {"kind": {"const": kind}}});
    for (a, b) in [
        (json!({"type": "integer"}), json!({"type": "number"})),
        (json!({"enum": ["a", 1]}), json!({"enum": [1.0]})),
        (json!({"const": [1]}), json!({"const": [1.0]})),
        (json!({"type": "integer", "maximum": 2}), json!({"type": "integer", "minimum": 2})),
        (json!({"maximum": 2}), json!({"minimum": 3})),
        (optional("a"), optional("b")),
        (object(&json!({"type": "string"})), object(&json!({"const": "a"}))),
        (json!({"$ref": "#/$defs/Loop"}), json!({"$ref": "#/$defs/Cat"})),
        (json!({"$ref": "#"}), json!({"type": "null"})),
        (
            json!({"type": "object", "required": ["ab"]}),
            json!({"type": "object", "patternProperties": {"^a": {}}, "additionalProperties": false}),
        ),
        (json!({}), json!(true)),
    ] {
        assert!(!disjoint(&a, &b) && !disjoint(&b, &a), "{a} {b}");
    }
}
