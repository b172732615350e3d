//! Parses the constraint of the output from OpenAI's `response_format`, vLLM's `guided_…` and `structured_outputs`, or
//! llama.cpp's `json_schema`.

use ipc_proto::generate::Constraint;
use ipc_proto::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::protocols::common::checks::refuse;

const MAX_CHOICES: usize = 1024;

/// The constraint fields of a request. They must not contradict each other.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, vLLM's and llama.cpp's, and so is their meaning")]
pub struct FormatFields {
    pub response_format: Option<Value>,
    pub guided_json: Option<Value>,
    pub guided_regex: Option<String>,
    pub guided_choice: Option<Vec<String>>,
    pub guided_grammar: Option<String>,
    pub structured_outputs: Option<StructuredOutputs>,
    pub json_schema: Option<Value>,
}

/// The constraint in vLLM's form.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are vLLM's, and so is their meaning")]
pub struct StructuredOutputs {
    pub json: Option<Value>,
    pub regex: Option<String>,
    pub choice: Option<Vec<String>>,
    pub grammar: Option<String>,
    pub json_object: Option<bool>,
    pub structural_tag: Option<Value>,
    pub whitespace_pattern: Option<Value>,
}

impl FormatFields {
    /// Returns the constraint of the output, if any.
    ///
    /// # Errors
    /// Returns an error for fields that contradict each other or an invalid field.
    pub fn parse(self) -> Result<Option<Constraint>> {
        let outputs = self.structured_outputs.unwrap_or_default();
        refuse("structured_outputs.structural_tag", &outputs.structural_tag, &[])?;
        refuse("structured_outputs.whitespace_pattern", &outputs.whitespace_pattern, &[])?;
        let regex = |regex: String| Ok(Some(Constraint::Regex(regex)));
        let grammar = |text: String| Ok(Some(Constraint::Lark(text)));
        let given = [
            self.response_format.map(|format| ("response_format", parse_format(&RESPONSE_FORMAT, &format))),
            self.guided_json.map(|value| ("guided_json", parse_schema("guided_json", &value))),
            self.guided_regex.map(|text| ("guided_regex", regex(text))),
            self.guided_choice.map(|texts| ("guided_choice", parse_text_choice("guided_choice", &texts))),
            self.guided_grammar.map(|text| ("guided_grammar", grammar(text))),
            self.json_schema.map(|value| ("json_schema", parse_schema("json_schema", &value))),
            outputs
                .json
                .map(|value| ("structured_outputs.json", parse_schema("structured_outputs.json", &value))),
            outputs.regex.map(|text| ("structured_outputs.regex", regex(text))),
            outputs.choice.map(|texts| {
                ("structured_outputs.choice", parse_text_choice("structured_outputs.choice", &texts))
            }),
            outputs.grammar.map(|text| ("structured_outputs.grammar", grammar(text))),
            outputs
                .json_object
                .map(|on| ("structured_outputs.json_object", Ok(on.then_some(Constraint::JsonObject)))),
        ];
        let mut found: Option<(&str, Constraint)> = None;
        for (name, constraint) in given.into_iter().flatten() {
            let Some(constraint) = constraint? else { continue };
            let Some((other, earlier)) = found.take() else {
                found = Some((name, constraint));
                continue;
            };
            let contradicts =
                || Error::invalid(name, format!("{name} cannot be given together with {other}"));
            found = Some((name, combine(earlier, constraint).ok_or_else(contradicts)?));
        }
        Ok(found.map(|(_, constraint)| constraint))
    }
}

/// The field that holds a format, and the place of the schema in it.
pub struct FormatField {
    /// The name of the field.
    pub name: &'static str,
    /// The place of the schema in OpenAI's API.
    pub schema: &'static str,
}

const RESPONSE_FORMAT: FormatField = FormatField { name: "response_format", schema: "json_schema.schema" };

/// Parses OpenAI's types, and the types `regex` and `grammar` of other servers.
///
/// # Errors
/// Returns an error that names the field.
pub fn parse_format(field: &FormatField, format: &Value) -> Result<Option<Constraint>> {
    let FormatField { name, schema: place } = field;
    let wrong = |text: &str| Error::invalid(*name, format!("{name}: {text}"));
    let text = |key: &str| {
        let text = format.get(key).and_then(Value::as_str).map(str::to_owned);
        text.ok_or_else(|| wrong(&format!("{key} is missing, or no string")))
    };
    let schema = || find_schema(format).map_or(Ok(None), |schema| parse_schema(name, schema));
    match format.get("type").and_then(Value::as_str) {
        _ if format.is_null() => Ok(None),
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(schema()?.filter(is_narrower).unwrap_or(Constraint::JsonObject))),
        Some("json_schema") => {
            let missing = || wrong(&format!("{place} is missing, or no schema"));
            schema().ok().flatten().map(Some).ok_or_else(missing)
        }
        Some("regex") => Ok(Some(Constraint::Regex(text("pattern")?))),
        Some("grammar") => Ok(Some(Constraint::Lark(text("grammar")?))),
        _ => Err(wrong("type must be text, json_object, json_schema, regex or grammar")),
    }
}

/// Finds the schema of a format. It may be where OpenAI's two APIs have it (`json_schema.schema` and `schema`). llama.cpp's
/// clients also put it in the place of `json_schema`, or beside the type `json_object`.
fn find_schema(format: &Value) -> Option<&Value> {
    const KEYWORDS: [&str; 8] = ["type", "properties", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"];
    let nested = format.get("json_schema");
    let is_schema = |value: &&Value| KEYWORDS.iter().any(|keyword| value.get(keyword).is_some());
    let places =
        [nested.and_then(|nested| nested.get("schema")), format.get("schema"), nested.filter(is_schema)];
    places.into_iter().flatten().find(|schema| !schema.is_null())
}

/// Whether a schema says more than that the value is an object.
fn is_narrower(constraint: &Constraint) -> bool {
    !matches!(constraint, Constraint::JsonSchema(schema) if schema == "{}" || schema == "true")
}

/// Combines two constraints. Clients write one of them in the form of several servers, or "any object" beside its schema.
fn combine(one: Constraint, other: Constraint) -> Option<Constraint> {
    match (one, other) {
        (Constraint::JsonObject, schema @ Constraint::JsonSchema(_))
        | (schema @ Constraint::JsonSchema(_), Constraint::JsonObject) => Some(schema),
        (one, other) => (one == other).then_some(one),
    }
}

/// Parses a JSON schema, which may be in a string.
fn parse_schema(name: &str, value: &Value) -> Result<Option<Constraint>> {
    let parsed = value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let schema = parsed.as_ref().unwrap_or(value);
    match schema {
        Value::Null => Ok(None),
        Value::Object(_) | Value::Bool(_) => Ok(Some(Constraint::JsonSchema(schema.to_string()))),
        _ => Err(Error::invalid(name, format!("{name} must be a JSON schema"))),
    }
}

/// Builds a grammar that accepts one of `texts`.
fn parse_text_choice(name: &str, texts: &[String]) -> Result<Option<Constraint>> {
    if texts.is_empty() || texts.len() > MAX_CHOICES || texts.iter().any(String::is_empty) {
        return Err(Error::invalid(name, format!("{name}: 1 to {MAX_CHOICES} texts, none empty")));
    }
    // Lark's strings have the syntax of JSON's.
    let texts: Vec<String> = texts.iter().map(|text| Value::from(text.as_str()).to_string()).collect();
    Ok(Some(Constraint::Lark(format!("start: {}", texts.join(" | ")))))
}

#[cfg(test)]
mod tests;
