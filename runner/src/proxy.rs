//! Passes connections on to the program, and counts them: an open connection is a request that runs.
//!
//! The gateway opens a connection for each request and keeps none. Bytes are copied unread.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ipc_proto::socket;
use ipc_proto::worker::Health;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;

/// Bytes that are read at once.
const PIECE: usize = 16 << 10;

/// The connections so far.
#[derive(Debug)]
pub struct Traffic {
    /// Connections, and pieces of answers: the steps of a worker.
    steps: AtomicU64,
    open: watch::Sender<u32>,
}

/// One open connection. Dropping it closes it.
struct Open(Arc<Traffic>);

impl Default for Traffic {
    fn default() -> Self {
        Self { steps: AtomicU64::new(0), open: watch::channel(0).0 }
    }
}

impl Traffic {
    /// The counters in the form of a worker's.
    pub fn health(&self) -> Health {
        Health {
            steps: self.steps.load(Ordering::Relaxed),
            running: *self.open.borrow(),
            ..Health::default()
        }
    }

    /// Whether no connection is open.
    pub fn is_idle(&self) -> bool {
        *self.open.borrow() == 0
    }

    /// Waits until no connection is open.
    pub async fn wait_idle(&self) {
        // The sender is this one, so the channel is open.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    fn open(self: &Arc<Self>) -> Open {
        self.step();
        self.open.send_modify(|open| *open += 1);
        Open(Arc::clone(self))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

/// Passes every connection to `listener` on to `port`; never returns.
pub async fn serve(listener: UnixListener, port: u16, traffic: Arc<Traffic>) {
    let take = |stream| {
        let open = traffic.open();
        tokio::spawn(async move {
            if let Err(error) = pass(stream, port, &open.0).await {
                tracing::debug!(%error, "a connection broke off");
            }
            drop(open);
        });
    };
    socket::accept_each(&listener, take).await;
}

/// Copies in both directions. The end of either one ends the connection: a client that has left gets no answer, and the program
/// notices it.
async fn pass(mut client: UnixStream, port: u16, traffic: &Traffic) -> io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let answer = async {
        let mut piece = vec![0; PIECE];
        loop {
            let length = from_server.read(&mut piece).await?;
            if length == 0 {
                return to_client.shutdown().await;
            }
            traffic.step();
            to_client.write_all(&piece[..length]).await?;
        }
    };
    tokio::select! {
        answered = answer => answered,
        sent = copy(&mut from_client, &mut to_server) => sent.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;

    async fn connected() -> (Arc<Traffic>, TcpListener, std::path::PathBuf, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("h");
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let traffic = Arc::new(Traffic::default());
        let port = server.local_addr().unwrap().port();
        tokio::spawn(serve(UnixListener::bind(&path).unwrap(), port, Arc::clone(&traffic)));
        (traffic, server, path, folder)
    }

    async fn within<T>(work: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(10), work).await.unwrap()
    }

    #[tokio::test]
    async fn open_connections_are_counted_and_bytes_arrive() {
        let (traffic, server, path, _folder) = connected().await;
        assert!(traffic.is_idle());
        let mut client = UnixStream::connect(&path).await.unwrap();
        let (mut other, _) = within(server.accept()).await.unwrap();
        client.write_all(b"ask").await.unwrap();
        let mut bytes = [0; 3];
        other.read_exact(&mut bytes).await.unwrap();
        assert_eq!((&bytes, traffic.health().running), (b"ask", 1));
        let before = traffic.health().steps;
        other.write_all(b"answer").await.unwrap();
        drop(other);
        let mut answer = String::new();
        within(client.read_to_string(&mut answer)).await.unwrap();
        assert_eq!(answer, "answer");
        within(traffic.wait_idle()).await;
        assert!(traffic.health().steps > before && traffic.health().running == 0);
    }

    #[tokio::test]
    async fn client_that_leaves_ends_the_connection_to_the_program() {
        let (traffic, server, path, _folder) = connected().await;
        let client = UnixStream::connect(&path).await.unwrap();
        let (mut other, _) = within(server.accept()).await.unwrap();
        drop(client);
        let mut rest = Vec::new();
        within(other.read_to_end(&mut rest)).await.unwrap();
        within(traffic.wait_idle()).await;
    }
}
