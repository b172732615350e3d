//! A proxy that records HTTP exchanges, and those within a WebSocket. It forwards bytes as they are, so a client meets the
//! server itself, and parses them afterwards.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::Value;

mod frames;
mod messages;

use messages::Message;

/// A running proxy.
pub struct Recorder {
    address: SocketAddr,
    connections: Connections,
}

type Connections = Arc<Mutex<Vec<Arc<Connection>>>>;

/// The bytes of one connection.
#[derive(Default)]
struct Connection {
    /// From the client, with the time at which each piece came.
    sent: Mutex<Vec<(Instant, Vec<u8>)>>,
    /// From the server.
    received: Mutex<Vec<u8>>,
}

/// A request and its answer.
#[derive(Debug)]
pub struct Exchange {
    /// When the request began.
    pub begun: Instant,
    /// The method, or `WebSocket`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The request's body; `Null` where it is not JSON.
    pub request: Value,
    /// The HTTP status; 0 where no answer came.
    pub status: u16,
    /// The answer's body as far as it came.
    pub answer: String,
}

/// Tokens of a prompt, as an answer states them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prompt {
    /// All tokens.
    pub tokens: u64,
    /// Those that were in the prefix cache.
    pub cached: u64,
}

impl Recorder {
    /// Starts a proxy of `upstream` (`host:port`). `watch` sees each piece of an answer before the client does.
    pub fn start(upstream: &str, watch: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Connections::default();
        let (upstream, all, watch) = (upstream.to_owned(), Arc::clone(&connections), Arc::new(watch));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&upstream) else { continue };
                let connection = Arc::new(Connection::default());
                all.lock().unwrap().push(Arc::clone(&connection));
                forward(&client, &server, &connection, Arc::clone(&watch));
            }
        });
        Self { address, connections }
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The exchanges so far, in the order in which they began.
    pub fn exchanges(&self) -> Vec<Exchange> {
        let connections = self.connections.lock().unwrap().clone();
        let mut all: Vec<Exchange> =
            connections.iter().flat_map(|connection| connection.exchanges()).collect();
        all.sort_by_key(|exchange| exchange.begun);
        all
    }
}

/// Copies both directions until one side closes.
fn forward(
    client: &TcpStream,
    server: &TcpStream,
    connection: &Arc<Connection>,
    watch: Arc<impl Fn(&[u8]) + Send + Sync + 'static>,
) {
    let up = (client.try_clone().unwrap(), server.try_clone().unwrap(), Arc::clone(connection));
    let down = (server.try_clone().unwrap(), client.try_clone().unwrap(), Arc::clone(connection));
    std::thread::spawn(move || {
        pump(up.0, up.1, |piece| up.2.sent.lock().unwrap().push((Instant::now(), piece.to_vec())));
    });
    std::thread::spawn(move || {
        pump(down.0, down.1, |piece| {
            down.2.received.lock().unwrap().extend_from_slice(piece);
            watch(piece);
        });
    });
}

fn pump(mut from: TcpStream, mut to: TcpStream, see: impl Fn(&[u8])) {
    let mut buffer = [0; 65_536];
    while let Ok(count) = from.read(&mut buffer)
        && count > 0
    {
        see(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            // The reader has left; the writer learns it too.
            let _ = from.shutdown(Shutdown::Both);
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

impl Connection {
    fn exchanges(&self) -> Vec<Exchange> {
        let sent = self.sent.lock().unwrap().clone();
        let requests =
            messages::requests(&sent.iter().flat_map(|(_, piece)| piece.clone()).collect::<Vec<_>>());
        let answers = messages::answers(&self.received.lock().unwrap());
        let mut answers = answers.into_iter();
        let mut all = Vec::new();
        for request in &requests {
            match answers.next() {
                Some(answer) if answer.line == "101" => all.extend(socket(request, &answer.body, &sent)),
                answer => all.push(exchange(request, answer, &sent)),
            }
        }
        all
    }
}

/// When the byte at `place` came.
fn time(sent: &[(Instant, Vec<u8>)], place: usize) -> Instant {
    let mut end = 0;
    let piece = sent.iter().find(|(_, piece)| {
        end += piece.len();
        end > place
    });
    piece.unwrap().0
}

/// The exchanges within a connection that `upgrade` has made a WebSocket: a text of the client, and the texts of the server up
/// to an error or the end of a response.
fn socket(upgrade: &Message, received: &[u8], sent: &[(Instant, Vec<u8>)]) -> Vec<Exchange> {
    let bytes: Vec<u8> = sent.iter().flat_map(|(_, piece)| piece.clone()).collect();
    let path = upgrade.line.split_once(' ').unwrap_or_default().1;
    let mut answers = frames::texts(received).into_iter().map(|text| text.text);
    let requests = frames::texts(&bytes[upgrade.end..]);
    let exchanges = requests.into_iter().map(|request| {
        let (mut answer, mut status) = (String::new(), 0);
        for text in answers.by_ref() {
            let event: Value = serde_json::from_str(&text).unwrap_or_default();
            answer.push_str(&format!("data: {text}\n\n"));
            status = event["status"].as_u64().map_or(200, |status| status as u16);
            let ends = ["response.completed", "response.incomplete", "response.failed", "error"];
            if ends.iter().any(|end| event["type"] == *end) {
                break;
            }
        }
        Exchange {
            begun: time(sent, upgrade.end + request.begin),
            method: "WebSocket".to_owned(),
            path: path.to_owned(),
            request: serde_json::from_str(&request.text).unwrap_or(Value::Null),
            status,
            answer,
        }
    });
    exchanges.collect()
}

fn exchange(request: &Message, answer: Option<Message>, sent: &[(Instant, Vec<u8>)]) -> Exchange {
    let (method, path) = request.line.split_once(' ').unwrap_or_default();
    Exchange {
        begun: time(sent, request.begin),
        method: method.to_owned(),
        path: path.to_owned(),
        request: serde_json::from_slice(&request.body).unwrap_or(Value::Null),
        status: answer.as_ref().and_then(|answer| answer.line.parse().ok()).unwrap_or_default(),
        answer: answer.map(|answer| String::from_utf8_lossy(&answer.body).into_owned()).unwrap_or_default(),
    }
}

impl Exchange {
    /// The answer's JSON: one value for each event of a stream, otherwise the body.
    pub fn events(&self) -> Vec<Value> {
        let data = self.answer.lines().filter_map(|line| line.strip_prefix("data: "));
        let events: Vec<Value> = data.filter_map(|data| serde_json::from_str(data).ok()).collect();
        if events.is_empty() { serde_json::from_str(&self.answer).into_iter().collect() } else { events }
    }

    /// The prompt's tokens, in the form of any protocol. `None` where the answer does not state them.
    pub fn prompt(&self) -> Option<Prompt> {
        let events = self.events();
        let usages = events.iter().rev().flat_map(|event| [&event["response"]["usage"], &event["usage"]]);
        usages.filter(|usage| usage.is_object()).find_map(prompt)
    }
}

fn prompt(usage: &Value) -> Option<Prompt> {
    let count = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64);
    if let Some(tokens) = count("/prompt_tokens") {
        return Some(Prompt { tokens, cached: count("/prompt_tokens_details/cached_tokens").unwrap_or(0) });
    }
    let input = count("/input_tokens")?;
    if let Some(cached) = count("/input_tokens_details/cached_tokens") {
        return Some(Prompt { tokens: input, cached });
    }
    let cached = count("/cache_read_input_tokens").unwrap_or(0);
    Some(Prompt { tokens: input + cached + count("/cache_creation_input_tokens").unwrap_or(0), cached })
}
