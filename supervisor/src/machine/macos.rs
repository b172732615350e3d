//! macOS: the programs sysctl(8), ps(1) and sample(1), which need no unsafe code. Not yet verified on a Mac.

use std::process::Command;
use std::time::Duration;

use ipc_proto::supervisor::Pressure;

use super::Memory;

fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The time limit for ps.
const PS_LIMIT: Duration = Duration::from_secs(2);
/// The time limit for sample: it samples for a second and then resolves names.
const SAMPLE_LIMIT: Duration = Duration::from_secs(10);

/// Runs a slower program without blocking the runtime, and ends it after `limit`.
async fn run_with_limit(program: &str, arguments: &[&str], limit: Duration) -> Option<String> {
    let output = tokio::process::Command::new(program).args(arguments).kill_on_drop(true).output();
    let output = tokio::time::timeout(limit, output).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn read_sysctl(name: &str) -> Option<u64> {
    run("/usr/sbin/sysctl", &["-n", name])?.parse().ok()
}

/// `hw.memsize`, and the free percentage from `kern.memorystatus_level`.
pub(super) fn memory() -> Option<Memory> {
    let total = read_sysctl("hw.memsize")?;
    let level = read_sysctl("kern.memorystatus_level").unwrap_or(100).min(100);
    Some(Memory { total, available: total / 100 * level })
}

/// Memory that the GPU may wire: `iogpu.wired_limit_mb` if it is set, else Metal's recommended working set.
///
/// That is two thirds of the memory up to 36 GiB and three quarters above, as `MTLDevice.recommendedMaxWorkingSetSize` reports it on Apple Silicon.
pub(super) fn memory_for_models() -> Option<u64> {
    if let Some(mib) = read_sysctl("iogpu.wired_limit_mb").filter(|mib| *mib > 0) {
        return Some(mib << 20);
    }
    let total = read_sysctl("hw.memsize")?;
    Some(if total <= 36 << 30 { total / 3 * 2 } else { total / 4 * 3 })
}

/// The resident size; ps gives it in KiB.
pub(super) async fn footprint(pid: u32) -> Option<u64> {
    let text = run_with_limit("/bin/ps", &["-o", "rss=", "-p", &pid.to_string()], PS_LIMIT).await?;
    Some(text.trim().parse::<u64>().ok()? * 1024)
}

/// The stack of each thread of a process, from sample(1).
pub(crate) async fn threads(pid: u32) -> String {
    run_with_limit("/usr/bin/sample", &[&pid.to_string(), "1", "-mayDie"], SAMPLE_LIMIT)
        .await
        .unwrap_or_default()
}

/// `kern.memorystatus_vm_pressure_level`: 1 normal, 2 warning, 4 critical (bsd/sys/kern_memorystatus.h,
/// `kVMPressure…`, the values of DISPATCH_MEMORYPRESSURE_NORMAL, _WARN and _CRITICAL).
pub(crate) fn pressure() -> Pressure {
    match read_sysctl("kern.memorystatus_vm_pressure_level") {
        Some(4) => Pressure::Critical,
        Some(2) => Pressure::Warn,
        _ => Pressure::Normal,
    }
}
