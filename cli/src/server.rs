//! Finds the server of a home, or starts one.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::{self, ClientError};

/// Time that a server has to answer at first.
const START: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// The log of a server that a command starts, in its home.
pub(crate) const LOG: &str = "serve.log";

/// A reason why no server answers.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the server was started and ended: {reason} (its log is {})", log.display())]
    Ended { reason: String, log: PathBuf },
    #[error("the server was started and does not answer within {seconds} s: its log is {}", log.display())]
    Silent { seconds: u64, log: PathBuf },
    #[error("the server cannot be reached: {0}")]
    Unreachable(std::io::Error),
    #[error("{}: {cause}", path.display())]
    File { path: PathBuf, cause: std::io::Error },
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The URL of the server's API, such as `http://127.0.0.1:10240`. Starts a server if none runs, and says so.
pub(crate) fn ensure(home: &Path) -> Result<String, ServerError> {
    if let Some(url) = running(home)? {
        return Ok(url);
    }
    let log = home.join(LOG);
    let mut child = start(home, &log)?;
    let start = Instant::now();
    while !(client::is_running(home)? && supervisor::address(home).is_ok()) {
        if child.try_wait()?.is_some() {
            return Err(ServerError::Ended { reason: last_line(&log), log });
        }
        if start.elapsed() > START {
            return Err(ServerError::Silent { seconds: START.as_secs(), log });
        }
        std::thread::sleep(LOOK);
    }
    let log = log.display();
    let text = format!("no server ran: one is started, and stays until `mlxd stop` (its log is {log})");
    let _ = writeln!(std::io::stderr().lock(), "{text}");
    address(home)
}

/// The URL of the server's API. `None` if no server runs.
pub(crate) fn running(home: &Path) -> Result<Option<String>, ServerError> {
    if client::is_running(home)? { address(home).map(Some) } else { Ok(None) }
}

fn address(home: &Path) -> Result<String, ServerError> {
    let address = supervisor::address(home).map_err(ServerError::Unreachable)?;
    Ok(format!("http://{address}"))
}

/// Starts `mlxd serve` in a process group of its own, so that Ctrl-C here does not end it.
fn start(home: &Path, log: &Path) -> Result<Child, ServerError> {
    let file = |cause| ServerError::File { path: log.to_owned(), cause };
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
