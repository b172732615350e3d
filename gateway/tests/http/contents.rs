//! Stored prompts and outputs: for keys whose settings say so, and for administrators.

use ipc_proto::gateway::GatewayConfig;
use serde_json::{Value, json};

use super::fakes::Gateway;
use super::providers::{answer, script, stream, word};
use super::{json as parse, wait_until};

const ADMIN: &str = "authorization: Bearer sk-admin\r\n";

/// A gateway whose provider `far` gives these answers.
fn gateway(answers: Vec<String>) -> Gateway {
    let (address, _) = script(answers);
    let far = json!({"kind": "openai", "url": format!("http://{address}/v1"), "api_key": "sk-far", "models": ["m"]});
    let providers = serde_json::from_value(json!({"far": far})).unwrap();
    Gateway::with(GatewayConfig {
        providers,
        api_keys: ["sk-admin"].into_iter().collect(),
        ..GatewayConfig::default()
    })
}

/// Makes a key. Returns the header that carries it.
fn make(gateway: &Gateway, fields: &Value) -> String {
    let (status, _, body) = gateway.ask("POST", "/admin/v1/keys", ADMIN, &fields.to_string());
    assert_eq!(status, 201, "{body}");
    format!("authorization: Bearer {}\r\n", parse(&body)["secret"].as_str().unwrap())
}

fn storing(gateway: &Gateway) -> String {
    make(gateway, &json!({"name": "agent", "store_content": true}))
}

/// Sends a request of this id, which must succeed.
fn ask(gateway: &Gateway, (path, key, id): (&str, &str, &str), body: &Value) {
    let headers = format!("{key}x-request-id: {id}\r\n");
    let (status, _, text) = gateway.ask("POST", path, &headers, &body.to_string());
    assert_eq!(status, 200, "{text}");
}

/// The request of this id, once its row is written and it has contents or not.
fn detail(gateway: &Gateway, id: &str, has_content: bool) -> Value {
    let mut found = Value::Null;
    wait_until("the record is written", || {
        let (status, _, body) = gateway.ask("GET", &format!("/admin/v1/requests/{id}"), ADMIN, "");
        found = parse(&body);
        status == 200 && found["content"].is_object() == has_content
    });
    found
}

#[test]
fn only_keys_that_say_so_have_their_prompts_and_outputs_stored() {
    let gateway = gateway(Vec::new());
    let (storing, plain) = (storing(&gateway), make(&gateway, &json!({"name": "plain"})));
    let body = json!({"model": "m", "prompt": "count 2", "n": 2, "user": "ann"});
    for stream in [false, true] {
        let mut body = body.clone();
        body["stream"] = stream.into();
        let id = format!("kept-{stream}");
        ask(&gateway, ("/v1/completions", &storing, &id), &body);
        let content = detail(&gateway, &id, true)["content"].take();
        let output = json!({"text": "w0 w1 ", "reasoning": "", "calls": []});
        assert_eq!(content["outputs"], json!([output, output]));
        assert_eq!(parse(content["request"].as_str().unwrap()), body, "the body as it was sent");
        assert_eq!((&content["sent"], &content["cut"]), (&Value::Null, &json!(false)));
    }
    ask(&gateway, ("/v1/completions", &plain, "plain"), &body);
    assert_eq!(detail(&gateway, "plain", false)["status"], "finished");
    ask(&gateway, ("/v1/completions", ADMIN, "admin"), &body);
    assert_eq!(detail(&gateway, "admin", false)["status"], "finished");
}

#[test]
fn what_went_to_a_provider_is_stored_without_its_key() {
    let choice = json!({"index": 0, "message": {"content": "whole"}, "finish_reason": "stop"});
    let whole = answer("200 OK", "", &json!({"choices": [choice]}));
    let pieces = stream(&[word("trans", None), word("lated", Some("stop"))]);
    let gateway = gateway(vec![whole, pieces]);
    let key = storing(&gateway);
    let messages = json!([{"role": "user", "content": "a question"}]);
    let body = json!({"model": "far/m", "max_tokens": 9, "messages": messages});
    ask(&gateway, ("/v1/chat/completions", &key, "passed"), &body);
    let content = detail(&gateway, "passed", true)["content"].take();
    assert!(content["answer"].as_str().unwrap().contains("whole"), "{content}");
    let sent = parse(content["sent"]["body"].as_str().unwrap());
    assert_eq!((&sent["model"], &sent["messages"]), (&json!("m"), &messages));
    ask(&gateway, ("/v1/messages", &key, "translated"), &body);
    let content = detail(&gateway, "translated", true)["content"].take();
    assert_eq!((&content["outputs"][0]["text"], &content["answer"]), (&json!("translated"), &Value::Null));
    assert!(content["sent"]["url"].as_str().unwrap().ends_with("/v1/chat/completions"), "{content}");
    assert!(content["sent"]["body"].as_str().unwrap().contains("stream_options"), "{content}");
    assert!(!content.to_string().contains("sk-far"), "{content}");
}

#[test]
fn readers_without_the_scope_of_administrators_see_no_content() {
    let gateway = gateway(Vec::new());
    let (key, reader) =
        (storing(&gateway), make(&gateway, &json!({"name": "board", "scopes": ["admin-read"]})));
    ask(&gateway, ("/v1/completions", &key, "kept"), &json!({"model": "m", "prompt": "count 1"}));
    detail(&gateway, "kept", true);
    let (status, _, body) = gateway.ask("GET", "/admin/v1/requests/kept", &reader, "");
    assert_eq!((status, &parse(&body)["content"]), (200, &Value::Null));
    let export = |key: &str, query: &str| {
        let (status, _, body) = gateway.ask("GET", &format!("/admin/v1/requests/export{query}"), key, "");
        (status, body.contains("count 1"))
    };
    assert_eq!(export(ADMIN, "?content=true"), (200, true));
    assert_eq!(export(ADMIN, ""), (200, false));
    assert_eq!(export(&reader, "?content=true"), (403, false));
    assert_eq!(export(ADMIN, "?content=true&format=csv"), (400, false));
}
