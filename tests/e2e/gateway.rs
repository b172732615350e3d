//! A gateway killed under load loses its own connections and nothing else.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use e2e::places::SHALLOW;
use e2e::{Server, http, process};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const CLIENTS: u32 = 6;
const KILLS: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(60);

/// Counts of the streams' outcomes.
#[derive(Default)]
struct Streams {
    over: AtomicBool,
    whole: AtomicU32,
    broken: AtomicU32,
    connected: AtomicU32,
}

fn body(tokens: u32) -> Value {
    json!({"model": SHALLOW, "prompt": "Once upon a time", "max_tokens": tokens, "temperature": 0, "stream": true})
}

/// The text of a stream, and whether it is complete. `None` where the connection broke before an answer.
fn read_stream(server: &Server) -> Option<(String, bool)> {
    let events = http::stream_within(&server.url("/v1/completions"), &body(60), PATIENCE).ok()?;
    assert_eq!(events.status, 200);
    let mut text = String::new();
    for event in events {
        if event == "[DONE]" {
            return Some((text, true));
        }
        let event: Value = serde_json::from_str(&event).unwrap();
        assert!(event.get("error").is_none(), "a killed gateway sends no error: {event}");
        text.push_str(event["choices"][0]["text"].as_str().unwrap());
    }
    Some((text, false))
}

fn client(server: &Server, right: &str, streams: &Streams) {
    while !streams.over.load(Ordering::Relaxed) {
        let (text, whole) = read_stream(server).unwrap_or_default();
        assert!(if whole { text == right } else { right.starts_with(&text) }, "{text:?} of {right:?}");
        let count = if whole { &streams.whole } else { &streams.broken };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Connects all the time. No connection is refused while a gateway is replaced.
fn connect_repeatedly(server: &Server, streams: &Streams) {
    while !streams.over.load(Ordering::Relaxed) {
        let connection = TcpStream::connect(server.address());
        assert!(connection.is_ok(), "refused: {connection:?}");
        streams.connected.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The number of open descriptors of a process; 0 without /proc.
fn descriptors(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

fn kill_gateways(server: &Server, streams: &Streams) {
    for _ in 0..KILLS {
        std::thread::sleep(Duration::from_millis(1200));
        let gateway = server.gateways().remove(0).pid;
        process::signal(gateway, Signal::SIGKILL);
        process::wait_for("another gateway", PATIENCE, || {
            server.gateways().first().is_some_and(|other| other.pid != gateway)
        });
    }
    let whole = streams.whole.load(Ordering::Relaxed);
    process::wait_for("streams come to their ends again", PATIENCE, || {
        streams.whole.load(Ordering::Relaxed) > whole + CLIENTS
    });
    streams.over.store(true, Ordering::Relaxed);
}

/// Ends all threads' work when it is dropped, also by a panic.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn gateway_killed_under_load_loses_only_its_own_connections() {
    let server = Server::start();
    let (right, whole) = read_stream(&server).unwrap();
    assert!(whole);
    let worker = server.workers().remove(0).pid;
    let supervisor = server.pid() as i32;
    let before = (descriptors(supervisor), descriptors(worker));
    let (streams, begun) = (Streams::default(), Instant::now());
    std::thread::scope(|scope| {
        let _over = Over(&streams.over);
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let _over = Over(&streams.over);
                client(&server, &right, &streams);
            });
        }
        scope.spawn(|| {
            let _over = Over(&streams.over);
            connect_repeatedly(&server, &streams);
        });
        kill_gateways(&server, &streams);
    });
    let Streams { whole, broken, connected, .. } = &streams;
    println!(
        "{KILLS} gateways killed in {:?}: {} streams whole, {} broken, {} connections, none refused",
        begun.elapsed(),
        whole.load(Ordering::Relaxed),
        broken.load(Ordering::Relaxed),
        connected.load(Ordering::Relaxed),
    );
    assert!(broken.load(Ordering::Relaxed) > 0, "under load streams break");
    // The worker cancels the requests of lost clients.
    let mut shown = Value::Null;
    process::wait_for("the worker has nothing to do", PATIENCE, || {
        shown = server.get(&format!("/admin/v1/models/{SHALLOW}")).body;
        let worker = &shown["workers"][0];
        worker["running"] == 0 && worker["waiting"] == 0
    });
    assert_eq!(
        server.workers().iter().map(|w| w.pid).collect::<Vec<_>>(),
        [worker],
        "the model stays loaded"
    );
    assert_eq!((server.gateways().len(), server.sockets().len()), (1, 2));
    process::wait_for("descriptors are given back", Duration::from_secs(10), || {
        descriptors(supervisor) <= before.0 + 2 && descriptors(worker) <= before.1 + 2
    });
    assert_eq!(read_stream(&server), Some((right, true)));
    assert!(server.stop(Signal::SIGTERM).success());
}
