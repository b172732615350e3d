//! No process of the program outlives its runner.
//!
//! The runner, the program and its children are one process group. If the supervisor ends, the end of the runner's standard input
//! tells, and the runner kills the group. If the runner itself is killed, the supervisor kills the group, and on Linux the kernel kills
//! the program at once. For that the program is started by way of this binary ([`replace_if_asked`]): the death signal belongs to a
//! process and stays when it becomes another program.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::Command;

use ipc_proto::lifeline::exit_now;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{getpgrp, getpid, getppid};

/// The first argument that makes this binary another program.
pub const EXECUTE: &str = "execute";
/// The status of a program that cannot be started, as in a shell.
const NOT_STARTED: i32 = 127;

/// Starts the thread that kills the group when standard input ends.
///
/// # Errors
/// The thread cannot be started.
pub fn watch() -> io::Result<()> {
    std::thread::Builder::new().name("lifeline".into()).spawn(|| {
        let mut stdin = io::stdin().lock();
        let mut buffer = [0; 64];
        while matches!(stdin.read(&mut buffer), Ok(1..)) {}
        // The group of a shell that started the runner by hand stays.
        if getpgrp() == getpid() {
            let _ = killpg(getpgrp(), Signal::SIGKILL);
        }
        exit_now(0);
    })?;
    Ok(())
}

/// Becomes the program of the arguments `execute PARENT PROGRAM ARGUMENT...`, which dies with the process `PARENT`. Returns the exit
/// status if the program cannot be started, and `None` without such arguments.
pub fn replace_if_asked(mut arguments: impl Iterator<Item = String>) -> Option<i32> {
    if arguments.next()? != EXECUTE {
        return None;
    }
    let parent = arguments.next()?;
    let program = arguments.next()?;
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL) {
        tracing::warn!(%error, "no parent-death signal");
    }
    // The runner may have ended before the call.
    if getppid().to_string() != parent {
        return Some(NOT_STARTED);
    }
    let error = Command::new(&program).args(arguments).exec();
    let hint = if error.kind() == io::ErrorKind::NotFound {
        ": install it, or write its path into config.toml"
    } else {
        ""
    };
    // The supervisor quotes plain lines in its error.
    let line = format!("{program} cannot be started: {error}{hint}\n");
    let _ = io::Write::write_all(&mut io::stderr(), line.as_bytes());
    Some(NOT_STARTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_arguments_make_it_another_program() {
        let asked = |words: &[&str]| replace_if_asked(words.iter().map(|word| (*word).to_owned()));
        assert_eq!(asked(&[]), None);
        assert_eq!(asked(&["--socket", "x"]), None);
        assert_eq!(asked(&[EXECUTE, "1"]), None);
        assert_eq!(asked(&[EXECUTE, "0", "/bin/true"]), Some(NOT_STARTED), "another parent");
    }
}
