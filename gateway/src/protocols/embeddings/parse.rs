//! Checks requests to embed and to rerank.

use ipc_proto::embed::{EmbedRequest, Input, RerankRequest};
use ipc_proto::supervisor::KeepAlive;
use ipc_proto::{Error, Result};
use serde_json::json;

use crate::inference::labels::Labels;
use crate::protocols::common::checks::{at_least_one, model, refuse};
use crate::protocols::common::extensions::time_limit_ms;
use crate::protocols::common::{keep_alive, labels};
use crate::protocols::embeddings::rerank::Document;
use crate::protocols::embeddings::{rerank, wire as embeddings};

/// Texts of one request, at most: OpenAI's limit.
const MAX_INPUTS: usize = 2048;
const MAX_PROMPT_NAME_BYTES: usize = 256;

/// A request to embed that was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidEmbed {
    /// The model's name as the client gave it.
    pub model: String,
    /// What to embed.
    pub request: EmbedRequest,
    /// Whether vectors are answered in base64.
    pub base64: bool,
    /// How long the idle model stays, where the request says.
    pub keep_alive: Option<KeepAlive>,
    /// Milliseconds from its arrival after which it has failed.
    pub time_limit_ms: Option<u32>,
    /// What is recorded of its sender.
    pub labels: Labels,
}

/// A request to rerank that was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidRerank {
    /// The model's name as the client gave it.
    pub model: String,
    /// What to compare.
    pub request: RerankRequest,
    /// So many results, the best.
    pub most: usize,
    /// Whether results carry their documents.
    pub shows_documents: bool,
    /// How long the idle model stays, where the request says.
    pub keep_alive: Option<KeepAlive>,
    /// Milliseconds from its arrival after which it has failed.
    pub time_limit_ms: Option<u32>,
    /// What is recorded of its sender.
    pub labels: Labels,
}

/// Checks a request to embed.
///
/// # Errors
/// Naming the field that is wrong.
pub fn embed(request: embeddings::Request) -> Result<ValidEmbed> {
    let inputs: Vec<Input> = match request.input {
        embeddings::Input::Text(text) => vec![Input::Text(text)],
        embeddings::Input::Texts(texts) => texts.into_iter().map(Input::Text).collect(),
        embeddings::Input::Tokens(tokens) => vec![Input::Tokens(tokens)],
        embeddings::Input::Batch(batch) => batch.into_iter().map(Input::Tokens).collect(),
    };
    count("input", inputs.len())?;
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
    let base64 = match request.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => {
            let text = format!("encoding_format must be float or base64, not \"{other}\"");
            return Err(Error::invalid("encoding_format", text));
        }
    };
    if request.dimensions == Some(0) {
        return Err(Error::invalid("dimensions", "dimensions must be at least 1"));
    }
    if request.prompt_name.as_ref().is_some_and(|name| name.len() > MAX_PROMPT_NAME_BYTES) {
        let text = format!("prompt_name must have at most {MAX_PROMPT_NAME_BYTES} bytes");
        return Err(Error::invalid("prompt_name", text));
    }
    let keep_alive = keep_alive::checked(request.keep_alive)?;
    let truncate = request.truncate.unwrap_or(false);
    let (dimensions, prompt_name) = (request.dimensions, request.prompt_name);
    let embed = EmbedRequest { inputs, dimensions, truncate, prompt_name };
    let labels = Labels { user: labels::first(&[("user", &request.user)])?, ..Labels::default() };
    let time_limit_ms = time_limit_ms(request.timeout)?;
    Ok(ValidEmbed { model: model(request.model)?, request: embed, base64, keep_alive, time_limit_ms, labels })
}

/// Checks a request to rerank.
///
/// # Errors
/// Naming the field that is wrong.
pub fn rerank(request: rerank::Request) -> Result<ValidRerank> {
    refuse("rank_fields", &request.rank_fields, &[json!([])])?;
    let max_document_tokens = at_least_one("max_tokens_per_doc", request.max_tokens_per_doc)?;
    refuse("max_chunks_per_doc", &request.max_chunks_per_doc, &[])?;
    count("documents", request.documents.len())?;
    if request.query.is_empty() {
        return Err(Error::invalid("query", "query must not be empty"));
    }
    if request.top_n == Some(0) {
        return Err(Error::invalid("top_n", "top_n must be at least 1"));
    }
    let documents = request.documents.into_iter().map(|document| match document {
        Document::Text(text) | Document::Object { text } => text,
    });
    let documents: Vec<String> = documents.collect();
    let keep_alive = keep_alive::checked(request.keep_alive)?;
    Ok(ValidRerank {
        model: model(request.model)?,
        most: request.top_n.unwrap_or(documents.len()),
        shows_documents: request.return_documents.unwrap_or(false),
        request: RerankRequest {
            query: request.query,
            documents,
            max_document_tokens,
            truncate: request.truncate.unwrap_or(false),
        },
        keep_alive,
        time_limit_ms: time_limit_ms(request.timeout)?,
        labels: Labels::default(),
    })
}

fn count(field: &str, count: usize) -> Result<()> {
    match count {
        0 => Err(Error::invalid(field, format!("{field} must not be empty"))),
        1..=MAX_INPUTS => Ok(()),
        _ => Err(Error::invalid(field, format!("{field}: at most {MAX_INPUTS} at once, not {count}"))),
    }
}

#[cfg(test)]
mod tests;
