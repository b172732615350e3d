use std::collections::HashSet;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use ipc_proto::generate::{FinishReason, Priority};
use ipc_proto::worker::{Memory, ModelKind};
use tokio::sync::oneshot;

use super::arrivals::Arrivals;
use super::command::Submission;
use super::frames::{self, FrameReceiver};
use super::output;
use super::places::Places;
use super::scheduler::Drafts;
use super::sequence::Order;
use super::*;
use crate::adapters::reading::Manner;
use crate::adapters::tokenizer::tests::byte_fallback;

const STREAM: StreamId = StreamId(1);

/// What a broken device does.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Fails,
    /// Brings a token too few.
    Short,
}

/// Answers with the letter "a", but goes wrong at one step.
struct Faulty {
    fault: Fault,
    at: usize,
    steps: usize,
    limit: u32,
}

impl Runner for Faulty {
    fn capacity(&self) -> runner::Capacity {
        runner::Capacity { block_size: 4, blocks: 64, max_context: 128, weight_bytes: 0, window: None }
    }

    fn memory(&self) -> Memory {
        // Ten bytes a block.
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

    fn finish(&mut self, batch: &Batch, _: &[Mask]) -> Result<Outcome, RunnerError> {
        let wrong = self.steps == self.at;
        match self.fault {
            Fault::Fails if wrong => Err(RunnerError("the cable came off".into())),
            Fault::Short if wrong => Ok(Outcome::default()),
            // Token 259 is "a".
            _ => {
                let tokens = batch.rows.iter().flat_map(|row| row.samples.iter().map(|_| 259)).collect();
                Ok(Outcome { tokens, scores: Vec::new() })
            }
        }
    }
}

struct Running {
    commands: Sender<Command>,
    frames: FrameReceiver,
    thread: JoinHandle<()>,
    arrivals: Arrivals,
    places: Places,
}

fn order() -> Order {
    scheduler::tests::order(vec![259; 5], Priority::Normal)
}

impl Running {
    fn start(fault: Fault, at: usize) -> Self {
        let (commands, orders) = channel();
        let (sender, frames) = frames::queue();
        let tokenizer = Arc::new(byte_fallback());
        let thread = std::thread::spawn(move || {
            let limits = Limits { max_sequences: 4, prefill_tokens: 8, drafts: Drafts::None };
            let runner = Faulty { fault, at, steps: 0, limit: 64 };
            Engine::new(runner, limits, tokenizer, Arc::default()).run(&orders);
        });
        commands.send(Command::Open(STREAM, sender)).unwrap();
        Self { commands, frames, thread, arrivals: Arrivals::default(), places: Places::new(4, 256) }
    }

    fn submit(&self, id: u64, max_tokens: u32) {
        self.submit_order(id, order(), max_tokens, None);
    }

    fn submit_order(&self, id: u64, order: Order, max_tokens: u32, deadline: Option<Instant>) {
        let id = RequestId(id);
        let limits = output::Limits {
            eos: Arc::new(HashSet::new()),
            stop: Vec::new(),
            max_tokens,
            manner: Manner::default(),
            markers: Arc::default(),
        };
        let submission =
            Submission { stream: STREAM, id, order, limits, constraint: None, budget: None, deadline };
        let arrival = self.arrivals.enter(STREAM, id).unwrap();
        let place = self.places.take(ModelKind::Generate).unwrap();
        self.commands.send(Command::Submit(Box::new(Arriving { submission, arrival, place }))).unwrap();
    }

    /// The ends of the next `count` requests.
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
async fn a_failed_step_fails_its_requests_and_the_next_ones_run() {
    for fault in [Fault::Fails, Fault::Short] {
        let mut engine = Running::start(fault, 3);
        engine.submit(1, 50);
        let (id, event) = engine.ends(1).await.remove(0);
        let Event::Failed(error) = event else { panic!("{event:?}") };
        assert_eq!((id, error.kind, error.retryable), (1, ErrorKind::Internal, true));
        engine.submit(2, 4);
        let (id, event) = engine.ends(1).await.remove(0);
        assert_eq!(id, 2);
        assert!(
            matches!(event, Event::Finished { reason: FinishReason::Length, usage } if usage.completion_tokens == 4)
        );
    }
}

#[tokio::test]
async fn what_runs_out_of_time_fails_and_others_go_on() {
    let mut engine = Running::start(Fault::Fails, usize::MAX);
    engine.submit_order(1, order(), 100, Some(Instant::now()));
    engine.submit(2, 4);
    let mut ends = engine.ends(2).await;
    ends.sort_by_key(|(id, _)| *id);
    assert!(
        matches!(&ends[0].1, Event::Failed(error) if error.kind == ErrorKind::Timeout && !error.retryable)
    );
    assert!(matches!(ends[1].1, Event::Finished { .. }));
}

/// Another worker brought it to its end: nothing of it runs here.
#[tokio::test]
async fn what_ends_at_once_keeps_neither_place_nor_blocks() {
    let mut engine = Running::start(Fault::Fails, usize::MAX);
    engine.places = Places::new(1, 0);
    engine.submit_order(1, Order { generated: vec![259; 200], ..order() }, 200, None);
    let (_, event) = engine.ends(1).await.remove(0);
    assert!(matches!(event, Event::Finished { reason: FinishReason::Length, .. }), "{event:?}");
    assert_eq!(engine.places.room(ModelKind::Generate).left, 1);
    let (reply, limit) = oneshot::channel();
    engine.commands.send(Command::ResizeKv(0, reply)).unwrap();
    assert_eq!(limit.await.unwrap(), 320, "the least that a pool has");
}

#[tokio::test]
async fn draining_ends_what_runs_and_refuses_what_comes() {
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

/// Who asks again as soon as it has its answer is not told that there is no place.
#[tokio::test]
async fn a_place_is_free_before_an_end_is_told() {
    let mut engine = Running::start(Fault::Fails, usize::MAX);
    engine.places = Places::new(1, 0);
    for id in 0..50 {
        engine.submit(id, 1 + id as u32 % 3);
        engine.ends(1).await;
        assert_eq!(engine.places.room(ModelKind::Generate).left, 1, "request {id}");
    }
}

#[tokio::test]
async fn stopping_fails_everything_and_ends() {
    let mut engine = Running::start(Fault::Fails, usize::MAX);
    for id in 0..6 {
        // No step brings them to their end before the order comes.
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
fn an_engine_without_senders_ends() {
    let Running { commands, thread, .. } = Running::start(Fault::Fails, usize::MAX);
    drop(commands);
    thread.join().unwrap();
}
