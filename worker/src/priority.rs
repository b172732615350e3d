//! Priorities of threads, so that work for one request does not slow the model for all.

pub use platform::{ThreadId, lower, this_thread};

#[cfg(target_os = "linux")]
mod platform {
    pub use rustix::process::Pid as ThreadId;

    /// The lowest priority: such a thread gets what the others leave.
    const LOWEST: i32 = 19;

    /// The calling thread.
    pub fn this_thread() -> ThreadId {
        rustix::thread::gettid()
    }

    /// Lowers a thread's priority for good: raising it again takes a privilege.
    pub fn lower(thread: ThreadId) {
        // A thread that has just ended needs no priority.
        rustix::process::setpriority_process(Some(thread), LOWEST).ok();
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    /// A thread without a number: setpriority(2) means the whole process here.
    #[derive(Debug, Clone, Copy)]
    pub struct ThreadId;

    /// The calling thread.
    pub fn this_thread() -> ThreadId {
        ThreadId
    }

    /// Does nothing.
    pub fn lower(_: ThreadId) {}
}
