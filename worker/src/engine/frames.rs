//! The queue between the engine and one gateway's connection.
//!
//! The engine never waits on it. The queue is unbounded but counted: a gateway with more than [`EVENTS_AHEAD`] unread
//! events is considered dead. A slow receiver gets the events of several steps in one frame, so that it catches up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ipc_proto::stream::StepFrame;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Maximum number of unread events: some 20 MiB.
pub const EVENTS_AHEAD: usize = 1 << 18;
/// A frame takes no further step once it has this many events.
const EVENTS_IN_FRAME: usize = 4096;

/// The engine's end.
#[derive(Debug)]
pub struct FrameSender {
    frames: UnboundedSender<StepFrame>,
    ahead: Arc<AtomicUsize>,
}

/// The connection's end.
#[derive(Debug)]
pub struct FrameReceiver {
    frames: UnboundedReceiver<StepFrame>,
    ahead: Arc<AtomicUsize>,
}

/// The receiver is gone or too far behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dead;

/// Creates an empty queue.
pub fn queue() -> (FrameSender, FrameReceiver) {
    let (sender, receiver) = unbounded_channel();
    let ahead = Arc::new(AtomicUsize::new(0));
    (FrameSender { frames: sender, ahead: Arc::clone(&ahead) }, FrameReceiver { frames: receiver, ahead })
}

impl FrameSender {
    /// Queues one step's frame.
    ///
    /// # Errors
    /// When the receiver is dead; the frame is lost.
    pub fn send(&self, frame: StepFrame) -> Result<(), Dead> {
        let events = frame.events.len();
        if self.ahead.fetch_add(events, Ordering::Relaxed) + events > EVENTS_AHEAD {
            return Err(Dead);
        }
        self.frames.send(frame).map_err(|_| Dead)
    }
}

impl FrameReceiver {
    /// Waits for events and returns all that are queued, as one frame. `None` once the sender is dropped.
    ///
    /// Cancel-safe: dropping the future loses no events.
    pub async fn next(&mut self) -> Option<StepFrame> {
        let mut frame = self.frames.recv().await?;
        while frame.events.len() < EVENTS_IN_FRAME
            && let Ok(later) = self.frames.try_recv()
        {
            frame.step = later.step;
            frame.events.extend(later.events);
        }
        self.ahead.fetch_sub(frame.events.len(), Ordering::Relaxed);
        Some(frame)
    }
}

#[cfg(test)]
mod tests;
