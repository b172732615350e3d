//! macOS: sysctl(3), `proc_pid_rusage` and sample(1). Not yet verified on a Mac.

mod calls;

use std::path::Path;
use std::time::Duration;

use ipc_proto::supervisor::Pressure;
use nix::sys::signal::Signal;

use super::Memory;
use super::macos_rules::{available, classify};
use super::{sample, working_set};

/// Ends a hung process. SIGABRT would keep its memory until ReportCrash has read the corpse, and sample(1) has shown its stacks.
pub(crate) const HANG_SIGNAL: Signal = Signal::SIGKILL;

/// The time limit for sample: it samples for a second and then resolves names.
const SAMPLE_LIMIT: Duration = Duration::from_secs(10);

/// `hw.memsize`, and the free percentage from `kern.memorystatus_level`.
pub(super) fn memory() -> Option<Memory> {
    let total = calls::sysctl(c"hw.memsize")?;
    Some(Memory { total, available: available(total, free_percent()) })
}

/// Free memory in percent, as memory_pressure(1) prints it ("System-wide memory free percentage").
fn free_percent() -> u64 {
    calls::sysctl(c"kern.memorystatus_level").unwrap_or(100)
}

/// The memory that the GPU may use at once: Metal's figure from the worker, or the best estimate.
pub(super) async fn memory_for_models(worker: &Path) -> Option<u64> {
    let metal = working_set::ask(worker).await;
    if let Err(reason) = &metal {
        tracing::warn!(
            reason,
            "the worker does not say how much memory Metal allows: the budget follows an estimate"
        );
    }
    let (limit, total) = (calls::sysctl(c"iogpu.wired_limit_mb"), calls::sysctl(c"hw.memsize"));
    working_set::choose(metal.ok(), limit, total)
}

/// The physical footprint, as Activity Monitor shows it. It has compressed pages and the GPU's memory, and no pages of files.
pub(super) async fn footprint(pid: u32) -> Option<u64> {
    calls::physical_footprint(pid)
}

/// The ids of all processes.
pub(super) fn processes() -> Vec<i32> {
    calls::processes()
}

/// The stack of each thread of a process, from sample(1), or the reason why it gives none.
pub(crate) async fn threads(pid: u32) -> String {
    sample::call_graph(Path::new("/usr/bin/sample"), pid, SAMPLE_LIMIT).await
}

/// From `kern.memorystatus_vm_pressure_level` and the free percentage.
pub(crate) fn pressure() -> Pressure {
    classify(calls::sysctl(c"kern.memorystatus_vm_pressure_level").unwrap_or(1), free_percent())
}
