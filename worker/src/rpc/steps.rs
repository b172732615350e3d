//! Step-frame connections: one task each, between the engine's queue and a gateway's socket.
//!
//! When a connection ends, on either side, the engine drops that gateway's requests.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::Sender};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use ipc_proto::stream::{StreamFrame, StreamHello, StreamId, WorkerEnd};
use tokio::time::timeout;

use crate::engine::command::Command;
use crate::engine::frames::{self, FrameReceiver};

/// A gateway that accepts no frame for this long is considered dead.
const STALLED: Duration = Duration::from_secs(20);

/// The ids of the open connections; clones share the set.
#[derive(Debug, Clone, Default)]
pub struct OpenStreams(Arc<Mutex<HashSet<StreamId>>>);

impl OpenStreams {
    /// Whether `stream` is open, so that requests may be submitted for it.
    pub fn contains(&self, stream: StreamId) -> bool {
        self.lock().contains(&stream)
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<StreamId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection registered with the engine; dropping it closes the stream there.
struct Registered {
    open_streams: OpenStreams,
    engine: Sender<Command>,
    stream: StreamId,
}

impl Registered {
    fn new(
        open_streams: OpenStreams,
        engine: Sender<Command>,
        stream: StreamId,
    ) -> io::Result<(Self, FrameReceiver)> {
        if !open_streams.lock().insert(stream) {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "another step-frame connection has the same id",
            ));
        }
        let registered = Self { open_streams, engine, stream };
        let (sender, frames) = frames::queue();
        registered.engine.send(Command::Open(stream, sender)).map_err(io::Error::other)?;
        Ok((registered, frames))
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // The send fails only if the engine has ended; then there are no requests to drop.
        self.engine.send(Command::Close(self.stream)).ok();
        // Last, so that the engine sees the close before the open of a new connection with this id.
        self.open_streams.lock().remove(&self.stream);
    }
}

/// Sends frames to a gateway until either side ends the connection.
///
/// # Errors
/// When the peer breaks the protocol or accepts no more frames.
pub async fn serve(
    mut connection: WorkerEnd,
    open_streams: OpenStreams,
    engine: Sender<Command>,
) -> io::Result<()> {
    let hello = timeout(STALLED, connection.next()).await?;
    let Some(StreamHello { stream }) = hello.transpose()? else { return Ok(()) };
    let (_registered, mut frames) = Registered::new(open_streams, engine, stream)?;
    send(&mut connection, StreamFrame::Welcome).await?;
    loop {
        tokio::select! {
            frame = frames.next() => match frame {
                Some(frame) => send(&mut connection, StreamFrame::Step(frame)).await?,
                // The engine has ended or has dropped this gateway.
                None => return Ok(()),
            },
            // The gateway sends nothing after the hello, so this is the end of the connection.
            _ = connection.next() => return Ok(()),
        }
    }
}

async fn send(connection: &mut WorkerEnd, frame: StreamFrame) -> io::Result<()> {
    timeout(STALLED, connection.send(frame)).await?
}
