//! What a function's schema says of its arguments, for formats that write them one by one instead of as one JSON object.
//! Pure. What it cannot tell it names.

use serde_json::{Map, Value};

/// References that lead to references, at most.
const MAX_HOPS: usize = 16;
/// Keywords that say more of an object than a list of its members does.
const MORE_THAN_MEMBERS: [&str; 19] = [
    "$ref",
    "$dynamicRef",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "const",
    "enum",
    "patternProperties",
    "propertyNames",
    "minProperties",
    "maxProperties",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "items",
    "unevaluatedItems",
];
/// Keywords that say of a text what a regular expression does not.
const MORE_THAN_TEXT: [&str; 10] =
    ["$ref", "$dynamicRef", "anyOf", "oneOf", "allOf", "not", "if", "then", "else", "format"];
/// Where definitions are, which every member is given.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// One argument.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    pub(super) name: String,
    /// With the definitions that it may refer to.
    pub(super) schema: Value,
    pub(super) required: bool,
}

/// What a text must be.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Text {
    /// One of these.
    pub(super) values: Option<Vec<String>>,
    /// Characters, at least and at most.
    pub(super) length: (u64, Option<u64>),
    /// A regular expression that the whole text matches.
    pub(super) pattern: Option<String>,
}

/// The arguments that a schema names, those that must be there and those that may.
///
/// # Errors
/// The keyword that says more than such a list.
pub(super) fn members(root: &Value) -> Result<Vec<Member>, &'static str> {
    if !only_definitions(root) {
        return Err("$ref");
    }
    let mut parts = Vec::new();
    flatten(root, root, 0, &mut parts)?;
    let mut members: Vec<Member> = Vec::new();
    for part in &parts {
        if let Some(keyword) = MORE_THAN_MEMBERS.into_iter().find(|keyword| part.contains_key(*keyword)) {
            return Err(keyword);
        }
        for (name, schema) in part.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let schema = with_definitions(resolved(schema, root), root);
            match members.iter().find(|member| member.name == *name) {
                Some(member) if member.schema != schema => return Err("allOf"),
                Some(_) => {}
                None => members.push(Member { name: name.clone(), schema, required: false }),
            }
        }
    }
    let required = parts.iter().filter_map(|part| part.get("required")?.as_array()).flatten();
    for name in required.filter_map(Value::as_str) {
        let member = members.iter_mut().find(|member| member.name == name).ok_or("required")?;
        member.required = true;
    }
    Ok(members)
}

/// The names of parameters that are texts.
pub(super) fn texts(root: &Value) -> Vec<String> {
    let properties = || {
        let all = root.get("properties").and_then(Value::as_object).into_iter().flatten();
        all.map(|(name, schema)| (name.clone(), resolved(schema, root))).collect()
    };
    let all: Vec<(String, Value)> = match members(root) {
        Ok(members) => members.into_iter().map(|member| (member.name, member.schema)).collect(),
        Err(_) => properties(),
    };
    all.into_iter().filter(|(_, schema)| is_text(schema)).map(|(name, _)| name).collect()
}

/// Whether values of a schema are texts, whichever they are.
pub(super) fn is_text(schema: &Value) -> bool {
    let texts = |all: &Vec<Value>| !all.is_empty() && all.iter().all(Value::is_string);
    schema.get("type").is_some_and(|is| is == "string")
        || schema.get("const").is_some_and(Value::is_string)
        || schema.get("enum").and_then(Value::as_array).is_some_and(texts)
}

/// What a text of this schema must be; where it is not `strict`, as far as it can be told.
///
/// # Errors
/// The keyword that cannot be told.
pub(super) fn text(schema: &Value, strict: bool) -> Result<Text, &'static str> {
    let more = MORE_THAN_TEXT.into_iter().find(|keyword| schema.get(keyword).is_some());
    if let Some(keyword) = more.filter(|_| strict) {
        return Err(keyword);
    }
    let number = |name: &str| schema.get(name).and_then(Value::as_u64);
    let length = (number("minLength").unwrap_or(0), number("maxLength"));
    let pattern = match schema.get("pattern").and_then(Value::as_str) {
        Some(pattern) => match whole(pattern) {
            None if strict => return Err("pattern"),
            whole => whole,
        },
        None => None,
    };
    let one = schema.get("const").map(std::slice::from_ref);
    let some = schema.get("enum").and_then(Value::as_array).map(Vec::as_slice);
    let fits = |value: &&Value| some.is_none_or(|some| some.contains(value));
    let values = one.or(some).map(|values| {
        values.iter().filter(fits).filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    });
    Ok(Text { values, length, pattern })
}

/// A schema and what it is put together of, each an object's.
fn flatten(
    schema: &Value,
    root: &Value,
    depth: usize,
    parts: &mut Vec<Map<String, Value>>,
) -> Result<(), &'static str> {
    if depth > MAX_HOPS {
        return Err("allOf");
    }
    let Value::Object(mut own) = resolved(schema, root) else { return Ok(()) };
    let all = own.remove("allOf");
    parts.push(own);
    for part in all.as_ref().and_then(Value::as_array).into_iter().flatten() {
        flatten(part, root, depth + 1, parts)?;
    }
    Ok(())
}

/// What a schema that is nothing but a reference refers to; others are left as they are.
fn resolved(schema: &Value, root: &Value) -> Value {
    let mut schema = schema;
    for _ in 0..MAX_HOPS {
        let next = match schema.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
            Some([only]) if says_nothing_but(schema, "allOf") => Some(only),
            _ => {
                let place = schema.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'));
                place.filter(|_| says_nothing_but(schema, "$ref")).and_then(|place| root.pointer(place))
            }
        };
        let Some(next) = next else { break };
        schema = next;
    }
    schema.clone()
}

fn says_nothing_but(schema: &Value, keyword: &str) -> bool {
    let mute = ["title", "description", "default", "examples", "deprecated", "$comment", "$schema"];
    let quiet =
        |key: &String| key == keyword || mute.contains(&key.as_str()) || DEFINITIONS.contains(&key.as_str());
    schema.as_object().is_some_and(|keywords| keywords.keys().all(quiet))
}

fn with_definitions(mut schema: Value, root: &Value) -> Value {
    if let Value::Object(keywords) = &mut schema {
        for name in DEFINITIONS {
            if let Some(all) = root.get(name) {
                keywords.insert(name.into(), all.clone());
            }
        }
    }
    schema
}

/// Whether every reference is to a definition: a member, of which the grammar is made alone, has no others.
fn only_definitions(schema: &Value) -> bool {
    match schema {
        Value::Array(items) => items.iter().all(only_definitions),
        Value::Object(keywords) => keywords.iter().all(|(key, value)| match value {
            Value::String(to) if key == "$ref" => {
                to.starts_with("#/$defs/") || to.starts_with("#/definitions/")
            }
            value => only_definitions(value),
        }),
        _ => true,
    }
}

/// A schema's pattern, which is looked for anywhere, as one that the whole text matches; `None` where an anchor is not at the
/// very end of it.
fn whole(pattern: &str) -> Option<String> {
    let (from_start, body) = match pattern.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let escaped = |text: &str| text.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1;
    let (to_end, body) = match body.strip_suffix('$') {
        Some(rest) if !escaped(rest) => (true, rest),
        _ => (false, body),
    };
    let (mut depth, mut class, mut chars) = (0, false, body.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' if matches!(chars.next()?, 'b' | 'B' | 'A' | 'z' | 'Z') && !class => return None,
            '\\' => {}
            '[' => class = true,
            ']' => class = false,
            '(' if !class => depth += 1,
            ')' if !class => depth -= 1,
            '^' | '$' if !class => return None,
            // An anchor would be one alternative's only.
            '|' if !class && depth == 0 && (from_start || to_end) => return None,
            _ => {}
        }
    }
    let anything = |anchored: bool| if anchored { "" } else { "(?s:.*)" };
    Some(format!("{}(?:{body}){}", anything(from_start), anything(to_end)))
}

#[cfg(test)]
mod tests;
