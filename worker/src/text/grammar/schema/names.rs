//! Names of properties: `propertyNames` as names and patterns, since llguidance lacks the keyword, and objects whose names have
//! patterns only. Pure.

use serde_json::{Map, Value};

use super::{DEFINITIONS, for_children_mut, formats, target, without_look_around};

/// Definitions and alternatives inside each other, at most.
const MAX_DEPTH: usize = 16;

/// Names of properties.
enum Names {
    Any,
    Listed(Vec<String>),
    Pattern(String),
}

/// Rewrites `propertyNames`. Leaves it where that would change the schema's meaning.
pub(super) fn rewrite(keywords: &mut Map<String, Value>, definitions: &Value) {
    let Some(names) = keywords.get("propertyNames") else { return };
    let mut all = Vec::new();
    if collect(names, definitions, 0, &mut all).is_none() {
        return;
    }
    if all.iter().any(|names| matches!(names, Names::Any)) {
        keywords.shift_remove("propertyNames");
        return;
    }
    if keywords.contains_key("properties") || keywords.contains_key("patternProperties") {
        return;
    }
    let members = keywords.get("additionalProperties").cloned().unwrap_or(Value::Bool(true));
    let (mut listed, mut patterns) = (Map::new(), Map::new());
    for names in all {
        match names {
            Names::Any => {}
            Names::Listed(names) => listed.extend(names.into_iter().map(|name| (name, members.clone()))),
            Names::Pattern(pattern) => drop(patterns.insert(pattern, members.clone())),
        }
    }
    keywords.shift_remove("propertyNames");
    keywords.insert("additionalProperties".into(), Value::Bool(false));
    for (keyword, all) in [("properties", listed), ("patternProperties", patterns)] {
        if !all.is_empty() {
            keywords.insert(keyword.into(), Value::Object(all));
        }
    }
}

/// Closes objects whose names have patterns only to other names: pydantic means so by `patternProperties`. No schema inside may be
/// intersected with another one.
pub(super) fn close(schema: &mut Value) {
    for_children_mut(schema, &mut close);
    let Value::Object(keywords) = schema else { return };
    let known = ["type", "patternProperties", "minProperties", "maxProperties"];
    let known = |key: &String| known.contains(&key.as_str()) || DEFINITIONS.contains(&key.as_str());
    if keywords.contains_key("patternProperties") && keywords.keys().all(known) {
        keywords.insert("additionalProperties".into(), Value::Bool(false));
    }
}

/// Adds the names that `schema` allows. `None` for names that neither a list nor a pattern describes.
fn collect(schema: &Value, definitions: &Value, depth: usize, all: &mut Vec<Names>) -> Option<()> {
    let keywords = match schema {
        Value::Bool(true) => {
            all.push(Names::Any);
            return Some(());
        }
        Value::Object(keywords) if depth <= MAX_DEPTH => keywords,
        _ => return None,
    };
    let ignored = |key: &str| DEFINITIONS.contains(&key) || key == "type" && keywords[key] == "string";
    let rest: Vec<&str> = keywords.keys().map(String::as_str).filter(|key| !ignored(key)).collect();
    match rest.as_slice() {
        [] => all.push(Names::Any),
        ["$ref"] if keywords["$ref"] != "#" => {
            collect(target(&keywords["$ref"], definitions)?, definitions, depth + 1, all)?;
        }
        ["anyOf"] => {
            let options = keywords["anyOf"].as_array()?;
            options.iter().try_for_each(|option| collect(option, definitions, depth + 1, all))?;
        }
        ["const"] => all.push(listed(std::slice::from_ref(&keywords["const"]))),
        ["enum"] => all.push(listed(keywords["enum"].as_array()?)),
        ["pattern"] | ["pattern", "format"] | ["format", "pattern"] => {
            all.push(pattern(&keywords["pattern"])?)
        }
        ["format"] => all.push(format(keywords["format"].as_str()?)?),
        _ => all.push(length(keywords, &rest)?),
    }
    Some(())
}

fn listed(values: &[Value]) -> Names {
    Names::Listed(values.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Beside a pattern a format is an annotation.
fn pattern(pattern: &Value) -> Option<Names> {
    let pattern = pattern.as_str()?;
    let pattern = without_look_around(pattern).unwrap_or(Some(pattern))?;
    Some(Names::Pattern(pattern.into()))
}

/// A format that nothing enforces allows any name.
fn format(format: &str) -> Option<Names> {
    match formats::pattern(format).or_else(|| formats::name_pattern(format)) {
        Some(pattern) => Some(Names::Pattern(pattern)),
        None if super::FORMATS.contains(&format) => None,
        None => Some(Names::Any),
    }
}

fn length(keywords: &Map<String, Value>, names: &[&str]) -> Option<Names> {
    if !names.iter().all(|name| ["minLength", "maxLength"].contains(name)) {
        return None;
    }
    let number = |name: &str| keywords.get(name).map(Value::as_u64);
    let (least, most) = (number("minLength").unwrap_or(Some(0))?, number("maxLength"));
    let most = most.map_or(Some(String::new()), |most| most.map(|most| most.to_string()))?;
    Some(Names::Pattern(format!("^(?s:.{{{least},{most}}})$")))
}
