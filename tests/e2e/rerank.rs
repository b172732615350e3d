//! Cross-encoders over HTTP score as in Transformers: tokens, pairs, padding, sigmoid and order.

use e2e::{Server, places};
use serde_json::{Value, json};

/// The greatest difference between a score and its golden.
const TOLERANCE: f64 = 1e-4;

#[test]
fn rerank_scores_match_transformers() {
    let goldens = places::repository().join("worker/tests/golden/reading");
    let server = Server::builder().models(&goldens).start();
    for model in ["bert-cross", "xlm-roberta-cross"] {
        let text = std::fs::read_to_string(goldens.join(model).join("pairs.json")).unwrap();
        let golden: Value = serde_json::from_str(&text).unwrap();
        let rerank = |more: Value| {
            let mut body =
                json!({"model": model, "query": golden["query"], "documents": golden["documents"]});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let answer = server.post("/v1/rerank", &body);
            assert_eq!(answer.status, 200, "{model}: {}", answer.body);
            answer.body["results"].as_array().unwrap().clone()
        };
        let ranked = |results: &[Value]| -> Vec<(usize, f64)> {
            let one = |result: &Value| {
                let index = result["index"].as_u64().unwrap() as usize;
                (index, result["relevance_score"].as_f64().unwrap())
            };
            results.iter().map(one).collect()
        };
        for (more, scores) in
            [(json!({}), "scores"), (json!({"max_tokens_per_doc": golden["cut"]}), "cut_scores")]
        {
            let results = ranked(&rerank(more));
            assert_eq!(results.len(), golden["documents"].as_array().unwrap().len());
            for (index, score) in &results {
                let off = (score - golden[scores][index].as_f64().unwrap()).abs();
                assert!(off <= TOLERANCE, "{model}, {scores}, document {index}: off by {off}");
            }
            assert!(results.is_sorted_by(|a, b| a.1 >= b.1), "{results:?}");
        }
        assert_ne!(golden["scores"], golden["cut_scores"]);
        let best = rerank(json!({"top_n": 1, "return_documents": true}));
        let index = best[0]["index"].as_u64().unwrap() as usize;
        assert_eq!((best.len(), &best[0]["document"]["text"]), (1, &golden["documents"][index]));
    }
}
