//! The gateways' step-frame connections, seen from the engine: it never waits for one.
//!
//! Events of a step are gathered and leave as one frame.

use std::collections::HashMap;

use ipc_proto::generate::{Event, RequestId};
use ipc_proto::stream::{StepFrame, StreamId};

use super::frames::FrameSender;

/// The open connections.
#[derive(Debug, Default)]
pub struct Streams(HashMap<StreamId, Stream>);

#[derive(Debug)]
struct Stream {
    frames: FrameSender,
    /// Events of the current step.
    events: Vec<(RequestId, Event)>,
}

impl Streams {
    /// A gateway's frames go to `frames` from now on.
    pub fn open(&mut self, stream: StreamId, frames: FrameSender) {
        self.0.insert(stream, Stream { frames, events: Vec::new() });
    }

    /// A gateway gets no more frames.
    pub fn close(&mut self, stream: StreamId) {
        self.0.remove(&stream);
    }

    /// Whether a gateway is connected.
    pub fn contains(&self, stream: StreamId) -> bool {
        self.0.contains_key(&stream)
    }

    /// Adds to the step's frame. Nothing happens where the gateway has gone.
    pub fn push(&mut self, stream: StreamId, id: RequestId, event: Event) {
        if let Some(stream) = self.0.get_mut(&stream) {
            stream.events.push((id, event));
        }
    }

    /// Sends the frames of step `step` and returns the gateways that take no more: gone, or too far behind.
    pub fn flush(&mut self, step: u64) -> Vec<StreamId> {
        let mut dead = Vec::new();
        for (id, stream) in self.0.iter_mut().filter(|(_, stream)| !stream.events.is_empty()) {
            let frame = StepFrame { step, events: std::mem::take(&mut stream.events) };
            if stream.frames.send(frame).is_err() {
                dead.push(*id);
            }
        }
        dead
    }
}
