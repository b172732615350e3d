//! What the machine has: memory, limits of our control group, and what a process takes of it.

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

/// What the system says of its memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Memory {
    /// In all: the machine's, or our control group's where that is less.
    pub(crate) total: u64,
    /// What could be had now.
    pub(crate) available: u64,
}

/// The machine's memory; 8 GiB where the system does not say.
pub(crate) fn memory() -> Memory {
    let memory = platform::memory().unwrap_or(Memory { total: 8 << 30, available: 8 << 30 });
    Memory { total: memory.total, available: memory.available.min(memory.total) }
}

/// The budget where nobody has set one: three quarters of what there is for models.
pub(crate) fn default_budget() -> u64 {
    platform::for_models().unwrap_or(memory().total) / 4 * 3
}

/// Bytes of memory that a process holds and the system cannot take back; `None` once it is gone, or when the system does not say
/// in time.
pub(crate) async fn footprint(pid: u32) -> Option<u64> {
    platform::footprint(pid).await
}

/// Returns when a process's memory is back, which its end should have brought about already.
pub(crate) async fn returned(pid: u32) {
    for _ in 0..100 {
        if footprint(pid).await.is_none_or(|bytes| bytes == 0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tracing::warn!(pid, "the memory of a process that has ended is not back after two seconds");
}
