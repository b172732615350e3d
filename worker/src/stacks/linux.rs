//! Linux: a dedicated thread waits for the abort, requests the stack of each other thread by a second signal, and writes it.
//!
//! Both signal handlers are safe: they use only atomics, system calls and the unwinder, which was used once before. They
//! allocate nothing and take no lock of ours (since glibc 2.35 the list of loaded objects is read without one).
//!
//! Symbol names are best effort. The dedicated thread allocates and reads debug information for them, which never ends if
//! the hanging thread holds the allocator's lock. So raw addresses come first, and the supervisor's SIGKILL follows in any
//! case. A thread that sleeps in the kernel and takes no signals is reported as such.
#![expect(unsafe_code, reason = "signal handlers that call the unwinder")]

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::libc::{self, c_int, c_void, siginfo_t};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Maximum number of frames per thread.
const MAX_FRAMES: usize = 64;
/// Maximum length of one thread's line, in bytes. The supervisor drops lines over 8 KiB.
const MAX_LINE_BYTES: usize = 7 << 10;
/// Requests a thread's stack. Its default action ends the process, so the handler is installed at the start.
const STACK_REQUEST: Signal = Signal::SIGUSR2;
/// Time limit for a thread to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(200);
/// Delay of abort(3) for writing the stacks.
const ABORT_DELAY: Duration = Duration::from_secs(3);

/// Write end of the pipe that wakes the writer thread.
static WAKE: AtomicI32 = AtomicI32::new(-1);
/// Thread id that must answer; [`ANSWERING`] while it does, [`NO_THREAD`] afterwards.
static REQUESTED: AtomicI32 = AtomicI32::new(NO_THREAD);
static FRAMES: [AtomicUsize; MAX_FRAMES] = [const { AtomicUsize::new(0) }; MAX_FRAMES];
static COUNT: AtomicUsize = AtomicUsize::new(0);
static PREPARED: OnceLock<()> = OnceLock::new();
const NO_THREAD: i32 = 0;
const ANSWERING: i32 = -1;

/// One thread's stack.
struct Stack {
    thread: String,
    frames: Vec<usize>,
}

/// Installs both handlers and starts the writer thread. Later calls do nothing.
pub(super) fn prepare() -> io::Result<()> {
    if PREPARED.set(()).is_err() {
        return Ok(());
    }
    let (reader, writer) = io::pipe()?;
    WAKE.store(writer.as_raw_fd(), Ordering::Relaxed);
    // Load the unwinder now, so that no handler has to.
    unwind();
    install(Signal::SIGABRT, SigHandler::SigAction(on_abort))?;
    install(STACK_REQUEST, SigHandler::Handler(on_stack_request))?;
    std::thread::Builder::new()
        .name("stacks".into())
        .spawn(move || write_stacks_at_abort(reader, &writer))?;
    Ok(())
}

fn install(signal: Signal, handler: SigHandler) -> io::Result<()> {
    let action = SigAction::new(handler, SaFlags::SA_RESTART | SaFlags::SA_ONSTACK, SigSet::empty());
    // SAFETY: both handlers are async-signal-safe; see the head of this file.
    unsafe { sigaction(signal, &action) }.map(drop).map_err(Into::into)
}

/// Wakes the writer thread. Delays abort(3) until it is done.
extern "C" fn on_abort(_: c_int, info: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: write(2) on our own descriptor, poll(2) on none; the kernel provides `info`.
    unsafe {
        let ours = (*info).si_code == libc::SI_TKILL && (*info).si_pid() == libc::getpid();
        libc::write(WAKE.load(Ordering::Relaxed), [1u8].as_ptr().cast(), 1);
        if ours {
            // abort(3) ends the process when this returns; the writer thread normally ends it earlier.
            libc::poll(std::ptr::null_mut(), 0, ABORT_DELAY.as_millis() as c_int);
        }
    }
}

/// Stores the stack of this thread if it is the requested one.
extern "C" fn on_stack_request(_: c_int) {
    let before = nix::errno::Errno::last_raw();
    let this_thread = nix::unistd::gettid().as_raw();
    if REQUESTED.compare_exchange(this_thread, ANSWERING, Ordering::Acquire, Ordering::Relaxed).is_ok() {
        unwind();
        REQUESTED.store(NO_THREAD, Ordering::Release);
    }
    nix::errno::Errno::set_raw(before);
}

fn unwind() {
    let mut count = 0;
    let record = |frame: &backtrace::Frame| {
        FRAMES[count].store(frame.ip() as usize, Ordering::Relaxed);
        count += 1;
        count < MAX_FRAMES
    };
    // SAFETY: only one thread at a time answers, and nothing else in this process traces without a lock.
    unsafe { backtrace::trace_unsynchronized(record) };
    COUNT.store(count, Ordering::Relaxed);
}

fn write_stacks_at_abort(mut wake: io::PipeReader, _writer: &io::PipeWriter) {
    if matches!(wake.read(&mut [0]), Ok(1)) {
        write_stacks();
    }
    // SAFETY: the default action has no handler.
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    if unsafe { sigaction(Signal::SIGABRT, &default) }.is_ok() {
        let _ = nix::sys::signal::kill(nix::unistd::getpid(), Signal::SIGABRT);
    }
}

/// Writes every thread's stack, the engine's first.
fn write_stacks() {
    let mut stacks = collect_stacks();
    stacks.sort_by_key(|stack| !stack.thread.starts_with("engine"));
    write_stderr(&format!("aborted: the stacks of {} threads follow, inner frames first\n", stacks.len()));
    for Stack { thread, frames } in &stacks {
        let addresses: Vec<String> = frames.iter().map(|frame| format!("{frame:#x}")).collect();
        write_stderr(&format!("addresses of thread {thread}: {}\n", addresses.join(" ")));
    }
    for Stack { thread, frames } in &stacks {
        let text = if frames.is_empty() { "does not answer".into() } else { symbolize(frames) };
        write_stderr(&format!("thread {thread}: {text}\n"));
    }
}

/// Bypasses the standard library, whose lock the hanging thread may hold.
fn write_stderr(text: &str) {
    let mut left = text.as_bytes();
    while let Ok(written @ 1..) = nix::unistd::write(io::stderr().as_fd(), left) {
        left = &left[written..];
    }
}

fn collect_stacks() -> Vec<Stack> {
    let this_thread = nix::unistd::gettid().as_raw();
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let ids = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let mut stacks = Vec::new();
    for id in ids.filter(|id| *id != this_thread) {
        let Some(frames) = request_stack(id) else { break };
        let mut name = String::new();
        let comm = File::open(format!("/proc/self/task/{id}/comm"));
        let _ = comm.and_then(|mut comm| comm.read_to_string(&mut name));
        stacks.push(Stack { thread: format!("{} ({id})", name.trim()), frames });
    }
    stacks
}

/// A thread's stack, empty if it does not answer. `None` if it started to answer and did not finish: then no other thread
/// can be requested.
fn request_stack(thread: i32) -> Option<Vec<usize>> {
    REQUESTED.store(thread, Ordering::Relaxed);
    COUNT.store(0, Ordering::Relaxed);
    // SAFETY: tgkill(2) on a thread of this process; for one that has ended it returns an error.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, STACK_REQUEST as c_int) };
    let start = Instant::now();
    while sent == 0 && start.elapsed() < ANSWER_TIMEOUT && REQUESTED.load(Ordering::Acquire) != NO_THREAD {
        std::thread::sleep(Duration::from_millis(1));
    }
    match REQUESTED.compare_exchange(thread, NO_THREAD, Ordering::Acquire, Ordering::Acquire) {
        Ok(_) => Some(Vec::new()),
        Err(ANSWERING) => None,
        Err(_) => {
            let count = COUNT.load(Ordering::Relaxed);
            let frames = FRAMES[..count].iter().map(|frame| frame.load(Ordering::Relaxed));
            Some(frames.filter(|frame| *frame != 0).collect())
        }
    }
}

/// Symbol names of the frames, without those of the handler.
fn symbolize(frames: &[usize]) -> String {
    let frames: Vec<Vec<String>> = frames.iter().map(|frame| names(*frame)).collect();
    let handler =
        frames.iter().position(|names| names.iter().any(|name| name.contains("on_stack_request (")));
    // The handler, and the signal frame that the kernel adds.
    let skipped = handler.map_or(0, |at| at + 2).min(frames.len());
    let mut text = frames[skipped..].concat().join(" < ");
    let mut end = text.len().min(MAX_LINE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// Symbol names of one address; several if functions were inlined.
fn names(address: usize) -> Vec<String> {
    let mut names = Vec::new();
    // A return address may lie past the end of the calling function.
    backtrace::resolve(address.wrapping_sub(1) as *mut c_void, |symbol| {
        let name = symbol.name().map_or_else(|| format!("{address:#x}"), |name| format!("{name:#}"));
        let location = symbol.filename().and_then(|file| file.file_name()).zip(symbol.lineno());
        names.push(match location {
            Some((file, line)) => format!("{name} ({}:{line})", file.display()),
            None => name,
        });
    });
    if names.is_empty() {
        names.push(format!("{address:#x}"));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn blocks_until_released(release: &std::sync::mpsc::Receiver<()>) {
        release.recv().unwrap_err();
        std::hint::black_box(());
    }

    #[test]
    fn stack_of_another_thread_is_found_and_the_thread_continues() {
        prepare().unwrap();
        let (hold, release) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("engine-like".into());
        let thread = thread.spawn(move || blocks_until_released(&release)).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let all = collect_stacks();
        let found = all.iter().find(|stack| stack.thread.starts_with("engine-like")).unwrap();
        let text = symbolize(&found.frames);
        assert!(text.contains("blocks_until_released"), "{text}");
        assert!(!text.contains("on_stack_request ("), "the handler is left out: {text}");
        drop(hold);
        thread.join().unwrap();
        assert_eq!(request_stack(i32::MAX - 1), Some(Vec::new()), "no such thread");
    }
}
