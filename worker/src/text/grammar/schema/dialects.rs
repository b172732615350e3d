//! Writes schemas of older drafts and of OpenAPI 3.0 in the words of draft 2020-12, and leaves out keywords that restrict nothing.
//! Pure.
//!
//! llguidance takes any further keyword beside a reference for a restriction, and refuses such references in a recursive schema.

use serde_json::{Map, Value, json};

use super::{DEFINITIONS, for_children_mut};

/// Keywords that restrict values, or hold schemas. `x-guidance` has llguidance's options.
const KEYWORDS: [&str; 48] = [
    "$ref",
    "$dynamicRef",
    "$recursiveRef",
    "$defs",
    "definitions",
    "x-guidance",
    "type",
    "enum",
    "const",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "properties",
    "patternProperties",
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "required",
    "minProperties",
    "maxProperties",
    "items",
    "prefixItems",
    "additionalItems",
    "unevaluatedItems",
    "contains",
    "minContains",
    "maxContains",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "multipleOf",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "disallow",
    "extends",
];

/// Rewrites a schema and all schemas inside it.
pub(super) fn rewrite(schema: &mut Value) {
    for_children_mut(schema, &mut rewrite);
    let Value::Object(keywords) = schema else { return };
    let is_nullable = keywords.get("nullable") == Some(&Value::Bool(true));
    keywords.retain(|keyword, _| KEYWORDS.contains(&keyword.as_str()));
    rewrite_exclusive_bounds(keywords);
    if is_nullable {
        add_null(keywords);
    }
}

/// Draft 4: `exclusiveMinimum: true` beside `minimum`.
fn rewrite_exclusive_bounds(keywords: &mut Map<String, Value>) {
    for (bound, exclusive) in [("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")] {
        let Some(Value::Bool(is_exclusive)) = keywords.get(exclusive).cloned() else { continue };
        keywords.shift_remove(exclusive);
        if is_exclusive && let Some(value) = keywords.shift_remove(bound) {
            keywords.insert(exclusive.into(), value);
        }
    }
}

/// OpenAPI 3.0: `nullable: true`. An `enum` need not list null, too.
fn add_null(keywords: &mut Map<String, Value>) {
    let mut outer: Map<String, Value> = Map::new();
    for name in DEFINITIONS {
        outer.extend(keywords.shift_remove_entry(name));
    }
    if let Some(Value::Array(values)) = keywords.get_mut("enum") {
        values.retain(|value| !value.is_null());
        if values.is_empty() {
            keywords.clear();
            keywords.insert("not".into(), json!({}));
        }
    }
    let own = Value::Object(std::mem::take(keywords));
    outer.insert("anyOf".into(), json!([own, {"type": "null"}]));
    *keywords = outer;
}
