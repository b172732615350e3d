//! Keeps a process with secrets from leaving a core file: it would have keys and prompts in it, on disk.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Forbids core files of this process, and of those that it starts. Call it before secrets are read.
///
/// On Linux the memory of the process is also closed to other processes of its user, and to programs that collect cores.
pub fn forbid() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_CORE)
        && let Err(error) = setrlimit(Resource::RLIMIT_CORE, 0, hard)
    {
        tracing::warn!(%error, "core files of this process are not forbidden");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        tracing::warn!(%error, "the memory of this process is not closed to others");
    }
}
