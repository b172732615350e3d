use serde_json::json;

use super::*;

#[test]
fn sampling_defaults_come_from_the_file() {
    let file =
        json!({"temperature": 0.7, "top_p": 0.8, "top_k": 20, "min_p": 0.05, "repetition_penalty": 1.1});
    let expected = SamplingDefaults {
        temperature: Some(0.7),
        top_p: Some(0.8),
        top_k: Some(20),
        min_p: Some(0.05),
        repetition_penalty: Some(1.1),
    };
    assert_eq!(SamplingDefaults::from_file(&file), expected);
    assert_eq!(SamplingDefaults::from_file(&Value::Null), SamplingDefaults::default());
}

#[test]
fn sampling_defaults_out_of_range_are_ignored() {
    let file = json!({"temperature": -1, "top_p": 0, "top_k": "x", "min_p": 2, "repetition_penalty": 0});
    assert_eq!(SamplingDefaults::from_file(&file), SamplingDefaults::default());
}

#[test]
fn do_sample_false_means_temperature_zero() {
    let file = json!({"do_sample": false, "temperature": 0.7, "repetition_penalty": 1.2});
    let greedy = SamplingDefaults::from_file(&file);
    assert_eq!((greedy.temperature, greedy.repetition_penalty), (Some(0.0), Some(1.2)));
}
