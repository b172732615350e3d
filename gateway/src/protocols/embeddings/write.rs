//! Writes vectors and scores as JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use half::{bf16, f16};
use ipc_proto::embed::{Embeddings, Scores};

use crate::protocols::embeddings::parse::{ByteOrder, Encoding, NumberType};
use crate::protocols::embeddings::rerank;
use crate::protocols::embeddings::rerank::{Ranked, Shown, TeiRank};
use crate::protocols::embeddings::wire::{Data, Embedding, Response, Usage};

/// Writes the response of an embeddings request.
///
/// # Errors
/// Returns an error if JSON serialization fails.
pub fn embeddings(model: &str, answer: &Embeddings, encoding: Encoding) -> serde_json::Result<Vec<u8>> {
    let data = answer.vectors.iter().enumerate().map(|(index, vector)| Data {
        object: "embedding",
        index,
        embedding: match encoding {
            Encoding::Numbers => Embedding::Floats(vector),
            Encoding::Base64(number_type, byte_order) => {
                Embedding::Base64(to_base64(vector, number_type, byte_order))
            }
        },
    });
    let response = Response { object: "list", data: data.collect(), model, usage: usage(answer.tokens) };
    serde_json::to_vec(&response)
}

/// The bytes of the numbers in base64.
pub(super) fn to_base64(vector: &[f32], number_type: NumberType, byte_order: ByteOrder) -> String {
    let little_endian: Vec<Vec<u8>> = match number_type {
        NumberType::Float32 => vector.iter().map(|x| x.to_le_bytes().to_vec()).collect(),
        NumberType::Float16 => vector.iter().map(|x| f16::from_f32(*x).to_le_bytes().to_vec()).collect(),
        NumberType::Bfloat16 => vector.iter().map(|x| bf16::from_f32(*x).to_le_bytes().to_vec()).collect(),
    };
    let ordered = little_endian.into_iter().flat_map(|mut bytes| {
        if byte_order == ByteOrder::Big {
            bytes.reverse();
        }
        bytes
    });
    STANDARD.encode(ordered.collect::<Vec<u8>>())
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
