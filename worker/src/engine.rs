//! The loop: schedule, run, postprocess. It owns the runner and every sequence, on a thread of its own.
//!
//! Requests come as [`Command`]s; what a step brings leaves as one frame for each gateway. While there is work the
//! engine only glances at its commands between steps; without work it sleeps on them. It never waits for a gateway,
//! and it knows neither text formats nor tensors.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use ipc_proto::generate::{Event, RequestId};
use ipc_proto::stream::StreamId;
use ipc_proto::{Error, ErrorKind, Source};

use crate::adapters::tokenizer::Tokenizer;

pub mod arrivals;
pub mod block_allocator;
pub mod command;
pub mod counters;
pub mod frames;
pub mod null;
pub mod output;
pub mod penalties;
pub mod prefix_cache;
pub mod rng;
pub mod runner;
pub mod scheduler;
pub mod sequence;
pub mod streams;

use command::{Arriving, Command, Submission};
use counters::Counters;
use output::Output;
use runner::{Batch, Runner, RunnerError};
use scheduler::{Limits, Scheduler};
use sequence::SequenceId;
use streams::Streams;

/// The engine's state.
#[derive(Debug)]
pub struct Engine<R> {
    runner: R,
    scheduler: Scheduler,
    tokenizer: Arc<Tokenizer>,
    counters: Arc<Counters>,
    requests: HashMap<SequenceId, Request>,
    streams: Streams,
    next_id: u64,
    /// Kept for its memory.
    batch: Batch,
    state: State,
}

#[derive(Debug)]
struct Request {
    stream: StreamId,
    id: RequestId,
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Serving,
    /// Ends when the last request has.
    Draining,
    Stopped,
}

impl<R: Runner> Engine<R> {
    /// An engine around `runner`.
    pub fn new(runner: R, limits: Limits, tokenizer: Arc<Tokenizer>, counters: Arc<Counters>) -> Self {
        let scheduler = Scheduler::new(limits, runner.capacity());
        counters.publish(&scheduler);
        Self {
            runner,
            scheduler,
            tokenizer,
            counters,
            requests: HashMap::new(),
            streams: Streams::default(),
            next_id: 0,
            batch: Batch::default(),
            state: State::Serving,
        }
    }

    /// Runs until drained or stopped, or until nobody can send commands any more.
    pub fn run(mut self, commands: &Receiver<Command>) {
        loop {
            while let Some(command) = self.next(commands) {
                self.obey(command);
                self.counters.publish(&self.scheduler);
            }
            if self.state == State::Stopped || self.scheduler.is_idle() {
                return;
            }
            self.step();
            self.counters.publish(&self.scheduler);
        }
    }

    /// The next command; without work it waits for one. `None` without work says that none will come.
    fn next(&mut self, commands: &Receiver<Command>) -> Option<Command> {
        if self.state == State::Stopped {
            return None;
        }
        if self.state == State::Serving && self.scheduler.is_idle() {
            return commands.recv().ok();
        }
        match commands.try_recv() {
            Ok(command) => Some(command),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.state = State::Stopped;
                None
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Open(stream, frames) => self.streams.open(stream, frames),
            Command::Close(stream) => self.close(stream),
            Command::Submit(arriving) => self.submit(*arriving),
            Command::Cancel(stream, id) => {
                self.drop_where(|request| request.stream == stream && request.id == id);
            }
            Command::Drain => self.state = State::Draining,
            Command::Stop => self.stop(),
        }
    }

    fn close(&mut self, stream: StreamId) {
        self.streams.close(stream);
        self.drop_where(|request| request.stream == stream);
    }

    fn submit(&mut self, arriving: Arriving) {
        let Arriving { submission, arrival } = arriving;
        let Submission { stream, id, prompt, sampling, limits } = submission;
        if !arrival.wanted() || !self.streams.contains(stream) {
            return;
        }
        if self.state != State::Serving {
            self.streams.push(stream, id, Event::Failed(shutting_down()));
            return self.flush();
        }
        let sequence = SequenceId(self.next_id);
        self.next_id += 1;
        let output = Output::new(Arc::clone(&self.tokenizer), limits, prompt.len() as u32);
        self.requests.insert(sequence, Request { stream, id, output });
        self.scheduler.add(sequence, prompt, sampling);
        // Counted as waiting here before it stops counting as arriving, so that no reading misses it.
        self.counters.publish(&self.scheduler);
        drop(arrival);
    }

    fn drop_where(&mut self, unwanted: impl Fn(&Request) -> bool) {
        let scheduler = &mut self.scheduler;
        self.requests.retain(|sequence, request| {
            let keep = !unwanted(request);
            if !keep {
                scheduler.remove(*sequence);
            }
            keep
        });
    }

    fn stop(&mut self) {
        self.state = State::Stopped;
        let all: Vec<SequenceId> = self.requests.keys().copied().collect();
        self.fail(&all, &shutting_down());
        self.flush();
    }

    fn step(&mut self) {
        self.scheduler.schedule(&mut self.batch);
        self.counters.begin_step(&self.scheduler);
        match self.runner.step(&self.batch).and_then(|tokens| complete(&self.batch, tokens)) {
            Ok(tokens) => self.postprocess(&tokens),
            Err(failure) => {
                tracing::error!(%failure, rows = self.batch.rows.len(), "a step failed; its requests are lost");
                let text = format!("the model failed while generating: {failure}");
                let lost: Vec<SequenceId> = self.scheduler.scheduled().collect();
                self.fail(&lost, &Error::new(ErrorKind::Internal, Source::Worker, text).retryable(true));
            }
        }
        self.flush();
    }

    fn postprocess(&mut self, tokens: &[u32]) {
        let mut ended = Vec::new();
        let (requests, streams) = (&mut self.requests, &mut self.streams);
        self.scheduler.commit(tokens, |sampled| {
            let Some(Request { stream, id, output }) = requests.get_mut(&sampled.id) else { return };
            output.cached(sampled.cached);
            if output.push(sampled.token, |event| streams.push(*stream, *id, event)) {
                ended.push(sampled.id);
            }
        });
        for sequence in ended {
            self.end(sequence);
        }
    }

    /// Takes a request out; its blocks are free for the next step.
    fn end(&mut self, sequence: SequenceId) -> Option<Request> {
        self.scheduler.remove(sequence);
        self.requests.remove(&sequence)
    }

    fn fail(&mut self, sequences: &[SequenceId], error: &Error) {
        for sequence in sequences {
            if let Some(request) = self.end(*sequence) {
                self.streams.push(request.stream, request.id, Event::Failed(error.clone()));
            }
        }
    }

    fn flush(&mut self) {
        for stream in self.streams.flush(self.counters.steps()) {
            tracing::warn!(
                limit_events = frames::EVENTS_AHEAD,
                "a gateway is gone or too far behind; its requests are dropped"
            );
            self.close(stream);
        }
    }
}

/// Checks that a step brought a token for every row that samples: a row without one would wait for ever.
fn complete(batch: &Batch, tokens: Vec<u32>) -> Result<Vec<u32>, RunnerError> {
    let rows = batch.rows.iter().filter(|row| row.sample.is_some()).count();
    if tokens.len() == rows {
        return Ok(tokens);
    }
    Err(RunnerError(format!("{} tokens came for {rows} rows", tokens.len())))
}

fn shutting_down() -> Error {
    Error::new(ErrorKind::Unavailable, Source::Worker, "the worker is shutting down")
}

#[cfg(test)]
mod tests;
