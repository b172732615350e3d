//! Small when idle, quick to start.

use std::time::Duration;

use e2e::{Server, process};

#[test]
fn idle_memory_and_start() {
    let starts: Vec<Server> = (0..3).map(|_| Server::start()).collect();
    let fastest = starts.iter().map(|s| s.accepting_after).min().unwrap();
    assert!(fastest <= Duration::from_millis(300), "accepts connections after {fastest:?}");
    let server = &starts[0];
    process::wait_for("the gateway answers", Duration::from_secs(10), || server.get("/health").status == 200);
    let supervisor = server.supervisor().rss_kib;
    assert!(supervisor <= 15 << 10, "supervisor: {supervisor} KiB");
    let gateway = server.gateways().remove(0).rss_kib;
    assert!(gateway <= 40 << 10, "gateway: {gateway} KiB");
}
