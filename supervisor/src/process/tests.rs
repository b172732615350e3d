use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const RULES: Rules =
    Rules { hang: Duration::from_secs(10), step: Duration::from_secs(5), weight_bytes: 100 << 20 };
const SECOND: Duration = Duration::from_secs(1);

fn health(steps: u64, running: u32) -> Event {
    Event::Health(Health { steps, running, ..Health::default() })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        any::<u64>().prop_map(|loaded| Event::Progress(Progress { loaded, total: 0 })),
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

    /// Every order of events: what is over stays over, nobody is killed twice, nobody serves who was told to end.
    #[test]
    fn any_order_of_events(events in vec((event(), 0u64..4000), 0..60)) {
        let mut now = Instant::now();
        let mut process = Process::starting(RULES, now);
        let (mut kills, mut told) = (0, false);
        for (event, later) in events {
            now += Duration::from_millis(later);
            let before = process.state();
            told |= matches!(event, Event::Stop | Event::Drain(_));
            let exited = matches!(event, Event::Exited);
            let signal = process.on(event, now);
            kills += u32::from(signal == Some(Signal::Kill));
            let after = process.state();
            prop_assert!(kills <= 1);
            if ended(before) {
                prop_assert!(after == before && signal.is_none());
            }
            prop_assert_eq!(ended(after), ended(before) || exited);
            prop_assert!(after != WorkerState::Ready || !told, "told to end, and ready");
            prop_assert!(after != WorkerState::Stopped || process.was_asked());
            if before == WorkerState::Stopping {
                prop_assert!(after == WorkerState::Stopping || ended(after));
            }
            if signal == Some(Signal::Kill) {
                prop_assert_eq!(after, WorkerState::Stopping);
            }
        }
        // Whatever happened: told to drain, it is killed in time if it does not end.
        if !ended(process.state()) {
            kills += u32::from(process.on(Event::Drain(SECOND), now) == Some(Signal::Kill));
            for _ in 0..60 {
                now += SECOND;
                kills += u32::from(process.on(Event::Tick, now) == Some(Signal::Kill));
            }
            prop_assert_eq!(kills, 1);
            process.on(Event::Exited, now);
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
        Self { process: Process::starting(RULES, now), now }
    }

    fn ready() -> Self {
        let mut run = Self::new();
        assert_eq!(run.on(Event::Loaded), None);
        assert!(run.process.is_ready());
        run
    }

    fn on(&mut self, event: Event) -> Option<Signal> {
        self.process.on(event, self.now)
    }

    /// Ticks for some seconds; the first signal and after how many.
    fn ticks(&mut self, seconds: u32) -> Option<(Signal, u32)> {
        (1..=seconds).find_map(|second| {
            self.now += SECOND;
            self.on(Event::Tick).map(|signal| (signal, second))
        })
    }
}

#[test]
fn work_without_steps_is_a_hang() {
    let mut run = Run::ready();
    for steps in 0..30 {
        assert_eq!(run.on(health(steps, 1)), None);
        assert_eq!(run.ticks(5), None, "it makes steps");
    }
    run.on(health(29, 1));
    // The last step was seen five seconds ago; it goes on answering, and a step may take five seconds more.
    assert_eq!(run.ticks(9), None);
    run.on(health(29, 1));
    assert_eq!(run.ticks(20), Some((Signal::Abort, 2)));
    assert_eq!((run.process.state(), run.process.fault()), (WorkerState::Stopping, Some(Fault::Hung)));
    assert_eq!(run.ticks(20), Some((Signal::Kill, 3)));
    run.on(Event::Exited);
    assert_eq!(run.process.state(), WorkerState::Failed);
}

#[test]
fn silence_is_a_hang_even_without_work() {
    let mut run = Run::ready();
    run.on(health(0, 0));
    assert_eq!(run.ticks(60), Some((Signal::Abort, 11)));
    let mut run = Run::ready();
    for _ in 0..30 {
        run.on(health(0, 0));
        assert_eq!(run.ticks(9), None, "it answers");
    }
    // We were asleep ourselves: nothing could be heard.
    run.now += Duration::from_secs(3600);
    assert_eq!(run.on(Event::Tick), None);
    run.on(health(0, 0));
    assert_eq!(run.ticks(9), None);
}

fn progress(loaded: u64) -> Event {
    Event::Progress(Progress { loaded, total: 100 })
}

#[test]
fn a_start_may_take_as_long_as_it_makes_progress() {
    // 120 seconds, and 20 for the weights at the slowest.
    let mut run = Run::new();
    for second in 1..141 {
        assert_eq!(run.on(progress(second)), None);
        assert_eq!(run.ticks(1), None, "after {second} seconds");
    }
    assert_eq!(run.ticks(1), Some((Signal::Abort, 1)));
    assert_eq!(run.process.fault(), Some(Fault::SlowStart));
    // It answers, and reads nothing.
    let mut run = Run::new();
    let ended = (0..60).find(|_| {
        run.on(progress(7));
        run.ticks(1).is_some()
    });
    assert_eq!((ended, run.process.fault()), (Some(20), Some(Fault::SlowStart)));
}

#[test]
fn silence_while_starting_is_a_hang_too() {
    let mut run = Run::new();
    assert_eq!(run.on(progress(1)), None);
    assert_eq!(run.ticks(60), Some((Signal::Abort, 11)), "ten seconds of it are the rule");
    assert_eq!(run.process.fault(), Some(Fault::Hung));
    // Before its first answer it is not there yet: however short the rule, its program has to be read.
    let now = Instant::now();
    let short = Rules { hang: SECOND, ..RULES };
    let mut run = Run { process: Process::starting(short, now), now };
    assert_eq!(run.ticks(60), Some((Signal::Abort, 11)));
    let mut run = Run { process: Process::starting(short, now), now };
    assert_eq!(run.on(progress(1)), None);
    assert_eq!(run.ticks(60), Some((Signal::Abort, 2)));
}

#[test]
fn draining_has_a_deadline_that_only_comes_nearer() {
    let mut run = Run::ready();
    assert_eq!(run.on(Event::Drain(SECOND * 8)), Some(Signal::Terminate));
    assert_eq!(run.process.state(), WorkerState::Draining);
    assert_eq!(run.on(Event::Drain(SECOND * 30)), None);
    assert_eq!(run.ticks(7), None);
    assert_eq!(run.ticks(1), Some((Signal::Kill, 1)));
    assert_eq!(run.on(Event::Stop), None, "once is enough");
    run.on(Event::Exited);
    assert_eq!(run.process.state(), WorkerState::Stopped);
}

#[test]
fn idle_time_counts_from_the_last_step() {
    let mut run = Run::ready();
    run.on(health(0, 0));
    run.now += SECOND;
    run.on(health(0, 0));
    assert_eq!(run.process.idle(run.now), Some(SECOND));
    // A request came and went between two answers.
    run.on(health(5, 0));
    assert_eq!(run.process.idle(run.now), Some(Duration::ZERO));
    run.on(health(6, 1));
    assert_eq!(run.process.idle(run.now), None);
    run.now += SECOND;
    run.on(health(9, 0));
    assert_eq!(run.process.idle(run.now), Some(Duration::ZERO));
}

#[test]
fn a_broken_model_and_an_unasked_end_are_failures() {
    let mut run = Run::new();
    assert_eq!(run.on(Event::Broken), Some(Signal::Terminate));
    assert_eq!(run.on(Event::Loaded), None);
    run.on(Event::Exited);
    assert_eq!((run.process.state(), run.process.fault()), (WorkerState::Failed, Some(Fault::Broken)));
    let mut run = Run::ready();
    run.on(Event::Exited);
    assert_eq!((run.process.state(), run.process.fault()), (WorkerState::Failed, None));
}
