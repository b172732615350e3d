//! The gateway sends the keep-alive of every request to the supervisor.

use ipc_proto::supervisor::KeepAlive;
use serde_json::{Value, json};

use crate::fakes::Gateway;
use crate::wait_until;

fn ask(gateway: &Gateway, path: &str, body: &Value) -> u16 {
    gateway.ask("POST", path, "content-type: application/json\r\n", &body.to_string()).0
}

#[test]
fn keep_alive_is_sent_by_every_endpoint_and_reset_by_a_request_without_it() {
    let gateway = Gateway::start("");
    let mut expected = Vec::new();
    let mut expect_sent = |keep: Option<KeepAlive>| {
        expected.extend(keep);
        wait_until("the supervisor gets it", || gateway.keep_alives().len() >= expected.len());
        // A wrong call would follow immediately.
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(gateway.keep_alives(), expected);
    };
    let turn = json!([{"role": "user", "content": "count 1"}]);
    for (path, body) in [
        ("/v1/completions", json!({"model": "m", "prompt": "count 1"})),
        ("/v1/chat/completions", json!({"model": "m", "messages": turn})),
        ("/v1/messages", json!({"model": "m", "messages": turn, "max_tokens": 9})),
        ("/v1/responses", json!({"model": "m", "input": "count 1"})),
        ("/v1/embeddings", json!({"model": "m", "input": "a"})),
        ("/v1/rerank", json!({"model": "m", "query": "rank", "documents": ["d"]})),
    ] {
        let with = |keep: Value| {
            let mut body = body.clone();
            body["keep_alive"] = keep;
            body
        };
        assert_eq!(ask(&gateway, path, &with(json!("5m"))), 200, "{path}");
        expect_sent(Some(KeepAlive::Seconds(300)));
        assert_eq!(ask(&gateway, path, &with(json!(-1))), 200, "{path}");
        expect_sent(Some(KeepAlive::Forever));
        // The value was valid for the time after that request only.
        assert_eq!(ask(&gateway, path, &body), 200, "{path}");
        expect_sent(Some(KeepAlive::Default));
        assert_eq!(ask(&gateway, path, &body), 200, "{path}");
        expect_sent(None);
        assert_eq!(ask(&gateway, path, &with(json!("soon"))), 400, "{path}");
    }
}

/// Clients count tokens between their requests: the value of an earlier request stays valid.
#[test]
fn counting_sends_keep_alive_and_does_not_reset_it() {
    let gateway = Gateway::start("");
    let turn = json!([{"role": "user", "content": "count 1"}]);
    for (number, (path, mut body)) in [
        ("/v1/messages/count_tokens", json!({"model": "m", "messages": turn})),
        ("/v1/responses/input_tokens", json!({"model": "m", "input": "count 1"})),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(ask(&gateway, path, &body), 200, "{path}");
        body["keep_alive"] = json!("5m");
        assert_eq!(ask(&gateway, path, &body), 200, "{path}");
        wait_until("the supervisor gets it", || gateway.keep_alives().len() > number);
        assert_eq!(gateway.keep_alives(), vec![KeepAlive::Seconds(300); number + 1]);
    }
}
