use serde_json::json;

use super::*;

fn chat_order(change: &Value) -> Result<Order> {
    let mut request = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
    request.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    chat(body::parse(request.to_string().as_bytes())?)
}

fn generate_order_of(change: &Value, has_template: bool) -> Result<Order> {
    let mut request = json!({"model": "m", "prompt": "Hi"});
    request.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    generate(body::parse(request.to_string().as_bytes())?, has_template)
}

fn request_of(order: Result<Order>) -> InferenceRequest {
    match order.unwrap() {
        Order::Generate(request) => *request,
        other => panic!("{other:?}"),
    }
}

fn conversation(order: Result<Order>) -> ChatPrompt {
    match request_of(order).generation.prompt {
        Prompt::Chat(chat) => chat,
        other => panic!("{other:?}"),
    }
}

#[test]
fn answer_is_streamed_unless_stream_is_false() {
    assert!(request_of(chat_order(&json!({}))).stream.is_some());
    assert!(request_of(chat_order(&json!({"stream": false}))).stream.is_none());
}

#[test]
fn options_become_sampling_and_limits() {
    let options = json!({"temperature": 0.5, "top_k": 7, "seed": 3, "repeat_penalty": 1.5, "num_predict": 9,
                         "stop": ["x"], "num_ctx": 4096, "num_gpu": 1, "mirostat": 0});
    let Generation { sampling, stop, max_tokens, .. } =
        request_of(chat_order(&json!({"options": options}))).generation;
    assert_eq!((sampling.temperature, sampling.top_k, sampling.seed), (Some(0.5), Some(7), Some(3)));
    assert_eq!((sampling.repetition_penalty, max_tokens), (Some(1.5), Some(9)));
    assert_eq!(stop, ["x"]);
}

#[test]
fn num_predict_without_a_positive_number_is_no_limit() {
    for number in [-2, -1, 0] {
        let request = request_of(chat_order(&json!({"options": {"num_predict": number}})));
        assert_eq!(request.generation.max_tokens, None, "{number}");
    }
}

#[test]
fn format_is_json_or_a_schema() {
    let constraint = |format: Value| request_of(chat_order(&json!({"format": format}))).generation.constraint;
    assert_eq!(constraint(json!("json")), Some(Constraint::JsonObject));
    assert_eq!(constraint(json!("")), None);
    let schema = json!({"type": "object"});
    assert_eq!(constraint(schema.clone()), Some(Constraint::JsonSchema(schema.to_string())));
}

#[test]
fn think_reaches_the_template() {
    let kwargs = |think: Value| conversation(chat_order(&json!({"think": think}))).template_kwargs;
    assert!(kwargs(json!(false)).unwrap().contains(r#""enable_thinking":false"#));
    assert!(kwargs(json!("high")).unwrap().contains(r#""reasoning_effort":"high""#));
    assert_eq!(conversation(chat_order(&json!({}))).template_kwargs, None);
}

#[test]
fn result_without_an_id_answers_the_next_open_call() {
    let call = |name: &str| json!({"function": {"name": name, "arguments": {"a": 1}}});
    let messages = json!([
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [call("first"), call("second")]},
        {"role": "tool", "content": "1"},
        {"role": "tool", "content": "2", "tool_name": "other"}]);
    let turns = conversation(chat_order(&json!({"messages": messages}))).messages;
    assert_eq!(turns[1].reasoning.as_deref(), Some("hm"));
    assert_eq!(turns[1].tool_calls[0].arguments, r#"{"a":1}"#);
    assert_eq!((turns[2].name.as_deref(), turns[3].name.as_deref()), (Some("first"), Some("other")));
}

/// As Strands Agents 1.62.0 sends parallel calls and their results.
#[test]
fn results_after_calls_in_several_messages_answer_them_in_order() {
    let call = |name: &str| json!({"role": "assistant", "tool_calls": [{"function": {"name": name, "arguments": {}}}]});
    let result = json!({"role": "tool", "content": "1"});
    let messages = json!([
        {"role": "user", "content": "Hi"},
        call("first"), {"role": "assistant", "content": "Wait."}, call("second"), result, result,
        call("third"), call("fourth"), result]);
    let turns = conversation(chat_order(&json!({"messages": messages}))).messages;
    let answered: Vec<_> =
        turns.iter().filter(|turn| turn.role == Role::Tool).map(|turn| turn.name.as_deref()).collect();
    assert_eq!(answered, [Some("first"), Some("second"), Some("third")]);
}

#[test]
fn result_after_the_next_question_answers_no_earlier_call() {
    let messages = json!([
        {"role": "assistant", "tool_calls": [{"function": {"name": "first", "arguments": {}}}]},
        {"role": "user", "content": "Hi"},
        {"role": "tool", "content": "1"}]);
    let turns = conversation(chat_order(&json!({"messages": messages}))).messages;
    assert_eq!(turns[2].name, None);
}

#[test]
fn result_with_an_id_answers_that_call() {
    let call = |id: &str, name: &str| json!({"id": id, "function": {"name": name}});
    let messages = json!([
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "tool_calls": [call("c1", "first"), call("c2", "second")]},
        {"role": "tool", "content": "2", "tool_call_id": "c2"}]);
    let result = conversation(chat_order(&json!({"messages": messages}))).messages.remove(2);
    assert_eq!((result.name.as_deref(), result.tool_call_id.as_deref()), (Some("second"), Some("c2")));
}

#[test]
fn request_without_a_prompt_loads_or_unloads() {
    let load = Order::Load("m".into(), None);
    assert_eq!(chat_order(&json!({"messages": []})).unwrap(), load);
    assert_eq!(generate_order_of(&json!({"prompt": ""}), true).unwrap(), load);
    assert_eq!(
        generate_order_of(&json!({"prompt": null, "keep_alive": "5m"}), true).unwrap(),
        Order::Load("m".into(), Some(KeepAlive::Seconds(300)))
    );
    assert_eq!(chat_order(&json!({"messages": [], "keep_alive": 0})).unwrap(), Order::Unload("m".into()));
}

#[test]
fn prompt_is_a_conversation_if_the_model_has_a_template() {
    let turns = conversation(generate_order_of(&json!({"system": "Be brief"}), true)).messages;
    assert_eq!(turns, [Message::text(Role::System, "Be brief"), Message::text(Role::User, "Hi")]);
    let prompt =
        |change: Value, has_template| request_of(generate_order_of(&change, has_template)).generation.prompt;
    assert_eq!(prompt(json!({}), false), Prompt::Text("Hi".into()));
    assert_eq!(prompt(json!({"raw": true}), true), Prompt::Text("Hi".into()));
    let gap = Prompt::Infill { before: "Hi".into(), after: "!".into() };
    assert_eq!(prompt(json!({"suffix": "!"}), true), gap);
}

#[test]
fn invalid_chat_field_is_named() {
    let with_image = json!([{"role": "user", "content": "Hi", "images": ["aGk="]}]);
    for (change, field) in [
        (json!({"messages": with_image}), "messages[0].images[0]"),
        (json!({"format": "xml"}), "format"),
        (json!({"think": "deeply"}), "think"),
        (json!({"options": {"temperature": "warm"}}), "temperature"),
        (json!({"options": {"temperature": 9}}), "temperature"),
        (json!({"options": {"mirostat": 2}}), "mirostat"),
        (json!({"options": {"penalize_newline": false}}), "penalize_newline"),
        (json!({"truncate": true}), "truncate"),
        (json!({"shift": true}), "shift"),
        (json!({"top_logprobs": 2}), "top_logprobs"),
        (json!({"tools": [{"type": "web"}]}), "tools[0].type"),
        (json!({"keep_alive": "long"}), "keep_alive"),
        (json!({"stream": "yes"}), "stream"),
    ] {
        assert_eq!(chat_order(&change).unwrap_err().field, Some(field.into()), "{change}");
    }
}

#[test]
fn invalid_generate_field_is_named() {
    for (change, field) in [
        (json!({"images": ["aGk="]}), "images[0]"),
        (json!({"images": ["iVBORw0KGgo="], "raw": true}), "images"),
        (json!({"context": [1, 2]}), "context"),
        (json!({"template": "{{ .Prompt }}"}), "template"),
        (json!({"raw": true, "system": "s"}), "system"),
    ] {
        assert_eq!(generate_order_of(&change, true).unwrap_err().field, Some(field.into()), "{change}");
    }
}

#[test]
fn embed_inputs_are_texts_truncated_by_default() {
    let parsed = |request: Value| embed(serde_json::from_value(request).unwrap());
    let valid = parsed(json!({"model": "m", "input": ["a", "b"], "dimensions": 0})).unwrap();
    assert_eq!(valid.request.inputs, ["a", "b"].map(|text| EmbedInput::Text(text.into())));
    assert_eq!((valid.request.truncate, valid.request.dimensions), (true, None));
    assert!(parsed(json!({"model": "m", "input": ""})).unwrap().request.inputs.is_empty());
    let empty = parsed(json!({"model": "m", "input": ["a", ""]})).unwrap_err();
    assert_eq!(empty.field, Some("input[1]".into()));
}

#[test]
fn images_stand_before_the_text_of_their_message() {
    let data = ["iVBORw0KGgo=", "data:image/png;base64,iVBORw0KGgo="];
    let sent = json!({"model": "m", "messages": [{"role": "user", "content": "What?", "images": data}]});
    let asked = json!({"model": "m", "prompt": "What?", "images": data});
    let orders =
        [chat(serde_json::from_value(sent).unwrap()), generate(serde_json::from_value(asked).unwrap(), true)];
    for order in orders {
        let Prompt::Chat(prompt) = request_of(order).generation.prompt else { panic!("it is a chat") };
        let content = &prompt.messages[0].content;
        assert_eq!((content.images().count(), content.parts().last().unwrap().as_text()), (2, Some("What?")));
    }
}
