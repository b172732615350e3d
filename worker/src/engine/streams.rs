//! The gateways' step-frame connections, as the engine sees them. It never waits for one.
//!
//! The events of a step are collected and sent as one frame per gateway.

use std::collections::HashMap;

use ipc_proto::generate::{ChoiceId, Event};
use ipc_proto::stream::{StepFrame, StreamId};

use super::frames::FrameSender;

/// The open connections.
#[derive(Debug, Default)]
pub struct Streams(HashMap<StreamId, Stream>);

#[derive(Debug)]
struct Stream {
    frames: FrameSender,
    /// Events of the current step.
    events: Vec<(ChoiceId, Event)>,
}

impl Streams {
    /// Registers a gateway.
    pub fn open(&mut self, stream: StreamId, frames: FrameSender) {
        self.0.insert(stream, Stream { frames, events: Vec::new() });
    }

    /// Removes a gateway; it gets no more frames.
    pub fn close(&mut self, stream: StreamId) {
        self.0.remove(&stream);
    }

    /// Whether a gateway is connected.
    pub fn contains(&self, stream: StreamId) -> bool {
        self.0.contains_key(&stream)
    }

    /// Adds an event to the step's frame. Does nothing if the gateway is gone.
    pub fn push(&mut self, stream: StreamId, id: ChoiceId, event: Event) {
        if let Some(stream) = self.0.get_mut(&stream) {
            stream.events.push((id, event));
        }
    }

    /// Sends the frames of step `step`. Returns the gateways that are gone or too far behind.
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
