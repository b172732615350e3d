//! Fits JSON schemas to what providers take: objects without further properties, and for OpenAI's strict mode no optional ones.

use serde_json::Value;

/// Keywords that join schemas. An object beside them may have properties that only they name.
const JOINS: [&str; 4] = ["anyOf", "oneOf", "allOf", "$ref"];
/// Keywords whose value is an object of schemas.
const NAMED: [&str; 3] = ["properties", "$defs", "definitions"];

/// Closes each object that names its properties and does not say whether it has others. What fits then fits the schema as it was.
pub(super) fn close(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    let has_properties = fields.contains_key("properties");
    let is_joined = JOINS.iter().any(|keyword| fields.contains_key(*keyword));
    if has_properties && !is_joined {
        fields.entry("additionalProperties").or_insert(Value::Bool(false));
    }
    // Beside properties, the choices name the rest of the same object.
    for keyword in ["anyOf", "oneOf"].into_iter().filter(|_| !has_properties) {
        let choices = fields.get_mut(keyword).and_then(Value::as_array_mut);
        choices.into_iter().flatten().for_each(close);
    }
    fields.get_mut("items").into_iter().for_each(close);
    for keyword in NAMED {
        let named = fields.get_mut(keyword).and_then(Value::as_object_mut);
        named.into_iter().flat_map(|named| named.values_mut()).for_each(close);
    }
}

/// Whether OpenAI's strict mode takes a schema: each object is closed and requires all its properties.
pub(super) fn is_strict(schema: &Value) -> bool {
    let is_object = schema["type"] == "object" || schema.get("properties").is_some();
    let required = schema["required"].as_array();
    let is_required =
        |name: &String| required.is_some_and(|required| required.iter().any(|other| other == name));
    let has_all = || schema["properties"].as_object().into_iter().flat_map(|all| all.keys()).all(is_required);
    let is_sound = !is_object || (schema["additionalProperties"] == false && has_all());
    let lists = JOINS.iter().filter_map(|keyword| schema[*keyword].as_array()).flatten();
    let named = NAMED.iter().filter_map(|keyword| schema[*keyword].as_object());
    let inner = schema.get("items").into_iter().chain(lists).chain(named.flat_map(|named| named.values()));
    is_sound && inner.into_iter().all(is_strict)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn open_objects_are_closed_at_every_depth() {
        let inner = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        let mut schema = json!({"type": "object", "properties": {"list": {"type": "array", "items": inner}},
            "$defs": {"one": {"anyOf": [inner]}, "map": {"type": "object", "additionalProperties": {"type": "string"}}}});
        close(&mut schema);
        for place in ["", "/properties/list/items", "/$defs/one/anyOf/0"] {
            assert_eq!(schema.pointer(place).unwrap()["additionalProperties"], false, "{place}");
        }
        assert_eq!(schema["$defs"]["map"]["additionalProperties"], json!({"type": "string"}));
        let mut always = json!(true);
        close(&mut always);
        assert_eq!(always, true);
    }

    #[test]
    fn object_whose_choices_name_properties_stays_open() {
        let part = json!({"properties": {"b": {"type": "string"}}, "required": ["b"]});
        for keyword in ["anyOf", "oneOf", "allOf"] {
            let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, keyword: [part]});
            let mut closed = schema.clone();
            close(&mut closed);
            assert_eq!(closed, schema);
        }
        let mut all = json!({"allOf": [part]});
        close(&mut all);
        assert_eq!(all["allOf"][0], part);
        let mut any = json!({"type": "object"});
        close(&mut any);
        assert_eq!(any, json!({"type": "object"}));
    }

    #[test]
    fn property_with_the_name_of_a_keyword_is_no_keyword() {
        let mut schema = json!({"type": "object", "properties": {"items": {"properties": {}}, "type": {"type": "string"}}});
        close(&mut schema);
        assert_eq!(schema["properties"]["items"]["additionalProperties"], false);
        assert_eq!(schema["properties"].get("additionalProperties"), None);
    }

    #[test]
    fn strict_schemas_have_no_optional_properties() {
        let object = |required: &[&str], further: bool| {
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": required,
                "additionalProperties": further})
        };
        assert!(is_strict(&object(&["a"], false)));
        assert!(!is_strict(&object(&[], false)) && !is_strict(&object(&["a"], true)));
        assert!(!is_strict(&json!({"type": "array", "items": object(&[], false)})));
        assert!(!is_strict(&json!({"$defs": {"x": object(&[], false)}})));
        assert!(is_strict(&json!({"anyOf": [object(&["a"], false), {"type": "null"}]})));
    }
}
