//! Measures memory: of the machine, of its control group, and of a process.

use std::path::Path;
use std::time::Duration;

use nix::unistd::{Pid, getpgid};

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as platform;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(any(target_os = "macos", test))]
mod macos_rules;
#[cfg(target_os = "macos")]
use macos as platform;
#[cfg(any(target_os = "macos", test))]
mod sample;
#[cfg(any(target_os = "macos", test))]
mod working_set;

pub(crate) use platform::{HANG_SIGNAL, pressure, threads};

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
///
/// On macOS the worker `program` is asked for Metal's figure: the supervisor itself never links MLX.
pub(crate) async fn default_budget(program: &Path) -> u64 {
    platform::memory_for_models(program).await.unwrap_or(memory().total) / 4 * 3
}

/// Bytes of memory that a process has and the system cannot reclaim. `None` if the process has ended, or if the system
/// does not answer in time.
pub(crate) async fn footprint(pid: u32) -> Option<u64> {
    platform::footprint(pid).await
}

/// The footprints of all processes of a group together. `None` if there are none, or if the system does not answer in time.
pub(crate) async fn group_footprint(group: u32) -> Option<u64> {
    let mut total = None;
    for pid in platform::processes() {
        if getpgid(Some(Pid::from_raw(pid))).is_ok_and(|own| own.as_raw() == group.cast_signed())
            && let Some(bytes) = footprint(pid.cast_unsigned()).await
        {
            total = Some(total.unwrap_or(0) + bytes);
        }
    }
    total
}

/// Waits until the memory of a group is free whose processes have been killed.
pub(crate) async fn wait_for_group(group: u32) {
    if !is_released_soon(|| group_footprint(group)).await {
        tracing::warn!(group, "processes of a program that has ended are still there after two seconds");
    }
}

/// Waits until the memory of an ended process is free. It should be free at once.
pub(crate) async fn wait_for_release(pid: u32) {
    if !is_released_soon(|| footprint(pid)).await {
        tracing::warn!(pid, "the memory of a process that has ended is not back after two seconds");
    }
}

/// Whether memory is returned within two seconds.
async fn is_released_soon<F: Future<Output = Option<u64>>>(footprint: impl Fn() -> F) -> bool {
    for _ in 0..100 {
        if is_released(footprint().await) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

/// Whether a process of this footprint has returned its memory. Until its parent has waited for it, an ended process has an
/// entry without memory on both systems: XNU's `kern_exit.c` sets `ri_phys_footprint` to 0.
fn is_released(footprint: Option<u64>) -> bool {
    footprint.is_none_or(|bytes| bytes == 0)
}

/// A program that runs this shell script. It lies in the folder.
///
/// Another process writes it: while this one has it open, a child that another test starts would hold it open, too, and it
/// could not be executed.
#[cfg(test)]
fn script(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program.sh");
    let mut writer = std::process::Command::new("/bin/sh");
    writer.args(["-c", r##"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod +x "$0""##]).arg(&program).arg(text);
    assert!(writer.status().unwrap().success());
    (folder, program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_released_once_the_process_has_none() {
        for (footprint, released) in
            [(None, true), (Some(0), true), (Some(1), false), (Some(u64::MAX), false)]
        {
            assert_eq!(is_released(footprint), released, "{footprint:?}");
        }
    }

    #[tokio::test]
    async fn default_budget_is_three_quarters_of_what_models_may_use() {
        let budget = default_budget(Path::new("/no/such/worker")).await;
        assert!(budget > 64 << 20 && budget <= memory().total / 4 * 3, "{budget}");
    }

    #[tokio::test]
    async fn group_has_the_memory_of_all_its_processes() {
        let mut group = std::process::Command::new("/bin/sh");
        std::os::unix::process::CommandExt::process_group(&mut group, 0);
        let mut leader = group.args(["-c", "sleep 60 & sleep 60"]).spawn().unwrap();
        let id = leader.id();
        let alone = footprint(id).await.unwrap();
        let mut together = None;
        for _ in 0..100 {
            together = group_footprint(id).await;
            if together.is_some_and(|bytes| bytes > alone) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(together.is_some_and(|bytes| bytes > alone), "{together:?}, {alone}");
        crate::child::kill_group(id);
        leader.wait().unwrap();
        wait_for_group(id).await;
        assert!(is_released(group_footprint(id).await));
    }

    #[tokio::test]
    async fn footprint_follows_allocations() {
        let memory = memory();
        assert!(memory.total > 100 << 20 && memory.available <= memory.total, "{memory:?}");
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        let with = footprint(std::process::id()).await.unwrap();
        assert!(with > 64 << 20, "{with}");
        drop(block);
        assert!(footprint(std::process::id()).await.unwrap() < with - (60 << 20));
        assert_eq!(footprint(u32::MAX).await, None);
    }
}
