//! The engine for embedding and reranking: batches texts of similar length from all requests, and answers a request when its last
//! text is done.
//!
//! It replaces the generating engine on the engine thread and takes the same commands. It handles no tensors: a [`BatchRunner`]
//! computes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use ipc_proto::error::RETRY_AFTER;
use ipc_proto::stream::StreamId;
use ipc_proto::worker::Memory;
use ipc_proto::{Disposition, Error, ErrorKind, Origin, Result};
use tokio::sync::oneshot;

use crate::engine::admission_limits::AdmissionPermit;
use crate::engine::command::Command;
use crate::engine::counters::Counters;
use crate::engine::frames::FrameSender;
use crate::engine::no_numbers;
use crate::engine::runner::RunnerError;

pub mod admission;
pub mod queue;

use queue::{BatchQueue, JobId, TextBatch};

/// A tokenised text, or a tokenised pair of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderInput {
    /// Token ids. Never empty.
    pub tokens: Vec<u32>,
    /// The index of the second text of a pair. The number of tokens if there is none.
    pub second_start: usize,
}

/// A request.
#[derive(Debug)]
pub struct Job {
    /// The texts of the request.
    pub inputs: Vec<EncoderInput>,
    /// Receives the result of each text, in order: a vector, or a single score.
    pub reply: oneshot::Sender<Result<Vec<Vec<f32>>>>,
    /// Held until the request ends.
    pub permit: AdmissionPermit,
}

/// Runs batches of texts.
pub trait BatchRunner {
    /// Launches a step. Others may be in flight.
    ///
    /// # Errors
    /// When the device fails. Then no step is in flight for these texts.
    fn launch(&mut self, inputs: &[EncoderInput]) -> Result<(), RunnerError>;

    /// Waits for the oldest step. Returns a vector or one score for each text.
    ///
    /// # Errors
    /// When the device fails.
    fn finish(&mut self) -> Result<Vec<Vec<f32>>, RunnerError>;

    /// Frees memory that only caches hold.
    fn trim(&mut self);

    /// The memory in use, by purpose.
    fn memory(&self) -> Memory;
}

/// Steps in flight, at most: one computes, the next one is ready.
const MAX_STEPS_IN_FLIGHT: usize = 2;

/// Schedules the texts of all requests on a [`BatchRunner`].
pub struct EncoderEngine<R> {
    runner: R,
    queue: BatchQueue,
    jobs: HashMap<JobId, OpenRequest>,
    /// The request and index of each text in each step, the oldest step first.
    in_flight: VecDeque<Vec<(JobId, usize)>>,
    next_id: u64,
    counters: Arc<Counters>,
    /// Keeps the gateways' connections open. This engine sends no frames.
    frames: HashMap<StreamId, FrameSender>,
    draining: bool,
    stopped: bool,
}

/// A request with unfinished texts.
struct OpenRequest {
    results: Vec<Vec<f32>>,
    left: usize,
    reply: oneshot::Sender<Result<Vec<Vec<f32>>>>,
    permit: AdmissionPermit,
}

impl<R: BatchRunner> EncoderEngine<R> {
    /// An engine with steps of at most `step_tokens` tokens, which `runner` distributes over `lanes` lanes.
    pub fn new(runner: R, step_tokens: usize, lanes: usize, counters: Arc<Counters>) -> Self {
        counters.publish_memory(runner.memory());
        Self {
            runner,
            queue: BatchQueue::new(step_tokens, lanes),
            jobs: HashMap::new(),
            in_flight: VecDeque::new(),
            next_id: 0,
            counters,
            frames: HashMap::new(),
            draining: false,
            stopped: false,
        }
    }

    /// Runs until drained or stopped, or until all senders of commands are gone.
    pub fn run(mut self, commands: &Receiver<Command>) {
        loop {
            while let Some(command) = self.next_command(commands) {
                self.handle(command);
            }
            if self.stopped || self.is_idle() {
                return;
            }
            self.step();
        }
    }

    /// The next command. Waits for one while there is no work. `None` without work means that no more commands will come.
    fn next_command(&mut self, commands: &Receiver<Command>) -> Option<Command> {
        if self.stopped {
            return None;
        }
        if !self.draining && self.is_idle() {
            return commands.recv().ok();
        }
        match commands.try_recv() {
            Ok(command) => Some(command),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.stopped = true;
                None
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.in_flight.is_empty()
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Open(stream, frames) => drop(self.frames.insert(stream, frames)),
            Command::Close(stream) => drop(self.frames.remove(&stream)),
            Command::Embed(job) => self.submit(*job),
            // The RPC services refuse these requests for an encoder.
            Command::Submit(_) | Command::Cancel(..) => {}
            // There is no KV cache.
            Command::ResizeKv(_, reply) => drop(reply.send(0)),
            Command::Trim(reply) => {
                self.runner.trim();
                reply.send(self.runner.memory()).ok();
            }
            Command::Drain => self.draining = true,
            Command::Stop => {
                self.stopped = true;
                for (_, running) in self.jobs.drain() {
                    running.end(Err(shutting_down()));
                }
            }
        }
        self.publish();
    }

    fn submit(&mut self, job: Job) {
        let Job { inputs, reply, permit } = job;
        let running =
            OpenRequest { results: vec![Vec::new(); inputs.len()], left: inputs.len(), reply, permit };
        if self.draining {
            return running.end(Err(shutting_down()));
        }
        if inputs.is_empty() {
            return running.end(Ok(Vec::new()));
        }
        let id = JobId(self.next_id);
        self.next_id += 1;
        self.queue.add(id, inputs);
        self.jobs.insert(id, running);
    }

    fn step(&mut self) {
        self.drop_abandoned();
        let TextBatch { slots, inputs } = self.queue.next_batch();
        self.publish();
        let launched = !inputs.is_empty();
        if launched {
            self.counters.count_step();
            match self.runner.launch(&inputs) {
                Ok(()) => self.in_flight.push_back(slots),
                Err(failure) => self.fail(slots, &failure),
            }
        }
        // The device computes the newest step while the engine reads the results of the one before.
        if !launched || self.in_flight.len() >= MAX_STEPS_IN_FLIGHT {
            self.finish();
        }
    }

    /// Drops requests whose client has disconnected.
    fn drop_abandoned(&mut self) {
        let queue = &mut self.queue;
        self.jobs.retain(|id, job| {
            let is_abandoned = job.reply.is_closed();
            if is_abandoned {
                queue.remove(*id);
            }
            !is_abandoned
        });
    }

    /// Waits for the oldest step.
    fn finish(&mut self) {
        let Some(slots) = self.in_flight.pop_front() else { return };
        match self.runner.finish() {
            Ok(results) if results.len() != slots.len() => {
                let text = format!("{} results came for {} texts", results.len(), slots.len());
                self.fail(slots, &RunnerError(text));
            }
            Ok(results) => {
                for ((id, index), result) in slots.into_iter().zip(results) {
                    self.complete(id, index, result);
                }
            }
            Err(failure) => self.fail(slots, &failure),
        }
        self.counters.publish_memory(self.runner.memory());
        self.publish();
    }

    fn fail(&mut self, slots: Vec<(JobId, usize)>, failure: &RunnerError) {
        tracing::error!(%failure, texts = slots.len(), "a step failed; its requests are lost");
        let text = format!("the model failed: {failure}");
        let error = Error::new(ErrorKind::Internal, Origin::Worker, text)
            .with_disposition(Disposition::RetryAfter(RETRY_AFTER));
        for (id, _) in slots {
            self.queue.remove(id);
            if let Some(running) = self.jobs.remove(&id) {
                running.end(Err(error.clone()));
            }
        }
    }

    fn complete(&mut self, id: JobId, index: usize, result: Vec<f32>) {
        if !result.iter().all(|number| number.is_finite()) {
            self.queue.remove(id);
            return self.jobs.remove(&id).into_iter().for_each(|running| running.end(Err(no_numbers())));
        }
        let Some(running) = self.jobs.get_mut(&id) else { return };
        running.results[index] = result;
        running.left -= 1;
        if running.left == 0
            && let Some(mut running) = self.jobs.remove(&id)
        {
            let results = std::mem::take(&mut running.results);
            running.end(Ok(results));
        }
    }

    /// Publishes the number of requests. All count as running, since each takes part in one of the next steps.
    fn publish(&self) {
        self.counters.publish_running(self.jobs.len());
    }
}

impl OpenRequest {
    fn end(self, outcome: Result<Vec<Vec<f32>>>) {
        let Self { reply, permit, .. } = self;
        // A client that has its answer must find the permit free.
        drop(permit);
        // The client may have disconnected.
        reply.send(outcome).ok();
    }
}

/// The error for requests that arrive or run during a shutdown.
pub(crate) fn shutting_down() -> Error {
    Error::new(ErrorKind::Unavailable, Origin::Worker, "the worker is shutting down")
}

#[cfg(test)]
mod tests;
