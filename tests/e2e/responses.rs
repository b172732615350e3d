//! Responses where the conversation is longer than the context, and WebSockets of a server that stops.

use std::net::TcpStream;
use std::time::Duration;

use e2e::places::{self, SHALLOW};
use e2e::{Server, caller, scripts};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

/// A server whose model has a context of 256 tokens.
fn start_small() -> Server {
    let config = format!("[models.\"{SHALLOW}\"]\ncontext = 256\n");
    Server::builder().models(&places::models()).config(&config).start()
}

/// Turns with 30 words each, about 50 tokens.
fn turns(count: usize) -> Vec<Value> {
    let turn = |number: usize| {
        let question =
            json!({"role": "user", "content": format!("Question {number}:{}", " word".repeat(30))});
        [question, json!({"role": "assistant", "content": format!("Answer {number}.")})]
    };
    (0..count).flat_map(turn).collect()
}

fn ask(server: &Server, more: &Value) -> (u16, Value) {
    let mut input = turns(8);
    input.push(json!({"role": "user", "content": "Say hi."}));
    let mut body = json!({"model": SHALLOW, "input": input, "max_output_tokens": 8, "temperature": 0});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = server.post("/v1/responses", &body);
    (answer.status, answer.body)
}

#[test]
fn conversation_beyond_the_context_is_shortened_only_if_asked() {
    let server = start_small();
    let (status, refused) = ask(&server, &json!({}));
    assert_eq!((status, &refused["error"]["code"]), (400, &json!("context_length_exceeded")), "{refused}");
    let (status, response) = ask(&server, &json!({"truncation": "auto"}));
    assert_eq!((status, &response["truncation"]), (200, &json!("auto")), "{response}");
    let tokens = response["usage"]["input_tokens"].as_u64().unwrap();
    assert!(tokens < 256 - 256 / 8 && tokens > 64, "{response}");
}

#[test]
fn conversation_beyond_the_context_is_compacted_in_several_passes() {
    let server = start_small();
    let compacted = server.post("/v1/responses/compact", &json!({"model": SHALLOW, "input": turns(8)}));
    assert_eq!(compacted.status, 200, "{}", compacted.body);
    let output = compacted.body["output"].as_array().unwrap();
    assert_eq!(output.last().unwrap()["type"], "compaction");
    assert!(compacted.body["usage"]["input_tokens"].as_u64().unwrap() > 256, "{}", compacted.body);
    let mut next = vec![output.last().unwrap().clone()];
    next.push(json!({"role": "user", "content": "Say hi."}));
    let (status, response) = ask(&server, &json!({ "input": next }));
    assert_eq!(status, 200, "{response}");
}

#[test]
fn model_list_has_the_context_as_served() {
    let server = start_small();
    let context = |server: &Server| {
        let list = server.get("/v1/models?client_version=0.171.0").body;
        let is_it = |model: &&Value| model["id"] == SHALLOW || model["slug"] == SHALLOW;
        let plain = list["data"].as_array().unwrap().iter().find(is_it).unwrap().clone();
        let codex = list["models"].as_array().unwrap().iter().find(is_it).unwrap().clone();
        [plain["context_length"].clone(), plain["max_model_len"].clone(), codex["context_window"].clone()]
    };
    assert_eq!(context(&server), [256, 256, 256]);
    assert_eq!(server.count().status, 200);
    assert_eq!(context(&server), [256, 256, 256], "the model is loaded");
}

fn connect(server: &Server) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    tungstenite::client(format!("ws://{}/v1/responses", server.address()), stream).unwrap().0
}

/// The type of the next event.
fn next(socket: &mut WebSocket<TcpStream>) -> String {
    match socket.read().unwrap() {
        Message::Text(text) => {
            let event: Value = serde_json::from_str(&text).unwrap();
            event["type"].as_str().unwrap().to_owned()
        }
        Message::Close(Some(frame)) => format!("{:?}", frame.code),
        other => panic!("{other}"),
    }
}

#[test]
fn server_that_stops_lets_a_socket_finish_and_closes_it() {
    let server = Server::start();
    assert_eq!(server.count().status, 200);
    let (mut idle, mut busy) = (connect(&server), connect(&server));
    let body = json!({"type": "response.create", "model": SHALLOW, "input": "Hi", "max_output_tokens": 4});
    busy.send(Message::text(body.to_string())).unwrap();
    assert_eq!(next(&mut busy), "response.created");
    let stopped = std::thread::spawn(move || server.stop(Signal::SIGTERM));
    assert_eq!(next(&mut idle), format!("{:?}", CloseCode::Restart));
    let mut last = String::new();
    while last != "response.completed" && last != "response.incomplete" {
        last = next(&mut busy);
        assert_ne!(last, "response.failed");
    }
    assert_eq!(next(&mut busy), format!("{:?}", CloseCode::Restart));
    assert!(stopped.join().unwrap().success());
}

#[test]
fn openai_python_socket_and_compaction() {
    let server = Server::start();
    scripts::run("openai_socket.py", &[&server.url("/v1"), SHALLOW]);
}

#[test]
fn openresponses_types_accept_every_answer() {
    let folder = tempfile::tempdir().unwrap();
    caller::write(folder.path());
    let server = Server::builder().models(&places::models()).models(folder.path()).start();
    scripts::run("openresponses.py", &[&server.url("/v1"), SHALLOW, caller::CALLER]);
}
