//! Small when idle, quick to start.

use std::time::Duration;

use e2e::{Server, process};
#[cfg(target_os = "linux")]
use e2e::{figures, places::SHALLOW};

#[test]
fn idle_server_is_small_and_starts_quickly() {
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

/// A worker drops the file's pages as it reads the tensors. It never holds both file and weights.
#[test]
#[cfg(target_os = "linux")]
fn loaded_worker_holds_its_weights_once() {
    let server = Server::start();
    assert_eq!(server.count().status, 200);
    let pid = server.workers().remove(0).pid;
    let model = server.get(&format!("/admin/v1/models/{SHALLOW}")).body;
    let weights = model["details"]["weight_bytes"].as_u64().unwrap() >> 20;
    let [resident, most, anonymous, mapped] =
        ["VmRSS", "VmHWM", "RssAnon", "RssFile"].map(|field| process::memory_mib(pid, field));
    println!(
        "{weights} MiB of weights: {resident} MiB resident ({anonymous} of it no file's), {most} at most"
    );
    figures::print("worker_weights_mib", weights as f64);
    figures::print("worker_resident_mib", resident as f64);
    figures::print("worker_file_pages_mib", mapped as f64);
    figures::print("worker_most_mib", most as f64);
    assert!(mapped <= 64, "programs and libraries, and no weights: {mapped} MiB");
    // A read tensor exists twice for a moment: the largest has 108 MiB.
    assert!(most <= weights + 220, "{most} MiB at most, for {weights}");
    let pool = server.get("/admin/v1/pool").body;
    let lease = &pool["leases"][0];
    assert!(lease["footprint"].as_u64() <= lease["bytes"].as_u64(), "the estimate holds: {pool}");
    let leased = lease["weights"].as_u64().unwrap() >> 20;
    assert!(
        leased.abs_diff(weights) <= 1 + weights / 50,
        "the lease is the size in the weights' headers: {pool}"
    );
}
