//! Reads a function's schema for formats that write arguments one by one instead of as one JSON object. Pure. Errors name the
//! keyword that such a format cannot express.

use serde_json::{Map, Value};

/// Length of a chain of references, at most.
const MAX_HOPS: usize = 16;
/// Keywords that a list of members cannot express.
const BEYOND_MEMBERS: [&str; 19] = [
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
/// Keywords that [`StringRules`] cannot express.
const BEYOND_STRING_RULES: [&str; 10] =
    ["$ref", "$dynamicRef", "anyOf", "oneOf", "allOf", "not", "if", "then", "else", "format"];
/// Keywords that hold definitions. Every member gets a copy of them.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// One argument.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    pub(super) name: String,
    /// With the definitions of the root.
    pub(super) schema: Value,
    pub(super) required: bool,
}

/// The rules of a string.
#[derive(Debug, Default, PartialEq)]
pub(super) struct StringRules {
    /// The allowed values.
    pub(super) values: Option<Vec<String>>,
    /// The minimum and maximum number of characters.
    pub(super) length: (u64, Option<u64>),
    /// A regular expression that must match the whole string.
    pub(super) pattern: Option<String>,
    /// A terminal that must match the whole string.
    pub(super) terminal: Option<String>,
}

/// The arguments in a schema.
///
/// # Errors
/// The keyword that a list of members cannot express.
pub(super) fn members(root: &Value) -> Result<Vec<Member>, &'static str> {
    if !only_definitions(root) {
        return Err("$ref");
    }
    let mut parts = Vec::new();
    flatten(root, root, 0, &mut parts)?;
    let mut members: Vec<Member> = Vec::new();
    for part in &parts {
        if let Some(keyword) = BEYOND_MEMBERS.into_iter().find(|keyword| part.contains_key(*keyword)) {
            return Err(keyword);
        }
        for (name, schema) in part.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let schema = with_definitions(resolve(schema, root), root);
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

/// The string schemas of a parameter whose values are all strings, or strings and null.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Texts {
    /// At least one. A value matches any of them.
    pub(super) schemas: Vec<Value>,
    /// Null is a value too.
    pub(super) nullable: bool,
}

/// The names of the parameters whose values are all strings, or strings and null, and whether null is one of them.
pub(super) fn text_parameters(root: &Value) -> Vec<(String, bool)> {
    let properties = || {
        let all = root.get("properties").and_then(Value::as_object).into_iter().flatten();
        all.map(|(name, schema)| (name.clone(), resolve(schema, root))).collect()
    };
    let all: Vec<(String, Value)> = match members(root) {
        Ok(members) => members.into_iter().map(|member| (member.name, member.schema)).collect(),
        Err(_) => properties(),
    };
    all.into_iter().filter_map(|(name, schema)| Some((name, texts(&schema, root)?.nullable))).collect()
}

/// The string schemas of `schema`. `None` if a value may be anything but a string or null, or if none is a string.
pub(super) fn texts(schema: &Value, root: &Value) -> Option<Texts> {
    let mut texts = Texts::default();
    collect_texts(schema, root, 0, &mut texts)?;
    (!texts.schemas.is_empty()).then_some(texts)
}

fn collect_texts(schema: &Value, root: &Value, depth: usize, texts: &mut Texts) -> Option<()> {
    let mut schema = resolve(schema, root);
    if is_string(&schema) {
        // OpenAPI 3.0
        texts.nullable |= schema.get("nullable") == Some(&Value::Bool(true));
        if let Some(Value::Array(listed)) = schema.get_mut("enum") {
            listed.retain(Value::is_string);
        }
        texts.schemas.push(schema);
        return Some(());
    }
    if schema.get("const") == Some(&Value::Null) || schema.get("type").is_some_and(|kind| kind == "null") {
        texts.nullable = true;
        return Some(());
    }
    if let Some(keyword) = ["anyOf", "oneOf"].into_iter().find(|keyword| has_only(&schema, keyword)) {
        if depth > MAX_HOPS {
            return None;
        }
        return schema
            .get(keyword)?
            .as_array()?
            .iter()
            .try_for_each(|option| collect_texts(option, root, depth + 1, texts));
    }
    let types = schema.get("type").and_then(Value::as_array).cloned().unwrap_or_default();
    let listed = schema.get("enum").and_then(Value::as_array).cloned();
    let typed = schema.get("type").is_some();
    let only_texts = if typed {
        !types.is_empty() && types.iter().all(|kind| kind == "string" || kind == "null")
    } else {
        listed.as_ref().is_some_and(|all| all.iter().all(|value| value.is_string() || value.is_null()))
    };
    if !only_texts {
        return None;
    }
    let names_null = !typed || types.iter().any(|kind| kind == "null");
    texts.nullable |= names_null && listed.as_ref().is_none_or(|all| all.contains(&Value::Null));
    let mut text = schema;
    text["type"] = "string".into();
    if let Some(mut listed) = listed {
        listed.retain(Value::is_string);
        if listed.is_empty() {
            return Some(());
        }
        text["enum"] = listed.into();
    }
    if !typed || types.iter().any(|kind| kind == "string") {
        texts.schemas.push(text);
    }
    Some(())
}

/// Whether every value of a schema is a string.
pub(super) fn is_string(schema: &Value) -> bool {
    let texts = |all: &Vec<Value>| !all.is_empty() && all.iter().all(Value::is_string);
    schema.get("type").is_some_and(|is| is == "string")
        || schema.get("const").is_some_and(Value::is_string)
        || schema.get("enum").and_then(Value::as_array).is_some_and(texts)
}

/// The rules of a string schema. Unless `strict`, skips keywords that [`StringRules`] cannot express.
///
/// # Errors
/// With `strict`, the keyword that cannot be expressed.
pub(super) fn string_rules(schema: &Value, strict: bool) -> Result<StringRules, &'static str> {
    let beyond = BEYOND_STRING_RULES.into_iter().find(|keyword| schema.get(keyword).is_some());
    if let Some(keyword) = beyond.filter(|_| strict) {
        return Err(keyword);
    }
    let number = |name: &str| schema.get(name).and_then(Value::as_u64);
    let length = (number("minLength").unwrap_or(0), number("maxLength"));
    let pattern = match schema.get("pattern").and_then(Value::as_str) {
        Some(pattern) => match whole_text_pattern(pattern) {
            None if strict => return Err("pattern"),
            converted => converted,
        },
        None => None,
    };
    let constant = schema.get("const").map(std::slice::from_ref);
    let listed = schema.get("enum").and_then(Value::as_array).map(Vec::as_slice);
    let fits = |value: &&Value| listed.is_none_or(|listed| listed.contains(value));
    let values = constant.or(listed).map(|values| {
        values.iter().filter(fits).filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    });
    Ok(StringRules { values, length, pattern, terminal: None })
}

/// Collects a schema and the parts of its `allOf`, recursively.
fn flatten(
    schema: &Value,
    root: &Value,
    depth: usize,
    parts: &mut Vec<Map<String, Value>>,
) -> Result<(), &'static str> {
    if depth > MAX_HOPS {
        return Err("allOf");
    }
    let Value::Object(mut own) = resolve(schema, root) else { return Ok(()) };
    let all = own.remove("allOf");
    parts.push(own);
    for part in all.as_ref().and_then(Value::as_array).into_iter().flatten() {
        flatten(part, root, depth + 1, parts)?;
    }
    Ok(())
}

/// Follows a schema that is only a reference to its target. Returns any other schema unchanged.
fn resolve(schema: &Value, root: &Value) -> Value {
    let mut schema = schema;
    for _ in 0..MAX_HOPS {
        let next = match schema.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
            Some([only]) if has_only(schema, "allOf") => Some(only),
            _ => {
                let place = schema.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'));
                place.filter(|_| has_only(schema, "$ref")).and_then(|place| root.pointer(place))
            }
        };
        let Some(next) = next else { break };
        schema = next;
    }
    schema.clone()
}

fn has_only(schema: &Value, keyword: &str) -> bool {
    const ANNOTATIONS: [&str; 7] =
        ["title", "description", "default", "examples", "deprecated", "$comment", "$schema"];
    let ignored = |key: &String| {
        key == keyword || ANNOTATIONS.contains(&key.as_str()) || DEFINITIONS.contains(&key.as_str())
    };
    schema.as_object().is_some_and(|keywords| keywords.keys().all(ignored))
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

/// Whether every reference is to a definition. The grammar of a member sees the member's schema alone, without the root.
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

/// Converts a schema's pattern, which may match anywhere in a string, to one that matches the whole string. `None` if an anchor
/// stands anywhere but at the pattern's ends.
fn whole_text_pattern(pattern: &str) -> Option<String> {
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
            // The anchor would apply to one alternative only.
            '|' if !class && depth == 0 && (from_start || to_end) => return None,
            _ => {}
        }
    }
    let anything = |anchored: bool| if anchored { "" } else { "(?s:.*)" };
    Some(format!("{}(?:{body}){}", anything(from_start), anything(to_end)))
}

#[cfg(test)]
mod tests;
