//! Linux: a thread of its own waits for the signal, asks each of the others by another signal for its stack, and writes.
//!
//! What is safe: both handlers only use atomics, system calls and the unwinder, which was used once before; they allocate
//! nothing and take no lock of ours (the loader's list of programs is read without one since glibc 2.35). What is best effort:
//! names. To find them the waiting thread allocates and reads debug information, which never ends if the thread that hangs
//! holds the allocator. So bare addresses are written first, and the supervisor's SIGKILL comes in any case. A thread that
//! sleeps in the kernel and takes no signals is told of as such.
#![expect(unsafe_code, reason = "handlers of signals, and the unwinder in them")]

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::libc::{self, c_int, c_void, siginfo_t};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// The frames that are told of one thread, at most.
const MOST_FRAMES: usize = 64;
/// Bytes of one thread's line: the supervisor drops lines over 8 KiB.
const LONGEST_LINE: usize = 7 << 10;
/// Asks a thread for its stack. Its default is to end the process, so that it is taken from the start on.
const ASK: Signal = Signal::SIGUSR2;
/// How long a thread may take to answer.
const ANSWER: Duration = Duration::from_millis(200);
/// How long abort(3) is held up for what is to be written.
const ABORTING: Duration = Duration::from_secs(3);

/// The pipe that wakes the thread.
static WAKE: AtomicI32 = AtomicI32::new(-1);
/// Which thread is asked; [`WRITING`] while it answers, [`NOBODY`] when it has.
static ASKED: AtomicI32 = AtomicI32::new(NOBODY);
static FRAMES: [AtomicUsize; MOST_FRAMES] = [const { AtomicUsize::new(0) }; MOST_FRAMES];
static COUNT: AtomicUsize = AtomicUsize::new(0);
static PREPARED: OnceLock<()> = OnceLock::new();
const NOBODY: i32 = 0;
const WRITING: i32 = -1;

/// What one thread is doing.
struct Stack {
    thread: String,
    frames: Vec<usize>,
}

/// Takes both signals and starts the thread that writes; once.
pub(super) fn prepare() -> io::Result<()> {
    if PREPARED.set(()).is_err() {
        return Ok(());
    }
    let (reader, writer) = io::pipe()?;
    WAKE.store(writer.as_raw_fd(), Ordering::Relaxed);
    // Loads the unwinder, so that no handler has to.
    unwind();
    handle(Signal::SIGABRT, SigHandler::SigAction(aborted))?;
    handle(ASK, SigHandler::Handler(asked))?;
    std::thread::Builder::new().name("stacks".into()).spawn(move || wait(reader, &writer))?;
    Ok(())
}

fn handle(signal: Signal, handler: SigHandler) -> io::Result<()> {
    let action = SigAction::new(handler, SaFlags::SA_RESTART | SaFlags::SA_ONSTACK, SigSet::empty());
    // SAFETY: both handlers use only what may be used in one: see the head of this file.
    unsafe { sigaction(signal, &action) }.map(drop).map_err(Into::into)
}

/// Somebody wants this process to end with its last words.
extern "C" fn aborted(_: c_int, info: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: write(2) and poll(2) on our own descriptor or none; the kernel made `info`.
    unsafe {
        let ours = (*info).si_code == libc::SI_TKILL && (*info).si_pid() == libc::getpid();
        libc::write(WAKE.load(Ordering::Relaxed), [1u8].as_ptr().cast(), 1);
        if ours {
            // abort(3) ends the process when this returns; the thread that writes does so before.
            libc::poll(std::ptr::null_mut(), 0, ABORTING.as_millis() as c_int);
        }
    }
}

/// The thread that is asked writes its stack down; any other leaves it.
extern "C" fn asked(_: c_int) {
    let before = nix::errno::Errno::last_raw();
    let own = nix::unistd::gettid().as_raw();
    if ASKED.compare_exchange(own, WRITING, Ordering::Acquire, Ordering::Relaxed).is_ok() {
        unwind();
        ASKED.store(NOBODY, Ordering::Release);
    }
    nix::errno::Errno::set_raw(before);
}

fn unwind() {
    let mut count = 0;
    let note = |frame: &backtrace::Frame| {
        FRAMES[count].store(frame.ip() as usize, Ordering::Relaxed);
        count += 1;
        count < MOST_FRAMES
    };
    // SAFETY: one thread at a time is asked, and nobody else in this process traces without a lock.
    unsafe { backtrace::trace_unsynchronized(note) };
    COUNT.store(count, Ordering::Relaxed);
}

fn wait(mut wake: io::PipeReader, _writer: &io::PipeWriter) {
    if matches!(wake.read(&mut [0]), Ok(1)) {
        tell();
    }
    // SAFETY: the default action has no handler.
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    if unsafe { sigaction(Signal::SIGABRT, &default) }.is_ok() {
        let _ = nix::sys::signal::kill(nix::unistd::getpid(), Signal::SIGABRT);
    }
}

/// Writes every thread's stack, the engine's first.
fn tell() {
    let mut stacks = stacks();
    stacks.sort_by_key(|stack| !stack.thread.starts_with("engine"));
    say(&format!("aborted: the stacks of {} threads follow, inner frames first\n", stacks.len()));
    for Stack { thread, frames } in &stacks {
        let addresses: Vec<String> = frames.iter().map(|frame| format!("{frame:#x}")).collect();
        say(&format!("addresses of thread {thread}: {}\n", addresses.join(" ")));
    }
    for Stack { thread, frames } in &stacks {
        let text = if frames.is_empty() { "does not answer".into() } else { named(frames) };
        say(&format!("thread {thread}: {text}\n"));
    }
}

/// Past the standard library, whose lock the thread that hangs may hold.
fn say(text: &str) {
    let mut left = text.as_bytes();
    while let Ok(written @ 1..) = nix::unistd::write(io::stderr().as_fd(), left) {
        left = &left[written..];
    }
}

fn stacks() -> Vec<Stack> {
    let own = nix::unistd::gettid().as_raw();
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let ids = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let mut stacks = Vec::new();
    for id in ids.filter(|id| *id != own) {
        let Some(frames) = ask(id) else { break };
        let mut name = String::new();
        let comm = File::open(format!("/proc/self/task/{id}/comm"));
        let _ = comm.and_then(|mut comm| comm.read_to_string(&mut name));
        stacks.push(Stack { thread: format!("{} ({id})", name.trim()), frames });
    }
    stacks
}

/// A thread's stack, empty where it does not answer; `None` where one began to answer and did not end: no other can be asked then.
fn ask(thread: i32) -> Option<Vec<usize>> {
    ASKED.store(thread, Ordering::Relaxed);
    COUNT.store(0, Ordering::Relaxed);
    // SAFETY: tgkill(2) of a thread of this process; one that has ended is an error.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, ASK as c_int) };
    let begun = Instant::now();
    while sent == 0 && begun.elapsed() < ANSWER && ASKED.load(Ordering::Acquire) != NOBODY {
        std::thread::sleep(Duration::from_millis(1));
    }
    match ASKED.compare_exchange(thread, NOBODY, Ordering::Acquire, Ordering::Acquire) {
        Ok(_) => Some(Vec::new()),
        Err(WRITING) => None,
        Err(_) => {
            let count = COUNT.load(Ordering::Relaxed);
            let frames = FRAMES[..count].iter().map(|frame| frame.load(Ordering::Relaxed));
            Some(frames.filter(|frame| *frame != 0).collect())
        }
    }
}

/// The names of some frames, without those of the handler.
fn named(frames: &[usize]) -> String {
    let frames: Vec<Vec<String>> = frames.iter().map(|frame| names(*frame)).collect();
    let handler = frames.iter().position(|names| names.iter().any(|name| name.contains("asked (")));
    // The handler, and what the kernel put below it.
    let own = handler.map_or(0, |at| at + 2).min(frames.len());
    let mut text = frames[own..].concat().join(" < ");
    let mut most = text.len().min(LONGEST_LINE);
    while !text.is_char_boundary(most) {
        most -= 1;
    }
    text.truncate(most);
    text
}

/// What one address is part of: several where functions were inlined.
fn names(address: usize) -> Vec<String> {
    let mut names = Vec::new();
    // Where a call returns to may lie behind its function.
    backtrace::resolve(address.wrapping_sub(1) as *mut c_void, |symbol| {
        let name = symbol.name().map_or_else(|| format!("{address:#x}"), |name| format!("{name:#}"));
        let place = symbol.filename().and_then(|file| file.file_name()).zip(symbol.lineno());
        names.push(match place {
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
    fn sleeps_where_it_is_found(over: &std::sync::mpsc::Receiver<()>) {
        over.recv().unwrap_err();
        std::hint::black_box(());
    }

    #[test]
    fn another_threads_stack_is_found_and_this_ones_goes_on() {
        prepare().unwrap();
        let (hold, over) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("engine-like".into());
        let thread = thread.spawn(move || sleeps_where_it_is_found(&over)).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let all = stacks();
        let found = all.iter().find(|stack| stack.thread.starts_with("engine-like")).unwrap();
        let text = named(&found.frames);
        assert!(text.contains("sleeps_where_it_is_found"), "{text}");
        assert!(!text.contains("asked ("), "the handler is not told of: {text}");
        drop(hold);
        thread.join().unwrap();
        assert_eq!(ask(i32::MAX - 1), Some(Vec::new()), "a thread that there is not");
    }
}
