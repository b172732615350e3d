//! Ends accepting before serving ends: connections that were accepted just before get the time to send their request, which one
//! that is told to end without a request would lose.

use std::net::SocketAddr;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A listener that accepts until it is closed.
#[derive(Debug)]
pub struct ClosableListener {
    listener: TcpListener,
    closed: watch::Receiver<bool>,
}

impl ClosableListener {
    /// A gate that closes when `closed` says so.
    pub fn new(listener: TcpListener, closed: watch::Receiver<bool>) -> Self {
        Self { listener, closed }
    }
}

impl Listener for ClosableListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        // Its answer holds a lock that must not be waited with.
        let closed = async { drop(self.closed.wait_for(|closed| *closed).await) };
        tokio::select! {
            biased;
            () = closed => std::future::pending().await,
            accepted = Listener::accept(&mut self.listener) => accepted,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
