use serde_json::json;

use super::*;

#[test]
fn what_the_file_says_of_sampling_is_taken_where_it_makes_sense() {
    let file =
        json!({"temperature": 0.7, "top_p": 0.8, "top_k": 20, "min_p": 0.05, "repetition_penalty": 1.1});
    let all = Defaults::of(&file);
    let expected = Defaults {
        temperature: Some(0.7),
        top_p: Some(0.8),
        top_k: Some(20),
        min_p: Some(0.05),
        repetition_penalty: Some(1.1),
    };
    assert_eq!(all, expected);
    let nonsense = json!({"temperature": -1, "top_p": 0, "top_k": "x", "min_p": 2, "repetition_penalty": 0});
    assert_eq!(Defaults::of(&nonsense), Defaults::default());
    let greedy = json!({"do_sample": false, "temperature": 0.7, "repetition_penalty": 1.2});
    let greedy = Defaults::of(&greedy);
    assert_eq!((greedy.temperature, greedy.repetition_penalty), (Some(0.0), Some(1.2)));
    assert_eq!(Defaults::of(&Value::Null), Defaults::default());
}
