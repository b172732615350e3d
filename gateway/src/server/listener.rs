//! The public sockets, inherited from the supervisor.
#![expect(
    unsafe_code,
    reason = "a descriptor known by its number has no owner that the compiler could check"
)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::FromRawFd;

use tokio::net::{TcpListener, TcpStream};

/// Takes descriptor `fd` as a listening socket. Call it once for each number, before other code opens files.
///
/// # Errors
/// When it is not a listening TCP socket.
pub fn inherited(fd: i32) -> io::Result<std::net::TcpListener> {
    // SAFETY: The supervisor passes the sockets of `--listen-fd` to this process alone. No other code in this process uses the
    // numbers, and the first use below fails cleanly if one is no socket.
    let listener = unsafe { std::net::TcpListener::from_raw_fd(fd) };
    listener.local_addr()?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// One socket, or one for each family of `localhost`.
#[derive(Debug)]
pub struct Listeners {
    first: TcpListener,
    second: Option<TcpListener>,
}

impl Listeners {
    /// Takes one or two sockets. Needs a runtime.
    ///
    /// # Errors
    /// There is none, or the system refuses.
    pub fn from_std(listeners: Vec<std::net::TcpListener>) -> io::Result<Self> {
        let mut listeners = listeners.into_iter().map(TcpListener::from_std);
        let first = listeners.next().ok_or(io::ErrorKind::InvalidInput)??;
        Ok(Self { first, second: listeners.next().transpose()? })
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// The system's.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let second = async {
            match &self.second {
                Some(second) => second.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = self.first.accept() => accepted,
            accepted = second => accepted,
        }
    }

    /// The address of the first socket.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.first.local_addr()
    }
}
