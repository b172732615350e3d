//! Writes vectors and scores as JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipc_proto::embed::{Embeddings, Scores};

use crate::protocols::embeddings::rerank;
use crate::protocols::embeddings::rerank::{Ranked, Shown, TeiRank};
use crate::protocols::embeddings::wire::{Data, Embedding, Response, Usage};

/// Writes the response of an embeddings request.
///
/// # Errors
/// Returns an error if JSON serialization fails.
pub fn embeddings(model: &str, answer: &Embeddings, base64: bool) -> serde_json::Result<Vec<u8>> {
    let data = answer.vectors.iter().enumerate().map(|(index, vector)| Data {
        object: "embedding",
        index,
        embedding: if base64 { Embedding::Base64(to_base64(vector)) } else { Embedding::Floats(vector) },
    });
    let response = Response { object: "list", data: data.collect(), model, usage: usage(answer.tokens) };
    serde_json::to_vec(&response)
}

/// Little-endian bytes of the numbers in base64.
pub(super) fn to_base64(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}

/// Writes the response of a rerank request in TEI's form: a list, as in [`ranking`].
///
/// # Errors
/// Returns an error if JSON serialization fails.
pub fn tei_ranking(
    answer: &Scores,
    top_n: usize,
    documents: Option<&[String]>,
) -> serde_json::Result<Vec<u8>> {
    let rank = |(index, score)| {
        let text = documents.and_then(|documents| documents.get(index).cloned());
        TeiRank { index, text, score }
    };
    serde_json::to_vec(&by_relevance(answer).take(top_n).map(rank).collect::<Vec<_>>())
}

/// The index and the score of each document, the most relevant first.
fn by_relevance(answer: &Scores) -> impl Iterator<Item = (usize, f32)> + use<> {
    let mut order: Vec<(usize, f32)> = answer.scores.iter().copied().enumerate().collect();
    // The sort is stable: documents with equal scores stay in the client's order.
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    order.into_iter()
}

/// Writes the response of a rerank request: the `top_n` most relevant documents, with their texts if `documents` is set.
///
/// # Errors
/// Returns an error if JSON serialization fails.
pub fn ranking(
    (id, model): (&str, &str),
    answer: &Scores,
    top_n: usize,
    documents: Option<&[String]>,
) -> serde_json::Result<Vec<u8>> {
    let shown = |index: usize| Some(Shown { text: documents?.get(index)?.clone() });
    let results = by_relevance(answer).take(top_n).map(|(index, relevance_score)| Ranked {
        index,
        relevance_score,
        document: shown(index),
    });
    let results = results.collect();
    let (api_version, tokens) =
        (rerank::ApiVersion { version: "2" }, rerank::Tokens { input_tokens: answer.tokens });
    let (usage, meta) = (usage(answer.tokens), rerank::Meta { api_version, tokens });
    let response = rerank::Response { id, object: "list", model, results, usage, meta };
    serde_json::to_vec(&response)
}

fn usage(tokens: u64) -> Usage {
    Usage { prompt_tokens: tokens, total_tokens: tokens }
}

#[cfg(test)]
mod tests;
