//! `mlxd requests tail` shows each request once, also those around a restart of the gateway.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use e2e::places::{self, SHALLOW};
use e2e::{Server, process};
use nix::sys::signal::Signal;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

/// A running command and the lines of its output.
struct Tail {
    child: Child,
    lines: Receiver<String>,
}

impl Tail {
    fn start(server: &Server, arguments: &[&str]) -> Self {
        let mut command = Command::new(places::binary("mlxd"));
        command.args(["requests", "tail", "--home"]).arg(server.home()).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    fn row(&self) -> Value {
        serde_json::from_str(&self.lines.recv_timeout(PATIENCE).unwrap()).unwrap()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn tail_goes_on_after_a_gateway_is_replaced() {
    let server = Server::start();
    assert_eq!(server.count().status, 200);
    let mut tail = Tail::start(&server, &["--json", "--status", "finished"]);
    // The stream begins with the requests after its own beginning.
    process::wait_for("the stream is open", PATIENCE, || {
        assert_eq!(server.count().status, 200);
        tail.lines.recv_timeout(Duration::from_secs(1)).is_ok()
    });
    while tail.lines.recv_timeout(Duration::from_secs(1)).is_ok() {}
    process::signal(server.gateways().remove(0).pid, Signal::SIGKILL);
    process::wait_for("another gateway answers", PATIENCE, || e2e::http::get(&server.url("/health")).is_ok());
    assert_eq!(server.count().status, 200);
    let row = tail.row();
    assert_eq!((&row["model"], &row["status"]), (&SHALLOW.into(), &"finished".into()));
    assert!(tail.lines.recv_timeout(Duration::from_secs(1)).is_err(), "each request is shown once");
    assert!(server.stop(Signal::SIGTERM).success());
    process::wait_for("it ends with the server", PATIENCE, || tail.child.try_wait().unwrap().is_some());
}
