//! A model is found, downloaded, paused, loaded and deleted on the page, over a hub of the tests.

use e2e::fake_hub::{FakeHub, Model};
use e2e::{Server, places};

use super::script;

/// Slow enough to be paused: all files together take about seventeen seconds.
const BYTES_PER_SECOND: u64 = 1_500_000;

#[test]
fn model_is_found_downloaded_paused_loaded_and_deleted() {
    let hub = FakeHub::start([("mlx-community/toy-qwen2", Model::toy())]);
    hub.faults(|faults| faults.slow = Some(BYTES_PER_SECOND));
    let cache = tempfile::tempdir().unwrap();
    let server = Server::builder()
        .models(&places::models())
        .env("HF_ENDPOINT", &hub.endpoint())
        .env("HF_HOME", cache.path().to_str().unwrap())
        .start();
    script("ui_downloads.mjs", &server, "hub", &[]);
}
