//! The public socket, inherited from the supervisor.
#![expect(
    unsafe_code,
    reason = "a descriptor known by its number has no owner that the compiler could check"
)]

use std::io;
use std::net::TcpListener;
use std::os::fd::FromRawFd;

/// Takes descriptor `fd` as a listening socket. Call it once, before anything else opens files.
///
/// # Errors
/// When it is not a listening TCP socket.
pub fn inherited(fd: i32) -> io::Result<TcpListener> {
    // SAFETY: `--listen-fd` says that the supervisor put the socket there for us alone; nothing else in this process
    // knows the number, and the first use below fails cleanly if no socket is there.
    let listener = unsafe { TcpListener::from_raw_fd(fd) };
    listener.local_addr()?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
