//! The step-frame connection: worker → gateway, one frame per engine step.
//!
//! After the handshake (see [`crate::socket`]) the gateway sends one [`StreamHello`]. From then on only the worker sends: one
//! [`StepFrame`] for each step that has events for this gateway. When the connection ends, the worker cancels this gateway's
//! requests, and the gateway fails them.

use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tokio_util::codec::Framed;

use crate::codec::Bincode;
use crate::generate::{ChoiceId, Event};

/// The id of a step-frame connection, a random number from the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StreamId(pub u64);

/// The gateway's only message on a step-frame connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamHello {
    /// The id for [`crate::worker::Worker::submit`].
    pub stream: StreamId,
}

/// The worker's only messages on a step-frame connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum StreamFrame {
    /// The stream is registered: requests may be submitted for it.
    Welcome,
    /// The events of one engine step.
    Step(StepFrame),
}

/// The events of one engine step for one gateway.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StepFrame {
    /// The engine's step counter.
    pub step: u64,
    /// In order of generation; a choice can occur more than once.
    pub events: Vec<(ChoiceId, Event)>,
}

/// The worker's end of a step-frame connection.
pub type WorkerEnd = Framed<UnixStream, Bincode<StreamHello, StreamFrame>>;
/// The gateway's end of a step-frame connection.
pub type GatewayEnd = Framed<UnixStream, Bincode<StreamFrame, StreamHello>>;
