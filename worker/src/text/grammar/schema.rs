//! Prepares JSON schemas as Zod and pydantic write them for llguidance: leaves out keywords that say nothing, and writes others
//! in keywords that llguidance has. Pure. Whatever remains is compiled or refused by name.

mod dialects;
mod disjoint;
mod names;
mod references;

use serde_json::{Map, Value, json};

use super::formats;
use super::numbers::has_intersections;

/// Formats that llguidance enforces. Those without a pattern in [`formats`], and every other one, are annotations.
const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"];
/// Zod's patterns with look-around, which llguidance lacks, and the same without it. Each holds beside the format of its schema.
const LOOK_AROUND: [(&str, Option<&str>); 5] = [
    // The format `duration` alone allows less.
    (r"^P(?:(\d+W)|(?!.*W)(?=\d|T\d)(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+([.,]\d+)?S)?)?)$", None),
    // The look-ahead limits the length.
    (
        r"^(?=.{1,253}\.?$)[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[-0-9a-zA-Z]{0,61}[0-9a-zA-Z])?)*\.?$",
        Some(
            r"^[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[-0-9a-zA-Z]{0,61}[0-9a-zA-Z])?)*$",
        ),
    ),
    (
        r"^(?=[\s\S]*[\p{Extended_Pictographic}\p{Regional_Indicator}\u20E3])[\p{Extended_Pictographic}\p{Emoji_Component}]+$",
        Some(r"^\p{Extended_Pictographic}+$"),
    ),
    (
        r"^[A-Z]{2}(?!00|01|99)\d{2}[A-Z0-9]{11,30}$",
        Some(r"^[A-Z]{2}(?:0[2-9]|[1-8]\d|9[0-8])[A-Z0-9]{11,30}$"),
    ),
    // Few parts instead of a limited length.
    (
        r"^(?=.{1,253}$)([a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.)+[a-zA-Z]{2,63}$",
        Some(r"^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.){1,2}[a-zA-Z]{2,63}$"),
    ),
];
/// Characters of a host name, at most.
const MAX_HOSTNAME: u64 = 253;
/// Characters of an e-mail address, at most (RFC 5321, section 4.5.3.1.3).
const MAX_EMAIL: u64 = 254;
/// Keywords whose value is one schema.
const SCHEMA: [&str; 11] = [
    "items",
    "additionalItems",
    "additionalProperties",
    "not",
    "propertyNames",
    "if",
    "then",
    "else",
    "contains",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords whose value is a list of schemas.
const LISTS: [&str; 5] = ["allOf", "anyOf", "oneOf", "prefixItems", "items"];
/// Keywords whose value is an object with schemas.
const MAPS: [&str; 5] = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];
/// Keywords that hold definitions.
pub(super) const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// Prepares a schema and all schemas inside it.
pub(crate) fn prepare(schema: &mut Value) {
    dialects::rewrite(schema);
    references::copy_escaped(schema);
    let definitions = definitions(schema);
    prepare_part(schema, &definitions);
    if !has_intersections(schema) {
        names::close(schema);
    }
}

/// Calls `visit` with each schema directly inside `schema`, and with the words for its place: see [`super::place`].
pub(super) fn for_children(schema: &Value, visit: &mut dyn FnMut(String, &Value)) {
    let Value::Object(keywords) = schema else { return };
    for (keyword, value) in keywords {
        let keyword = keyword.as_str();
        match value {
            // References lead to the definitions.
            Value::Object(_) if DEFINITIONS.contains(&keyword) => {}
            Value::Object(members) if MAPS.contains(&keyword) => {
                members.iter().for_each(|(name, member)| visit(format!(".{name}"), member));
            }
            Value::Array(items) if LISTS.contains(&keyword) => {
                for (at, item) in items.iter().enumerate() {
                    let place = if keyword.ends_with("tems") { format!("[{at}]") } else { String::new() };
                    visit(place, item);
                }
            }
            Value::Object(_) if SCHEMA.contains(&keyword) => {
                let place = match keyword {
                    "items" | "additionalItems" => "[]",
                    "additionalProperties" => ".*",
                    _ => "",
                };
                visit(place.to_owned(), value);
            }
            _ => {}
        }
    }
}

/// Calls `visit` with each schema directly inside `schema`, definitions included.
pub(super) fn for_children_mut(schema: &mut Value, visit: &mut dyn FnMut(&mut Value)) {
    let Value::Object(keywords) = schema else { return };
    for (keyword, value) in keywords {
        let keyword = keyword.as_str();
        match value {
            Value::Object(members) if MAPS.contains(&keyword) => members.values_mut().for_each(&mut *visit),
            Value::Array(items) if LISTS.contains(&keyword) => items.iter_mut().for_each(&mut *visit),
            Value::Object(_) if SCHEMA.contains(&keyword) => visit(value),
            _ => {}
        }
    }
}

/// Whether a schema has `keyword`, and otherwise only definitions.
fn has_only(keywords: &Map<String, Value>, keyword: &str) -> bool {
    keywords.contains_key(keyword)
        && keywords.keys().all(|key| key == keyword || DEFINITIONS.contains(&key.as_str()))
}

/// The schema in `root` that the `$ref` of another one names.
pub(super) fn target<'a>(reference: &Value, root: &'a Value) -> Option<&'a Value> {
    root.pointer(reference.as_str()?.strip_prefix('#')?)
}

/// What takes the place of a pattern of [`LOOK_AROUND`]: another one, or nothing. `None` for other patterns.
fn without_look_around(pattern: &str) -> Option<Option<&'static str>> {
    LOOK_AROUND.iter().find(|(from, _)| *from == pattern).map(|(_, to)| *to)
}

/// The definitions of a schema, for references.
fn definitions(schema: &Value) -> Value {
    json!({"$defs": schema.get("$defs"), "definitions": schema.get("definitions")})
}

fn prepare_part(schema: &mut Value, definitions: &Value) {
    if let Value::Object(keywords) = schema {
        names::rewrite(keywords, definitions);
    }
    for_children_mut(schema, &mut |child| prepare_part(child, definitions));
    let Value::Object(keywords) = schema else { return };
    // Zod's `never`.
    if has_only(keywords, "not") && matches!(&keywords["not"], Value::Object(none) if none.is_empty()) {
        *schema = Value::Bool(false);
        return;
    }
    drop_empty_keywords(keywords);
    prepare_string(keywords);
    disjoint::rewrite_one_of(keywords, definitions);
}

/// Removes keywords that say nothing.
fn drop_empty_keywords(keywords: &mut Map<String, Value>) {
    let single = keywords.get("maxItems").and_then(Value::as_u64).is_some_and(|most| most <= 1);
    if single || keywords.get("uniqueItems") == Some(&Value::Bool(false)) {
        keywords.remove("uniqueItems");
    }
    // Draft 7 puts a reference beside annotations into `allOf`.
    if has_only(keywords, "allOf")
        && let Some(Value::Array(all)) = keywords.get_mut("allOf")
        && let [Value::Object(only)] = all.as_mut_slice()
        && !DEFINITIONS.iter().any(|name| only.contains_key(*name))
    {
        let only = std::mem::take(only);
        keywords.remove("allOf");
        keywords.extend(only);
    }
}

/// Replaces formats and patterns of strings that llguidance does not know.
fn prepare_string(keywords: &mut Map<String, Value>) {
    match keywords.get("pattern").and_then(Value::as_str).and_then(without_look_around) {
        Some(Some(to)) => drop(keywords.insert("pattern".into(), to.into())),
        Some(None) => drop(keywords.remove("pattern")),
        None => {}
    }
    let Some(format) = keywords.get("format").and_then(Value::as_str).map(str::to_owned) else { return };
    if format == "hostname" {
        limit_length(keywords, MAX_HOSTNAME);
    }
    let has_pattern = keywords.contains_key("pattern");
    let pattern = formats::pattern(&format).filter(|_| !has_pattern);
    if pattern.is_none() && FORMATS.contains(&format.as_str()) {
        return;
    }
    keywords.remove("format");
    if let Some(pattern) = pattern {
        keywords.insert("pattern".into(), pattern.into());
        if format == "email" {
            limit_length(keywords, MAX_EMAIL);
        }
        return;
    }
    if has_pattern {
        return;
    }
    match format.as_str() {
        "ipv4network" | "ipv4interface" => drop(keywords.insert("format".into(), "ipv4".into())),
        "ipv6network" | "ipv6interface" => drop(keywords.insert("format".into(), "ipv6".into())),
        "ipvanyaddress" | "ipvanynetwork" | "ipvanyinterface" if !keywords.contains_key("anyOf") => {
            let either = json!([{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]);
            keywords.insert("anyOf".into(), either);
        }
        _ => {}
    }
}

/// Limits a string to `most` characters, or to fewer if the schema does.
fn limit_length(keywords: &mut Map<String, Value>, most: u64) {
    let own = keywords.get("maxLength").and_then(Value::as_u64).unwrap_or(most);
    keywords.insert("maxLength".into(), own.min(most).into());
}

#[cfg(test)]
mod tests;
