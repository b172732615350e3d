use serde_json::json;

use super::*;

#[test]
fn numbers_of_any_size_and_form_are_limits() {
    for (written, tokens) in [
        ("1", Some(1)),
        ("1024.0", Some(1024)),
        ("1e3", Some(1000)),
        ("0", Some(0)),
        ("100000000", Some(100_000_000)),
        ("9999999999", Some(u32::MAX)),
        ("9223372036854775808", Some(u32::MAX)),
        ("1e300", Some(u32::MAX)),
        ("-1", None),
        ("-1.0", None),
    ] {
        let limit: TokenLimit = serde_json::from_str(written).unwrap();
        assert_eq!(limit.tokens(), tokens, "{written}");
    }
}

#[test]
fn other_values_are_refused() {
    for wrong in [json!(-2), json!(1.5), json!("9"), json!(true), json!([]), json!(-1.5)] {
        assert!(serde_json::from_value::<TokenLimit>(wrong.clone()).is_err(), "{wrong}");
    }
    let error = serde_json::from_str::<TokenLimit>("\"9\"").unwrap_err().to_string();
    let sentence = ipc_proto::wording::JSON.sentence("x", &error);
    assert_eq!(sentence, "x must be a number of tokens, or -1 for no limit, not \"9\"");
    assert_eq!(TokenLimit::from(0).positive("max_tokens").unwrap_err().field, Some("max_tokens".into()));
}
