//! Schemas, and a small validator that is independent of the code under test.

use serde_json::Value;

/// A regular expression in the schemas below, and an equivalent function.
type Pattern = (&'static str, fn(&str) -> bool);

const PATTERNS: [Pattern; 2] = [
    ("^[A-Z]{2}-[0-9]{3}$", |text| {
        let (letters, digits) = text.split_once('-').unwrap_or_default();
        let all =
            |part: &str, len, test: fn(&u8) -> bool| part.len() == len && part.as_bytes().iter().all(test);
        all(letters, 2, u8::is_ascii_uppercase) && all(digits, 3, u8::is_ascii_digit)
    }),
    ("^a+b", |text| text.trim_start_matches('a').starts_with('b') && text.starts_with('a')),
];

/// A schema for each kind of keyword.
pub(super) const SCHEMAS: [&str; 22] = [
    r#"{"type":"object"}"#,
    r#"{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"}},
        "required":["name","age"],"additionalProperties":false}"#,
    r#"{"type":"object","properties":{"a":{"type":"object","properties":{"b":{"type":"object","properties":
        {"c":{"type":"boolean"}},"required":["c"],"additionalProperties":false}},"required":["b"]}},"required":["a"]}"#,
    r#"{"type":"array","items":{"type":"integer","minimum":-5,"maximum":17},"minItems":2,"maxItems":4}"#,
    r#"{"type":"array","prefixItems":[{"type":"string"},{"type":"null"}],"items":false,"minItems":2}"#,
    r#"{"enum":["red","green","grün","緑","a \"quoted\" one",12,null,{"k":[1]}]}"#,
    r#"{"const":{"exact":["text",1.5,false]}}"#,
    r#"{"anyOf":[{"type":"string","maxLength":3},{"type":"number","minimum":0}]}"#,
    r##"{"$ref":"#/$defs/node","$defs":{"node":{"type":"object","properties":{"value":{"type":"integer"},
        "next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},"required":["value","next"],
        "additionalProperties":false}}}"##,
    r#"{"type":"integer","minimum":100,"maximum":2050}"#,
    r#"{"type":"integer","exclusiveMinimum":-3,"exclusiveMaximum":3}"#,
    r#"{"type":"integer","minimum":0,"maximum":1000,"multipleOf":7}"#,
    r#"{"type":"string","pattern":"^[A-Z]{2}-[0-9]{3}$"}"#,
    r#"{"type":"string","pattern":"^a+b"}"#,
    r#"{"type":"string","minLength":2,"maxLength":5}"#,
    r#"{"type":["string","null","boolean"],"maxLength":4}"#,
    r#"{"type":"object","additionalProperties":{"type":"integer"},"minProperties":1}"#,
    r#"{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"number"},"c":{"enum":[1,2]}},
        "required":["b"],"additionalProperties":false}"#,
    r#"{"allOf":[{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]},
        {"properties":{"b":{"type":"null"}},"required":["b"]}]}"#,
    r#"{"oneOf":[{"type":"object","properties":{"kind":{"const":"x"},"v":{"type":"integer"}},
        "required":["kind","v"],"additionalProperties":false},
        {"type":"object","properties":{"kind":{"const":"y"}},"required":["kind"],"additionalProperties":false}]}"#,
    r#"{"type":"array","items":{"type":"array","items":{"type":"boolean"},"maxItems":2},"maxItems":3}"#,
    r#"{"$schema":"http://json-schema.org/draft-07/schema#","title":"T","description":"D","type":"object",
        "properties":{"t":{"type":"string","format":"date","default":"2020-01-01","examples":[]}},"required":["t"]}"#,
];

/// Whether `value` matches `schema`. Supports the keywords of the schemas above.
pub(super) fn valid(schema: &Value, value: &Value, root: &Value) -> bool {
    let Value::Object(keywords) = schema else { return schema == &Value::Bool(true) };
    keywords.iter().all(|(keyword, wanted)| keyword_holds(keyword, wanted, value, schema, root))
}

fn keyword_holds(keyword: &str, wanted: &Value, value: &Value, schema: &Value, root: &Value) -> bool {
    let matching = || wanted.as_array().unwrap().iter().filter(|schema| valid(schema, value, root)).count();
    match keyword {
        "type" => match wanted {
            Value::Array(types) => types.iter().any(|wanted| has_type(wanted, value)),
            wanted => has_type(wanted, value),
        },
        "enum" => wanted.as_array().unwrap().contains(value),
        "const" => wanted == value,
        "anyOf" => matching() >= 1,
        "oneOf" => matching() == 1,
        "allOf" => matching() == wanted.as_array().unwrap().len(),
        "$ref" => valid(root.pointer(&wanted.as_str().unwrap()[1..]).unwrap(), value, root),
        "$defs" | "$schema" | "title" | "description" | "default" | "examples" => true,
        _ => match value {
            Value::String(text) => string(keyword, wanted, text),
            Value::Array(items) => array(keyword, wanted, items, schema, root),
            Value::Object(_) => object(keyword, wanted, value, schema, root),
            Value::Number(number) => self::number(keyword, wanted.as_f64(), number.as_f64().unwrap()),
            _ => true,
        },
    }
}

fn has_type(wanted: &Value, value: &Value) -> bool {
    match wanted.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        other => panic!("{other}"),
    }
}

fn string(keyword: &str, wanted: &Value, text: &str) -> bool {
    let length = text.chars().count() as u64;
    match keyword {
        "minLength" => length >= wanted.as_u64().unwrap(),
        "maxLength" => length <= wanted.as_u64().unwrap(),
        "pattern" => PATTERNS.iter().find(|(pattern, _)| wanted == pattern).unwrap().1(text),
        "format" => {
            let parts: Vec<usize> = text.split('-').map(str::len).collect();
            parts == [4, 2, 2] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit())
        }
        _ => true,
    }
}

fn array(keyword: &str, wanted: &Value, items: &[Value], schema: &Value, root: &Value) -> bool {
    let first = schema.get("prefixItems").and_then(Value::as_array).map_or(0, Vec::len);
    match keyword {
        "minItems" => items.len() as u64 >= wanted.as_u64().unwrap(),
        "maxItems" => items.len() as u64 <= wanted.as_u64().unwrap(),
        "items" => items.iter().skip(first).all(|item| valid(wanted, item, root)),
        "prefixItems" => {
            wanted.as_array().unwrap().iter().zip(items).all(|(schema, item)| valid(schema, item, root))
        }
        _ => true,
    }
}

fn object(keyword: &str, wanted: &Value, value: &Value, schema: &Value, root: &Value) -> bool {
    let members = value.as_object().unwrap();
    let known = |name: &str| schema.get("properties").is_some_and(|all| all.get(name).is_some());
    match keyword {
        "required" => {
            wanted.as_array().unwrap().iter().all(|name| members.contains_key(name.as_str().unwrap()))
        }
        "properties" => {
            let present =
                |(name, schema): (&String, &Value)| value.get(name).is_none_or(|v| valid(schema, v, root));
            wanted.as_object().unwrap().iter().all(present)
        }
        "additionalProperties" => members.iter().all(|(name, v)| known(name) || valid(wanted, v, root)),
        "minProperties" => members.len() as u64 >= wanted.as_u64().unwrap(),
        _ => true,
    }
}

fn number(keyword: &str, wanted: Option<f64>, number: f64) -> bool {
    match (keyword, wanted) {
        ("minimum", Some(least)) => number >= least,
        ("maximum", Some(most)) => number <= most,
        ("exclusiveMinimum", Some(below)) => number > below,
        ("exclusiveMaximum", Some(above)) => number < above,
        ("multipleOf", Some(unit)) => number % unit == 0.0,
        _ => true,
    }
}
