//! What the engine is told. Everything in here was checked by whoever sends it.

use std::time::Instant;

use ipc_proto::generate::RequestId;
use ipc_proto::stream::StreamId;
use ipc_proto::worker::Memory;
use tokio::sync::oneshot;

use super::arrivals::Arrival;
use super::budget::Budget;
use super::frames::FrameSender;
use super::output;
use super::places::Place;
use super::sequence::Order;
use crate::adapters::grammar::Matcher;
use crate::embed::Job;

/// An order to the engine.
#[derive(Debug)]
pub enum Command {
    /// A gateway's frames go here from now on.
    Open(StreamId, FrameSender),
    /// A gateway is gone: drop its requests.
    Close(StreamId),
    /// A request, already tokenised and checked.
    Submit(Box<Arriving>),
    /// Texts to be read, for the engine of models that do so.
    Embed(Box<Job>),
    /// Drop a request.
    Cancel(StreamId, RequestId),
    /// Let the KV pool grow to so many bytes; the answer is what is in force.
    ResizeKv(u64, oneshot::Sender<u64>),
    /// Give back what only caches hold; the answer is what is left.
    Trim(oneshot::Sender<Memory>),
    /// Take no more requests; end when the running ones have ended.
    Drain,
    /// Fail what is still there, and end.
    Stop,
}

/// A request, tokenised and checked.
#[derive(Debug)]
pub struct Submission {
    /// Whose it is.
    pub stream: StreamId,
    /// Its name there.
    pub id: RequestId,
    /// What is to be run.
    pub order: Order,
    /// What ends it.
    pub limits: output::Limits,
    /// What its output must be.
    pub constraint: Option<Matcher>,
    /// How long it may think.
    pub budget: Option<Budget>,
    /// When it fails if it has not ended.
    pub deadline: Option<Instant>,
}

/// A submission on its way, and its place among the arrivals.
#[derive(Debug)]
pub struct Arriving {
    /// The request.
    pub submission: Submission,
    /// Says whether it is still wanted.
    pub arrival: Arrival,
    /// Its place among all that the worker has.
    pub place: Place,
}
