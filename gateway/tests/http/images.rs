//! Images on their way from every protocol to a worker, or to the refusal by a model that reads text only.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipc_proto::gateway::{GatewayConfig, ImageSettings, ImageUrls};
use ipc_proto::generate::{ImageSource, Prompt};
use ipc_proto::supervisor::{Capabilities, Details, ModelEntry, ModelState};
use serde_json::{Value, json};

use super::fakes::Gateway;
use super::{json, wait_until};

/// A file that begins as PNG does.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and more";

/// The images that a worker has received: their files and what these held.
#[derive(Clone, Default)]
pub(super) struct Received(Arc<Mutex<Vec<ReadFile>>>);

/// A file's path and what was in it.
type ReadFile = (PathBuf, Vec<u8>);

impl Received {
    /// Reads the images of a prompt, as a worker does.
    pub(super) fn read(&self, prompt: &Prompt) {
        let Prompt::Chat(chat) = prompt else { return };
        for image in chat.messages.iter().flat_map(|message| message.content.images()) {
            let ImageSource::File(path) = &image.source else { panic!("{:?} is no file", image.source) };
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
            self.0.lock().unwrap().push((path.clone(), fs::read(path).unwrap()));
        }
    }

    fn bytes(&self) -> Vec<Vec<u8>> {
        self.0.lock().unwrap().iter().map(|(_, bytes)| bytes.clone()).collect()
    }

    fn all_are_gone(&self) -> bool {
        self.0.lock().unwrap().iter().all(|(path, _)| !path.exists())
    }
}

/// A model that reads images.
pub(super) fn eyes() -> ModelEntry {
    let capabilities = Capabilities { chat: true, vision: true, ..Capabilities::default() };
    let details = Details { folder: "/models/eyes".into(), capabilities, ..Details::default() };
    ModelEntry { id: "eyes".into(), state: ModelState::Ready, details, ..ModelEntry::default() }
}

fn gateway(urls: ImageUrls) -> Gateway {
    let gateway = Gateway::with(GatewayConfig { images: ImageSettings { urls }, ..GatewayConfig::default() });
    gateway.serve_eyes();
    gateway
}

fn data() -> String {
    STANDARD.encode(PNG)
}

fn data_url() -> String {
    format!("data:image/png;base64,{}", data())
}

fn chat(model: &str, prompt: &str, url: &str) -> Value {
    let parts = json!([{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": url}}]);
    json!({"model": model, "messages": [{"role": "user", "content": parts}]})
}

fn ask(gateway: &Gateway, path: &str, body: &Value) -> (u16, Value) {
    let (status, _, body) = gateway.ask("POST", path, "", &body.to_string());
    (status, json(&body))
}

/// A request of each protocol with one image: its path, and its body for `model`.
fn requests(model: &str) -> Vec<(&'static str, Value)> {
    let text = |kind: &str| json!({"type": kind, "text": "count 1"});
    let image = json!({"type": "input_image", "image_url": data_url(), "detail": "auto"});
    let source = json!({"type": "base64", "media_type": "image/png", "data": data()});
    let user = |content: Value| json!([{"role": "user", "content": content}]);
    let blocks = json!([{"type": "image", "source": source}, text("text")]);
    let ollama = json!([{"role": "user", "content": "count 1", "images": [data()]}]);
    vec![
        ("/v1/chat/completions", chat(model, "count 1", &data_url())),
        (
            "/v1/responses",
            json!({"model": model, "store": false, "input": user(json!([text("input_text"), image]))}),
        ),
        ("/v1/messages", json!({"model": model, "max_tokens": 9, "messages": user(blocks)})),
        ("/api/chat", json!({"model": model, "stream": false, "messages": ollama})),
        ("/api/generate", json!({"model": model, "stream": false, "prompt": "count 1", "images": [data()]})),
    ]
}

#[test]
fn worker_gets_each_image_as_a_file_for_the_time_of_the_request() {
    let gateway = gateway(ImageUrls::Off);
    for (path, body) in requests("eyes") {
        let (status, answer) = ask(&gateway, path, &body);
        assert_eq!(status, 200, "{path}: {answer}");
    }
    assert_eq!(gateway.images().bytes(), vec![PNG; 5]);
    wait_until("the files are deleted", || gateway.images().all_are_gone());
}

#[test]
fn counting_takes_images_too() {
    let gateway = gateway(ImageUrls::Off);
    let (_, mut body) = requests("eyes").remove(2);
    body.as_object_mut().unwrap().remove("max_tokens");
    let (status, answer) = ask(&gateway, "/v1/messages/count_tokens", &body);
    assert_eq!((status, gateway.images().bytes().len()), (200, 1), "{answer}");
    wait_until("the files are deleted", || gateway.images().all_are_gone());
}

#[test]
fn files_go_with_a_client_that_leaves() {
    let gateway = gateway(ImageUrls::Off);
    let mut body = chat("eyes", "drip 500", &data_url());
    body["stream"] = true.into();
    let mut stream = gateway.send("POST", "/v1/chat/completions", "", &body.to_string());
    wait_until("the worker has the image", || gateway.images().bytes().len() == 1);
    stream.read_exact(&mut [0; 15]).unwrap();
    assert!(!gateway.images().all_are_gone(), "it is needed as long as the request runs");
    drop(stream);
    wait_until("the file is deleted", || gateway.images().all_are_gone());
}

#[test]
fn another_worker_gets_the_same_file() {
    let gateway = gateway(ImageUrls::Off);
    let (status, answer) = ask(&gateway, "/v1/chat/completions", &chat("eyes", "lose 2", &data_url()));
    assert_eq!(status, 200, "{answer}");
    let received = gateway.images().0.lock().unwrap().clone();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0], received[1]);
}

#[test]
fn text_model_refuses_the_users_newest_images_in_each_protocol() {
    let gateway = gateway(ImageUrls::Off);
    for (path, body) in requests("m") {
        // Ollama's generate needs a chat template, which `m` does not say that it has.
        if path == "/api/generate" {
            continue;
        }
        let (status, answer) = ask(&gateway, path, &body);
        let text = answer.to_string();
        assert_eq!(status, 400, "{path}: {text}");
        assert!(text.contains("reads text only") && text.contains("eyes"), "{path}: {text}");
    }
    let (_, answer) = ask(&gateway, "/v1/chat/completions", &chat("m", "count 1", &data_url()));
    assert_eq!(answer["error"]["param"], "messages");
    assert_eq!(gateway.images().bytes().len(), 0);
}

#[test]
fn text_model_gets_texts_in_the_place_of_earlier_images() {
    let gateway = gateway(ImageUrls::Off);
    let mut body = chat("m", "What is it?", &data_url());
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": "A cat."}));
    messages.push(json!({"role": "user", "content": "count 1"}));
    let (status, answer) = ask(&gateway, "/v1/chat/completions", &body);
    assert_eq!(status, 200, "{answer}");
    let template = json!({"model": "m", "messages": body["messages"]});
    let (status, answer) = ask(&gateway, "/apply-template", &template);
    assert_eq!(status, 200, "{answer}");
    let text = answer["prompt"].as_str().unwrap();
    assert!(text.contains("What is it?\n[image left out: this model reads text only]"), "{text}");
}

#[test]
fn route_with_has_images_sees_those_of_every_protocol() {
    let routes = json!([{"name": "images", "model": "any", "has_images": true, "targets": ["eyes"]},
        {"name": "rest", "model": "any", "targets": ["m"]}]);
    let gateway = Gateway::with_routes(json!({}), routes);
    gateway.serve_eyes();
    for (path, body) in requests("any").into_iter().take(4) {
        let (status, head, answer) = gateway.ask("POST", path, "", &body.to_string());
        assert_eq!(status, 200, "{path}: {answer}");
        assert!(head.contains("x-mlxd-route: images"), "{path}: {head}");
    }
    let plain = json!({"model": "any", "messages": [{"role": "user", "content": "count 1"}]});
    let (_, head, _) = gateway.ask("POST", "/v1/chat/completions", "", &plain.to_string());
    assert!(head.contains("x-mlxd-route: rest"), "{head}");
    assert_eq!(gateway.images().bytes().len(), 4);
}

/// A server of one file.
fn file_server(file: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", file.len()).unwrap();
            stream.write_all(file).unwrap();
        }
    });
    address
}

#[test]
fn address_of_a_listed_host_is_fetched() {
    let (address, text) = (file_server(PNG), file_server(b"no image"));
    let gateway = gateway(ImageUrls::Hosts(vec![address.to_string(), text.to_string()]));
    let url = format!("http://{address}/a.png");
    let (status, answer) = ask(&gateway, "/v1/chat/completions", &chat("eyes", "count 1", &url));
    assert_eq!((status, gateway.images().bytes()), (200, vec![PNG.to_vec()]), "{answer}");
    let (status, answer) =
        ask(&gateway, "/v1/chat/completions", &chat("eyes", "count 1", &format!("http://{text}/")));
    assert_eq!(status, 400);
    assert!(answer.to_string().contains("no PNG, JPEG"), "{answer}");
}

#[test]
fn addresses_of_this_machine_are_refused_by_default() {
    let address = file_server(PNG);
    let gateway = gateway(ImageUrls::default());
    let hosts = [format!("http://{address}/"), "http://localhost/a".into(), "http://169.254.169.254/".into()];
    for url in hosts {
        let (status, answer) = ask(&gateway, "/v1/chat/completions", &chat("eyes", "count 1", &url));
        let text = answer["error"]["message"].as_str().unwrap();
        assert!(status == 400 && text.starts_with("messages: the image at"), "{url}: {text}");
    }
    assert_eq!(gateway.images().bytes().len(), 0);
}

#[test]
fn images_may_make_a_body_larger_and_texts_may_not() {
    let gateway = gateway(ImageUrls::Off);
    let file = [PNG, &vec![0; 19 << 20]].concat();
    let url = format!("data:;base64,{}", STANDARD.encode(&file));
    let mut body = chat("eyes", "count 1", &url);
    let parts = body["messages"][0]["content"].as_array_mut().unwrap();
    parts.push(parts[1].clone());
    let (status, answer) = ask(&gateway, "/v1/chat/completions", &body);
    assert_eq!((status, gateway.images().bytes().len()), (200, 2), "{answer}");
    let long = json!({"model": "eyes", "messages": [{"role": "user", "content": "a".repeat(33 << 20)}]});
    let (status, answer) = ask(&gateway, "/v1/chat/completions", &long);
    assert_eq!(status, 413, "{answer}");
}
