use serde_json::{Value, json};

use super::*;

/// The signed values are those of NumPy: `(numpy.packbits(vector > 0) - 128).astype(int8)`.
#[test]
fn vectors_are_written_in_each_requested_form() {
    let vectors = vec![vec![1.0, -0.5, 0.0, 2.0, -1.0, -1.0, -1.0, 3.0, 1.0]];
    let answer = embed::Embeddings { vectors, tokens: 7, ..embed::Embeddings::default() };
    let types = [EmbeddingType::Float, EmbeddingType::Binary, EmbeddingType::Ubinary];
    let written = response("embed-1", &["a".to_owned()], &types, &answer).unwrap();
    let written: Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(
        written,
        json!({"id": "embed-1", "response_type": "embeddings_by_type", "texts": ["a"],
            "embeddings": {
                "float": [[1.0, -0.5, 0.0, 2.0, -1.0, -1.0, -1.0, 3.0, 1.0]],
                "ubinary": [[0b1001_0001, 0b1000_0000]],
                "binary": [[17, 0]]},
            "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 7}}})
    );
}

#[test]
fn base64_holds_little_endian_floats() {
    let answer = embed::Embeddings { vectors: vec![vec![1.0, -0.5]], ..embed::Embeddings::default() };
    let written = response("embed-1", &["a".to_owned()], &[EmbeddingType::Base64], &answer).unwrap();
    let written: Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(written["embeddings"], json!({"base64": ["AACAPwAAAL8="]}));
}
