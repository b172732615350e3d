use serde_json::json;

use super::*;
use crate::protocols::common::body;

fn updated(history: &Value, input: &Value) -> Result<Request> {
    let request = json!({"model": "m", "input": input, "reasoning": {"effort": "low", "max_tokens": 9}});
    let mut request: Request = body::parse(request.to_string().as_bytes()).unwrap();
    let history: Vec<Item> = serde_json::from_value(history.clone()).unwrap();
    apply(&mut request, &history).map(|()| request)
}

#[test]
fn last_update_holds() {
    let effort = |effort: &str| json!({"type": "configuration_update", "reasoning": {"effort": effort}});
    let format = json!({"type": "configuration_update", "text": {"format": {"type": "json_object"}}});
    let request =
        updated(&json!([effort("high"), format]), &json!([effort("max"), {"role": "user", "content": "x"}]));
    let request = request.unwrap();
    let reasoning = request.reasoning.unwrap();
    assert_eq!((reasoning.effort.as_deref(), reasoning.max_tokens), (Some("max"), Some(9.into())));
    assert_eq!(request.text.unwrap().format, Some(json!({"type": "json_object"})));
}

#[test]
fn invalid_update_is_refused() {
    let error = updated(&json!([]), &json!([{"type": "configuration_update", "reasoning": 3}])).unwrap_err();
    assert_eq!(error.field, Some("input".into()));
}
