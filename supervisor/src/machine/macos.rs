//! macOS: sysctl(3), ps(1) and sample(1) by their programs, which need no unsafe code. Nobody has run this.

use std::process::Command;
use std::time::Duration;

use ipc_proto::supervisor::Pressure;

use super::Memory;

fn say(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// ps looks at one process.
const PS: Duration = Duration::from_secs(2);
/// sample watches for a second, and then looks for names.
const SAMPLE: Duration = Duration::from_secs(10);

/// Likewise, for programs that take their time: nothing else waits for them, and they are ended when `limit` is over.
async fn ask(program: &str, arguments: &[&str], limit: Duration) -> Option<String> {
    let output = tokio::process::Command::new(program).args(arguments).kill_on_drop(true).output();
    let output = tokio::time::timeout(limit, output).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn number(name: &str) -> Option<u64> {
    say("/usr/sbin/sysctl", &["-n", name])?.parse().ok()
}

/// `hw.memsize`, and the share that `kern.memorystatus_level` says is free, in percent.
pub(super) fn memory() -> Option<Memory> {
    let total = number("hw.memsize")?;
    let level = number("kern.memorystatus_level").unwrap_or(100).min(100);
    Some(Memory { total, available: total / 100 * level })
}

/// What the GPU may wire: `iogpu.wired_limit_mb` where it is set. Else Metal's recommended working set, which is two thirds of
/// the memory up to 36 GiB and three quarters above, as `MTLDevice.recommendedMaxWorkingSetSize` reports it on Apple Silicon.
pub(super) fn for_models() -> Option<u64> {
    if let Some(mib) = number("iogpu.wired_limit_mb").filter(|mib| *mib > 0) {
        return Some(mib << 20);
    }
    let total = number("hw.memsize")?;
    Some(if total <= 36 << 30 { total / 3 * 2 } else { total / 4 * 3 })
}

/// Resident size in KiB.
pub(super) async fn footprint(pid: u32) -> Option<u64> {
    let text = ask("/bin/ps", &["-o", "rss=", "-p", &pid.to_string()], PS).await?;
    Some(text.trim().parse::<u64>().ok()? * 1024)
}

/// What the threads of a process are doing: sample(1) writes every stack.
pub(crate) async fn threads(pid: u32) -> String {
    ask("/usr/bin/sample", &[&pid.to_string(), "1", "-mayDie"], SAMPLE).await.unwrap_or_default()
}

/// `kern.memorystatus_vm_pressure_level`: 1 normal, 2 warning, 4 critical (bsd/sys/kern_memorystatus.h,
/// `kVMPressure…`, the values of DISPATCH_MEMORYPRESSURE_NORMAL, _WARN and _CRITICAL).
pub(crate) fn pressure() -> Pressure {
    match number("kern.memorystatus_vm_pressure_level") {
        Some(4) => Pressure::Critical,
        Some(2) => Pressure::Warn,
        _ => Pressure::Normal,
    }
}
