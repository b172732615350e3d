//! The engine of models that read texts and generate none: gathers texts of about one length from all requests, runs them
//! together, and answers a request when its last text is done.
//!
//! It lives on the thread that the generating engine would have, and is told the same commands. It knows no tensors: a
//! [`Runner`] computes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use ipc_proto::stream::StreamId;
use ipc_proto::worker::Memory;
use ipc_proto::{Error, ErrorKind, Result, Source};
use tokio::sync::oneshot;

use crate::engine::command::Command;
use crate::engine::counters::Counters;
use crate::engine::frames::FrameSender;
use crate::engine::places::Place;
use crate::engine::runner::RunnerError;

pub mod admission;
pub mod queue;

use queue::{JobId, Queue, Taken};

/// One text, or a pair, tokenised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Token ids; never empty.
    pub tokens: Vec<u32>,
    /// From which token on the second text of a pair stands.
    pub second: usize,
}

/// What a request asks for.
#[derive(Debug)]
pub struct Job {
    /// Its texts.
    pub pieces: Vec<Piece>,
    /// Hears what became of them, in order: vectors, or single scores.
    pub reply: oneshot::Sender<Result<Vec<Vec<f32>>>>,
    /// Its place among all that the worker has.
    pub place: Place,
}

/// Runs texts together.
pub trait Runner {
    /// Begins a step; others may be under way.
    ///
    /// # Errors
    /// When the device fails; the step is then none.
    fn launch(&mut self, pieces: &[Piece]) -> std::result::Result<(), RunnerError>;

    /// Waits for the step that was begun longest ago: what became of each text, a vector or one score.
    ///
    /// # Errors
    /// When the device fails.
    fn finish(&mut self) -> std::result::Result<Vec<Vec<f32>>, RunnerError>;

    /// Gives back what only caches hold.
    fn trim(&mut self);

    /// Where memory goes.
    fn memory(&self) -> Memory;
}

/// Steps at once: one computes, the next one is ready for it.
const STEPS_UNDER_WAY: usize = 2;

/// The engine's state.
pub struct Engine<R> {
    runner: R,
    queue: Queue,
    jobs: HashMap<JobId, Running>,
    /// Whose texts the steps hold that were begun, the oldest first.
    under_way: VecDeque<Vec<(JobId, usize)>>,
    next_id: u64,
    counters: Arc<Counters>,
    /// Kept so that the gateways' connections stay open; no frame is ever sent.
    frames: HashMap<StreamId, FrameSender>,
    draining: bool,
    stopped: bool,
}

/// A job of which some texts are not done.
struct Running {
    results: Vec<Vec<f32>>,
    left: usize,
    reply: oneshot::Sender<Result<Vec<Vec<f32>>>>,
    place: Place,
}

impl<R: Runner> Engine<R> {
    /// An engine around `runner`, of steps with at most `step_tokens` tokens, dealt out to `lanes`.
    pub fn new(runner: R, step_tokens: usize, lanes: usize, counters: Arc<Counters>) -> Self {
        counters.publish_memory(runner.memory());
        Self {
            runner,
            queue: Queue::new(step_tokens, lanes),
            jobs: HashMap::new(),
            under_way: VecDeque::new(),
            next_id: 0,
            counters,
            frames: HashMap::new(),
            draining: false,
            stopped: false,
        }
    }

    /// Runs until drained or stopped, or until nobody can send commands any more.
    pub fn run(mut self, commands: &Receiver<Command>) {
        loop {
            while let Some(command) = self.next(commands) {
                self.obey(command);
            }
            if self.stopped || self.idle() {
                return;
            }
            self.step();
        }
    }

    /// The next command; without work it waits for one. `None` without work says that none will come.
    fn next(&mut self, commands: &Receiver<Command>) -> Option<Command> {
        if self.stopped {
            return None;
        }
        if !self.draining && self.idle() {
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

    fn idle(&self) -> bool {
        self.jobs.is_empty() && self.under_way.is_empty()
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Open(stream, frames) => drop(self.frames.insert(stream, frames)),
            Command::Close(stream) => drop(self.frames.remove(&stream)),
            Command::Embed(job) => self.submit(*job),
            // The services let no such request through.
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
        let Job { pieces, reply, place } = job;
        let running = Running { results: vec![Vec::new(); pieces.len()], left: pieces.len(), reply, place };
        if self.draining {
            return running.end(Err(shutting_down()));
        }
        if pieces.is_empty() {
            return running.end(Ok(Vec::new()));
        }
        let id = JobId(self.next_id);
        self.next_id += 1;
        self.queue.add(id, pieces);
        self.jobs.insert(id, running);
    }

    fn step(&mut self) {
        // Whose client has left costs nothing more.
        let gone: Vec<JobId> =
            self.jobs.iter().filter(|(_, job)| job.reply.is_closed()).map(|(id, _)| *id).collect();
        for id in gone {
            self.jobs.remove(&id);
            self.queue.remove(id);
        }
        let Taken { places, pieces } = self.queue.take();
        self.publish();
        let begun = !pieces.is_empty();
        if begun {
            self.counters.count_step();
            match self.runner.launch(&pieces) {
                Ok(()) => self.under_way.push_back(places),
                Err(failure) => self.fail(places, &failure),
            }
        }
        // The device goes on with the newest step while the results of the one before are read.
        if !begun || self.under_way.len() >= STEPS_UNDER_WAY {
            self.finish();
        }
    }

    /// Waits for the oldest step.
    fn finish(&mut self) {
        let Some(places) = self.under_way.pop_front() else { return };
        let outcome = self.runner.finish().and_then(|results| match results.len() == places.len() {
            true => Ok(results),
            false => Err(RunnerError(format!("{} results came for {} texts", results.len(), places.len()))),
        });
        match outcome {
            Ok(results) => {
                for ((id, index), result) in places.into_iter().zip(results) {
                    self.done(id, index, result);
                }
            }
            Err(failure) => self.fail(places, &failure),
        }
        self.counters.publish_memory(self.runner.memory());
        self.publish();
    }

    fn fail(&mut self, places: Vec<(JobId, usize)>, failure: &RunnerError) {
        tracing::error!(%failure, texts = places.len(), "a step failed; its requests are lost");
        let text = format!("the model failed: {failure}");
        let error = Error::new(ErrorKind::Internal, Source::Worker, text).retryable(true);
        for (id, _) in places {
            self.queue.remove(id);
            if let Some(running) = self.jobs.remove(&id) {
                running.end(Err(error.clone()));
            }
        }
    }

    fn done(&mut self, id: JobId, index: usize, result: Vec<f32>) {
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

    /// Every request counts as running: all of them take part in the next steps.
    fn publish(&self) {
        self.counters.publish_running(self.jobs.len());
    }
}

impl Running {
    fn end(self, outcome: Result<Vec<Vec<f32>>>) {
        let Self { reply, place, .. } = self;
        // Before the answer, which tells how many are free.
        drop(place);
        // Whoever has left does not miss it.
        reply.send(outcome).ok();
    }
}

/// What is said while the worker ends.
pub(crate) fn shutting_down() -> Error {
    Error::new(ErrorKind::Unavailable, Source::Worker, "the worker is shutting down")
}

#[cfg(test)]
mod tests;
