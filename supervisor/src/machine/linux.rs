//! Linux: proc(5), the control group's files (cgroups(7), both versions) and pressure stall information
//! (<https://docs.kernel.org/accounting/psi.html>).

use std::fs;
use std::path::{Path, PathBuf};

use ipc_proto::supervisor::Pressure;
use nix::sys::signal::Signal;

use super::Memory;

/// Ends a hung process: its worker then writes its threads' stacks.
pub(crate) const HANG_SIGNAL: Signal = Signal::SIGABRT;

/// From `/proc/meminfo`, or from the control group if its limit is less.
pub(super) fn memory() -> Option<Memory> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let (total, available) = (parse_field(&text, "MemTotal:")?, parse_field(&text, "MemAvailable:")?);
    Some(match control_group_memory() {
        Some(group) if group.total < total => {
            Memory { total: group.total, available: group.available.min(available) }
        }
        _ => Memory { total, available },
    })
}

/// All memory is available to models.
pub(super) async fn memory_for_models(_: &Path) -> Option<u64> {
    memory().map(|memory| memory.total)
}

/// Anonymous and shared memory. File pages do not count, because the system can drop them.
pub(super) async fn footprint(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    // A zombie has no such fields, and no memory.
    Some(parse_field(&text, "RssAnon:").unwrap_or(0) + parse_field(&text, "RssShmem:").unwrap_or(0))
}

/// The ids of all processes.
pub(super) fn processes() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Name, state and kernel wait channel of each thread of a process.
pub(crate) async fn threads(pid: u32) -> String {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return String::new() };
    let line = |task: PathBuf| {
        let read = |name: &str| fs::read_to_string(task.join(name)).unwrap_or_default();
        let stat = read("stat");
        let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
        format!("{} {} {}", read("comm").trim(), state.unwrap_or("?"), read("wchan").trim())
    };
    let lines: Vec<String> = tasks.filter_map(Result::ok).map(|task| line(task.path())).collect();
    lines.join("; ")
}

pub(crate) fn pressure() -> Pressure {
    let Some(Memory { total, available }) = memory() else { return Pressure::Normal };
    let stalled = fs::read_to_string("/proc/pressure/memory").ok().as_deref().and_then(parse_stalls);
    classify(total, available, stalled.unwrap_or_default())
}

/// Little memory is a warning. None, or little while all processes wait for it, is critical.
///
/// `some` and `full` are the percentages of the last ten seconds in which some or all processes waited for memory.
fn classify(total: u64, available: u64, (some, full): (f64, f64)) -> Pressure {
    let left = available.saturating_mul(100) / total.max(1);
    if left < 3 || (left < 8 && full > 10.0) {
        Pressure::Critical
    } else if left < 8 || (left < 20 && some > 20.0) {
        Pressure::Warn
    } else {
        Pressure::Normal
    }
}

fn parse_stalls(text: &str) -> Option<(f64, f64)> {
    let average = |kind: &str| {
        let line = text.lines().find(|line| line.starts_with(kind))?;
        line.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?.parse().ok()
    };
    Some((average("some")?, average("full")?))
}

/// The bytes of a field that is given in kB.
fn parse_field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(rest.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// The control group's memory if it or a group above has a limit. The least limit counts.
fn control_group_memory() -> Option<Memory> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut least: Option<Memory> = None;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let (root, names) = match controllers {
            "" => ("/sys/fs/cgroup", ["memory.max", "memory.current", "inactive_file "]),
            list if list.split(',').any(|name| name == "memory") => (
                "/sys/fs/cgroup/memory",
                ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "],
            ),
            _ => continue,
        };
        let root = Path::new(root);
        let own = root.join(path.trim_start_matches('/'));
        for folder in own.ancestors().take_while(|folder| folder.starts_with(root)) {
            let memory = read_limit(folder, names);
            least = match (least, memory) {
                (Some(a), Some(b)) if a.total <= b.total => Some(a),
                (a, b) => b.or(a),
            };
        }
    }
    least
}

fn read_limit(folder: &Path, [limit, usage, inactive]: [&str; 3]) -> Option<Memory> {
    let number =
        |name: &str| -> Option<u64> { fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok() };
    let total = number(limit)?;
    let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let inactive = stat.lines().find_map(|line| line.strip_prefix(inactive)?.parse().ok());
    // The system can drop pages of files.
    let used = number(usage)?.saturating_sub(inactive.unwrap_or(0));
    Some(Memory { total, available: total.saturating_sub(used) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn threads_of_a_process_are_listed() {
        assert!(threads(std::process::id()).await.contains(';'), "tests run beside the main thread");
    }

    #[test]
    fn pressure_depends_on_available_memory_and_stalls() {
        assert_eq!(classify(100, 50, (90.0, 90.0)), Pressure::Normal);
        assert_eq!(classify(100, 15, (30.0, 0.0)), Pressure::Warn);
        assert_eq!(classify(100, 5, (0.0, 0.0)), Pressure::Warn);
        assert_eq!(classify(100, 5, (50.0, 20.0)), Pressure::Critical);
        assert_eq!(classify(100, 2, (0.0, 0.0)), Pressure::Critical);
        let text = "some avg10=1.50 avg60=0.00 avg300=0.03 total=1\nfull avg10=0.25 avg60=0.00 avg300=0.00 total=3\n";
        assert_eq!(parse_stalls(text), Some((1.5, 0.25)));
        assert_eq!(parse_stalls("nonsense"), None);
    }

    #[test]
    fn control_group_limit_is_read_and_max_means_none() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("memory.max", "1000\n");
        write("memory.current", "700\n");
        write("memory.stat", "anon 5\ninactive_file 200\n");
        let names = ["memory.max", "memory.current", "inactive_file "];
        assert_eq!(read_limit(folder.path(), names), Some(Memory { total: 1000, available: 500 }));
        write("memory.max", "max\n");
        assert_eq!(read_limit(folder.path(), names), None);
    }
}
