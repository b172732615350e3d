//! Parses embeddings and rerank requests.

use ipc_proto::embed::{EmbedRequest, Input, RerankRequest};
use ipc_proto::supervisor::KeepAlive;
use ipc_proto::{Error, Result};
use serde_json::json;

use crate::inference::labels::Labels;
use crate::protocols::common::checks::{model_name, refuse, token_limit};
use crate::protocols::common::extensions::time_limit_ms;
use crate::protocols::common::keep_alive::{self, KeepAlive as KeepAliveField};
use crate::protocols::common::labels;
use crate::protocols::common::token_limit::TokenLimit;
use crate::protocols::embeddings::rerank::Document;
use crate::protocols::embeddings::{rerank, wire as embeddings};

/// Maximum number of inputs in one request: OpenAI's limit.
const MAX_INPUTS: usize = 2048;
const MAX_PROMPT_NAME_BYTES: usize = 256;

/// The fields of both requests that the worker does not get.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The model's name as the client gave it.
    pub model: String,
    /// The time until the idle model is unloaded, if set.
    pub keep_alive: Option<KeepAlive>,
    /// Time limit from the arrival in milliseconds.
    pub time_limit_ms: Option<u32>,
    /// Labels for the audit record.
    pub labels: Labels,
}

/// A parsed embeddings request.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidEmbed {
    /// The fields besides the worker's request.
    pub call: Call,
    /// The request for the worker.
    pub request: EmbedRequest,
    /// How the response has its vectors.
    pub encoding: Encoding,
}

/// How a response has its vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As JSON numbers.
    Numbers,
    /// As the bytes of numbers in base64.
    Base64(NumberType, ByteOrder),
}

/// The type of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the types")]
pub enum NumberType {
    Float32,
    Float16,
    Bfloat16,
}

/// The order of a number's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are self-evident")]
pub enum ByteOrder {
    Little,
    Big,
}

/// A parsed rerank request.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidRerank {
    /// The fields besides the worker's request.
    pub call: Call,
    /// The request for the worker.
    pub request: RerankRequest,
    /// Maximum number of results.
    pub top_n: usize,
    /// Whether results include their documents.
    pub return_documents: bool,
    /// Whether the answer has the form of Text Embeddings Inference.
    pub is_tei: bool,
}

/// Parses an embeddings request.
///
/// # Errors
/// Returns an error that names the invalid field.
pub fn parse_embed(request: embeddings::Request) -> Result<ValidEmbed> {
    let encoding = parse_encoding(&request)?;
    request.unsupported.check()?;
    let max_tokens = token_limit("truncate_prompt_tokens", request.truncate_prompt_tokens)?;
    let inputs: Vec<Input> = match request.input {
        embeddings::Input::Text(text) => vec![Input::Text(text)],
        embeddings::Input::Texts(texts) => texts.into_iter().map(Input::Text).collect(),
        embeddings::Input::Tokens(tokens) => vec![Input::Tokens(tokens)],
        embeddings::Input::Batch(batch) => batch.into_iter().map(Input::Tokens).collect(),
    };
    check_count("input", inputs.len())?;
    for (at, input) in inputs.iter().enumerate() {
        let empty = match input {
            Input::Text(text) => text.is_empty(),
            Input::Tokens(tokens) => tokens.is_empty(),
        };
        if empty {
            let field = format!("input[{at}]");
            return Err(Error::invalid(&field, format!("{field} must not be empty")));
        }
    }
    check_dimensions("dimensions", request.dimensions)?;
    if request.prompt_name.as_ref().is_some_and(|name| name.len() > MAX_PROMPT_NAME_BYTES) {
        let text = format!("prompt_name must have at most {MAX_PROMPT_NAME_BYTES} bytes");
        return Err(Error::invalid("prompt_name", text));
    }
    let labels = Labels { user: labels::first_label(&[("user", &request.user)])?, ..Labels::default() };
    Ok(ValidEmbed {
        call: parse_call(request.model, request.keep_alive, request.timeout, labels)?,
        request: EmbedRequest {
            inputs,
            dimensions: request.dimensions,
            truncate: request.truncate.unwrap_or(request.truncate_prompt_tokens.is_some()),
            max_tokens,
            prompt_name: request.prompt_name,
            prompt_candidates: Vec::new(),
        },
        encoding,
    })
}

fn parse_encoding(request: &embeddings::Request) -> Result<Encoding> {
    let wrong = |name: &str, known: &str, value: &str| {
        Err(Error::invalid(name, format!("{name} must be {known}, not \"{value}\"")))
    };
    let number_type = match request.embed_dtype.as_deref() {
        None | Some("float32") => NumberType::Float32,
        Some("float16") => NumberType::Float16,
        Some("bfloat16") => NumberType::Bfloat16,
        Some(other) => return wrong("embed_dtype", "float32, float16 or bfloat16", other),
    };
    let byte_order = match request.endianness.as_deref() {
        // Every platform of this server is little-endian.
        None | Some("native" | "little") => ByteOrder::Little,
        Some("big") => ByteOrder::Big,
        Some(other) => return wrong("endianness", "native, little or big", other),
    };
    match request.encoding_format.as_deref() {
        Some("base64") => Ok(Encoding::Base64(number_type, byte_order)),
        None | Some("float") if number_type != NumberType::Float32 => {
            Err(Error::invalid("embed_dtype", "embed_dtype needs encoding_format \"base64\""))
        }
        None | Some("float") if byte_order != ByteOrder::Little => {
            Err(Error::invalid("endianness", "endianness needs encoding_format \"base64\""))
        }
        None | Some("float") => Ok(Encoding::Numbers),
        Some(other) => wrong("encoding_format", "float or base64", other),
    }
}

/// Parses a rerank request.
///
/// # Errors
/// Returns an error that names the invalid field.
pub fn parse_rerank(request: rerank::Request) -> Result<ValidRerank> {
    refuse("rank_fields", &request.rank_fields, &[json!([])])?;
    refuse("max_chunks_per_doc", &request.max_chunks_per_doc, &[])?;
    refuse("truncate_prompt_tokens", &request.truncate_prompt_tokens, &[])?;
    refuse("raw_scores", &request.raw_scores, &[json!(false)])?;
    refuse("truncation_direction", &request.truncation_direction, &[json!("Right"), json!("right")])?;
    request.unsupported.check()?;
    let is_tei = request.texts.is_some();
    let documents = parse_documents(request.documents, request.texts)?;
    if request.query.is_empty() {
        return Err(Error::invalid("query", "query must not be empty"));
    }
    Ok(ValidRerank {
        call: parse_call(request.model, request.keep_alive, request.timeout, Labels::default())?,
        // vLLM's default is 0.
        top_n: request.top_n.filter(|n| *n > 0).unwrap_or(documents.len()),
        return_documents: request.return_documents.or(request.return_text).unwrap_or(false),
        is_tei,
        request: RerankRequest {
            query: request.query,
            documents,
            // Cohere's clients send 0 by default.
            max_document_tokens: request
                .max_tokens_per_doc
                .and_then(TokenLimit::tokens)
                .filter(|tokens| *tokens > 0),
            truncate: request.truncate.unwrap_or(false),
        },
    })
}

/// Returns the documents of either field.
fn parse_documents(documents: Option<Vec<Document>>, texts: Option<Vec<String>>) -> Result<Vec<String>> {
    let (field, documents) = match (documents, texts) {
        (Some(_), Some(_)) => {
            return Err(Error::invalid("texts", "texts cannot be given together with documents"));
        }
        (None, Some(texts)) => ("texts", texts),
        (Some(documents), None) => {
            let text = |document| match document {
                Document::Text(text) | Document::Object { text } => text,
            };
            ("documents", documents.into_iter().map(text).collect())
        }
        (None, None) => return Err(Error::invalid("documents", "documents is missing")),
    };
    check_count(field, documents.len())?;
    Ok(documents)
}

/// Parses the fields that do not go to the worker.
///
/// # Errors
/// Returns an error that names the invalid field.
pub(super) fn parse_call(
    model: Option<String>,
    keep_alive: Option<KeepAliveField>,
    timeout: Option<f64>,
    labels: Labels,
) -> Result<Call> {
    Ok(Call {
        model: model_name(model)?,
        keep_alive: keep_alive::parse(keep_alive)?,
        time_limit_ms: time_limit_ms(timeout)?,
        labels,
    })
}

/// Checks the number of dimensions in `field`.
///
/// # Errors
/// Returns an error for 0.
pub(super) fn check_dimensions(field: &str, dimensions: Option<u32>) -> Result<()> {
    match dimensions {
        Some(0) => Err(Error::invalid(field, format!("{field} must be at least 1"))),
        _ => Ok(()),
    }
}

/// Checks the number of inputs in `field`.
///
/// # Errors
/// Returns an error for none and for too many.
pub(super) fn check_count(field: &str, count: usize) -> Result<()> {
    match count {
        0 => Err(Error::invalid(field, format!("{field} must not be empty"))),
        1..=MAX_INPUTS => Ok(()),
        _ => Err(Error::invalid(field, format!("{field}: at most {MAX_INPUTS} at once, not {count}"))),
    }
}

#[cfg(test)]
mod tests;
