//! Writes responses of `POST /v2/embed`.

use ipc_proto::embed;

use super::wire::{ApiVersion, BilledUnits, EmbeddingType, Embeddings, Meta, Response};
use crate::protocols::embeddings::parse::{ByteOrder, NumberType};
use crate::protocols::embeddings::write::to_base64;

/// Writes the vectors of `texts` in each form of `types`.
///
/// # Errors
/// Returns an error if JSON serialization fails.
pub fn response(
    id: &str,
    texts: &[String],
    types: &[EmbeddingType],
    answer: &embed::Embeddings,
) -> serde_json::Result<Vec<u8>> {
    let vectors = &answer.vectors;
    let wants = |kind| types.contains(&kind);
    let embeddings = Embeddings {
        float: wants(EmbeddingType::Float).then_some(vectors),
        base64: wants(EmbeddingType::Base64).then(|| {
            vectors.iter().map(|vector| to_base64(vector, NumberType::Float32, ByteOrder::Little)).collect()
        }),
        ubinary: wants(EmbeddingType::Ubinary)
            .then(|| vectors.iter().map(|vector| pack_signs(vector).collect()).collect()),
        binary: wants(EmbeddingType::Binary)
            .then(|| vectors.iter().map(|vector| pack_signs(vector).map(to_signed).collect()).collect()),
    };
    let billed_units = BilledUnits { input_tokens: answer.tokens };
    let meta = Meta { api_version: ApiVersion { version: "2" }, billed_units };
    serde_json::to_vec(&Response { id, response_type: "embeddings_by_type", embeddings, texts, meta })
}

/// One bit for each number, set if the number is positive. The first number is the highest bit of the first byte.
fn pack_signs(vector: &[f32]) -> impl Iterator<Item = u8> {
    let bit = |at: usize, number: &f32| if *number > 0.0 { 0x80 >> at } else { 0 };
    vector
        .chunks(8)
        .map(move |chunk| chunk.iter().enumerate().fold(0, |byte, (at, number)| byte | bit(at, number)))
}

/// Subtracts 128, as sentence-transformers does.
fn to_signed(byte: u8) -> i8 {
    (byte ^ 0x80).cast_signed()
}

#[cfg(test)]
mod tests;
