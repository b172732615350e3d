//! Programs with a time limit that leave no process behind.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::process;

/// A program that has ended.
#[derive(Debug)]
pub struct Ended {
    /// `None` if the limit ended it.
    pub status: Option<ExitStatus>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs `command` in a process group of its own. After `limit` the group is killed. Its output goes through files in `folder`:
/// a grandchild that holds a pipe could block.
///
/// # Panics
/// When the program does not start, or a process of its group survives.
pub fn run(command: &mut Command, folder: &Path, limit: Duration) -> Ended {
    let (out, err) = (folder.join("stdout"), folder.join("stderr"));
    command.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
    let start = Instant::now();
    let mut child = command.process_group(0).spawn().unwrap();
    let mut status = child.try_wait().unwrap();
    while status.is_none() && start.elapsed() < limit {
        std::thread::sleep(Duration::from_millis(20));
        status = child.try_wait().unwrap();
    }
    let group = Pid::from_raw(child.id() as i32);
    let _ = killpg(group, Signal::SIGKILL);
    if status.is_none() {
        child.wait().unwrap();
    }
    process::wait_for("a program's process group ends", Duration::from_secs(5), || {
        killpg(group, None) == Err(Errno::ESRCH)
    });
    let text = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    Ended { status, out: text(&out), err: text(&err) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_ends_a_program_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let mark = format!("{}.5", 1000 + std::process::id());
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("echo begun; sleep {mark} & sleep {mark}")]);
        let ended = run(&mut shell, folder.path(), Duration::from_millis(500));
        assert!(ended.status.is_none() && ended.out == "begun\n", "{ended:?}");
        assert!(!process::processes().iter().any(|process| process.command.contains(&mark)));
    }

    #[test]
    fn ended_program_takes_its_children_along() {
        let folder = tempfile::tempdir().unwrap();
        let mark = format!("{}.25", 1000 + std::process::id());
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("sleep {mark} & exit 3")]);
        let ended = run(&mut shell, folder.path(), Duration::from_secs(20));
        assert_eq!(ended.status.and_then(|status| status.code()), Some(3));
        assert!(!process::processes().iter().any(|process| process.command.contains(&mark)));
    }
}
