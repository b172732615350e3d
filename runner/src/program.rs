//! Starts the program, and ends it.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::group::EXECUTE;

/// Time that the program has to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
/// The word in its arguments that the port takes the place of.
const PORT: &str = "{port}";

/// The running program.
#[derive(Debug)]
pub struct Program {
    process: Child,
    /// The port on which it is to listen.
    pub port: u16,
}

impl Program {
    /// Starts the program on a free port. Its output goes to this process's standard error.
    ///
    /// # Errors
    /// There is no free port, or this binary cannot be started again.
    pub fn start(command: &[String]) -> io::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let output = io::stderr().as_fd().try_clone_to_owned()?;
        let mut start = Command::new(std::env::current_exe()?);
        start.arg(EXECUTE).arg(getpid().to_string()).args(with_port(command, port));
        // Python would keep its output back while it goes to a pipe.
        start.env("PYTHONUNBUFFERED", "1").env_remove("MLXD_LOG");
        start.stdin(Stdio::null()).stdout(output).kill_on_drop(true);
        Ok(Self { process: start.spawn()?, port })
    }

    /// Waits until the program has ended. Dropping the call loses nothing.
    pub async fn wait(&mut self) -> String {
        let status = self.process.wait().await;
        status.map_or_else(|error| error.to_string(), |status: ExitStatus| status.to_string())
    }

    /// Sends SIGTERM, and SIGKILL to a program that does not end.
    pub async fn stop(&mut self) {
        let Some(id) = self.process.id() else { return };
        // An error means that it has ended.
        let _ = kill(Pid::from_raw(id.cast_signed()), Signal::SIGTERM);
        if timeout(GRACE, self.process.wait()).await.is_err() {
            tracing::warn!(pid = id, grace_s = GRACE.as_secs(), "the program does not end: killed");
            let _ = self.process.kill().await;
        }
    }
}

fn with_port(command: &[String], port: u16) -> impl Iterator<Item = String> + '_ {
    command.iter().map(move |argument| argument.replace(PORT, &port.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_takes_its_place_in_every_argument() {
        let command = ["serve", "--port", "{port}", "--url=http://h:{port}/x"].map(String::from);
        let filled: Vec<String> = with_port(&command, 81).collect();
        assert_eq!(filled, ["serve", "--port", "81", "--url=http://h:81/x"]);
    }
}
