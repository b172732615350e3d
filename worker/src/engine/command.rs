//! Commands to the engine. Senders have validated everything in them.

use std::time::Instant;

use ipc_proto::generate::ChoiceId;
use ipc_proto::stream::StreamId;
use ipc_proto::worker::Memory;
use tokio::sync::oneshot;

use super::admission_limits::AdmissionPermit;
use super::arrivals::Arrival;
use super::frames::FrameSender;
use super::output;
use super::reasoning_budget::ReasoningBudget;
use super::sequence::SequenceParams;
use crate::embed::Job;
use crate::text::grammar::Matcher;

/// A command to an engine thread.
#[derive(Debug)]
pub enum Command {
    /// A gateway connected; send its frames here.
    Open(StreamId, FrameSender),
    /// A gateway disconnected; drop its requests.
    Close(StreamId),
    /// Start a request.
    Submit(Box<Admitted>),
    /// Embed or rerank texts. Only the engine for encoders takes it.
    Embed(Box<Job>),
    /// Drop one choice.
    Cancel(StreamId, ChoiceId),
    /// Limit the KV pool to this many bytes; the reply is the limit in force.
    ResizeKv(u64, oneshot::Sender<u64>),
    /// Free memory that only caches hold; the reply is the memory still in use.
    Trim(oneshot::Sender<Memory>),
    /// Refuse new requests; stop when the running ones have ended.
    Drain,
    /// Fail all requests and stop.
    Stop,
}

/// A tokenised and validated choice of a request.
#[derive(Debug)]
pub struct EngineRequest {
    /// The gateway that sent it.
    pub stream: StreamId,
    /// Unique within the gateway.
    pub id: ChoiceId,
    /// Prompt and sampling.
    pub params: SequenceParams,
    /// Stop conditions and output format.
    pub limits: output::OutputLimits,
    /// The grammar that the output must match, after the tokens that another worker generated.
    pub constraint: Option<Matcher>,
    /// The limit on reasoning tokens.
    pub budget: Option<ReasoningBudget>,
    /// Whether to report how much of the prompt is computed.
    pub report_progress: bool,
    /// The request fails if it is still running then.
    pub deadline: Option<Instant>,
    /// Carries the id of the client's request into the log.
    pub span: tracing::Span,
}

/// A request on its way to the engine, with the guards that count it.
#[derive(Debug)]
pub struct Admitted {
    /// The request itself.
    pub request: EngineRequest,
    /// Counts it as waiting; knows whether it was cancelled.
    pub arrival: Arrival,
    /// Held until the request ends.
    pub permit: AdmissionPermit,
}
