//! Ends this process when its supervisor is gone: no orphan may keep a model's memory.
//!
//! The supervisor holds the write end of a pipe that is this process's standard input; the kernel closes it however the
//! supervisor ends, and reading then gives end-of-file. On Linux the kernel is also asked for SIGKILL at the parent's
//! death (prctl(2), PR_SET_PDEATHSIG), which needs no thread of ours to be alive. A supervisor that was gone before that
//! call is no gap: its end of the pipe is closed by then.

use std::io::Read;

/// Starts watching. Call it first of all.
///
/// # Errors
/// When no thread can be started.
pub fn watch() -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL) {
        tracing::warn!(%error, "no parent-death signal");
    }
    std::thread::Builder::new().name("lifeline".into()).spawn(|| {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = [0; 64];
        // Interruptions are retried by the standard library; whatever else ends reading ends the process.
        while matches!(stdin.read(&mut buffer), Ok(1..)) {}
        exit_now(0);
    })?;
    Ok(())
}

/// Ends the process without running exit handlers: MLX's would wait for, or race with, threads that still compute.
#[expect(unsafe_code, reason = "the standard library has no _exit(2)")]
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit has no preconditions, and nothing of ours is left half done on disk at any time.
    unsafe { nix::libc::_exit(status) }
}
