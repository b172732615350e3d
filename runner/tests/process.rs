//! The program `mlxd-runner`: it serves its socket, and its program ends with it.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ipc_proto::socket::{self, Channel};
use ipc_proto::worker::WorkerClient;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tarpc::client::Config;
use tarpc::context;

/// A runner in its own process group, whose program is this script. `$PIDS` is a file for process ids.
fn start(folder: &Path, script: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlxd-runner"));
    command.env("PIDS", folder.join("pids")).args(["--lifeline", "--name=m", "--health=/health"]);
    command.arg("--socket").arg(folder.join("c.sock")).arg("--http").arg(folder.join("c.http"));
    command.args(["--start-seconds", "1", "--", "/bin/sh", "-c", script, "{port}"]);
    command.process_group(0).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

async fn connect(folder: &Path) -> WorkerClient {
    for _ in 0..500 {
        if let Ok(stream) = socket::connect(&folder.join("c.sock"), Channel::Control).await {
            return WorkerClient::new(Config::default(), socket::framed(stream)).spawn();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it does not listen");
}

/// Waits until `done` gives something.
fn wait_for<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn wait_for_end(child: &mut Child) -> std::process::ExitStatus {
    wait_for("it does not end", || child.try_wait().unwrap())
}

/// The ids that the script has noted, `count` of them.
fn pids(folder: &Path, count: usize) -> Vec<Pid> {
    wait_for("the script does not begin", || {
        let text = std::fs::read_to_string(folder.join("pids")).unwrap_or_default();
        let ids: Vec<Pid> =
            text.split_whitespace().filter_map(|id| id.parse().ok()).map(Pid::from_raw).collect();
        (ids.len() == count && text.ends_with('\n')).then_some(ids)
    })
}

/// Waits until a process is gone, or is a zombie that nobody waits for.
fn wait_gone(pid: Pid) {
    wait_for("a process is left", || {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let is_zombie = state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'));
        (is_zombie || kill(pid, None) == Err(Errno::ESRCH)).then_some(())
    });
}

const FAMILY: &str = "sleep 1000 & echo $$ $! >> \"$PIDS\"; wait";

#[tokio::test]
async fn program_that_is_not_ready_in_time_is_named_and_ended() {
    let folder = tempfile::tempdir().unwrap();
    let mut runner = start(folder.path(), FAMILY);
    let client = connect(folder.path()).await;
    assert_eq!(client.health(context::current()).await.unwrap().running, 0);
    let error = client.wait_ready(context::current()).await.unwrap().unwrap_err();
    for part in ["within 1 s", "GET /health: it did not listen", "start_seconds"] {
        assert!(error.message.contains(part), "{error}");
    }
    kill(Pid::from_raw(runner.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(wait_for_end(&mut runner).code(), Some(1));
    wait_gone(pids(folder.path(), 2)[0]);
    assert!(!folder.path().join("c.sock").exists() && !folder.path().join("c.http").exists());
    // The supervisor ends the rest of the group.
    let _ = nix::sys::signal::killpg(Pid::from_raw(runner.id().cast_signed()), Signal::SIGKILL);
}

#[test]
fn program_that_ends_ends_the_runner_and_its_output_is_the_runners() {
    let folder = tempfile::tempdir().unwrap();
    let mut runner = start(folder.path(), "echo to the log; echo \"$0\" >&2; exit 7");
    assert_eq!(wait_for_end(&mut runner).code(), Some(1));
    let mut text = String::new();
    runner.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("to the log") && text.contains("exit status: 7"), "{text}");
    let port = text.lines().find_map(|line| line.parse::<u16>().ok());
    assert!(port.is_some_and(|port| port > 1023), "{text}");
}

#[test]
fn end_of_standard_input_kills_the_whole_group() {
    let folder = tempfile::tempdir().unwrap();
    let mut runner = start(folder.path(), FAMILY);
    let family = pids(folder.path(), 2);
    drop(runner.stdin.take());
    wait_for_end(&mut runner);
    family.into_iter().for_each(wait_gone);
}

#[cfg(target_os = "linux")]
#[test]
fn killed_runner_takes_its_program_along() {
    let folder = tempfile::tempdir().unwrap();
    let mut runner = start(folder.path(), FAMILY);
    let family = pids(folder.path(), 2);
    runner.kill().unwrap();
    wait_for_end(&mut runner);
    wait_gone(family[0]);
    let _ = kill(family[1], Signal::SIGKILL);
}
