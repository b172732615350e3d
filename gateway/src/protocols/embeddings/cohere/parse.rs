//! Parses requests of `POST /v2/embed`.

use ipc_proto::embed::{EmbedRequest, Input};
use ipc_proto::{Error, Result};
use serde_json::json;

use super::wire::{EmbeddingType, InputType, Part, Request, Truncate};
use crate::inference::labels::Labels;
use crate::protocols::common::checks::refuse;
use crate::protocols::embeddings::parse::{Call, check_count, check_dimensions, parse_call};

/// A parsed request.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidCohereEmbed {
    /// The fields besides the worker's request.
    pub call: Call,
    /// The request for the worker.
    pub request: EmbedRequest,
    /// The inputs as texts.
    pub texts: Vec<String>,
    /// The forms of the vectors in the response.
    pub types: Vec<EmbeddingType>,
}

/// Parses a request.
///
/// # Errors
/// Returns an error that names the invalid field.
pub fn parse(request: Request) -> Result<ValidCohereEmbed> {
    refuse("images", &request.images, &[json!([])])?;
    refuse("max_tokens", &request.max_tokens, &[])?;
    refuse("priority", &request.priority, &[json!(0)])?;
    let texts = parse_texts(&request)?;
    check_dimensions("output_dimension", request.output_dimension)?;
    let truncate = match request.truncate {
        None | Some(Truncate::End) => true,
        Some(Truncate::None) => false,
        Some(Truncate::Start) => return Err(unsupported("truncate", "START")),
    };
    let types = request.embedding_types.unwrap_or_else(|| vec![EmbeddingType::Float]);
    if let Some(kind) = types.iter().find(|kind| matches!(kind, EmbeddingType::Int8 | EmbeddingType::Uint8)) {
        let name = if *kind == EmbeddingType::Int8 { "int8" } else { "uint8" };
        return Err(unsupported("embedding_types", name));
    }
    let request_for_worker = EmbedRequest {
        inputs: texts.iter().cloned().map(Input::Text).collect(),
        dimensions: request.output_dimension,
        truncate,
        max_tokens: None,
        prompt_name: None,
        prompt_candidates: prompt_names(request.input_type)?,
    };
    let call = parse_call(request.model, request.keep_alive, request.timeout, Labels::default())?;
    Ok(ValidCohereEmbed { call, request: request_for_worker, texts, types })
}

fn unsupported(field: &str, value: &str) -> Error {
    Error::invalid(field, format!("{field}: \"{value}\" is not supported by this server"))
}

/// Names of models' prompts for a purpose, in the order of preference: Cohere's own, and those of sentence-transformers.
fn prompt_names(purpose: Option<InputType>) -> Result<Vec<String>> {
    let names: &[&str] = match purpose {
        None => &[],
        Some(InputType::SearchQuery) => &["search_query", "query"],
        Some(InputType::SearchDocument) => &["search_document", "document", "passage"],
        Some(InputType::Classification) => &["classification", "Classification"],
        Some(InputType::Clustering) => &["clustering", "Clustering"],
        Some(InputType::Image) => return Err(unsupported("input_type", "image")),
    };
    Ok(names.iter().map(|name| (*name).to_owned()).collect())
}

fn parse_texts(request: &Request) -> Result<Vec<String>> {
    let (field, texts) = match (&request.texts, &request.inputs) {
        (Some(_), Some(_)) => {
            return Err(Error::invalid("inputs", "inputs cannot be given together with texts"));
        }
        (Some(texts), None) => ("texts", texts.clone()),
        (None, Some(inputs)) => {
            let joined = inputs.iter().enumerate().map(|(at, input)| join_parts(at, &input.content));
            ("inputs", joined.collect::<Result<Vec<_>>>()?)
        }
        (None, None) => return Err(Error::invalid("texts", "texts is missing")),
    };
    check_count(field, texts.len())?;
    match texts.iter().position(String::is_empty) {
        Some(at) => {
            let field = format!("{field}[{at}]");
            Err(Error::invalid(&field, format!("{field} must not be empty")))
        }
        None => Ok(texts),
    }
}

/// Joins the parts of the input `at`, a line each.
fn join_parts(at: usize, parts: &[Part]) -> Result<String> {
    let text = |(n, part): (usize, &Part)| {
        let path = format!("inputs[{at}].content[{n}]");
        if part.r#type != "text" {
            let name = format!("{path}.type");
            let text = format!("{name}: \"{}\" is not supported, only \"text\"", part.r#type);
            return Err(Error::invalid(name, text));
        }
        let name = format!("{path}.text");
        part.text.clone().ok_or_else(|| Error::invalid(&name, format!("{name} is missing")))
    };
    Ok(parts.iter().enumerate().map(text).collect::<Result<Vec<_>>>()?.join("\n"))
}

#[cfg(test)]
mod tests;
