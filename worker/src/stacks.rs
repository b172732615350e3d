//! Writes what every thread is doing to standard error when this process is aborted, and then lets it end by SIGABRT.
//!
//! SIGABRT comes from the supervisor, which takes this process to hang, or from abort(3), as C++ ends when nobody catches an
//! exception. On macOS nothing is done here: the supervisor has sample(1) write every stack before it sends the signal.

#[cfg(target_os = "linux")]
mod linux;

/// Prepares it. Call it early: a stack can only be told of a process that had time for this.
///
/// # Errors
/// When no pipe or thread can be had.
pub fn write_at_abort() -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    linux::prepare()?;
    Ok(())
}
