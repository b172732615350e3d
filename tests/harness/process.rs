//! Processes as the system shows them.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process as `ps` shows it.
#[derive(Debug, Clone)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// The parent's process id.
    pub parent: i32,
    /// Resident memory in KiB.
    pub rss_kib: u64,
    /// The command line.
    pub command: String,
}

/// Every process that is alive (not a zombie).
pub fn processes() -> Vec<Process> {
    let output = Command::new("ps").args(["-axo", "pid=,ppid=,rss=,stat=,command="]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().filter_map(parse).collect()
}

fn parse(line: &str) -> Option<Process> {
    let mut words = line.split_whitespace();
    let pid = words.next()?.parse().ok()?;
    let parent = words.next()?.parse().ok()?;
    let rss_kib = words.next()?.parse().ok()?;
    if words.next()?.starts_with('Z') {
        return None;
    }
    Some(Process { pid, parent, rss_kib, command: words.collect::<Vec<_>>().join(" ") })
}

/// The living children of `parent` that run `program`.
pub fn children(parent: u32, program: &str) -> Vec<Process> {
    // Not anywhere in the command line: folders have the names of programs too.
    let runs = |command: &str| command.split(' ').next().is_some_and(|path| path.ends_with(program));
    processes().into_iter().filter(|p| p.parent == parent as i32 && runs(&p.command)).collect()
}

/// Sends a signal.
pub fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// Makes every write of a process to a file fail, as on a full disk, or lets it write again. Linux only.
///
/// # Panics
/// When `prlimit` refuses.
pub fn limit_files(pid: i32, full: bool) {
    assert!(try_limit_files(pid, full), "prlimit refuses for {pid}");
}

/// Like [`limit_files`], for a process that may have ended. Returns whether it has the limit.
///
/// # Panics
/// When `prlimit` is missing.
pub fn try_limit_files(pid: i32, full: bool) -> bool {
    let limit = if full { "--fsize=0:" } else { "--fsize=unlimited:" };
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &pid.to_string(), limit]).stderr(std::process::Stdio::null());
    prlimit.status().unwrap().success()
}

/// Checks every 20 ms until `condition` holds.
///
/// # Panics
/// When it does not within three times `limit`: a shared machine may have a third of an idle one's speed.
pub fn wait_for(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit * 3, "{what}: not within three times {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A field of `/proc/PID/status` in MiB, such as `VmHWM`. Linux only.
pub fn memory_mib(pid: i32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

/// Processor time a process has used, in milliseconds, to the resolution of `ps` where there is no /proc.
pub fn cpu_ms(pid: i32) -> u64 {
    if let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        return ticks * 10;
    }
    let output = Command::new("ps").args(["-o", "time=", "-p", &pid.to_string()]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let seconds = text.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap_or(0.0));
    (seconds * 1000.0) as u64
}
