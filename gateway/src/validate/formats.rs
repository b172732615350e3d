//! What the output must be, in each of the ways in which clients of chat and completions say it: OpenAI's `response_format`,
//! vLLM's `guided_…` and `structured_outputs`, llama.cpp's `json_schema`.

use ipc_proto::generate::Constraint;
use ipc_proto::{Error, Result};
use serde_json::Value;

use crate::api::openai::chat::StructuredOutputs;

const MAX_CHOICES: usize = 1024;

/// All of them; at most one may be there.
pub(super) struct Formats {
    pub(super) response_format: Option<Value>,
    pub(super) guided_json: Option<Value>,
    pub(super) guided_regex: Option<String>,
    pub(super) guided_choice: Option<Vec<String>>,
    pub(super) guided_grammar: Option<String>,
    pub(super) structured_outputs: Option<StructuredOutputs>,
    pub(super) json_schema: Option<Value>,
}

/// A [`Formats`] of either request.
macro_rules! formats {
    ($request:expr) => {
        Formats {
            response_format: $request.response_format.take(),
            guided_json: $request.guided_json.take(),
            guided_regex: $request.guided_regex.take(),
            guided_choice: $request.guided_choice.take(),
            guided_grammar: $request.guided_grammar.take(),
            structured_outputs: $request.structured_outputs.take(),
            json_schema: $request.json_schema.take(),
        }
    };
}
pub(super) use formats;

/// The one that is asked for.
pub(super) fn constraint(asked: Formats) -> Result<Option<Constraint>> {
    let outputs = asked.structured_outputs.unwrap_or_default();
    super::refuse("structured_outputs.structural_tag", &outputs.structural_tag, &[])?;
    super::refuse("structured_outputs.whitespace_pattern", &outputs.whitespace_pattern, &[])?;
    let given = [
        asked.response_format.map(|format| ("response_format", of_openai(&format))),
        asked.guided_json.map(|value| ("guided_json", schema("guided_json", &value))),
        asked.guided_regex.map(|regex| ("guided_regex", Ok(Some(Constraint::Regex(regex))))),
        asked.guided_choice.map(|texts| ("guided_choice", choice("guided_choice", &texts))),
        asked.guided_grammar.map(|text| ("guided_grammar", Ok(Some(Constraint::Lark(text))))),
        asked.json_schema.map(|value| ("json_schema", schema("json_schema", &value))),
        outputs.json.map(|value| ("structured_outputs.json", schema("structured_outputs.json", &value))),
        outputs.regex.map(|regex| ("structured_outputs.regex", Ok(Some(Constraint::Regex(regex))))),
        outputs
            .choice
            .map(|texts| ("structured_outputs.choice", choice("structured_outputs.choice", &texts))),
        outputs.grammar.map(|text| ("structured_outputs.grammar", Ok(Some(Constraint::Lark(text))))),
        outputs
            .json_object
            .map(|on| ("structured_outputs.json_object", Ok(on.then_some(Constraint::JsonObject)))),
    ];
    let mut wanted = None;
    for (name, constraint) in given.into_iter().flatten() {
        let Some(constraint) = constraint? else { continue };
        if let Some((other, _)) = wanted.replace((name, constraint)) {
            return Err(Error::invalid(name, format!("{name} cannot be given together with {other}")));
        }
    }
    Ok(wanted.map(|(_, constraint)| constraint))
}

/// OpenAI's kinds, and a regular expression or a grammar, as other servers have them.
fn of_openai(format: &Value) -> Result<Option<Constraint>> {
    let wrong = |text: &str| Error::invalid("response_format", format!("response_format: {text}"));
    let text = |name: &str| {
        let text = format.get(name).and_then(Value::as_str).map(str::to_owned);
        text.ok_or_else(|| wrong(&format!("{name} is missing, or no string")))
    };
    match format.get("type").and_then(Value::as_str) {
        _ if format.is_null() => Ok(None),
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(Constraint::JsonObject)),
        Some("json_schema") => {
            let schema = format.pointer("/json_schema/schema");
            let schema = schema.filter(|schema| schema.is_object() || schema.is_boolean());
            let schema = schema.ok_or_else(|| wrong("json_schema.schema is missing, or no schema"))?;
            Ok(Some(Constraint::JsonSchema(schema.to_string())))
        }
        Some("regex") => Ok(Some(Constraint::Regex(text("pattern")?))),
        Some("grammar") => Ok(Some(Constraint::Lark(text("grammar")?))),
        _ => Err(wrong("type must be text, json_object, json_schema, regex or grammar")),
    }
}

/// A schema, or one in a string.
fn schema(name: &str, value: &Value) -> Result<Option<Constraint>> {
    let parsed = value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let schema = parsed.as_ref().unwrap_or(value);
    match schema {
        Value::Null => Ok(None),
        Value::Object(_) | Value::Bool(_) => Ok(Some(Constraint::JsonSchema(schema.to_string()))),
        _ => Err(Error::invalid(name, format!("{name} must be a JSON schema"))),
    }
}

/// One of some texts.
fn choice(name: &str, texts: &[String]) -> Result<Option<Constraint>> {
    if texts.is_empty() || texts.len() > MAX_CHOICES || texts.iter().any(String::is_empty) {
        return Err(Error::invalid(name, format!("{name}: 1 to {MAX_CHOICES} texts, none empty")));
    }
    // Lark's strings are JSON's.
    let texts: Vec<String> = texts.iter().map(|text| Value::from(text.as_str()).to_string()).collect();
    Ok(Some(Constraint::Lark(format!("start: {}", texts.join(" | ")))))
}

#[cfg(test)]
mod tests;
