//! Downloads when the hub, the line, the disk or the process fails.

use std::fs;
use std::time::Duration;

use e2e::fake_hub::{FakeHub, Model, bytes};
use e2e::hub_user::HubUser;
use e2e::process;
use nix::sys::signal::Signal;
use serde_json::json;

const BIG: &str = "mlx-community/big";

/// Two files of weights, each of `size` bytes.
pub(crate) fn hub(size: usize) -> FakeHub {
    let mut second = bytes(size);
    second.reverse();
    let files = [
        ("config.json", json!({"model_type": "llama"}).to_string().into_bytes()),
        ("tokenizer.json", b"{}".to_vec()),
        ("model-00001-of-00002.safetensors", bytes(size)),
        ("model-00002-of-00002.safetensors", second),
    ];
    FakeHub::start([(BIG, Model::new(files))])
}

/// Asserts that the files on disk are the hub's.
fn assert_equal(hub: &FakeHub, user: &HubUser) {
    let commit = fs::read_to_string(user.cached(BIG).join("refs/main")).unwrap();
    let snapshot = user.cached(BIG).join("snapshots").join(commit);
    hub.models(|models| {
        for (path, content) in &models[BIG].files {
            assert!(fs::read(snapshot.join(path)).unwrap() == *content.bytes, "{path} differs");
        }
    });
    let blobs = fs::read_dir(user.cached(BIG).join("blobs")).unwrap().count();
    assert_eq!(blobs, 4, "no part of a download is left");
}

/// The process is killed again and again over a slow line. What has come is never asked for again, but for the pieces in flight.
#[test]
fn killed_download_goes_on_where_it_was() {
    let size = 12_000_000;
    let hub = hub(size);
    hub.faults(|faults| faults.slow = Some(2_000_000));
    let user = HubUser::new(&hub);
    let (mut kills, mut pause) = (0u64, 120);
    loop {
        let mut pull = user.start(&["pull", "--connections", "4", BIG]);
        // Moments that differ from run to run of the loop, and never repeat.
        pause = pause * 7 % 611 + 150;
        std::thread::sleep(Duration::from_millis(pause));
        if let Some(status) = pull.try_wait().unwrap() {
            assert!(status.success(), "{:?}", pull.wait_with_output());
            break;
        }
        let is_half = hub.sent() < 2 * size as u64;
        assert!(!is_half || !user.cached(BIG).join("snapshots").exists(), "a half model is visible");
        process::signal(pull.id() as i32, Signal::SIGKILL);
        pull.wait().unwrap();
        kills += 1;
        assert!(kills < 200, "{} of {} bytes went out", hub.sent(), 2 * size);
    }
    assert!(kills >= 5, "{kills}");
    assert_equal(&hub, &user);
    // Two connections were open. Each loses a piece, and the bytes that the kernel held.
    let bound = 2 * size as u64 + kills * 2 * (512 << 10) + 10_000 * (kills + 1);
    assert!(hub.sent() <= bound, "{} bytes went out, {kills} kills", hub.sent());
}

#[test]
fn failures_that_pass_do_not_end_a_download() {
    let hub = hub(3_000_000);
    hub.faults(|faults| {
        faults.cuts.extend([1_000, 700_000, 0, 1_500_000]);
        faults.statuses.extend([
            ("/api/models", 503, ""),
            ("/api/models", 429, "RateLimit: \"api\";r=0;t=1\r\n"),
            ("/cdn/", 500, ""),
            ("/cdn/", 429, "Retry-After: 1\r\n"),
            ("/resolve/", 502, ""),
        ]);
    });
    let user = HubUser::new(&hub);
    user.pull(&[BIG]);
    assert_equal(&hub, &user);
}

#[test]
fn expired_address_is_asked_for_again() {
    let hub = hub(3_000_000);
    hub.faults(|faults| {
        faults.uses = Some(1);
        // Small files use some of them up.
        faults.cuts.extend([500_000; 10]);
    });
    let user = HubUser::new(&hub);
    user.pull(&[BIG]);
    assert_equal(&hub, &user);
    assert!(hub.requests().iter().any(|request| request.status == 403));
}

#[test]
fn server_without_ranges_serves_too() {
    let hub = hub(1_000_000);
    hub.faults(|faults| faults.no_ranges = true);
    let user = HubUser::new(&hub);
    user.pull(&[BIG]);
    assert_equal(&hub, &user);
}

#[test]
fn chunked_storages_headers_change_nothing() {
    let hub = hub(1_000_000);
    hub.faults(|faults| faults.xet = true);
    let user = HubUser::new(&hub);
    user.pull(&[BIG]);
    assert_equal(&hub, &user);
}

#[test]
fn wrong_bytes_never_become_a_model() {
    let hub = hub(1_000_000);
    hub.faults(|faults| faults.wrong = true);
    let user = HubUser::new(&hub);
    let sentence = user.refused(&["pull", "--force", BIG]);
    assert!(sentence.contains("is damaged: its digest is"), "{sentence}");
    assert!(!user.cached(BIG).join("snapshots").exists());
    hub.faults(|faults| faults.wrong = false);
    user.pull(&[BIG]);
    assert_equal(&hub, &user);
}

/// The disk lost what the log says was written, as after a loss of power.
#[test]
fn damaged_part_of_an_earlier_download_is_downloaded_again() {
    let hub = hub(3_000_000);
    hub.faults(|faults| faults.slow = Some(1_000_000));
    let user = HubUser::new(&hub);
    let mut pull = user.start(&["pull", BIG]);
    process::wait_for("some bytes come", Duration::from_secs(20), || hub.sent() > 2_500_000);
    pull.kill().unwrap();
    pull.wait().unwrap();
    hub.faults(|faults| faults.slow = None);
    for entry in fs::read_dir(user.cached(BIG).join("blobs")).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().ends_with(".mlxd.incomplete") {
            let size = entry.metadata().unwrap().len();
            fs::write(entry.path(), vec![0; size as usize]).unwrap();
        }
    }
    user.pull(&[BIG]);
    assert_equal(&hub, &user);
}

#[test]
fn two_downloads_of_a_model_are_one() {
    let hub = hub(4_000_000);
    hub.faults(|faults| faults.slow = Some(4_000_000));
    let user = HubUser::new(&hub);
    let both = [user.start(&["pull", BIG]), user.start(&["pull", BIG])];
    let mut waited = 0;
    for pull in both {
        let output = pull.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        waited +=
            usize::from(text.contains("waiting for it") && text.contains("nothing had to be downloaded"));
    }
    assert_eq!(waited, 1);
    assert_equal(&hub, &user);
    assert!(hub.sent() < 8_000_000 + 200_000, "{}", hub.sent());
}

#[test]
fn bandwidth_limit_is_kept() {
    let hub = hub(1_000_000);
    let user = HubUser::new(&hub);
    let start = std::time::Instant::now();
    user.pull(&["--limit", "1MB", BIG]);
    assert!(start.elapsed() > Duration::from_millis(1800), "{:?}", start.elapsed());
    assert_equal(&hub, &user);
}
