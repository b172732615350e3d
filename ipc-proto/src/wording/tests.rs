use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    High,
    Normal,
    Low,
}

fn said<'a, T: Deserialize<'a> + std::fmt::Debug>(value: &'a Value) -> String {
    JSON.sentence("x", &T::deserialize(value).unwrap_err().to_string())
}

#[test]
fn wrong_values_are_described_without_names_of_types() {
    for (sentence, expected) in [
        (said::<f32>(&json!("warm")), "x must be a number, not \"warm\""),
        (said::<u32>(&json!(-1)), "x must be a whole number that is not negative, not -1"),
        (said::<u8>(&json!(300)), "x must be a whole number from 0 to 255, not 300"),
        (said::<i64>(&json!(1.5)), "x must be a whole number, not 1.5"),
        (said::<bool>(&json!("yes")), "x must be true or false, not \"yes\""),
        (said::<String>(&json!([1])), "x must be a string, not a list"),
        (said::<Vec<String>>(&json!({})), "x must be a list, not an object"),
        (said::<std::collections::BTreeMap<String, f32>>(&json!(null)), "x must be an object, not null"),
        (said::<Level>(&json!("urgent")), "x must be one of \"high\", \"normal\", \"low\", not \"urgent\""),
    ] {
        assert_eq!(sentence, expected);
    }
}

#[test]
fn position_in_the_body_is_left_out() {
    let error = serde_json::from_str::<f32>(" \"at line 3\"").unwrap_err().to_string();
    assert_eq!(JSON.sentence("x", &error), "x must be a number, not \"at line 3\"");
    assert_eq!(JSON.sentence("x", "at least at line one"), "x: at least at line one");
}

#[test]
fn tables_are_no_objects() {
    assert_eq!(
        TOML.sentence("x", "invalid type: map, expected u32"),
        "x must be a whole number that is not negative, not a table"
    );
    assert_eq!(
        TOML.sentence("x", "invalid type: integer `3`, expected struct Settings"),
        "x must be a table, not 3"
    );
}
