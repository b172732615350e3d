//! Typed decisions. The fake worker's prompts are the turns, joined by `|`, and its tokens are bytes.

use serde_json::{Value, json};

use super::fakes::Gateway;
use super::json;

fn decide(gateway: &Gateway, input: &str, questions: &Value) -> (u16, Value) {
    let body = json!({"model": "m", "input": input, "questions": questions}).to_string();
    let (status, _, body) = gateway.ask("POST", "/v1/decisions", "", &body);
    (status, json(&body))
}

/// The log probability that the fake worker gives a text.
fn logprob(text: &str) -> f64 {
    text.bytes().map(|byte| f64::from(byte) / -100.0).sum()
}

fn is_near(value: &Value, expected: f64) -> bool {
    (value.as_f64().unwrap() - expected).abs() < 1e-5
}

#[test]
fn probabilities_are_those_of_all_tokens_of_each_answer() {
    let gateway = Gateway::start("");
    let questions = json!([
        {"type": "predicate", "instructions": "a"},
        {"type": "choice", "name": "c", "instructions": "b", "choices": [{"value": "x"}, {"value": true}]},
        {"type": "score", "instructions": "b", "levels": [{"label": "low"}, {"label": "high"}]}]);
    let (status, answer) = decide(&gateway, "q", &questions);
    assert_eq!(status, 200, "{answer}");
    let share = |a: &str, b: &str| 1.0 / (1.0 + (logprob(b) - logprob(a)).exp());
    let answers = &answer["answers"];
    assert!(is_near(&answers[0]["probability"], share(" Yes", " No")), "{answer}");
    assert!(is_near(&answers[1]["probabilities"][0]["probability"], share(" \"x\"", " true")), "{answer}");
    assert_eq!((&answers[1]["choice"], &answers[1]["name"]), (&json!("x"), &json!("c")));
    assert!(is_near(&answers[2]["score"], share(" 1", " 0")), "{answer}");
    assert_eq!(answers[2]["probabilities"][1]["label"], "high");
    // The prompt of each question once, and the tokens of each answer.
    let prompts: u64 = [
        "a\n\nIs this true? Answer with Yes or No.",
        "b",
        "b\n\nChoose one of these levels:\n- 0: low\n- 1: high\nAnswer with the number only.",
    ]
    .iter()
    .map(|question| format!("q\n\n{question}|Answer:").len() as u64)
    .sum();
    let own: usize = [" Yes", " No", " \"x\"", " true", " 0", " 1"].iter().map(|text| text.len()).sum();
    assert_eq!(answer["usage"]["input_tokens"], prompts + own as u64);
    assert_eq!(answer["usage"]["input_tokens_details"]["cached_tokens"], 6);
    assert_eq!(gateway.records(1), vec![("finished".into(), None)]);
}

#[test]
fn more_answers_than_one_wave_are_scored() {
    let gateway = Gateway::start("");
    let choices: Vec<Value> = (0..200).map(|at| json!({"value": format!("v{at:03}")})).collect();
    let (status, answer) =
        decide(&gateway, "q", &json!([{"type": "choice", "instructions": "a", "choices": choices}]));
    assert_eq!(status, 200, "{answer}");
    let probabilities = answer["answers"][0]["probabilities"].as_array().unwrap();
    let sum: f64 = probabilities.iter().map(|one| one["probability"].as_f64().unwrap()).sum();
    assert_eq!((probabilities.len(), &answer["answers"][0]["choice"]), (200, &json!("v000")));
    assert!((sum - 1.0).abs() < 1e-9, "{sum}");
}

#[test]
fn input_that_the_template_refuses_is_blamed() {
    let gateway = Gateway::start("");
    let (status, answer) = decide(&gateway, "refuse", &json!([{"type": "predicate", "instructions": "a"}]));
    assert_eq!((status, &answer["error"]["param"]), (400, &json!("input")), "{answer}");
}

#[test]
fn unknown_model_and_wrong_question_have_their_errors() {
    let gateway = Gateway::start("");
    let (status, answer) = decide(&gateway, "q", &json!([{"type": "riddle"}]));
    assert_eq!((status, &answer["error"]["param"]), (400, &json!("questions[0].type")), "{answer}");
    let body =
        json!({"model": "unknown", "input": "q", "questions": [{"type": "predicate", "instructions": "a"}]});
    let (status, _, body) = gateway.ask("POST", "/v1/decisions", "", &body.to_string());
    assert_eq!((status, &json(&body)["error"]["code"]), (404, &json!("model_not_found")));
}
