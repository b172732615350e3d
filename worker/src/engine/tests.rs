use std::collections::HashSet;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use ipc_proto::generate::{FinishReason, Priority};
use ipc_proto::worker::{Memory, ModelKind};
use tokio::sync::oneshot;

use super::admission_limits::AdmissionLimits;
use super::arrivals::Arrivals;
use super::command::EngineRequest;
use super::frames::{self, FrameReceiver};
use super::output;
use super::runner::TokenMask;
use super::scheduler::Drafts;
use super::sequence::SequenceParams;
use super::*;
use crate::text::output_parser::OutputFormat;
use crate::text::tokenizer::tests::byte_fallback;

const STREAM: StreamId = StreamId(1);
/// Choices from this id on report the progress of their prompts.
const PROGRESS: u64 = 1000;

mod masks;

/// How the device fails.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Fails,
    /// Returns too few tokens.
    Short,
    /// The model computes no numbers.
    NoNumbers,
}

/// Generates the letter "a", or the token that a mask demands, and fails at step `at`.
struct Faulty {
    fault: Fault,
    at: usize,
    steps: usize,
    limit: u32,
}

impl Runner for Faulty {
    fn capacity(&self) -> runner::RunnerCapacity {
        runner::RunnerCapacity {
            block_size: 4,
            blocks: 64,
            max_context: 128,
            weight_bytes: 0,
            window: None,
            original_context: None,
            blocks_per_state: None,
            whole_images: None,
        }
    }

    fn memory(&self) -> Memory {
        // Ten bytes per block.
        Memory { kv_limit: u64::from(self.limit) * 10, ..Memory::default() }
    }

    fn resize(&mut self, limit: u32, used: u32) -> Result<(), RunnerError> {
        assert!(used <= 64 && limit <= 64);
        self.limit = limit;
        Ok(())
    }

    fn launch(&mut self, _: &Batch) -> Result<(), RunnerError> {
        self.steps += 1;
        Ok(())
    }

    fn finish(&mut self, batch: &Batch, masks: &[TokenMask]) -> Result<StepOutcome, RunnerError> {
        let wrong = self.steps == self.at;
        match self.fault {
            Fault::Fails if wrong => Err(RunnerError("the device was disconnected".into())),
            Fault::Short if wrong => Ok(StepOutcome::default()),
            Fault::NoNumbers if wrong => {
                Ok(StepOutcome { tokens: vec![NO_TOKEN; batch.rows.len()], scores: Vec::new() })
            }
            _ => {
                let mut masks = masks.iter();
                let rows = batch.rows.iter().filter(|row| !row.samples.is_empty());
                let tokens =
                    rows.map(|row| masked_token(if row.masked { masks.next() } else { None })).collect();
                Ok(StepOutcome { tokens, scores: Vec::new() })
            }
        }
    }
}

/// Token 259, which is "a", if the mask allows it, else the first that it allows.
fn masked_token(mask: Option<&TokenMask>) -> u32 {
    let Some(mask) = mask else { return 259 };
    let allows =
        |token: &u32| mask.get(*token as usize / 32).is_some_and(|word| word >> (token % 32) & 1 == 1);
    [259].into_iter().chain(0..512).find(allows).unwrap_or(259)
}

struct Running {
    commands: Sender<Command>,
    frames: FrameReceiver,
    thread: JoinHandle<()>,
    arrivals: Arrivals,
    admission_limits: AdmissionLimits,
}

fn params() -> SequenceParams {
    scheduler::tests::params(vec![259; 5], Priority::Normal)
}

impl Running {
    fn start(fault: Fault, at: usize) -> Self {
        Self::start_with(fault, at, MaskLimits::default())
    }

    fn start_with(fault: Fault, at: usize, mask_limits: MaskLimits) -> Self {
        let (commands, queue) = channel();
        let (sender, frames) = frames::queue();
        let tokenizer = Arc::new(byte_fallback());
        let thread = std::thread::spawn(move || {
            let limits = StepLimits { max_sequences: 4, prefill_tokens: 8, drafts: Drafts::None };
            let runner = Faulty { fault, at, steps: 0, limit: 64 };
            Engine::new(runner, limits, tokenizer, Arc::default()).with_mask_limits(mask_limits).run(&queue);
        });
        commands.send(Command::Open(STREAM, sender)).unwrap();
        Self {
            commands,
            frames,
            thread,
            arrivals: Arrivals::default(),
            admission_limits: AdmissionLimits::new(4, 256),
        }
    }

    fn submit(&self, id: u64, max_tokens: u32) {
        self.submit_params(id, params(), max_tokens, None);
    }

    fn submit_params(&self, id: u64, params: SequenceParams, max_tokens: u32, deadline: Option<Instant>) {
        self.submit_constrained(id, params, max_tokens, deadline, None);
    }

    fn submit_constrained(
        &self,
        id: u64,
        params: SequenceParams,
        max_tokens: u32,
        deadline: Option<Instant>,
        constraint: Option<Matcher>,
    ) {
        let id = ChoiceId(id);
        let limits = output::OutputLimits {
            eos: Arc::new(HashSet::new()),
            stop: Vec::new(),
            max_tokens,
            output_format: OutputFormat::default(),
            markers: Arc::default(),
        };
        let span = tracing::Span::none();
        let request = EngineRequest {
            stream: STREAM,
            id,
            params,
            limits,
            constraint,
            budget: None,
            report_progress: id.0 >= PROGRESS,
            deadline,
            span,
        };
        let arrival = self.arrivals.enter(STREAM, id).unwrap();
        let permit = self.admission_limits.acquire(ModelKind::Generate, 1, 0).unwrap().swap_remove(0);
        self.commands.send(Command::Submit(Box::new(Admitted { request, arrival, permit }))).unwrap();
    }

    /// The final events of the next `count` requests to end.
    async fn ends(&mut self, count: usize) -> Vec<(u64, Event)> {
        let mut ends = Vec::new();
        while ends.len() < count {
            let frame = self.frames.next().await.unwrap();
            let last = frame.events.into_iter().filter(|(_, event)| !matches!(event, Event::Delta(_)));
            ends.extend(last.map(|(id, event)| (id.0, event)));
        }
        ends
    }
}

#[tokio::test]
async fn failed_step_fails_its_requests_and_later_ones_run() {
    for fault in [Fault::Fails, Fault::Short] {
        let mut engine = Running::start(fault, 3);
        engine.submit(1, 50);
        let (id, event) = engine.ends(1).await.remove(0);
        let Event::Failed(error) = event else { panic!("{event:?}") };
        assert_eq!((id, error.kind, error.is_retryable()), (1, ErrorKind::Internal, true));
        engine.submit(2, 4);
        let (id, event) = engine.ends(1).await.remove(0);
        assert_eq!(id, 2);
        assert!(
            matches!(event, Event::Finished { reason: FinishReason::Length, usage } if usage.completion_tokens == 4)
        );
    }
}

#[tokio::test]
async fn model_without_numbers_is_named_as_broken() {
    let mut engine = Running::start(Fault::NoNumbers, 3);
    engine.submit(1, 50);
    let (_, event) = engine.ends(1).await.remove(0);
    let Event::Failed(error) = event else { panic!("{event:?}") };
    assert_eq!((error.kind, error.is_retryable()), (ErrorKind::ModelBroken, false));
    assert!(error.message.contains("no numbers (NaN)"), "{error}");
}

#[tokio::test]
async fn progress_of_the_prompt_is_reported_before_the_first_token() {
    let mut engine = Running::start(Fault::Fails, usize::MAX);
    // Steps take eight tokens of a prompt, and blocks of the prefix cache have four.
    for (id, expected) in
        [(PROGRESS, vec![(0, 8), (0, 16), (0, 20)]), (PROGRESS + 1, vec![(16, 20)]), (1, vec![])]
    {
        engine.submit_params(id, scheduler::tests::params(vec![259; 20], Priority::Normal), 2, None);
        let mut events = Vec::new();
        while !events.last().is_some_and(Event::is_last) {
            events.extend(engine.frames.next().await.unwrap().events.into_iter().map(|(_, event)| event));
        }
        let reported = events.iter().map_while(|event| match event {
            Event::Progress(PromptProgress { total: 20, cached, processed, .. }) => {
                Some((*cached, *processed))
            }
            _ => None,
        });
        assert_eq!(reported.collect::<Vec<_>>(), expected, "{id}");
        let later = events.iter().skip(expected.len());
        assert_eq!(later.filter(|event| matches!(event, Event::Progress(_))).count(), 0);
    }
}

#[tokio::test]
async fn request_past_its_deadline_fails_and_others_continue() {
    let mut engine = Running::start(Fault::Fails, usize::MAX);
    engine.submit_params(1, params(), 100, Some(Instant::now()));
    engine.submit(2, 4);
    let mut ends = engine.ends(2).await;
    ends.sort_by_key(|(id, _)| *id);
    assert!(
        matches!(&ends[0].1, Event::Failed(error) if error.kind == ErrorKind::Timeout && !error.is_retryable())
    );
    assert!(matches!(ends[1].1, Event::Finished { .. }));
}

/// Another worker generated all of its tokens, so nothing runs here.
#[tokio::test]
async fn request_that_ends_on_resume_holds_neither_permit_nor_blocks() {
    let mut engine = Running::start(Fault::Fails, usize::MAX);
    engine.admission_limits = AdmissionLimits::new(1, 0);
    engine.submit_params(1, SequenceParams { generated: vec![259; 200], ..params() }, 200, None);
    let (_, event) = engine.ends(1).await.remove(0);
    assert!(matches!(event, Event::Finished { reason: FinishReason::Length, .. }), "{event:?}");
    assert_eq!(engine.admission_limits.capacity(ModelKind::Generate).free, 1);
    let (reply, limit) = oneshot::channel();
    engine.commands.send(Command::ResizeKv(0, reply)).unwrap();
    assert_eq!(limit.await.unwrap(), 320, "the minimum size of a pool");
}

#[tokio::test]
async fn draining_finishes_running_requests_and_refuses_new_ones() {
    let mut engine = Running::start(Fault::Fails, usize::MAX);
    engine.submit(1, 40);
    engine.commands.send(Command::Drain).unwrap();
    engine.submit(2, 4);
    let mut ends = engine.ends(2).await;
    ends.sort_by_key(|(id, _)| *id);
    assert!(matches!(ends[0].1, Event::Finished { .. }));
    assert!(matches!(&ends[1].1, Event::Failed(error) if error.kind == ErrorKind::Unavailable));
    engine.thread.join().unwrap();
}

/// A client that sends its next request right after an answer is not refused.
#[tokio::test]
async fn permit_is_free_before_the_end_is_sent() {
    let mut engine = Running::start(Fault::Fails, usize::MAX);
    engine.admission_limits = AdmissionLimits::new(1, 0);
    for id in 0..50 {
        engine.submit(id, 1 + id as u32 % 3);
        engine.ends(1).await;
        assert_eq!(engine.admission_limits.capacity(ModelKind::Generate).free, 1, "request {id}");
    }
}

#[tokio::test]
async fn stop_fails_all_requests_and_ends_the_engine() {
    let mut engine = Running::start(Fault::Fails, usize::MAX);
    for id in 0..6 {
        // Long enough that none ends before the command arrives.
        engine.submit(id, 120);
    }
    engine.commands.send(Command::Stop).unwrap();
    engine.thread.join().unwrap();
    let mut ended = 0;
    while let Some(frame) = engine.frames.next().await {
        ended += frame.events.iter().filter(|(_, event)| !matches!(event, Event::Delta(_))).count();
    }
    assert_eq!(ended, 6);
}

#[test]
fn dropping_all_senders_ends_the_engine() {
    let Running { commands, thread, .. } = Running::start(Fault::Fails, usize::MAX);
    drop(commands);
    thread.join().unwrap();
}
