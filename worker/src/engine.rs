//! The engine loop: schedule, run, postprocess. It owns the runner and every sequence, on its own thread.
//!
//! Requests arrive as [`Command`]s. The events of a step leave as one frame per gateway. With work to do, the engine
//! polls its commands between steps; without work it blocks on them. It never waits for a gateway, and it knows
//! neither text formats nor tensors.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;

use ipc_proto::error::RETRY_AFTER;
use ipc_proto::generate::{ChoiceId, Event, PromptProgress};
use ipc_proto::stream::StreamId;
use ipc_proto::worker::Memory;
use ipc_proto::{Disposition, Error, ErrorKind, Origin};

use crate::text::grammar::Matcher;
use crate::text::tokenizer::Tokenizer;

pub mod admission_limits;
pub mod arrivals;
pub mod block_allocator;
pub mod command;
pub mod counters;
pub mod drafts;
mod fair_share;
pub mod frames;
pub mod images;
pub mod kv_limit;
mod masked_rows;
pub mod masks;
pub mod output;
pub mod pace;
pub mod penalties;
pub mod prefix_cache;
pub mod proposer;
pub mod reasoning_budget;
pub mod rng;
pub mod runner;
pub mod scheduler;
pub mod sequence;
pub mod state_pool;
pub mod streams;

use admission_limits::AdmissionPermit;
use command::{Admitted, Command, EngineRequest};
use counters::Counters;
use kv_limit::KvLimit;
use masked_rows::Unread;
use masks::{MaskLimits, Masks};
use output::Output;
use pace::Pace;
use proposer::Proposer;
use reasoning_budget::ReasoningBudget;
use runner::{Batch, NO_TOKEN, Runner, RunnerError, StepOutcome, TokenScore};
use scheduler::{Sampled, Scheduler, StepLimits};
use sequence::SequenceId;
use streams::Streams;

/// Owns the runner and all requests.
#[derive(Debug)]
pub struct Engine<R> {
    runner: R,
    proposer: Option<Proposer>,
    scheduler: Scheduler,
    tokenizer: Arc<Tokenizer>,
    counters: Arc<Counters>,
    requests: HashMap<SequenceId, Request>,
    streams: Streams,
    next_id: u64,
    limits: StepLimits,
    pace: Pace,
    kv_limit: KvLimit,
    masks: Masks,
    /// Requests whose grammar cannot be followed, and why.
    broken: Vec<(SequenceId, String)>,
    /// Reused, to save allocations.
    batch: Batch,
    state: State,
}

#[derive(Debug)]
struct Request {
    stream: StreamId,
    id: ChoiceId,
    output: Output,
    /// `None` while [`Masks`] has it, too.
    constraint: Option<Matcher>,
    /// Its last token, while [`Masks`] consumes it.
    unread: Option<Unread>,
    budget: Option<ReasoningBudget>,
    deadline: Option<Instant>,
    span: tracing::Span,
    /// The beginning of the prompt's first step, if the progress of the prompt is to be reported.
    progress: Option<PrefillStart>,
    /// The first token has been sampled.
    begun: bool,
    _permit: AdmissionPermit,
}

/// The beginning of a prompt's first step. `None` before it.
type PrefillStart = Option<Instant>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Serving,
    /// The engine stops after the last request.
    Draining,
    Stopped,
}

impl<R: Runner> Engine<R> {
    /// An engine without a draft model.
    pub fn new(runner: R, limits: StepLimits, tokenizer: Arc<Tokenizer>, counters: Arc<Counters>) -> Self {
        let scheduler = Scheduler::new(limits, runner.capacity());
        let kv_limit = KvLimit::new(runner.capacity().blocks);
        counters.publish(&scheduler);
        counters.publish_memory(runner.memory());
        Self {
            runner,
            proposer: None,
            scheduler,
            tokenizer,
            counters,
            requests: HashMap::new(),
            streams: Streams::default(),
            next_id: 0,
            limits,
            pace: Pace::default(),
            kv_limit,
            masks: Masks::new(MaskLimits::default()),
            broken: Vec::new(),
            batch: Batch::default(),
            state: State::Serving,
        }
    }

    /// Adds a draft model.
    #[must_use]
    pub fn with_proposer(self, proposer: Option<Proposer>) -> Self {
        Self { proposer, ..self }
    }

    /// Sets how long masks may take.
    #[must_use]
    pub fn with_mask_limits(self, limits: MaskLimits) -> Self {
        Self { masks: Masks::new(limits), ..self }
    }

    /// Runs until drained or stopped, or until all command senders are dropped.
    pub fn run(mut self, commands: &Receiver<Command>) {
        loop {
            while let Some(command) = self.next_command(commands) {
                self.handle(command);
                self.counters.publish(&self.scheduler);
            }
            if self.state == State::Stopped || self.scheduler.is_idle() {
                return;
            }
            self.step();
            self.counters.publish(&self.scheduler);
        }
    }

    /// Returns the next command. Blocks if there is no work; `None` then means that all senders are gone.
    fn next_command(&mut self, commands: &Receiver<Command>) -> Option<Command> {
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

    fn handle(&mut self, command: Command) {
        match command {
            Command::Open(stream, frames) => self.streams.open(stream, frames),
            Command::Close(stream) => self.close_stream(stream),
            Command::Submit(admitted) => self.submit(*admitted),
            // The RPC layer refuses these for decoders. Dropping the job closes its reply channel.
            Command::Embed(_) => {}
            Command::Cancel(stream, id) => {
                self.drop_where(|request| request.stream == stream && request.id == id);
            }
            // The caller may be gone; then the reply is dropped.
            Command::ResizeKv(bytes, reply) => drop(reply.send(self.resize_kv(bytes))),
            Command::Trim(reply) => drop(reply.send(self.trim())),
            Command::Drain => self.state = State::Draining,
            Command::Stop => self.stop(),
        }
    }

    fn close_stream(&mut self, stream: StreamId) {
        self.streams.close(stream);
        self.drop_where(|request| request.stream == stream);
    }

    fn submit(&mut self, admitted: Admitted) {
        let Admitted { request, arrival, permit } = admitted;
        let EngineRequest { stream, id, params, limits, constraint, budget, report_progress, deadline, span } =
            request;
        if !arrival.is_wanted() || !self.streams.contains(stream) {
            return;
        }
        if self.state != State::Serving {
            self.streams.push(stream, id, Event::Failed(shutting_down()));
            drop((arrival, permit));
            return self.flush();
        }
        let sequence = SequenceId(self.next_id);
        self.next_id += 1;
        let length = (params.prompt.len() as u32).saturating_add(limits.max_tokens);
        self.kv_limit.reserve(sequence, self.scheduler.max_blocks(length));
        self.apply_kv_limit();
        let output = Output::new(Arc::clone(&self.tokenizer), limits, &params);
        let progress = report_progress.then_some(None);
        let mut request = Request {
            stream,
            id,
            output,
            constraint,
            unread: None,
            budget,
            deadline,
            span,
            progress,
            begun: false,
            _permit: permit,
        };
        if let Some(end) = request.resume(&params.generated) {
            self.streams.push(stream, id, end);
            // Before the flush: once the client sees the end, it may reuse the id and the permit.
            drop((arrival, request));
            self.end(sequence);
            return self.flush();
        }
        if let Some(matcher) = request.constraint.take() {
            self.masks.start(sequence, matcher);
        }
        self.requests.insert(sequence, request);
        self.scheduler.add(sequence, params);
        // Count it as waiting before it stops counting as arriving, so that no health report misses it.
        self.counters.publish(&self.scheduler);
        drop(arrival);
    }

    fn drop_where(&mut self, unwanted: impl Fn(&Request) -> bool) {
        let unwanted = self.requests.iter().filter(|(_, request)| unwanted(request));
        for sequence in unwanted.map(|(sequence, _)| *sequence).collect::<Vec<_>>() {
            self.end(sequence);
        }
    }

    /// Limits the KV pool to `bytes`, but never below the blocks reserved for running requests.
    ///
    /// Returns the limit in force, in bytes.
    fn resize_kv(&mut self, bytes: u64) -> u64 {
        let Memory { kv_limit, .. } = self.runner.memory();
        if let Some(blocks) =
            kv_limit.checked_div(self.scheduler.blocks().1.into()).and_then(|one| bytes.checked_div(one))
        {
            self.kv_limit.request(u32::try_from(blocks).unwrap_or(u32::MAX));
        }
        self.apply_kv_limit();
        self.runner.memory().kv_limit
    }

    fn apply_kv_limit(&mut self) {
        let (limit, before) = (self.kv_limit.current(), self.scheduler.blocks().1);
        if limit == before {
            return;
        }
        self.scheduler.set_limit(limit);
        // A growing pool frees nothing: its blocks may be needed again.
        let used = if limit < before { self.scheduler.used_end() } else { u32::MAX };
        self.resize_runner(limit, used);
    }

    fn trim(&mut self) -> Memory {
        self.scheduler.evict_idle();
        self.resize_runner(self.scheduler.blocks().1, self.scheduler.used_end());
        self.runner.memory()
    }

    fn resize_runner(&mut self, limit: u32, used: u32) {
        self.runner.forget_states(&self.scheduler.take_dropped_states());
        let drafts = self.proposer.as_mut().map_or(Ok(()), |proposer| proposer.resize(limit, used));
        if let Err(failure) = self.runner.resize(limit, used).and(drafts) {
            tracing::error!(%failure, "the KV pool cannot be made smaller");
        }
        // Before the reply: a caller relies on the limit that it receives.
        self.counters.publish(&self.scheduler);
        self.counters.publish_memory(self.runner.memory());
    }

    fn stop(&mut self) {
        self.state = State::Stopped;
        let all: Vec<SequenceId> = self.requests.keys().copied().collect();
        self.fail(&all, &shutting_down());
        self.flush();
    }

    fn step(&mut self) {
        let began = Instant::now();
        self.expire(began);
        self.receive_masks();
        let decoding = self.schedule();
        if self.batch.rows.is_empty() {
            if self.masks.is_busy() {
                self.masks.wait();
            }
            return self.flush();
        }
        self.counters.begin_step(&self.scheduler);
        match self.run_batch() {
            Ok(outcome) => {
                self.report_progress(began);
                self.postprocess(outcome);
            }
            Err(failure) => {
                tracing::error!(%failure, rows = self.batch.rows.len(), "a step failed; its requests are lost");
                let text = format!("the model failed while generating: {failure}");
                let lost: Vec<SequenceId> = self.scheduler.scheduled().collect();
                self.fail(
                    &lost,
                    &Error::new(ErrorKind::Internal, Origin::Worker, text)
                        .with_disposition(Disposition::RetryAfter(RETRY_AFTER)),
                );
            }
        }
        self.counters.publish_memory(self.runner.memory());
        self.flush();
        let prefilled = self.batch.rows.iter().filter(|row| row.tokens.len() > row.samples.len().max(1));
        let prefilled = prefilled.map(|row| row.tokens.len()).sum();
        self.pace.observe(decoding, prefilled, began.elapsed().as_secs_f64() * 1e6);
        self.propose();
    }

    /// Drafts for the next step. Runs after the frames of this step are sent.
    fn propose(&mut self) {
        let Some(proposer) = &mut self.proposer else { return };
        if let Err(failure) = proposer.propose(&mut self.scheduler) {
            tracing::error!(%failure, "the draft model failed; going on without it");
            self.proposer = None;
        }
    }

    /// Fills the batch; returns the number of decoding sequences.
    fn schedule(&mut self) -> usize {
        let decoding = self.scheduler.decoding();
        let (prompts, most) = (self.scheduler.prompts(), self.limits.prefill_tokens);
        self.scheduler.schedule(&mut self.batch, self.pace.prefill_tokens(decoding, prompts, most));
        if self.batch.rows.is_empty() {
            // The decoding sequences were preempted, and no prefill was allowed: schedule again with prefill.
            self.scheduler.schedule(&mut self.batch, most);
        }
        decoding
    }

    fn run_batch(&mut self) -> Result<StepOutcome, RunnerError> {
        self.runner.forget_states(&self.scheduler.take_dropped_states());
        self.runner.launch(&self.batch)?;
        // Other threads make the token masks while the device computes.
        let masks = self.take_masks();
        let outcome = self.runner.finish(&self.batch, &masks)?;
        check_outcome(&self.batch, outcome)
    }

    fn postprocess(&mut self, outcome: StepOutcome) {
        let mut scores = self.distribute_scores(outcome.scores);
        let (mut ended, mut constrained) = (Vec::new(), Vec::new());
        let Self { requests, streams, masks, .. } = self;
        self.scheduler.commit(&self.batch, &outcome.tokens, |sampled| {
            let Some(request) = requests.get_mut(&sampled.id) else { return true };
            let score = scores.get_mut(&sampled.id).and_then(Vec::pop);
            if let Some(matcher) = request.constraint.take_if(|_| sampled.token != NO_TOKEN) {
                // Other threads consume it, while this one serves the other rows.
                let is_trusted = masks.consume(sampled.id, matcher, sampled.token);
                constrained.push((sampled.id, is_trusted));
                request.unread = Some(Unread { sampled, score });
                return false;
            }
            let over = request.push(sampled, score, Ok(false), streams);
            if over {
                ended.push(sampled.id);
            }
            over
        });
        for sequence in ended {
            self.end(sequence);
        }
        self.read_tokens(&constrained);
        self.fail_broken();
    }

    /// Reports how much of each prompt is computed after the step that began at `began`.
    fn report_progress(&mut self, began: Instant) {
        for (sequence, progress) in self.scheduler.prefilled() {
            let Some(request) = self.requests.get_mut(&sequence).filter(|request| !request.begun) else {
                continue;
            };
            let Some(start) = &mut request.progress else { continue };
            let elapsed = start.get_or_insert(began).elapsed().as_millis();
            let elapsed_ms = u32::try_from(elapsed).unwrap_or(u32::MAX);
            let event = Event::Progress(PromptProgress { elapsed_ms, ..progress });
            self.streams.push(request.stream, request.id, event);
        }
    }

    /// Passes prompt scores to their requests; returns the scores of the sampled tokens by sequence.
    fn distribute_scores(&mut self, scores: Vec<Vec<TokenScore>>) -> HashMap<SequenceId, Vec<TokenScore>> {
        if scores.is_empty() {
            return HashMap::new();
        }
        let rows = self.scheduler.scheduled().zip(&self.batch.rows).filter(|(_, row)| row.score.is_some());
        let mut chosen = HashMap::new();
        for ((sequence, row), mut scores) in rows.zip(scores) {
            let own = scores.split_off(scores.len() - row.samples.len());
            if let Some(request) = self.requests.get_mut(&sequence) {
                request.output.add_prompt_scores(&scores);
            }
            chosen.insert(sequence, own);
        }
        chosen
    }

    /// Fails requests past their deadline.
    fn expire(&mut self, now: Instant) {
        let late = self
            .requests
            .iter()
            .filter(|(_, request)| request.deadline.is_some_and(|deadline| deadline <= now));
        let late: Vec<SequenceId> = late.map(|(sequence, _)| *sequence).collect();
        let text = "the request did not end within its time limit";
        self.fail(
            &late,
            &Error::new(ErrorKind::Timeout, Origin::Worker, text).with_disposition(Disposition::Final),
        );
    }

    /// Removes a request. Its blocks are free for the next step.
    fn end(&mut self, sequence: SequenceId) -> Option<Request> {
        self.scheduler.remove(sequence);
        self.masks.forget(sequence);
        self.kv_limit.release(sequence);
        self.apply_kv_limit();
        self.requests.remove(&sequence)
    }

    fn fail(&mut self, sequences: &[SequenceId], error: &Error) {
        for sequence in sequences {
            if let Some(request) = self.end(*sequence) {
                tracing::warn!(parent: &request.span, %error, "the request failed");
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
            self.close_stream(stream);
        }
    }
}

impl Request {
    /// Appends a sampled token; returns whether it was the last. `complete` says whether the constraint allows no further one.
    fn push(
        &mut self,
        sampled: Sampled,
        scored: Option<TokenScore>,
        complete: Result<bool, Error>,
        streams: &mut Streams,
    ) -> bool {
        let (stream, id) = (self.stream, self.id);
        let Sampled { token, found, .. } = sampled;
        if token == NO_TOKEN {
            streams.push(stream, id, Event::Failed(no_numbers()));
            return true;
        }
        if !self.begun {
            self.begun = true;
            tracing::debug!(
                parent: &self.span,
                cached_tokens = found.tokens,
                evicted_before = found.evicted_before,
                "the first token; the prefix cache's first missing block follows the cached tokens"
            );
            self.output.set_cached(found.tokens, found.inserted);
        }
        match complete {
            Ok(complete) => {
                let ended =
                    self.output.push(token, scored, complete, |event| streams.push(stream, id, event));
                self.update_budget(token);
                ended
            }
            Err(error) => {
                streams.push(stream, id, Event::Failed(error));
                true
            }
        }
    }

    /// Replays tokens that another worker generated; the constraint has consumed them. Returns the final event if they end the
    /// request.
    fn resume(&mut self, generated: &[u32]) -> Option<Event> {
        let complete = self.constraint.as_ref().is_some_and(Matcher::is_complete);
        let last = generated.len().saturating_sub(1);
        generated.iter().enumerate().find_map(|(at, token)| {
            let end = self.output.resume(*token, complete && at == last);
            self.update_budget(*token);
            end
        })
    }

    /// Records a token in the reasoning budget.
    fn update_budget(&mut self, token: u32) {
        if let Some(budget) = &mut self.budget {
            let (thought, thinking) = self.output.reasoning_state();
            budget.record(token, thought, thinking);
        }
    }
}

/// Checks that a step returned a token per sample and scores per scored row. A row without them would wait forever.
fn check_outcome(batch: &Batch, outcome: StepOutcome) -> Result<StepOutcome, RunnerError> {
    let samples: usize = batch.rows.iter().map(|row| row.samples.len()).sum();
    if outcome.tokens.len() != samples {
        return Err(RunnerError(format!("{} tokens came for {samples} choices", outcome.tokens.len())));
    }
    let asked = batch
        .rows
        .iter()
        .filter_map(|row| row.score.as_ref().map(|score| score.targets.len() + row.samples.len()));
    if !asked.eq(outcome.scores.iter().map(Vec::len)) {
        return Err(RunnerError("scores are missing".into()));
    }
    Ok(outcome)
}

/// The error of a model that computes NaN or infinite numbers.
pub(crate) fn no_numbers() -> Error {
    let text = "the model computes no numbers (NaN): its weights or configuration are broken";
    Error::new(ErrorKind::ModelBroken, Origin::Worker, text)
}

fn shutting_down() -> Error {
    Error::new(ErrorKind::Unavailable, Origin::Worker, "the worker is shutting down")
}

#[cfg(test)]
mod tests;
