use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const RULES: Rules =
    Rules { hang: Duration::from_secs(10), step: Duration::from_secs(5), reading: Duration::from_secs(20) };
const SECOND: Duration = Duration::from_secs(1);

fn health(steps: u64, running: u32) -> Event {
    Event::Health(Health { steps, running, ..Health::default() })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        any::<u64>().prop_map(|loaded| Event::Progress(LoadProgress { loaded, total: 0 })),
        Just(Event::Loaded),
        Just(Event::Broken),
        (0u64..9, 0u32..3).prop_map(|(steps, running)| health(steps, running)),
        (0u64..40).prop_map(|seconds| Event::Drain(Duration::from_secs(seconds))),
        Just(Event::Stop),
        Just(Event::Exited),
        Just(Event::Tick),
        Just(Event::Tick),
    ]
}

fn ended(state: WorkerState) -> bool {
    matches!(state, WorkerState::Stopped | WorkerState::Failed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// An ended process stays ended, gets one SIGKILL at most, and does not serve after a request to end.
    #[test]
    fn events_in_any_order_keep_the_invariants(events in vec((event(), 0u64..4000), 0..60)) {
        let mut now = Instant::now();
        let mut process = Process::start(RULES, now);
        let (mut kills, mut asked) = (0, false);
        for (event, later) in events {
            now += Duration::from_millis(later);
            let before = process.state();
            asked |= matches!(event, Event::Stop | Event::Drain(_));
            let exited = matches!(event, Event::Exited);
            let signal = process.handle(event, now);
            kills += u32::from(signal == Some(Signal::Kill));
            let after = process.state();
            prop_assert!(kills <= 1);
            if ended(before) {
                prop_assert!(after == before && signal.is_none());
            }
            prop_assert_eq!(ended(after), ended(before) || exited);
            prop_assert!(after != WorkerState::Ready || !asked, "asked to end, and ready");
            prop_assert!(after != WorkerState::Stopped || process.was_requested());
            if before == WorkerState::Stopping {
                prop_assert!(after == WorkerState::Stopping || ended(after));
            }
            if signal == Some(Signal::Kill) {
                prop_assert_eq!(after, WorkerState::Stopping);
            }
        }
        // After any history, a process that drains and does not end is killed in time.
        if !ended(process.state()) {
            kills += u32::from(process.handle(Event::Drain(SECOND), now) == Some(Signal::Kill));
            for _ in 0..60 {
                now += SECOND;
                kills += u32::from(process.handle(Event::Tick, now) == Some(Signal::Kill));
            }
            prop_assert_eq!(kills, 1);
            process.handle(Event::Exited, now);
            prop_assert!(ended(process.state()));
        }
    }
}

struct Run {
    process: Process,
    now: Instant,
}

impl Run {
    fn new() -> Self {
        let now = Instant::now();
        Self { process: Process::start(RULES, now), now }
    }

    fn ready() -> Self {
        let mut run = Self::new();
        assert_eq!(run.handle(Event::Loaded), None);
        assert!(run.process.is_ready());
        run
    }

    fn handle(&mut self, event: Event) -> Option<Signal> {
        self.process.handle(event, self.now)
    }

    /// Ticks once a second. Returns the first signal and its second.
    fn ticks(&mut self, seconds: u32) -> Option<(Signal, u32)> {
        (1..=seconds).find_map(|second| {
            self.now += SECOND;
            self.handle(Event::Tick).map(|signal| (signal, second))
        })
    }
}

#[test]
fn process_with_work_but_no_steps_is_aborted_then_killed() {
    let mut run = Run::ready();
    for steps in 0..30 {
        assert_eq!(run.handle(health(steps, 1)), None);
        assert_eq!(run.ticks(5), None, "it makes steps");
    }
    run.handle(health(29, 1));
    // The last step was five seconds ago. It still answers, and a step may take five more seconds.
    assert_eq!(run.ticks(9), None);
    run.handle(health(29, 1));
    assert_eq!(run.ticks(20), Some((Signal::Abort, 2)));
    assert_eq!((run.process.state(), run.process.fault()), (WorkerState::Stopping, Some(Fault::Hung)));
    assert_eq!(run.ticks(20), Some((Signal::Kill, 3)));
    run.handle(Event::Exited);
    assert_eq!(run.process.state(), WorkerState::Failed);
}

#[test]
fn process_that_does_not_answer_is_aborted_even_without_work() {
    let mut run = Run::ready();
    run.handle(health(0, 0));
    assert_eq!(run.ticks(60), Some((Signal::Abort, 11)));
    let mut run = Run::ready();
    for _ in 0..30 {
        run.handle(health(0, 0));
        assert_eq!(run.ticks(9), None, "it answers");
    }
    // The supervisor itself did not run, so no answer could arrive.
    run.now += Duration::from_secs(3600);
    assert_eq!(run.handle(Event::Tick), None);
    run.handle(health(0, 0));
    assert_eq!(run.ticks(9), None);
}

fn progress(loaded: u64) -> Event {
    Event::Progress(LoadProgress { loaded, total: 100 })
}

#[test]
fn start_is_aborted_without_progress_or_after_its_time_limit() {
    // 120 seconds, and 20 for the weights from the slowest disk.
    let mut run = Run::new();
    for second in 1..141 {
        assert_eq!(run.handle(progress(second)), None);
        assert_eq!(run.ticks(1), None, "after {second} seconds");
    }
    assert_eq!(run.ticks(1), Some((Signal::Abort, 1)));
    assert_eq!(run.process.fault(), Some(Fault::SlowStart));
    // It answers but reads nothing.
    let mut run = Run::new();
    let ended = (0..60).find(|_| {
        run.handle(progress(7));
        run.ticks(1).is_some()
    });
    assert_eq!((ended, run.process.fault()), (Some(20), Some(Fault::SlowStart)));
}

#[test]
fn start_that_does_not_answer_is_aborted() {
    let mut run = Run::new();
    assert_eq!(run.handle(progress(1)), None);
    assert_eq!(run.ticks(60), Some((Signal::Abort, 11)), "ten seconds of silence are allowed");
    assert_eq!(run.process.fault(), Some(Fault::Hung));
    // Before the first answer even a short limit is ten seconds: the program has to be read from disk.
    let now = Instant::now();
    let short = Rules { hang: SECOND, ..RULES };
    let mut run = Run { process: Process::start(short, now), now };
    assert_eq!(run.ticks(60), Some((Signal::Abort, 11)));
    let mut run = Run { process: Process::start(short, now), now };
    assert_eq!(run.handle(progress(1)), None);
    assert_eq!(run.ticks(60), Some((Signal::Abort, 2)));
}

#[test]
fn drain_deadline_is_never_extended() {
    let mut run = Run::ready();
    assert_eq!(run.handle(Event::Drain(SECOND * 8)), Some(Signal::Terminate));
    assert_eq!(run.process.state(), WorkerState::Draining);
    assert_eq!(run.handle(Event::Drain(SECOND * 30)), None);
    assert_eq!(run.ticks(7), None);
    assert_eq!(run.ticks(1), Some((Signal::Kill, 1)));
    assert_eq!(run.handle(Event::Stop), None, "once is enough");
    run.handle(Event::Exited);
    assert_eq!(run.process.state(), WorkerState::Stopped);
}

#[test]
fn idle_time_starts_at_the_last_step() {
    let mut run = Run::ready();
    run.handle(health(0, 0));
    run.now += SECOND;
    run.handle(health(0, 0));
    assert_eq!(run.process.idle(run.now), Some(SECOND));
    // A request began and ended between two answers.
    run.handle(health(5, 0));
    assert_eq!(run.process.idle(run.now), Some(Duration::ZERO));
    run.handle(health(6, 1));
    assert_eq!(run.process.idle(run.now), None);
    run.now += SECOND;
    run.handle(health(9, 0));
    assert_eq!(run.process.idle(run.now), Some(Duration::ZERO));
}

#[test]
fn broken_model_and_unexpected_exit_are_failures() {
    let mut run = Run::new();
    assert_eq!(run.handle(Event::Broken), Some(Signal::Terminate));
    assert_eq!(run.handle(Event::Loaded), None);
    run.handle(Event::Exited);
    assert_eq!((run.process.state(), run.process.fault()), (WorkerState::Failed, Some(Fault::Broken)));
    let mut run = Run::ready();
    run.handle(Event::Exited);
    assert_eq!((run.process.state(), run.process.fault()), (WorkerState::Failed, None));
}
