//! Tokens and masks that take long: their rows sit steps out, and hopeless ones fail.

use std::time::Duration;

use ipc_proto::generate::Constraint;

use super::*;
use crate::text::grammar::Grammars;

/// A grammar of "a" only, whose masks take `delay`. The first token is a space, which the decoder drops.
fn matcher(delay: Duration) -> Matcher {
    compiled("a+").with_delays(Duration::ZERO, delay)
}

/// As [`matcher`], but consuming a token takes the time.
fn slow_reader(regex: &str, delay: Duration) -> Matcher {
    compiled(regex).with_delays(delay, Duration::ZERO)
}

fn compiled(regex: &str) -> Matcher {
    let tokenizer = Arc::new(byte_fallback());
    let tokens = tokenizer.vocabulary();
    let grammars = Grammars::new(tokenizer, Arc::new(HashSet::from([1])), tokens);
    grammars.compile(&Constraint::Regex(regex.into())).unwrap()
}

fn masked(prompt: usize) -> SequenceParams {
    SequenceParams { masked: true, ..scheduler::tests::params(vec![259; prompt], Priority::Normal) }
}

fn limits(step: u64, mask: u64) -> MaskLimits {
    let (step, mask) = (Duration::from_millis(step), Duration::from_millis(mask));
    MaskLimits { step, token: step, mask, ..MaskLimits::default() }
}

fn tokens_of(event: &Event) -> u32 {
    let Event::Finished { usage, .. } = event else { panic!("{event:?}") };
    usage.completion_tokens
}

/// Whatever the limit of a step, all rows end with their tokens.
#[tokio::test]
async fn rows_with_late_masks_lose_no_token() {
    for (step, delay) in [(0, 0), (0, 3), (1, 3), (1000, 3)] {
        let mut engine = Running::start_with(Fault::Fails, usize::MAX, limits(step, 60_000));
        for id in 0..3 {
            // More than a step of eight tokens takes.
            let matcher = matcher(Duration::from_millis(delay));
            let matcher = if id == 0 { slow_reader("a+", Duration::from_millis(delay)) } else { matcher };
            engine.submit_constrained(id, masked(20), 10, None, Some(matcher));
        }
        engine.submit(3, 10);
        let ends = engine.ends(4).await;
        assert!(ends.iter().all(|(_, event)| tokens_of(event) == 10), "{step} {delay}: {ends:?}");
    }
}

#[tokio::test]
async fn others_do_not_wait_for_a_late_mask() {
    let mut engine = Running::start_with(Fault::Fails, usize::MAX, limits(2, 60_000));
    engine.submit_constrained(1, masked(5), 2, None, Some(matcher(Duration::from_secs(1))));
    let start = Instant::now();
    engine.submit(2, 100);
    // The constrained row joins two steps, each of which waits for two milliseconds.
    assert_eq!(engine.ends(1).await[0].0, 2);
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    let (id, event) = engine.ends(1).await.remove(0);
    assert_eq!((id, tokens_of(&event)), (1, 2));
}

#[tokio::test]
async fn hopeless_masks_fail_their_request_only() {
    let mut engine = Running::start_with(Fault::Fails, usize::MAX, limits(2, 50));
    for id in 0..6 {
        engine.submit_constrained(id, masked(5), 20, None, Some(matcher(Duration::from_secs(60))));
        let (failed, event) = engine.ends(1).await.remove(0);
        let Event::Failed(error) = event else { panic!("{event:?}") };
        assert_eq!((failed, error.kind, error.is_retryable()), (id, ErrorKind::InvalidRequest, false));
        assert!(error.message.contains("too many readings"), "{error}");
    }
    engine.submit_constrained(6, masked(5), 20, None, Some(matcher(Duration::ZERO)));
    engine.submit(7, 20);
    let ends = engine.ends(2).await;
    assert!(ends.iter().all(|(_, event)| tokens_of(event) == 20), "{ends:?}");
}

/// Late masks that all end in time may still be too many.
#[tokio::test]
async fn late_masks_of_a_request_have_a_limit_together() {
    let late = Duration::from_millis(100);
    let limits = MaskLimits { late, ..limits(2, 60_000) };
    let mut engine = Running::start_with(Fault::Fails, usize::MAX, limits);
    engine.submit_constrained(1, masked(5), 100, None, Some(matcher(Duration::from_millis(20))));
    let (_, event) = engine.ends(1).await.remove(0);
    assert!(matches!(&event, Event::Failed(error) if error.kind == ErrorKind::InvalidRequest), "{event:?}");
}

#[tokio::test]
async fn request_that_leaves_takes_its_mask_along() {
    let mut engine = Running::start_with(Fault::Fails, usize::MAX, limits(2, 60_000));
    engine.submit_constrained(1, masked(5), 20, None, Some(matcher(Duration::from_secs(60))));
    engine.submit(2, 5);
    engine.ends(1).await;
    engine.commands.send(Command::Cancel(STREAM, ChoiceId(1))).unwrap();
    engine.commands.send(Command::Drain).unwrap();
    engine.thread.join().unwrap();
}

#[tokio::test]
async fn others_do_not_wait_for_a_late_token() {
    let mut engine = Running::start_with(Fault::Fails, usize::MAX, limits(2, 60_000));
    engine.submit_constrained(1, masked(5), 2, None, Some(slow_reader("a+", Duration::from_secs(1))));
    let start = Instant::now();
    engine.submit(2, 100);
    assert_eq!(engine.ends(1).await[0].0, 2);
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    let (id, event) = engine.ends(1).await.remove(0);
    assert_eq!((id, tokens_of(&event)), (1, 2));
}

/// The last token is late, too: whether the output is complete counts nevertheless.
#[tokio::test]
async fn late_token_that_completes_the_output_ends_it() {
    for delay in [0, 5] {
        let mut engine = Running::start_with(Fault::Fails, usize::MAX, limits(1, 60_000));
        let matcher = slow_reader("aaa", Duration::from_millis(delay));
        engine.submit_constrained(1, masked(5), 3, None, Some(matcher));
        let (_, event) = engine.ends(1).await.remove(0);
        let Event::Finished { reason, usage } = event else { panic!("{event:?}") };
        assert_eq!((reason, usage.completion_tokens), (FinishReason::Stop, 3), "{delay}");
    }
}

#[tokio::test]
async fn hopeless_token_fails_its_request_only() {
    let mut engine = Running::start_with(Fault::Fails, usize::MAX, limits(2, 50));
    engine.submit_constrained(1, masked(5), 20, None, Some(slow_reader("a+", Duration::from_secs(60))));
    let (failed, event) = engine.ends(1).await.remove(0);
    let Event::Failed(error) = event else { panic!("{event:?}") };
    assert_eq!((failed, error.kind), (1, ErrorKind::InvalidRequest), "{error}");
    engine.submit_constrained(2, masked(5), 20, None, Some(slow_reader("a+", Duration::ZERO)));
    assert_eq!(tokens_of(&engine.ends(1).await[0].1), 20);
}

/// More requests than threads, each of whose tokens ends in time.
#[tokio::test]
async fn late_requests_have_a_limit_with_their_waiting() {
    let total = Duration::from_millis(100);
    let limits = MaskLimits { total, ..limits(2, 60_000) };
    let mut engine = Running::start_with(Fault::Fails, usize::MAX, limits);
    for id in 0..4 {
        engine.submit_constrained(id, masked(5), 100, None, Some(matcher(Duration::from_millis(20))));
    }
    let ends = engine.ends(4).await;
    let failed =
        |event: &Event| matches!(event, Event::Failed(error) if error.kind == ErrorKind::InvalidRequest);
    assert!(ends.iter().all(|(_, event)| failed(event)), "{ends:?}");
}

/// Another worker generated the beginning, which the grammar has consumed.
#[tokio::test]
async fn resumed_output_that_is_complete_ends_at_once() {
    let mut matcher = compiled("aa");
    let generated = [258, 259, 259];
    let mut engine = Running::start(Fault::Fails, usize::MAX);
    for token in generated {
        matcher.push(token).unwrap();
    }
    let params = SequenceParams { generated: generated.to_vec(), ..masked(5) };
    engine.submit_constrained(1, params, 10, None, Some(matcher));
    let (_, event) = engine.ends(1).await.remove(0);
    let Event::Finished { reason, usage } = event else { panic!("{event:?}") };
    assert_eq!((reason, usage.completion_tokens), (FinishReason::Stop, 3));
}
