//! Whether the options of `oneOf` share no value, as far as their keywords show it. Then `oneOf` is `anyOf`. Pure.
//!
//! llguidance knows neither references nor numbers that exclude each other.

use serde_json::{Map, Value};

use super::target;

/// Schemas inside each other, at most.
const MAX_DEPTH: usize = 12;
/// Pairs of schemas that are compared, at most.
const MAX_TRIES: usize = 20_000;
/// Integers beyond this bound are no exact 64-bit floats.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Sets of JSON's types: a bit for each.
mod kinds {
    pub(super) const NULL: u8 = 1;
    pub(super) const BOOLEAN: u8 = 2;
    pub(super) const NUMBER: u8 = 4;
    pub(super) const STRING: u8 = 8;
    pub(super) const ARRAY: u8 = 16;
    pub(super) const OBJECT: u8 = 32;
    pub(super) const ALL: u8 = 63;
}

/// Renames `oneOf` to `anyOf` if no two options share a value.
pub(super) fn rewrite_one_of(keywords: &mut Map<String, Value>, definitions: &Value) {
    let Some(Value::Array(options)) = keywords.get("oneOf") else { return };
    if keywords.contains_key("anyOf") {
        return;
    }
    let mut comparison = Comparison { definitions, tries: 0 };
    let pairs = options.iter().enumerate().flat_map(|(at, a)| options[at + 1..].iter().map(move |b| (a, b)));
    if pairs.into_iter().all(|(a, b)| comparison.is_disjoint(a, b, 0))
        && let Some(options) = keywords.shift_remove("oneOf")
    {
        keywords.insert("anyOf".into(), options);
    }
}

struct Comparison<'a> {
    definitions: &'a Value,
    tries: usize,
}

impl Comparison<'_> {
    /// Whether no value matches both. `false` also where the keywords do not show it.
    fn is_disjoint(&mut self, a: &Value, b: &Value, depth: usize) -> bool {
        self.tries += 1;
        if self.tries > MAX_TRIES || depth > MAX_DEPTH {
            return false;
        }
        let (Value::Object(first), Value::Object(second)) = (a, b) else {
            return [a, b].contains(&&Value::Bool(false));
        };
        is_of_other_values(first, second)
            || self.has_other_members(first, second, depth)
            || self.has_disjoint_parts(first, b, depth)
            || self.has_disjoint_parts(second, a, depth)
    }

    /// Whether `b` shares no value with the schemas that `keywords` apply to the same value.
    fn has_disjoint_parts(&mut self, keywords: &Map<String, Value>, b: &Value, depth: usize) -> bool {
        if let Some(definition) = keywords.get("$ref").and_then(|to| target(to, self.definitions))
            && self.is_disjoint(definition, b, depth + 1)
        {
            return true;
        }
        let list = |keyword: &str| keywords.get(keyword).and_then(Value::as_array);
        let any =
            list("allOf").is_some_and(|all| all.iter().any(|part| self.is_disjoint(part, b, depth + 1)));
        any || ["anyOf", "oneOf"].into_iter().any(|keyword| {
            list(keyword).is_some_and(|all| all.iter().all(|option| self.is_disjoint(option, b, depth + 1)))
        })
    }

    /// Whether both are objects and a member that one of them must have has no value that suits both.
    fn has_other_members(&mut self, a: &Map<String, Value>, b: &Map<String, Value>, depth: usize) -> bool {
        if types(a) != kinds::OBJECT || types(b) != kinds::OBJECT {
            return false;
        }
        let required = [a, b].into_iter().filter_map(|schema| schema.get("required")?.as_array()).flatten();
        let mut required = required.filter_map(Value::as_str);
        required.any(|name| match (member(a, name), member(b, name)) {
            (Some(a), Some(b)) => self.is_disjoint(a, b, depth + 1),
            (Some(one), None) | (None, Some(one)) => *one == Value::Bool(false),
            (None, None) => false,
        })
    }
}

/// Whether types, listed values or bounds of numbers leave no common value.
fn is_of_other_values(a: &Map<String, Value>, b: &Map<String, Value>) -> bool {
    if types(a) & types(b) == 0 {
        return true;
    }
    if let (Some(a), Some(b)) = (values(a), values(b)) {
        return !a.iter().any(|a| b.iter().any(|b| may_be_equal(a, b)));
    }
    let numbers = types(a) | types(b) == kinds::NUMBER;
    numbers && (is_below(a, b) || is_below(b, a))
}

/// The schema of a member. `None` if it is not known or any value suits.
fn member<'a>(schema: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let own = schema.get("properties").and_then(|all| all.get(name));
    let other = || schema.get("additionalProperties").filter(|_| !schema.contains_key("patternProperties"));
    own.or_else(other)
}

/// The values that a schema lists.
fn values(schema: &Map<String, Value>) -> Option<&[Value]> {
    let constant = schema.get("const").map(std::slice::from_ref);
    constant.or_else(|| schema.get("enum").and_then(Value::as_array).map(Vec::as_slice))
}

/// The types of a schema's values.
fn types(schema: &Map<String, Value>) -> u8 {
    let named = match schema.get("type") {
        Some(Value::String(name)) => type_of_name(name),
        Some(Value::Array(names)) => {
            names.iter().filter_map(Value::as_str).map(type_of_name).fold(0, |a, b| a | b)
        }
        _ => kinds::ALL,
    };
    let listed = values(schema).map(|all| all.iter().map(type_of).fold(0, |a, b| a | b));
    named & listed.unwrap_or(kinds::ALL)
}

fn type_of_name(name: &str) -> u8 {
    match name {
        "null" => kinds::NULL,
        "boolean" => kinds::BOOLEAN,
        "integer" | "number" => kinds::NUMBER,
        "string" => kinds::STRING,
        "array" => kinds::ARRAY,
        "object" => kinds::OBJECT,
        _ => kinds::ALL,
    }
}

const fn type_of(value: &Value) -> u8 {
    match value {
        Value::Null => kinds::NULL,
        Value::Bool(_) => kinds::BOOLEAN,
        Value::Number(_) => kinds::NUMBER,
        Value::String(_) => kinds::STRING,
        Value::Array(_) => kinds::ARRAY,
        Value::Object(_) => kinds::OBJECT,
    }
}

/// 1 and 1.0 are equal, also inside lists and objects.
fn may_be_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(_), Value::Array(_)) | (Value::Object(_), Value::Object(_)) => true,
        (a, b) => a == b,
    }
}

/// Whether the numbers of `a` are all less than those of `b`.
fn is_below(a: &Map<String, Value>, b: &Map<String, Value>) -> bool {
    let value = |schema: &Map<String, Value>, name: &str| schema.get(name).and_then(Value::as_f64);
    let highest =
        [("maximum", true), ("exclusiveMaximum", false)].map(|(name, includes)| (value(a, name), includes));
    let lowest =
        [("minimum", true), ("exclusiveMinimum", false)].map(|(name, includes)| (value(b, name), includes));
    highest.into_iter().any(|(high, includes_high)| {
        lowest.into_iter().any(|(low, includes_low)| match (high, low) {
            (Some(high), Some(low)) if high == low => {
                high.abs() < MAX_EXACT && !(includes_high && includes_low)
            }
            (Some(high), Some(low)) => high < low,
            _ => false,
        })
    })
}

#[cfg(test)]
mod tests;
