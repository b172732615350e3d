use serde_json::json;

use super::*;

fn turns_of(messages: &Value) -> Result<Vec<Message>> {
    parse(serde_json::from_value(messages.clone()).unwrap())
}

fn turn_of(message: &Value) -> Message {
    turns_of(&json!([message])).unwrap().remove(0)
}

fn calling(content: &Value) -> Value {
    let call = json!({"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    json!({"role": "assistant", "content": content, "tool_calls": [call]})
}

#[test]
fn reasoning_is_parsed_under_each_of_its_names() {
    let reasoning = |fields: Value| {
        let mut message = json!({"role": "assistant", "content": "4"});
        message.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        turn_of(&message).reasoning
    };
    for name in ["reasoning_content", "reasoning", "thinking"] {
        assert_eq!(reasoning(json!({name: "2 + 2"})).as_deref(), Some("2 + 2"), "{name}");
    }
    let all = json!({"thinking": "c", "reasoning": "b", "reasoning_content": "a"});
    assert_eq!(reasoning(all).as_deref(), Some("a"));
    let nulls = json!({"thinking": "c", "reasoning": null, "reasoning_content": null});
    assert_eq!(reasoning(nulls).as_deref(), Some("c"));
    assert_eq!(reasoning(json!({"reasoning_content": ""})), None);
}

#[test]
fn custom_call_passes_its_text_as_the_argument() {
    let call = json!({"id": "c1", "type": "custom", "custom": {"name": "patch", "input": "a\n\"b\""}});
    let result = json!({"role": "tool", "tool_call_id": "c1", "content": "done"});
    let turns = turns_of(&json!([{"role": "assistant", "tool_calls": [call]}, result])).unwrap();
    let arguments = r#"{"input":"a\n\"b\""}"#;
    let expected = ToolCall { id: "c1".into(), name: "patch".into(), arguments: arguments.into() };
    assert_eq!(turns[0].tool_calls, [expected]);
    assert_eq!(turns[1].name.as_deref(), Some("patch"));
}

#[test]
fn missing_null_and_empty_content_beside_calls_are_equal() {
    let mut missing = calling(&json!(null));
    missing.as_object_mut().unwrap().remove("content");
    let expected = turn_of(&calling(&json!("")));
    assert_eq!((&*expected.content.text(), expected.tool_calls.len()), ("", 1));
    for message in [missing, calling(&json!(null)), calling(&json!([]))] {
        assert_eq!(turn_of(&message), expected, "{message}");
    }
}

#[test]
fn parts_of_a_tool_result_are_lines() {
    let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
    let result = json!({"role": "tool", "tool_call_id": "c1", "content": parts});
    let turns = turns_of(&json!([calling(&json!(null)), result])).unwrap();
    assert_eq!((&*turns[1].content.text(), turns[1].name.as_deref()), ("a\nb", Some("f")));
}

fn image() -> Value {
    json!([{"type": "text", "text": "See: "}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}])
}

fn short(message: &Message) -> Vec<&str> {
    message.content.parts().iter().map(|part| part.as_text().unwrap_or("image")).collect()
}

#[test]
fn images_stay_at_their_places_in_every_turn() {
    let asked = json!({"role": "user", "content": image()});
    let turns = turns_of(&json!([asked, {"role": "assistant", "content": "No."}, asked])).unwrap();
    assert_eq!((short(&turns[0]), short(&turns[2])), (vec!["See: ", "image"], vec!["See: ", "image"]));
    let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, image()[1], {"type": "text", "text": "c"}]);
    let result = json!({"role": "tool", "tool_call_id": "c1", "content": parts});
    let turns = turns_of(&json!([calling(&json!(null)), result])).unwrap();
    assert_eq!(short(&turns[1]), ["a\nb", "image", "c"]);
}

/// Clients resend the history, and what cannot be read there would end the conversation.
#[test]
fn unreadable_image_is_refused_in_the_newest_turn_only() {
    let gone = json!([{"type": "image_url", "image_url": {"url": "file:///tmp/a.png"}}]);
    let asked = json!({"role": "user", "content": gone});
    let newest = turns_of(&json!([{"role": "assistant", "content": "Hi"}, asked])).unwrap_err();
    assert_eq!(newest.field, Some("messages[1].content[0].image_url".into()));
    let answer = json!({"role": "assistant", "content": "No."});
    let turns = turns_of(&json!([asked, answer, {"role": "user", "content": "Go on."}])).unwrap();
    assert_eq!(short(&turns[0]), ["[image left out: it cannot be read]"]);
}

#[test]
fn null_field_equals_a_missing_field() {
    let full = json!({"role": "user", "content": "Hi", "name": null, "tool_calls": null, "function_call": null,
        "tool_call_id": null, "reasoning_content": null, "reasoning": null, "thinking": null, "refusal": null,
        "audio": null});
    assert_eq!(turn_of(&full), turn_of(&json!({"role": "user", "content": "Hi"})));
    let mut called = calling(&json!(null));
    called["tool_calls"][0]["type"] = Value::Null;
    called["tool_calls"][0]["function"]["arguments"] = Value::Null;
    assert_eq!(turn_of(&called), turn_of(&calling(&json!(null))));
}
