//! A small HTTP client: JSON in, JSON or server-sent events out.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use serde_json::Value;

/// A complete answer.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, `Null` where it is not JSON.
    pub body: Value,
}

impl Answer {
    /// The string at a JSON pointer, empty where there is none.
    pub fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// Asserts an error in OpenAI's form. Returns its message.
    pub fn expect_error(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{}", self.body);
        let message = self.text("/error/message");
        assert!(!message.is_empty(), "an error has a message: {}", self.body);
        assert!(!self.text("/error/type").is_empty(), "an error has a type: {}", self.body);
        message
    }
}

/// The time limit of a call without its own.
const LIMIT: Duration = Duration::from_secs(240);

fn agent(limit: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    config.timeout_global(Some(limit)).build().into()
}

fn answer(response: ureq::http::Response<ureq::Body>) -> Answer {
    let status = response.status().as_u16();
    let mut text = String::new();
    response.into_body().into_reader().read_to_string(&mut text).unwrap();
    Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::Null) }
}

/// GET.
pub fn get(url: &str) -> Result<Answer, ureq::Error> {
    agent(LIMIT).get(url).call().map(answer)
}

/// POST of raw bytes as JSON.
pub fn post_bytes(url: &str, body: &[u8]) -> Result<Answer, ureq::Error> {
    send(url, body, LIMIT).map(answer)
}

fn send(url: &str, body: &[u8], limit: Duration) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
    agent(limit).post(url).header("content-type", "application/json").send(body)
}

/// POST of JSON.
pub fn post(url: &str, body: &Value) -> Result<Answer, ureq::Error> {
    post_bytes(url, body.to_string().as_bytes())
}

/// PATCH of JSON.
pub fn patch(url: &str, body: &Value) -> Result<Answer, ureq::Error> {
    let request = agent(LIMIT).patch(url).header("content-type", "application/json");
    request.send(body.to_string().as_bytes()).map(answer)
}

/// DELETE.
pub fn delete(url: &str) -> Result<Answer, ureq::Error> {
    agent(LIMIT).delete(url).call().map(answer)
}

/// GET whose answer is a stream. It breaks off after `limit`.
pub fn listen(url: &str, limit: Duration) -> Result<Events, ureq::Error> {
    let response = agent(limit).get(url).call()?;
    let status = response.status().as_u16();
    let reader: Box<dyn Read + Send> = Box::new(response.into_body().into_reader());
    Ok(Events { status, lines: BufReader::new(reader).lines() })
}

/// POST whose answer is a JSON value in each line.
pub fn lines(url: &str, body: &Value) -> impl Iterator<Item = Value> + use<> {
    let response = send(url, body.to_string().as_bytes(), LIMIT).unwrap();
    let lines = BufReader::new(response.into_body().into_reader()).lines();
    lines.map_while(Result::ok).map(|line| serde_json::from_str(&line).unwrap())
}

/// POST of JSON with a time limit.
pub fn post_within(url: &str, body: &Value, limit: Duration) -> Result<Answer, ureq::Error> {
    send(url, body.to_string().as_bytes(), limit).map(answer)
}

/// A stream of server-sent events, read one at a time.
pub struct Events {
    /// The HTTP status.
    pub status: u16,
    lines: std::io::Lines<BufReader<Box<dyn Read + Send>>>,
}

/// POST whose answer is a stream.
pub fn stream(url: &str, body: &Value) -> Events {
    stream_within(url, body, LIMIT).unwrap()
}

/// POST whose answer is a stream. It breaks off after `limit`.
pub fn stream_within(url: &str, body: &Value, limit: Duration) -> Result<Events, ureq::Error> {
    let response = send(url, body.to_string().as_bytes(), limit)?;
    let status = response.status().as_u16();
    let reader: Box<dyn Read + Send> = Box::new(response.into_body().into_reader());
    Ok(Events { status, lines: BufReader::new(reader).lines() })
}

impl Iterator for Events {
    /// The payload of one `data:` line.
    type Item = String;

    fn next(&mut self) -> Option<String> {
        loop {
            let line = self.lines.next()?.ok()?;
            if let Some(data) = line.strip_prefix("data: ") {
                return Some(data.to_owned());
            }
        }
    }
}
