//! Prepares JSON schemas as Zod and pydantic write them for llguidance: leaves out keywords that say nothing, and writes others
//! in keywords that llguidance has. Pure.

use serde_json::{Map, Value, json};

use super::formats;

/// Formats that llguidance enforces. Those without a pattern in [`formats`], and every other one, are annotations.
const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"];
/// Zod's patterns with look-around, which llguidance lacks, and the same without it. Each holds beside the format of its schema.
const LOOK_AROUND: [(&str, Option<&str>); 3] = [
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
/// Keywords that never refuse a value.
pub(super) const ANNOTATIONS: [&str; 18] = [
    "title",
    "description",
    "default",
    "examples",
    "example",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$comment",
    "$schema",
    "$id",
    "$anchor",
    "discriminator",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "$defs",
    "definitions",
];

/// Prepares a schema and all schemas inside it.
pub(crate) fn prepare(schema: &mut Value) {
    let definitions = definitions(schema);
    prepare_part(schema, &definitions);
}

/// Calls `visit` with each schema directly inside `schema`, and with the words for its place: see [`super::place`].
pub(super) fn for_children(schema: &Value, visit: &mut dyn FnMut(String, &Value)) {
    let Value::Object(keywords) = schema else { return };
    for (keyword, value) in keywords {
        let keyword = keyword.as_str();
        match value {
            // References lead to the definitions.
            Value::Object(_) if matches!(keyword, "$defs" | "definitions") => {}
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

/// Whether a schema has `keyword`, and otherwise only annotations.
pub(super) fn has_only(keywords: &Map<String, Value>, keyword: &str) -> bool {
    keywords.contains_key(keyword)
        && keywords.keys().all(|key| key == keyword || ANNOTATIONS.contains(&key.as_str()))
}

/// The definitions of a schema, for references inside `propertyNames`.
fn definitions(schema: &Value) -> Value {
    json!({"$defs": schema.get("$defs"), "definitions": schema.get("definitions")})
}

fn prepare_part(schema: &mut Value, definitions: &Value) {
    for_children_mut(schema, &mut |child| prepare_part(child, definitions));
    let Value::Object(keywords) = schema else { return };
    // Zod's `never`.
    if has_only(keywords, "not") && matches!(&keywords["not"], Value::Object(none) if none.is_empty()) {
        *schema = Value::Bool(false);
        return;
    }
    drop_empty_keywords(keywords);
    prepare_string(keywords);
    prepare_property_names(keywords, definitions);
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
        && !only.contains_key("$defs")
        && !only.contains_key("definitions")
    {
        let only = std::mem::take(only);
        keywords.remove("allOf");
        keywords.extend(only);
    }
}

/// Replaces formats and patterns of strings that llguidance does not know.
fn prepare_string(keywords: &mut Map<String, Value>) {
    let pattern = keywords.get("pattern").and_then(Value::as_str);
    let replaced = LOOK_AROUND.iter().find(|(from, _)| pattern == Some(from)).map(|(_, to)| *to);
    match replaced {
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

/// Writes `propertyNames` as names or patterns of properties. Leaves it where that would change the schema's meaning.
fn prepare_property_names(keywords: &mut Map<String, Value>, definitions: &Value) {
    let Some(names) = keywords.get("propertyNames") else { return };
    let place = names.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'));
    let names = place.and_then(|place| definitions.pointer(place)).unwrap_or(names).clone();
    let Value::Object(mut names) = names else {
        if names == Value::Bool(true) {
            keywords.remove("propertyNames");
        }
        return;
    };
    names.retain(|key, _| !ANNOTATIONS.contains(&key.as_str()));
    if names.get("type").is_some_and(|kind| kind == "string") {
        names.remove("type");
    }
    if names.is_empty() {
        keywords.remove("propertyNames");
        return;
    }
    if keywords.contains_key("properties") || keywords.contains_key("patternProperties") {
        return;
    }
    let members = keywords.get("additionalProperties").cloned().unwrap_or(Value::Bool(true));
    let constant = names.get("const").map(std::slice::from_ref);
    let listed = names.get("enum").and_then(Value::as_array).map(Vec::as_slice).or(constant);
    let (keyword, all) = if let Some(listed) = listed.filter(|_| names.len() == 1) {
        let all = listed.iter().filter_map(Value::as_str).map(|name| (name.to_owned(), members.clone()));
        ("properties", all.collect::<Map<_, _>>())
    } else if let Some(pattern) = name_pattern(&names) {
        ("patternProperties", Map::from_iter([(pattern, members)]))
    } else {
        return;
    };
    keywords.remove("propertyNames");
    keywords.insert("additionalProperties".into(), Value::Bool(false));
    keywords.insert(keyword.into(), Value::Object(all));
}

/// A pattern for the names that a schema of strings allows, where one pattern can say it.
fn name_pattern(names: &Map<String, Value>) -> Option<String> {
    let only = |allowed: &[&str]| names.keys().all(|key| allowed.contains(&key.as_str()));
    let number = |name: &str| names.get(name).map(Value::as_u64);
    if only(&["pattern"]) {
        return names["pattern"].as_str().map(str::to_owned);
    }
    if !only(&["minLength", "maxLength"]) {
        return None;
    }
    let (least, most) = (number("minLength").unwrap_or(Some(0))?, number("maxLength"));
    let most = most.map_or(Some(String::new()), |most| most.map(|most| most.to_string()))?;
    Some(format!("^(?s:.{{{least},{most}}})$"))
}

#[cfg(test)]
mod tests;
