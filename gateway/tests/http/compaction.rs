//! Compaction of Responses.

use serde_json::{Value, json};

use super::fakes::Gateway;
use super::json;
use super::responses::{events, request, respond};

/// Two turns and a question. The fake worker obeys the question.
fn conversation() -> Value {
    json!([
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "an answer"},
        {"role": "user", "content": "count 1"},
    ])
}

/// The prompt of a conversation, its messages joined by `|`.
fn prompt(gateway: &Gateway, input: &Value) -> String {
    let body = json!({"model": "m", "input": input}).to_string();
    let (status, _, body) = gateway.ask("POST", "/v1/responses/render", "", &body);
    assert_eq!(status, 200, "{body}");
    json(&body)["prompt"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
}

#[test]
fn compact_returns_user_messages_and_a_summary_that_can_be_sent_back() {
    let gateway = Gateway::start("");
    let body = json!({"model": "m", "input": conversation(), "instructions": "Be brief."}).to_string();
    let (status, _, body) = gateway.ask("POST", "/v1/responses/compact", "", &body);
    let compacted = json(&body);
    assert_eq!((status, &compacted["object"]), (200, &json!("response.compaction")), "{body}");
    let output = compacted["output"].as_array().unwrap();
    let texts: Vec<_> = output[..2].iter().map(|item| &item["content"][0]["text"]).collect();
    assert_eq!(texts, ["one", "count 1"]);
    assert_eq!((output.len(), &output[2]["type"]), (3, &json!("compaction")));
    assert_eq!(compacted["usage"]["output_tokens"], 9);
    let mut next = output.clone();
    next.push(json!({"role": "user", "content": "next"}));
    let prompt = prompt(&gateway, &json!(next));
    assert!(prompt.starts_with("one|count 1|") && prompt.ends_with("w0 w1|next"), "{prompt}");
}

#[test]
fn compact_refuses_what_it_cannot_do() {
    let gateway = Gateway::start("");
    for more in [json!({"stream": true}), json!({"background": true}), json!({"input": null})] {
        let (status, _, body) = gateway.ask("POST", "/v1/responses/compact", "", &request("x", &more));
        let name = more.as_object().unwrap().keys().next().unwrap();
        assert_eq!((status, &json(&body)["error"]["param"]), (400, &json!(name)), "{body}");
    }
}

#[test]
fn trigger_makes_exactly_one_compaction() {
    let gateway = Gateway::start("");
    let mut input = conversation();
    input.as_array_mut().unwrap().push(json!({"type": "compaction_trigger"}));
    let (status, response) = respond(&gateway, "", &json!({ "input": input }));
    assert_eq!((status, &response["status"]), (200, &json!("completed")), "{response}");
    assert_eq!(response["output"].as_array().unwrap().len(), 1);
    assert_eq!(response["output"][0]["type"], "compaction");
    let next = json!({"input": "count 1", "previous_response_id": response["id"]});
    assert_eq!(respond(&gateway, "count 1", &next).0, 200);
    let streamed = request("", &json!({"input": input, "stream": true}));
    let (_, _, body) = gateway.ask("POST", "/v1/responses", "", &streamed);
    let events = events(&body);
    let last = &events.last().unwrap();
    assert_eq!(
        (&last["type"], &last["response"]["output"][0]["type"]),
        (&json!("response.completed"), &json!("compaction"))
    );
    assert!(events.iter().any(|event| event["type"] == "response.compaction.compacting"), "{body}");
}

#[test]
fn prompt_above_the_threshold_is_compacted_before_the_answer() {
    let gateway = Gateway::start("");
    let ask = |threshold: u32| {
        let management = json!([{"type": "compaction", "compact_threshold": threshold}]);
        respond(&gateway, "", &json!({"input": conversation(), "context_management": management})).1
    };
    let compacted = ask(1);
    let output = compacted["output"].as_array().unwrap();
    assert_eq!((output.len(), &output[0]["type"]), (2, &json!("compaction")), "{compacted}");
    assert_eq!(output[1]["content"][0]["text"], "w0 ");
    // The client's next request: everything so far, and a new question.
    let mut next = conversation().as_array().unwrap().clone();
    next.extend(output.iter().cloned());
    next.push(json!({"role": "user", "content": "next"}));
    let prompt = prompt(&gateway, &json!(next));
    assert!(!prompt.contains("an answer") && prompt.ends_with("w0 w1|count 1|w0 |next"), "{prompt}");
    assert_eq!(ask(1000)["output"].as_array().unwrap().len(), 1);
}
