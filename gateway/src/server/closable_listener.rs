//! A listener that stops accepting before the server stops serving. Connections that it accepted just before have time to send
//! their requests: a graceful shutdown closes a connection without a request at once.
//!
//! It keeps descriptors in reserve. A gateway without any could neither reach a worker nor open the database, so connections
//! that are too many wait in the system's queue until others end.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Descriptors for other purposes than connections, where the limit allows it.
const RESERVE: u64 = 64;
/// More connections than any machine has.
const MAX_CONNECTIONS: usize = 1 << 20;
/// Pause after a failure to accept, such as too many open files in the whole system.
const PAUSE: Duration = Duration::from_secs(1);
/// Pause between two warnings.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

use super::listener::Listeners;

/// A listener that accepts until it is closed.
#[derive(Debug)]
pub struct ClosableListener {
    listener: Listeners,
    closed: watch::Receiver<bool>,
    places: Arc<Semaphore>,
    most: usize,
    last_warning: Option<Instant>,
}

/// A connection, and its place among the open ones.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: TcpStream,
    /// Free again when it is dropped.
    pub place: OwnedSemaphorePermit,
}

impl ClosableListener {
    /// Wraps `listener`. It closes when `closed` becomes true.
    pub fn new(listener: Listeners, closed: watch::Receiver<bool>) -> Self {
        let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
        let most = most_connections(files);
        Self { listener, closed, places: Arc::new(Semaphore::new(most)), most, last_warning: None }
    }

    /// Waits for the next connection; for ever once it is closed.
    pub async fn accept(&mut self) -> Accepted {
        let mut closed = self.closed.clone();
        // The result holds a lock, which must not be kept across an await.
        let closed = async { drop(closed.wait_for(|closed| *closed).await) };
        tokio::select! {
            biased;
            () = closed => std::future::pending().await,
            accepted = self.accept_open() => accepted,
        }
    }

    async fn accept_open(&mut self) -> Accepted {
        let place = self.place().await;
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    // Disables Nagle's algorithm, which would delay tokens. A closing socket may refuse.
                    let _ = stream.set_nodelay(true);
                    return Accepted { stream, place };
                }
                // The client has left already.
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    self.warn(&format!("no connection can be accepted: {error}"));
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn place(&mut self) -> OwnedSemaphorePermit {
        if self.places.available_permits() == 0 {
            let most = self.most;
            self.warn(&format!(
                "{most} connections are open, as many as the limit of open files allows: others wait"
            ));
        }
        match Arc::clone(&self.places).acquire_owned().await {
            Ok(place) => place,
            // Nothing closes the semaphore.
            Err(_) => std::future::pending().await,
        }
    }

    fn warn(&mut self, text: &str) {
        if self.last_warning.is_none_or(|warned| warned.elapsed() >= WARNING_INTERVAL) {
            tracing::warn!("{text}");
            self.last_warning = Some(Instant::now());
        }
    }
}

/// How many connections may be open under a limit of `files`.
fn most_connections(files: u64) -> usize {
    let most = files.saturating_sub(RESERVE).max(files / 2).max(1);
    usize::try_from(most).map_or(MAX_CONNECTIONS, |most| most.min(MAX_CONNECTIONS))
}

fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_workers_and_the_database() {
        for (files, most) in [(0, 1), (64, 32), (256, 192), (20_000, 19_936), (u64::MAX, MAX_CONNECTIONS)] {
            assert_eq!(most_connections(files), most, "{files}");
        }
    }
}
