//! Random schemas: all allowed tokens must produce JSON of the schema.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::{SMOLLM2, check, schema};

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        select(vec![
            json!({"type": "boolean"}),
            json!({"type": "null"}),
            json!({"type": ["integer", "null"]})
        ]),
        (-50i32..50, 0i32..100)
            .prop_map(|(low, span)| json!({"type": "integer", "minimum": low, "maximum": low + span})),
        (0u32..3, 0u32..6)
            .prop_map(|(low, span)| json!({"type": "string", "minLength": low, "maxLength": low + span})),
        prop::collection::btree_set("[a-zü\"\\\\ ]{0,6}", 1..4).prop_map(|values| json!({ "enum": values })),
        prop_oneof!["[a-z]{0,5}".prop_map(Value::from), any::<i16>().prop_map(Value::from)]
            .prop_map(|value| json!({ "const": value })),
        select(vec![
            json!({"type": "string", "format": "date"}),
            json!({"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"}),
            json!({"$ref": "#/$defs/shared"}),
        ]),
    ]
}

fn any_schema() -> impl Strategy<Value = Value> {
    let inner = leaf().prop_recursive(3, 12, 3, |inner| {
        let object = (prop::collection::btree_map("[a-c]", (inner.clone(), any::<bool>()), 0..4)).prop_map(|members| {
            let required: Vec<&String> = members.iter().filter(|(_, (_, must))| *must).map(|(name, _)| name).collect();
            let required = json!(required);
            let properties: serde_json::Map<String, Value> =
                members.iter().map(|(name, (schema, _))| (name.clone(), schema.clone())).collect();
            json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
        });
        let array = (inner.clone(), 0u32..2, 0u32..3).prop_map(|(items, low, span)| {
            json!({"type": "array", "items": items, "minItems": low, "maxItems": low + span})
        });
        let either = prop::collection::vec(inner, 1..3).prop_map(|options| json!({ "anyOf": options }));
        prop_oneof![object, array, either]
    });
    (inner, leaf().prop_filter("no circle", |leaf| leaf.get("$ref").is_none())).prop_map(|(schema, shared)| {
        json!({"type": "object", "properties": {"value": schema}, "required": ["value"], "additionalProperties": false,
            "$defs": {"shared": shared}})
    })
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 50, ..ProptestConfig::with_cases(200) })]

    /// Every allowed token is equally likely.
    #[test]
    fn allowed_tokens_produce_json_of_random_schemas(wanted in any_schema(), seed: u64, free in 0usize..40) {
        let text = wanted.to_string();
        let mut matcher = SMOLLM2.matcher(&schema(&text));
        let tokens = SMOLLM2.walk(&mut matcher, seed, free);
        check(&text, &SMOLLM2.streamed(&tokens));
    }
}
