//! A listener that stops accepting before the server stops serving. Connections that it accepted just before have time to send
//! their requests: a graceful shutdown closes a connection without a request at once.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::listener::Listeners;

/// Pause after a failure to accept, such as too many open files.
const PAUSE: Duration = Duration::from_secs(1);

/// A listener that accepts until it is closed.
#[derive(Debug)]
pub struct ClosableListener {
    listener: Listeners,
    closed: watch::Receiver<bool>,
}

impl ClosableListener {
    /// Wraps `listener`. It closes when `closed` becomes true.
    pub fn new(listener: Listeners, closed: watch::Receiver<bool>) -> Self {
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
            accepted = accept(&self.listener) => accepted,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

async fn accept(listener: &Listeners) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // The client has left already.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
