//! Finds the server of a home, or starts one.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::RunError;
use crate::client;

/// Time that a server has to answer at first.
const START: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// The log of a server that this command starts, in its home.
const LOG: &str = "serve.log";

/// The address of the server's API, such as `http://127.0.0.1:10240`.
pub(super) fn ensure(home: &Path) -> Result<String, RunError> {
    if client::is_running(home)? {
        return address(home);
    }
    let log = home.join(LOG);
    let mut child = start(home, &log)?;
    let start = Instant::now();
    while !(client::is_running(home)? && supervisor::address(home).is_ok()) {
        if child.try_wait()?.is_some() {
            return Err(RunError::Ended { reason: last_line(&log), log });
        }
        if start.elapsed() > START {
            return Err(RunError::Silent { seconds: START.as_secs(), log });
        }
        std::thread::sleep(LOOK);
    }
    let log = log.display();
    let text = format!("no server ran: one is started, and stays until `mlxd stop` (its log is {log})");
    let _ = writeln!(std::io::stderr().lock(), "{text}");
    address(home)
}

fn address(home: &Path) -> Result<String, RunError> {
    let address = supervisor::address(home).map_err(|cause| RunError::Unreachable(cause.to_string()))?;
    Ok(format!("http://{address}"))
}

/// Starts `mlxd serve` in a process group of its own, so that Ctrl-C here does not end it.
fn start(home: &Path, log: &Path) -> Result<Child, RunError> {
    let file = |cause| RunError::File { path: log.to_owned(), cause };
    fs::create_dir_all(home).map_err(file)?;
    let mut options = OpenOptions::new();
    let output: File = options.create(true).append(true).mode(0o600).open(log).map_err(file)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("serve").arg("--home").arg(home).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
    Ok(command.spawn()?)
}

fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or_default().trim_start_matches("mlxd: ").to_owned()
}
