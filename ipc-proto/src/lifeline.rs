//! Ends this process when its supervisor ends. An orphan would keep the memory of a model.
//!
//! Standard input of this process is a pipe, and the supervisor holds its write end. However the supervisor ends, the kernel closes
//! the pipe, and reading returns end-of-file. On Linux the kernel also sends SIGKILL at the parent's death (prctl(2),
//! PR_SET_PDEATHSIG), which works without a running thread in this process. If the supervisor ends before that call, its end of
//! the pipe is closed already.

use std::io::Read;

/// Starts the watching thread. Call it before everything else.
///
/// # Errors
/// The thread cannot be started.
pub fn watch() -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL) {
        tracing::warn!(%error, "no parent-death signal");
    }
    std::thread::Builder::new().name("lifeline".into()).spawn(|| {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = [0; 64];
        // The standard library retries interrupted reads. Every other end of reading ends the process.
        while matches!(stdin.read(&mut buffer), Ok(1..)) {}
        exit_now(0);
    })?;
    Ok(())
}

/// Ends the process without running exit handlers. Those of MLX would wait for computing threads, or race with them.
#[expect(unsafe_code, reason = "the standard library has no _exit(2)")]
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit has no preconditions. No file of this process is in an incomplete state at any time.
    unsafe { nix::libc::_exit(status) }
}
