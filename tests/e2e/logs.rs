//! Nothing stands still or ends because its log cannot be written.

use std::time::Duration;

use e2e::places::{self, SMOLLM2};
use e2e::server::Log;
use e2e::{Server, process};
use nix::sys::signal::Signal;

/// Loads a model, loses its worker, loads it again, and ends.
fn lives(server: &Server) {
    assert_eq!(server.count().status, 200);
    let killed = server.workers().remove(0).pid;
    process::signal(killed, Signal::SIGKILL);
    assert_eq!(server.count().status, 200, "its worker is replaced");
    assert!(server.mlxd(&["ps"]).contains("ready"));
    server.mlxd(&["unload", SMOLLM2]);
    assert_eq!(server.count().status, 200);
    assert_eq!((server.gateways().len(), server.workers().len()), (1, 1));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_for_logs_ends_nothing() {
    let server = Server::builder().models(&places::models()).env("MLXD_LOG", "debug").log(Log::Full).start();
    let gateway = server.gateways().remove(0).pid;
    lives(&server);
    assert_eq!(server.gateways().remove(0).pid, gateway, "it was not replaced");
    assert!(server.stop(Signal::SIGTERM).success());
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let server =
        Server::builder().models(&places::models()).env("MLXD_LOG", "trace").log(Log::Stalled).start();
    lives(&server);
    // More than a pipe and the queue before it hold, of whatever length the lines are.
    for _ in 0..1500 {
        assert_eq!(server.get("/v1/models/none").status, 404);
    }
    lives(&server);
    assert!(!server.log().contains("a worker starts"), "nobody has read it");
    server.read_log();
    process::wait_for("what was lost is counted", Duration::from_secs(10), || {
        server.log().contains("lines of the log were lost")
    });
    assert!(server.stop(Signal::SIGTERM).success());
}
