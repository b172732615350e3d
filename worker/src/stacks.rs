//! Writes the stack of every thread to standard error at SIGABRT, then lets the process end by the signal.
//!
//! SIGABRT comes from the supervisor on Linux if this process seems to hang, or from abort(3), for example after an uncaught C++
//! exception. On macOS this module does nothing: the supervisor runs sample(1) before it sends the signal.

#[cfg(target_os = "linux")]
mod linux;

/// Installs the handlers. Call it early: an abort before this writes no stacks.
///
/// # Errors
/// When no pipe or thread can be created.
pub fn write_at_abort() -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    linux::prepare()?;
    Ok(())
}
