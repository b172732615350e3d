//! Priorities of threads, so that work for one request does not slow the model for all.

pub use platform::{ThreadId, cpu_time, lower, this_thread};

#[cfg(target_os = "linux")]
mod platform {
    use std::time::Duration;

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

    /// The processor time of a thread of this process, to a hundredth of a second. `None` where the system does not say.
    pub fn cpu_time(thread: ThreadId) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).ok()?;
        // proc(5): the 14th and 15th field, in ticks of 10 ms. The second is a name in brackets.
        let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<u64>().ok();
        Some(Duration::from_millis(10 * (ticks()? + ticks()?)))
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

    /// `None`: no thread is lowered here, so that the time that passes serves.
    pub fn cpu_time(_: ThreadId) -> Option<std::time::Duration> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn cpu_time_counts_work_and_no_waiting() {
        let before = cpu_time(this_thread()).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        let waited = cpu_time(this_thread()).unwrap();
        assert!(waited - before < Duration::from_millis(100), "{before:?} {waited:?}");
        let start = Instant::now();
        while cpu_time(this_thread()).unwrap() - waited < Duration::from_millis(50) {
            assert!(start.elapsed() < Duration::from_secs(60), "no work is counted");
        }
    }
}
