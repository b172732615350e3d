//! The step-frame connections: one task each, between the engine's queue and a gateway's socket.
//!
//! The end of a connection, whoever ends it, tells the engine to drop that gateway's requests.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::Sender};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use ipc_proto::stream::{StreamFrame, StreamHello, StreamId, WorkerEnd};
use tokio::time::timeout;

use crate::engine::command::Command;
use crate::engine::frames::{self, FrameReceiver};

/// A gateway that takes no frame for so long is taken for dead.
const STALLED: Duration = Duration::from_secs(20);

/// The names of the open connections.
#[derive(Debug, Clone, Default)]
pub struct Names(Arc<Mutex<HashSet<StreamId>>>);

impl Names {
    /// Whether requests may be submitted for `stream`.
    pub fn contains(&self, stream: StreamId) -> bool {
        self.lock().contains(&stream)
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<StreamId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection the engine knows; dropping it tells the engine.
struct Registered {
    names: Names,
    engine: Sender<Command>,
    stream: StreamId,
}

impl Registered {
    fn new(names: Names, engine: Sender<Command>, stream: StreamId) -> io::Result<(Self, FrameReceiver)> {
        if !names.lock().insert(stream) {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "two step-frame connections of one name",
            ));
        }
        let registered = Self { names, engine, stream };
        let (sender, frames) = frames::queue();
        registered.engine.send(Command::Open(stream, sender)).map_err(io::Error::other)?;
        Ok((registered, frames))
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // Without an engine there are no requests to drop.
        self.engine.send(Command::Close(self.stream)).ok();
        // Last, so that a new connection of this name comes to the engine after the old one's end.
        self.names.lock().remove(&self.stream);
    }
}

/// Sends a gateway its frames until either side is gone.
///
/// # Errors
/// When the peer breaks the protocol or takes no more frames.
pub async fn serve(mut connection: WorkerEnd, names: Names, engine: Sender<Command>) -> io::Result<()> {
    let hello = timeout(STALLED, connection.next()).await?;
    let Some(StreamHello { stream }) = hello.transpose()? else { return Ok(()) };
    let (_registered, mut frames) = Registered::new(names, engine, stream)?;
    send(&mut connection, StreamFrame::Welcome).await?;
    loop {
        tokio::select! {
            frame = frames.next() => match frame {
                Some(frame) => send(&mut connection, StreamFrame::Step(frame)).await?,
                // The engine has ended, or gave this gateway up.
                None => return Ok(()),
            },
            // The gateway says nothing more: this is its end of the connection.
            _ = connection.next() => return Ok(()),
        }
    }
}

async fn send(connection: &mut WorkerEnd, frame: StreamFrame) -> io::Result<()> {
    timeout(STALLED, connection.send(frame)).await?
}
