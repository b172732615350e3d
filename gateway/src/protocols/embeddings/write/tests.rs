use serde_json::{Value, json};

use super::*;

fn to_value(bytes: serde_json::Result<Vec<u8>>) -> Value {
    serde_json::from_slice(&bytes.unwrap()).unwrap()
}

#[test]
fn vectors_are_written_as_numbers_or_base64() {
    let answer =
        Embeddings { vectors: vec![vec![1.0, -0.5], vec![0.1, 3.0]], tokens: 7, ..Embeddings::default() };
    let floats = to_value(embeddings("m", &answer, Encoding::Numbers));
    assert_eq!(
        floats,
        json!({"object": "list", "model": "m", "usage": {"prompt_tokens": 7, "total_tokens": 7}, "data": [
            {"object": "embedding", "index": 0, "embedding": [1.0, -0.5]},
            {"object": "embedding", "index": 1, "embedding": [0.1, 3.0]}]})
    );
    for (number_type, byte_order, coded) in [
        (NumberType::Float32, ByteOrder::Little, "AACAPwAAAL8="),
        (NumberType::Float32, ByteOrder::Big, "P4AAAL8AAAA="),
        (NumberType::Float16, ByteOrder::Little, "ADwAuA=="),
        (NumberType::Bfloat16, ByteOrder::Big, "P4C/AA=="),
    ] {
        let answered = to_value(embeddings("m", &answer, Encoding::Base64(number_type, byte_order)));
        assert_eq!(answered["data"][0]["embedding"], coded, "{number_type:?} {byte_order:?}");
    }
}

#[test]
fn ranking_is_ordered_by_relevance() {
    let answer = Scores { scores: vec![0.2, 0.9, 0.2, 0.5], tokens: 9, ..Scores::default() };
    let documents = ["a", "b", "c", "d"].map(str::to_owned);
    let all = to_value(ranking(("rerank-1", "m"), &answer, 4, None));
    let order: Vec<u64> =
        all["results"].as_array().unwrap().iter().map(|one| one["index"].as_u64().unwrap()).collect();
    assert_eq!(order, [1, 3, 0, 2]);
    assert!(all["results"][0].get("document").is_none() && all["usage"]["total_tokens"] == 9);
    let best = to_value(ranking(("rerank-1", "m"), &answer, 1, Some(&documents)));
    assert_eq!(best["results"].as_array().unwrap().len(), 1);
    assert_eq!(best["results"][0]["document"], json!({"text": "b"}));
}

#[test]
fn tei_ranking_is_a_list_ordered_by_relevance() {
    let answer = Scores { scores: vec![0.25, 0.75], tokens: 9, ..Scores::default() };
    let documents = ["a", "b"].map(str::to_owned);
    assert_eq!(
        to_value(tei_ranking(&answer, 2, None)),
        json!([{"index": 1, "score": 0.75}, {"index": 0, "score": 0.25}])
    );
    assert_eq!(
        to_value(tei_ranking(&answer, 1, Some(&documents))),
        json!([{"index": 1, "text": "b", "score": 0.75}])
    );
}
