//! A listener that stops accepting before the server stops serving. Connections that it accepted just before have time to send
//! their requests: a graceful shutdown closes a connection without a request at once.

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
    /// Wraps `listener`. It closes when `closed` becomes true.
    pub fn new(listener: TcpListener, closed: watch::Receiver<bool>) -> Self {
        Self { listener, closed }
    }
}

impl Listener for ClosableListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        // The result holds a lock, which must not be kept across an await.
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
