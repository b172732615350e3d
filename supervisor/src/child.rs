//! Starting, hearing and ending a child process.

use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{ChildStderr, ChildStdin, Command};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};

use crate::ServeError;
use crate::log::Log;

/// Lines of a child's stderr that are kept for error messages.
const KEPT_LINES: usize = 20;
const MAX_LINE_BYTES: usize = 8 << 10;

/// The programs that belong to `mlxd`.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) gateway: PathBuf,
    pub(crate) worker: PathBuf,
}

impl Programs {
    /// The programs in the folder of the running one.
    pub(crate) fn beside_this() -> Result<Self, ServeError> {
        let this = std::env::current_exe()?;
        let folder = this.parent().unwrap_or(Path::new("."));
        let find = |name: &str| {
            let path = folder.join(name);
            if path.is_file() { Ok(path) } else { Err(ServeError::Program(path)) }
        };
        Ok(Self { gateway: find("mlxd-gateway")?, worker: find("mlxd-worker")? })
    }
}

/// A child with a lifeline, killed when dropped.
#[derive(Debug)]
pub(crate) struct Child {
    process: tokio::process::Child,
    /// Held apart, because tokio closes the input of a child that is waited for.
    _lifeline: Option<ChildStdin>,
    last_words: LastWords,
}

/// The last lines of a child's stderr.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastWords(Arc<Mutex<VecDeque<String>>>);

impl Child {
    /// Starts `command`, whose stderr lines go on to ours as `[name] line`.
    ///
    /// Its standard input is a pipe that only this process holds open: end-of-file there tells the child that we are gone.
    /// It gets a process group of its own, so that Ctrl-C in a terminal reaches us alone and the order of stopping is ours.
    pub(crate) fn spawn(mut command: Command, name: &str) -> std::io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.process_group(0).kill_on_drop(true).spawn()?;
        let lifeline = process.stdin.take();
        let last_words = LastWords::default();
        if let Some(stderr) = process.stderr.take() {
            tokio::spawn(listen(stderr, name.to_owned(), last_words.clone()));
        }
        Ok(Self { process, _lifeline: lifeline, last_words })
    }

    /// Waits for its end.
    pub(crate) async fn wait(&mut self) -> End {
        End::of(&self.process.wait().await)
    }

    /// Its process id, until its end was waited for.
    pub(crate) fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// The lines that it last wrote to stderr, oldest first.
    pub(crate) fn last_words(&self) -> Vec<String> {
        let lines = self.last_words.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }

    /// Sends it a signal; one that has ended gets none.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(id) = self.process.id() {
            // An error means that it is gone already.
            let _ = kill(Pid::from_raw(id.cast_signed()), signal);
        }
    }

    /// Asks it to end, and ends it when it has not within `grace`.
    pub(crate) async fn stop(&mut self, grace: Duration) {
        let Some(id) = self.process.id() else { return };
        self.signal(Signal::SIGTERM);
        if tokio::time::timeout(grace, self.wait()).await.is_err() {
            tracing::warn!(pid = id, grace_s = grace.as_secs(), "does not end: killed");
            let _ = self.process.kill().await;
        }
    }

    /// As [`Self::stop`], for a gateway whose place another one has taken: it takes its time, until `hurry` says how much is left.
    pub(crate) async fn retire(&mut self, grace: Duration, hurry: impl Future<Output = Duration>) {
        self.signal(Signal::SIGHUP);
        let left = tokio::select! {
            _ = self.wait() => return,
            () = tokio::time::sleep(grace) => Duration::ZERO,
            left = hurry => left,
        };
        self.stop(left).await;
    }
}

/// How a process ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct End {
    /// "exit status: 1" or "signal: 9 (SIGKILL)".
    pub(crate) text: String,
    /// Its status, if it ended by itself.
    pub(crate) code: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
}

impl End {
    fn of(status: &std::io::Result<ExitStatus>) -> Self {
        match status {
            Ok(status) => Self { text: status.to_string(), code: status.code(), signal: status.signal() },
            Err(error) => Self { text: error.to_string(), ..Self::default() },
        }
    }
}

/// Whether a line is at fault, and not the pipe.
fn is_of_text(error: &LinesCodecError) -> bool {
    match error {
        LinesCodecError::MaxLineLengthExceeded => true,
        LinesCodecError::Io(error) => error.kind() == ErrorKind::InvalidData,
    }
}

async fn listen(stderr: ChildStderr, name: String, last_words: LastWords) {
    let mut lines = FramedRead::new(stderr, LinesCodec::new_with_max_length(MAX_LINE_BYTES));
    let mut left_out = false;
    loop {
        let line = match lines.next().await {
            Some(Ok(line)) => line,
            // A line that is too long or no text is left out. The reader says that it ends then, and does not.
            Some(Err(error)) if is_of_text(&error) => {
                left_out = true;
                continue;
            }
            None if std::mem::take(&mut left_out) => continue,
            // A child whose lines nobody reads would stand still at some time: its end closes the pipe first.
            Some(Err(_)) | None => return,
        };
        let _ = Log.write_all(format!("[{name}] {line}\n").as_bytes());
        let mut kept = last_words.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT_LINES {
            kept.pop_front();
        }
        kept.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_that_is_left_out_does_not_end_the_reading() {
        let script = "head -c 20000 /dev/zero | tr '\\0' a >&2; echo >&2; printf '\\377\\n' >&2; echo after >&2; \
                      head -c 200000 /dev/zero | tr '\\0' b >&2; echo >&2; echo last >&2";
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        let mut child = Child::spawn(command, "test").unwrap();
        let end = tokio::time::timeout(Duration::from_secs(20), child.wait()).await.unwrap();
        assert_eq!(end.code, Some(0), "it could write all of it");
        for _ in 0..100 {
            if child.last_words() == ["after", "last"] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{:?}", child.last_words());
    }
}
