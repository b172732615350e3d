//! The program `mlxd-hub`: it serves its socket, keeps its list, and ends with its supervisor.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ipc_proto::hub::{DownloadChange, DownloadOrder, DownloadState, HubClient};
use ipc_proto::socket::{self, Channel};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tarpc::client::Config;
use tarpc::context;

/// The program with this home, and a hub that refuses connections.
fn start(home: &Path) -> Child {
    fs::write(home.join("config.json"), r#"{"variables": {"HF_ENDPOINT": "http://127.0.0.1:9"}}"#).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlxd-hub"));
    command.env_clear().env("HOME", home).env("MLXD_LOG", "off").arg("--lifeline");
    command.arg("--socket").arg(home.join("hub.sock")).arg("--home").arg(home);
    command.arg("--config").arg(home.join("config.json")).args(["--budget", "1000000000"]);
    command.stdin(Stdio::piped()).spawn().unwrap()
}

async fn connect(home: &Path) -> HubClient {
    for _ in 0..500 {
        if let Ok(stream) = socket::connect(&home.join("hub.sock"), Channel::Control).await {
            return HubClient::new(Config::default(), socket::framed(stream)).spawn();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it does not listen");
}

fn wait_for_end(child: &mut Child) -> Option<i32> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(start.elapsed() < Duration::from_secs(5), "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn list_survives_a_stop_and_the_end_of_standard_input_ends_the_process() {
    let home = tempfile::tempdir().unwrap();
    let mut first = start(home.path());
    let client = connect(home.path()).await;
    assert!(client.downloads(context::current()).await.unwrap().is_empty());
    let order = DownloadOrder { model: "o/m".into(), ..DownloadOrder::default() };
    let download = client.add(context::current(), order).await.unwrap().unwrap();
    let news = client.watch(context::current(), 0).await.unwrap();
    assert_eq!(news.downloads[0].id, download.id);
    kill(Pid::from_raw(first.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(wait_for_end(&mut first), Some(0));
    assert!(!home.path().join("hub.sock").exists());

    let mut second = start(home.path());
    let client = connect(home.path()).await;
    let left = client.downloads(context::current()).await.unwrap();
    assert_eq!((&left[0].id, left[0].state), (&download.id, DownloadState::Running));
    let change = DownloadChange { paused: Some(true), priority: None };
    let paused = client.change(context::current(), download.id.clone(), change).await.unwrap().unwrap();
    assert_eq!(paused.state, DownloadState::Paused);
    drop(second.stdin.take());
    assert_eq!(wait_for_end(&mut second), Some(0));
    let list = fs::read_to_string(home.path().join("downloads.json")).unwrap();
    assert!(list.contains("\"paused\""), "{list}");
}

#[test]
fn unknown_setting_ends_the_process_with_its_name() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("config.json"), r#"{"limit": 1}"#).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlxd-hub"));
    command.arg("--socket").arg(home.path().join("hub.sock")).arg("--home").arg(home.path());
    command.arg("--config").arg(home.path().join("config.json")).args(["--budget", "1"]);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("config.json") && text.contains("limit"), "{text}");
}
