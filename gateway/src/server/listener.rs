//! The public socket, inherited from the supervisor.
#![expect(
    unsafe_code,
    reason = "a descriptor known by its number has no owner that the compiler could check"
)]

use std::io;
use std::net::TcpListener;
use std::os::fd::FromRawFd;

/// Takes descriptor `fd` as a listening socket. Call it once, before other code opens files.
///
/// # Errors
/// When it is not a listening TCP socket.
pub fn inherited(fd: i32) -> io::Result<TcpListener> {
    // SAFETY: The supervisor passes the socket of `--listen-fd` to this process alone. No other code in this process uses the
    // number, and the first use below fails cleanly if it is no socket.
    let listener = unsafe { TcpListener::from_raw_fd(fd) };
    listener.local_addr()?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
