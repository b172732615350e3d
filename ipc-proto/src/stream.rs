//! The step-frame connection: worker → gateway, one frame per engine step.
//!
//! After the handshake (see [`crate::socket`]) the gateway sends one [`StreamHello`]; from then on only the worker
//! sends, one [`StepFrame`] for each step in which any of that gateway's requests has news. When the connection ends, the
//! worker cancels that gateway's requests and the gateway fails them.

use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tokio_util::codec::Framed;

use crate::codec::Bincode;
use crate::generate::{ChoiceId, Event};

/// Names one step-frame connection at its worker; the gateway draws it at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StreamId(pub u64);

/// The gateway's only message on a step-frame connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamHello {
    /// The name that [`crate::worker::Worker::submit`] will use.
    pub stream: StreamId,
}

/// The worker's only messages on a step-frame connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum StreamFrame {
    /// The stream is registered: requests may be submitted for it.
    Welcome,
    /// What one engine step brought.
    Step(StepFrame),
}

/// What one engine step brought for one gateway.
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
