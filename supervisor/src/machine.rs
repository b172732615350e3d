//! Measures memory: of the machine, of its control group, and of a process.

use std::time::Duration;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as platform;
#[cfg(not(target_os = "linux"))]
mod macos;
#[cfg(not(target_os = "linux"))]
use macos as platform;

pub(crate) use platform::{pressure, threads};

/// The system's memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Memory {
    /// The machine's memory, or its control group's if that is less.
    pub(crate) total: u64,
    /// Memory that is free or can be freed.
    pub(crate) available: u64,
}

/// The machine's memory; 8 GiB if the system does not say.
pub(crate) fn memory() -> Memory {
    let memory = platform::memory().unwrap_or(Memory { total: 8 << 30, available: 8 << 30 });
    Memory { total: memory.total, available: memory.available.min(memory.total) }
}

/// The default budget in bytes: three quarters of the memory available to models.
pub(crate) fn default_budget() -> u64 {
    platform::memory_for_models().unwrap_or(memory().total) / 4 * 3
}

/// Bytes of memory that a process has and the system cannot reclaim. `None` if the process has ended, or if the system
/// does not answer in time.
pub(crate) async fn footprint(pid: u32) -> Option<u64> {
    platform::footprint(pid).await
}

/// Waits until the memory of an ended process is free. It should be free at once.
pub(crate) async fn wait_for_release(pid: u32) {
    for _ in 0..100 {
        if footprint(pid).await.is_none_or(|bytes| bytes == 0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tracing::warn!(pid, "the memory of a process that has ended is not back after two seconds");
}
