//! A log that cannot be written blocks and ends no process.

use std::time::Duration;

use e2e::places::{self, SHALLOW};
use e2e::server::Log;
use e2e::{Server, process};
use nix::sys::signal::Signal;

/// Loads a model, kills its worker, unloads and loads again.
fn exercise(server: &Server) {
    assert_eq!(server.count().status, 200);
    let killed = server.workers().remove(0).pid;
    process::signal(killed, Signal::SIGKILL);
    assert_eq!(server.count().status, 200, "its worker is replaced");
    assert!(server.mlxd(&["ps"]).contains("ready"));
    server.mlxd(&["unload", SHALLOW]);
    assert_eq!(server.count().status, 200);
    assert_eq!((server.gateways().len(), server.workers().len()), (1, 1));
}

#[test]
#[cfg(target_os = "linux")]
fn full_log_disk_ends_no_process() {
    let server = Server::builder().models(&places::models()).env("MLXD_LOG", "debug").log(Log::Full).start();
    let gateway = server.gateways().remove(0).pid;
    exercise(&server);
    assert_eq!(server.gateways().remove(0).pid, gateway, "it was not replaced");
    assert!(server.stop(Signal::SIGTERM).success());
}

#[test]
fn unread_log_blocks_nothing() {
    let server =
        Server::builder().models(&places::models()).env("MLXD_LOG", "trace").log(Log::Stalled).start();
    exercise(&server);
    // More than the pipe and the queue before it hold, whatever the length of the lines.
    for _ in 0..1500 {
        assert_eq!(server.get("/v1/models/none").status, 404);
    }
    exercise(&server);
    assert!(!server.log().contains("a worker starts"), "the log is unread");
    server.read_log();
    process::wait_for("what was lost is counted", Duration::from_secs(10), || {
        server.log().contains("lines of the log were lost")
    });
    assert!(server.stop(Signal::SIGTERM).success());
}
