//! Endpoints that render and tokenise prompts.

use std::io::{Read, Write};

use serde_json::{Value, json};

use super::fakes::Gateway;
use super::json;

fn post(path: &str, body: &Value) -> (u16, Value) {
    let gateway = Gateway::start("");
    let (status, _, body) = gateway.ask("POST", path, "", &body.to_string());
    (status, json(&body))
}

fn chat(content: &str) -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": content}]})
}

#[test]
fn tokenize_of_a_prompt_answers_in_vllms_form() {
    let answer = post("/tokenize", &json!({"model": "m", "prompt": "ab"}));
    assert_eq!(
        answer,
        (200, json!({"count": 3, "max_model_len": 64, "tokens": [1000, 97, 98], "token_strs": null}))
    );
}

#[test]
fn tokenize_of_a_prompt_follows_vllms_options() {
    let request =
        json!({"model": "m", "prompt": "ab", "add_special_tokens": false, "return_token_strs": true});
    let (_, answer) = post("/tokenize", &request);
    assert_eq!(answer["tokens"], json!([97, 98]));
    assert_eq!(answer["token_strs"], json!(["a", "b"]));
}

#[test]
fn tokenize_of_a_content_answers_in_llama_cpps_form() {
    let answer = post("/tokenize", &json!({"model": "m", "content": "<s>a"}));
    assert_eq!(answer, (200, json!({"tokens": [999, 97]})));
}

#[test]
fn tokenize_of_a_content_follows_llama_cpps_options() {
    let request = json!({"model": "m", "content": "<s>", "add_special": true, "parse_special": false, "with_pieces": true});
    let (_, answer) = post("/tokenize", &request);
    let pieces = json!([{"id": 1000, "piece": "<s>"}, {"id": 60, "piece": "<"}, {"id": 115, "piece": "s"}, {"id": 62, "piece": ">"}]);
    assert_eq!(answer, json!({"tokens": pieces}));
}

#[test]
fn tokenize_of_a_split_character_returns_bytes() {
    let request = json!({"model": "m", "content": "é", "with_pieces": true});
    let (_, answer) = post("/tokenize", &request);
    assert_eq!(answer, json!({"tokens": [{"id": 195, "piece": [195]}, {"id": 169, "piece": [169]}]}));
}

#[test]
fn tokenize_of_messages_reads_a_chat_request() {
    let mut request = chat("ab");
    request["return_token_strs"] = true.into();
    let (status, answer) = post("/tokenize", &request);
    assert_eq!(status, 200);
    assert_eq!(answer["token_strs"], json!(["a", "b"]));
    assert_eq!(answer["count"], 2);
    request["messages"][0]["role"] = "narrator".into();
    let (status, answer) = post("/tokenize", &request);
    assert!(status == 400 && answer["error"]["param"] == "messages[0].role", "{answer}");
}

#[test]
fn tokenize_of_messages_refuses_special_tokens_by_name() {
    let mut request = chat("ab");
    request["add_special_tokens"] = true.into();
    let (status, answer) = post("/tokenize", &request);
    assert_eq!(status, 400);
    assert_eq!(answer["error"]["param"], "add_special_tokens");
}

#[test]
fn tokenize_without_text_names_the_missing_field() {
    let (status, answer) = post("/tokenize", &json!({"model": "m"}));
    assert_eq!(status, 400);
    assert_eq!(answer["error"]["param"], "prompt");
    let (status, answer) = post("/tokenize", &json!({"model": "m", "prompt": "a", "content": "b"}));
    assert_eq!(status, 400);
    assert_eq!(answer["error"]["param"], "content");
}

#[test]
fn tokenize_of_messages_refuses_another_template() {
    let mut request = chat("ab");
    request["chat_template"] = "{{ messages }}".into();
    let (status, answer) = post("/tokenize", &request);
    assert_eq!(status, 400);
    assert_eq!(answer["error"]["param"], "chat_template");
}

#[test]
fn tokenize_with_an_unknown_field_returns_its_name() {
    let (status, answer) = post("/tokenize", &json!({"model": "m", "content": "a", "with_piece": true}));
    assert_eq!(status, 400);
    assert_eq!(answer["error"]["param"], "with_piece");
}

#[test]
fn tokenize_of_a_prompt_refuses_llama_cpps_fields() {
    let (status, answer) = post("/tokenize", &json!({"model": "m", "prompt": "a", "with_pieces": true}));
    assert_eq!(status, 400);
    assert_eq!(answer["error"]["param"], "with_pieces");
}

#[test]
fn prompt_endpoints_without_a_key_return_401() {
    let gateway = Gateway::start("sesame");
    for path in ["/tokenize", "/detokenize", "/apply-template", "/v1/chat/completions/render"] {
        assert_eq!(gateway.ask("POST", path, "", &chat("a").to_string()).0, 401, "{path}");
    }
}

#[test]
fn tokenize_of_more_than_8_mib_returns_413() {
    let gateway = Gateway::start("");
    let mut stream = std::net::TcpStream::connect(gateway.address).unwrap();
    let head =
        "POST /tokenize HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 8388609\r\n\r\n";
    // The announced length is refused before the body is read.
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("larger than 8 MiB"), "{answer}");
}

#[test]
fn detokenize_answers_in_both_forms() {
    let answer = post("/detokenize", &json!({"model": "m", "tokens": [97, 98]}));
    assert_eq!(answer, (200, json!({"prompt": "ab", "content": "ab"})));
}

#[test]
fn detokenize_of_an_unknown_id_returns_400() {
    let (status, answer) = post("/detokenize", &json!({"model": "m", "tokens": [5000]}));
    assert_eq!(status, 400);
    assert_eq!(answer["error"]["param"], "tokens");
}

#[test]
fn apply_template_answers_the_prompts_text() {
    assert_eq!(post("/apply-template", &chat("ab")), (200, json!({"prompt": "ab"})));
}

#[test]
fn render_of_a_chat_shows_prompt_ids_and_template() {
    let mut request = chat("ab");
    request["sanitize_control_tokens"] = true.into();
    let template = json!({"name": "default", "file": "chat_template.jinja", "adaptations": [], "sanitized_control_tokens": 1});
    let format = json!({"name": "", "reason": ""});
    let expected = json!({"model": "m", "prompt": "ab", "token_ids": [97, 98], "token_count": 2, "max_model_len": 64,
        "template": template, "tool_format": format, "reasoning_format": format});
    assert_eq!(post("/v1/chat/completions/render", &request), (200, expected));
}

#[test]
fn render_of_completions_shows_each_prompt_once() {
    let request = json!({"model": "m", "prompt": ["a", "b"], "n": 2, "max_tokens": 1});
    let (status, answer) = post("/v1/completions/render", &request);
    let prompts: Vec<&Value> = answer["data"].as_array().unwrap().iter().map(|one| &one["prompt"]).collect();
    assert_eq!(status, 200);
    assert_eq!(prompts, vec![&json!("a"), &json!("b")]);
    assert!(answer["data"][0]["template"].is_null());
}

#[test]
fn render_of_a_response_reads_instructions_and_input() {
    let request = json!({"model": "m", "instructions": "s", "input": "q", "sanitize_control_tokens": true});
    let (status, answer) = post("/v1/responses/render", &request);
    assert_eq!(status, 200);
    assert_eq!(answer["prompt"], "s|q");
    assert_eq!(answer["template"]["sanitized_control_tokens"], 1);
}

#[test]
fn render_of_completions_shows_equal_prompts_each() {
    let (_, answer) = post("/v1/completions/render", &json!({"model": "m", "prompt": ["a", "a"]}));
    assert_eq!(answer["data"].as_array().unwrap().len(), 2, "{answer}");
}

#[test]
fn render_also_checks_sampling_fields() {
    let input = json!({"model": "m", "input": "q", "temperature": 9});
    let mut turns = chat("q");
    turns["temperature"] = 9.into();
    for (path, body) in [
        ("/v1/chat/completions/render", &turns),
        ("/v1/responses/render", &input),
        ("/v1/messages/render", &turns),
    ] {
        let (status, answer) = post(path, body);
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(status == 400 && message.starts_with("temperature"), "{path}: {answer}");
    }
}

#[test]
fn render_of_a_response_continues_an_earlier_one() {
    let gateway = Gateway::start("");
    let ask = |path: &str, body: Value| json(&gateway.ask("POST", path, "", &body.to_string()).2);
    let first = ask("/v1/responses", json!({"model": "m", "input": "count 1"}));
    let next = json!({"model": "m", "input": "q", "previous_response_id": first["id"]});
    assert_eq!(ask("/v1/responses/render", next)["prompt"], "count 1|w0 |q");
}

#[test]
fn render_is_not_parsed_as_a_response_id() {
    let gateway = Gateway::start("");
    assert_eq!(gateway.ask("GET", "/v1/responses/render", "", "").0, 405);
}

#[test]
fn render_error_of_a_response_names_its_own_field() {
    let (status, answer) = post("/v1/responses/render", &json!({"model": "m", "input": "refuse"}));
    assert_eq!(status, 400);
    assert_eq!(answer["error"]["param"], "input");
}

#[test]
fn render_of_a_message_needs_no_max_tokens() {
    let mut request = chat("q");
    request["system"] = "s".into();
    request["sanitize_control_tokens"] = true.into();
    let (status, answer) = post("/v1/messages/render", &request);
    assert_eq!(status, 200);
    assert_eq!(answer["prompt"], "s|q");
    assert_eq!(answer["template"]["sanitized_control_tokens"], 1);
}

#[test]
fn render_of_a_message_fails_in_anthropics_form() {
    let (status, answer) = post("/v1/messages/render", &chat("refuse"));
    assert_eq!(status, 400);
    assert_eq!(answer["type"], "error");
    assert_eq!(answer["error"]["type"], "invalid_request_error");
}

#[test]
fn request_without_model_lists_the_served_models() {
    let (status, answer) = post("/tokenize", &json!({"content": "a"}));
    assert_eq!(status, 400);
    assert_eq!(answer["error"]["param"], "model");
    assert!(answer["error"]["message"].as_str().unwrap().ends_with(": m, slow"), "{answer}");
}

#[test]
fn unknown_model_returns_404() {
    let (status, answer) = post("/tokenize", &json!({"model": "other", "content": "a"}));
    assert_eq!(status, 404);
    assert_eq!(answer["error"]["code"], "model_not_found");
}
