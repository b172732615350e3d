//! Images in requests, and a model that sees their colours.

use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::http::Events;
use e2e::pictures::{base64, bitmap, data_url};
use e2e::places::{self, SEEING, SMOLLM2};
use e2e::{Server, process, scripts};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// Colours of the pictures that the model was made for.
const COLOURS: [(&str, [u8; 3]); 4] =
    [("red", [220, 30, 30]), ("green", [30, 170, 50]), ("blue", [35, 60, 220]), ("yellow", [240, 220, 40])];

/// Long enough for a block of the prefix cache.
const QUESTION: &str =
    "Look at the picture with care, from its upper left corner to its lower right one. What colour is it?";

fn start() -> Server {
    Server::builder().models(&places::models()).models(&places::seeing()).start()
}

fn image(colour: [u8; 3]) -> Value {
    json!({"type": "image_url", "image_url": {"url": data_url(&bitmap(colour, 48))}})
}

/// A question about a picture, with the beginning of its answer.
fn question(colour: [u8; 3], more: &Value) -> Value {
    let content = json!([image(colour), {"type": "text", "text": QUESTION}]);
    let mut body = json!({
        "model": SEEING,
        "messages": [
            {"role": "user", "content": content},
            {"role": "assistant", "content": "The colour of the picture is a shade of"},
        ],
        "continue_final_message": true,
        "add_generation_prompt": false,
        "temperature": 0,
        "max_tokens": 8,
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// The log probabilities of the colours' names as the next token after a question about `picture`.
fn scores(server: &Server, picture: [u8; 3]) -> Vec<f64> {
    let more = json!({"logprobs": true, "top_logprobs": 20, "max_tokens": 1});
    let answer = server.post("/v1/chat/completions", &question(picture, &more));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let top = answer.body.pointer("/choices/0/logprobs/content/0/top_logprobs").unwrap().as_array().unwrap();
    let score = |name: &str| {
        let found = top.iter().find(|entry| entry["token"].as_str().unwrap().trim() == name);
        found.map_or(-30.0, |entry| entry["logprob"].as_f64().unwrap())
    };
    COLOURS.iter().map(|(name, _)| score(name)).collect()
}

#[test]
fn answer_depends_on_the_picture() {
    let server = start();
    let all: Vec<Vec<f64>> = COLOURS.iter().map(|(_, colour)| scores(&server, *colour)).collect();
    for (own, (name, _)) in COLOURS.iter().enumerate() {
        let best = (0..COLOURS.len()).max_by(|a, b| all[*a][own].total_cmp(&all[*b][own])).unwrap();
        assert_eq!(COLOURS[best].0, *name, "the picture for which \"{name}\" is likeliest: {all:?}");
    }
}

#[test]
fn prompt_with_the_same_picture_comes_from_the_cache() {
    let server = start();
    let (red, blue) = (COLOURS[0].1, COLOURS[2].1);
    let ask = |colour| server.post("/v1/chat/completions", &question(colour, &json!({})));
    let cached = |answer: &e2e::http::Answer| {
        answer.body.pointer("/usage/prompt_tokens_details/cached_tokens").and_then(Value::as_u64).unwrap()
    };
    let first = ask(red);
    let (again, other) = (ask(red), ask(blue));
    assert_eq!(first.text("/choices/0/message/content"), again.text("/choices/0/message/content"));
    assert!(cached(&again) > cached(&other), "{} {}", again.body, other.body);
    assert_eq!(first.body["usage"]["prompt_tokens"], other.body["usage"]["prompt_tokens"]);
    let anew = start().post("/v1/chat/completions", &question(blue, &json!({})));
    assert_eq!(anew.text("/choices/0/message/content"), other.text("/choices/0/message/content"));
}

/// The text of a stream. Calls `meanwhile` after its first tokens.
fn text(events: Events, meanwhile: impl FnOnce()) -> String {
    let (mut text, mut meanwhile) = (String::new(), Some(meanwhile));
    for (at, event) in events.enumerate() {
        if event == "[DONE]" {
            continue;
        }
        let event: Value = serde_json::from_str(&event).unwrap();
        assert!(event.get("error").is_none(), "{event}");
        text += event.pointer("/choices/0/delta/content").and_then(Value::as_str).unwrap_or_default();
        if at == 4
            && let Some(meanwhile) = meanwhile.take()
        {
            meanwhile();
        }
    }
    text
}

#[test]
fn stream_about_a_picture_survives_its_worker() {
    let server = start();
    let body = question(COLOURS[1].1, &json!({"stream": true, "max_tokens": 100, "min_tokens": 60}));
    let whole = text(server.stream("/v1/chat/completions", &body), || {});
    let kill = || process::signal(server.workers().remove(0).pid, Signal::SIGKILL);
    assert_eq!(text(server.stream("/v1/chat/completions", &body), kill), whole);
    assert!(whole.len() > 100, "{whole}");
    let left = || files(&server.home().join("run/images"));
    process::wait_for("the picture's file is gone", Duration::from_secs(10), || left().is_empty());
}

/// The files of pictures in the run folder.
fn files(images: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    };
    let of_gateways = entries(images).into_iter().filter(|folder| !folder.ends_with("gateways"));
    of_gateways.flat_map(|folder| entries(&folder)).collect()
}

#[test]
fn model_of_text_refuses_pictures_and_names_one_that_sees() {
    let server = start();
    let mut body = question(COLOURS[0].1, &json!({}));
    body["model"] = SMOLLM2.into();
    let answer = server.post("/v1/chat/completions", &body);
    let message = answer.expect_error(400);
    assert!(message.contains(SEEING), "{message}");
    // In an earlier turn a text stands for it.
    body["messages"].as_array_mut().unwrap().push(json!({"role": "user", "content": "And now?"}));
    body["continue_final_message"] = false.into();
    body["add_generation_prompt"] = true.into();
    let answer = server.post("/v1/chat/completions", &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let models = server.get("/v1/models");
    let sees = |name: &str| {
        let all = models.body["data"].as_array().unwrap();
        all.iter().find(|model| model["id"] == name).unwrap()["details"]["capabilities"]["vision"].clone()
    };
    assert_eq!((sees(SEEING), sees(SMOLLM2)), (true.into(), false.into()), "{}", models.body);
}

#[test]
fn what_is_no_picture_is_refused() {
    let server = start();
    for url in
        ["data:image/png;base64,AAAA", "data:image/png;base64,###", "file:///etc/hostname", "/etc/hostname"]
    {
        let mut body = question(COLOURS[0].1, &json!({}));
        body["messages"][0]["content"][0]["image_url"]["url"] = url.into();
        let answer = server.post("/v1/chat/completions", &body);
        answer.expect_error(400);
    }
}

#[test]
fn pictures_come_in_every_protocol() {
    let server = start();
    scripts::run("images.py", &[&server.url(""), SEEING, &base64(&bitmap(COLOURS[0].1, 48))]);
}
