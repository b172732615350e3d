//! Starts a child process, forwards its stderr, and ends it.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{ErrorKind, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::{ChildStderr, ChildStdin, Command};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};

use crate::ServeError;
use crate::log::Log;
use crate::sibling::sibling;

/// Lines of a child's stderr that error messages can quote.
const TAIL_LINES: usize = 20;
const MAX_LINE_BYTES: usize = 8 << 10;

/// Beginnings of the `MLXD_` variables that children read themselves: log filter, CPU level and test doubles.
const INHERITED: [&str; 4] = ["MLXD_LOG", "MLXD_CPU_LEVEL", "MLXD_TEST_", "MLXD_WORKER_"];

/// Ends of the names of variables that hold secrets.
const SECRETS: [&str; 6] = ["_KEY", "_KEYS", "TOKEN", "SECRET", "PASSWORD", "CREDENTIALS"];

/// The programs that belong to `mlxd`.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) gateway: PathBuf,
    pub(crate) hub: PathBuf,
    pub(crate) runner: PathBuf,
    pub(crate) worker: PathBuf,
}

impl Programs {
    /// Finds the programs in the folder of this one.
    pub(crate) fn beside_this() -> Result<Self, ServeError> {
        let find = |name: &str| {
            let path = sibling(name)?;
            if path.is_file() { Ok(path) } else { Err(ServeError::Program(path)) }
        };
        Ok(Self {
            gateway: find("mlxd-gateway")?,
            hub: find("mlxd-hub")?,
            runner: find("mlxd-runner")?,
            worker: find("mlxd-worker")?,
        })
    }
}

/// A child process with a lifeline. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Child {
    process: tokio::process::Child,
    /// Taken out of `process`, because tokio closes the stdin of a child when it waits for it.
    _lifeline: Option<ChildStdin>,
    stderr_tail: StderrTail,
    /// Its group ends with it.
    owns_group: bool,
}

/// The last lines of a child's stderr.
#[derive(Debug, Clone, Default)]
struct StderrTail(Arc<Mutex<VecDeque<String>>>);

impl Child {
    /// Starts `command` and forwards its stderr as `[name] line`.
    ///
    /// Only this process holds its standard input open: end-of-file there means that the supervisor has died.
    /// The child has its own process group. Ctrl-C in a terminal reaches only the supervisor, which stops all in order.
    pub(crate) fn spawn(mut command: Command, name: &str) -> std::io::Result<Self> {
        hide_private_variables(&mut command);
        Self::spawn_as_is(command, name, false)
    }

    /// As [`Self::spawn`], for a child that has children of its own. The command has an environment of its own, too.
    pub(crate) fn spawn_group(command: Command, name: &str) -> std::io::Result<Self> {
        Self::spawn_as_is(command, name, true)
    }

    fn spawn_as_is(mut command: Command, name: &str, owns_group: bool) -> std::io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.process_group(0).kill_on_drop(true).spawn()?;
        let lifeline = process.stdin.take();
        let stderr_tail = StderrTail::default();
        if let Some(stderr) = process.stderr.take() {
            // A line break in a model's name must not look like another line.
            let name = name.escape_debug().to_string();
            tokio::spawn(forward_stderr(stderr, name, stderr_tail.clone()));
        }
        Ok(Self { process, _lifeline: lifeline, stderr_tail, owns_group })
    }

    /// Waits until the process has ended.
    pub(crate) async fn wait(&mut self) -> ProcessExit {
        ProcessExit::from_status(&self.process.wait().await)
    }

    /// The process id; `None` after [`Self::wait`].
    pub(crate) fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// The last lines of its stderr, oldest first.
    pub(crate) fn last_words(&self) -> Vec<String> {
        let lines = self.stderr_tail.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }

    /// Sends a signal, unless the process has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(id) = self.process.id() {
            // An error means that the process has ended.
            let _ = kill(Pid::from_raw(id.cast_signed()), signal);
        }
    }

    /// Sends SIGTERM, and SIGKILL after `grace`.
    pub(crate) async fn stop(&mut self, grace: Duration) {
        let Some(id) = self.process.id() else { return };
        self.signal(Signal::SIGTERM);
        if tokio::time::timeout(grace, self.wait()).await.is_err() {
            tracing::warn!(pid = id, grace_s = grace.as_secs(), "does not end: killed");
            let _ = self.process.kill().await;
        }
    }

    /// Drains a replaced gateway by SIGHUP, then stops it. `deadline` resolves to the time left once the server stops.
    pub(crate) async fn retire(&mut self, grace: Duration, deadline: impl Future<Output = Duration>) {
        self.signal(Signal::SIGHUP);
        let left = tokio::select! {
            _ = self.wait() => return,
            () = tokio::time::sleep(grace) => Duration::ZERO,
            left = deadline => left,
        };
        self.stop(left).await;
    }
}

impl Drop for Child {
    /// The process itself is killed by tokio.
    fn drop(&mut self) {
        if let Some(id) = self.process.id().filter(|_| self.owns_group) {
            kill_group(id);
        }
    }
}

/// Kills all processes of a group.
pub(crate) fn kill_group(id: u32) {
    // An error means that there are none left.
    let _ = killpg(Pid::from_raw(id.cast_signed()), Signal::SIGKILL);
}

/// Lets `command` inherit neither settings of the server nor secrets.
pub(crate) fn hide_private_variables(command: &mut Command) {
    for (variable, _) in std::env::vars_os().filter(|(variable, _)| is_private(variable)) {
        command.env_remove(variable);
    }
}

/// Tests for a variable that children must not inherit: a setting of the server, or a secret of another program. Processes of the
/// same user can read a child's environment, and no child needs any of these.
fn is_private(variable: &OsStr) -> bool {
    let name = variable.as_encoded_bytes().to_ascii_uppercase();
    let is_inherited = INHERITED.iter().any(|prefix| name.starts_with(prefix.as_bytes()));
    let is_setting = name.starts_with(b"MLXD_") && !is_inherited;
    is_setting || SECRETS.iter().any(|ending| name.ends_with(ending.as_bytes()))
}

/// The exit of a process.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProcessExit {
    /// For example "exit status: 1" or "signal: 9 (SIGKILL)".
    pub(crate) text: String,
    /// The exit status, unless a signal ended it.
    pub(crate) code: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
}

impl ProcessExit {
    fn from_status(status: &std::io::Result<ExitStatus>) -> Self {
        match status {
            Ok(status) => Self { text: status.to_string(), code: status.code(), signal: status.signal() },
            Err(error) => Self { text: error.to_string(), ..Self::default() },
        }
    }
}

/// Whether a line is at fault, rather than the pipe.
fn is_line_error(error: &LinesCodecError) -> bool {
    match error {
        LinesCodecError::MaxLineLengthExceeded => true,
        LinesCodecError::Io(error) => error.kind() == ErrorKind::InvalidData,
    }
}

async fn forward_stderr(stderr: ChildStderr, name: String, tail: StderrTail) {
    let mut lines = FramedRead::new(stderr, LinesCodec::new_with_max_length(MAX_LINE_BYTES));
    let mut skipped = false;
    loop {
        let line = match lines.next().await {
            Some(Ok(line)) => line,
            // A line that is too long or not UTF-8 is skipped. The decoder then returns `None` once without an end.
            Some(Err(error)) if is_line_error(&error) => {
                skipped = true;
                continue;
            }
            None if std::mem::take(&mut skipped) => continue,
            // Only the pipe's end stops the reading: a child with a full pipe would block.
            Some(Err(_)) | None => return,
        };
        let _ = Log.write_all(format!("[{name}] {line}\n").as_bytes());
        let mut lines = tail.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_variables_of_children_are_inherited() {
        for private in
            ["MLXD_API_KEYS", "MLXD_HOST", "MLXD_UNKNOWN", "OPENAI_API_KEY", "HF_TOKEN", "db_password"]
        {
            assert!(is_private(private.as_ref()), "{private}");
        }
        for other in ["MLXD_LOG", "MLXD_CPU_LEVEL", "MLXD_TEST_ANY", "MLXD_WORKER_ANY", "PATH", "HF_HOME"] {
            assert!(!is_private(other.as_ref()), "{other}");
        }
    }

    #[tokio::test]
    async fn stderr_with_invalid_lines_is_read_to_its_end() {
        let script = "head -c 20000 /dev/zero | tr '\\0' a >&2; echo >&2; printf '\\377\\n' >&2; echo after >&2; \
                      head -c 200000 /dev/zero | tr '\\0' b >&2; echo >&2; echo last >&2";
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        let mut child = Child::spawn(command, "test").unwrap();
        let exit = tokio::time::timeout(Duration::from_secs(20), child.wait()).await.unwrap();
        assert_eq!(exit.code, Some(0), "it could write everything");
        for _ in 0..100 {
            if child.last_words() == ["after", "last"] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{:?}", child.last_words());
    }
}
