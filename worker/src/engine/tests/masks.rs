//! Masks that take long: their rows sit steps out, and hopeless ones fail.

use std::time::Duration;

use ipc_proto::generate::Constraint;

use super::*;
use crate::text::grammar::Grammars;

/// A grammar of "a" only, whose masks take `delay`. The first token is a space, which the decoder drops.
fn matcher(delay: Duration) -> Matcher {
    let tokenizer = Arc::new(byte_fallback());
    let tokens = tokenizer.vocabulary();
    let grammars = Grammars::new(tokenizer, Arc::new(HashSet::from([1])), tokens);
    grammars.compile(&Constraint::Regex("a+".into())).unwrap().with_delay(delay)
}

fn masked(prompt: usize) -> SequenceParams {
    SequenceParams { masked: true, ..scheduler::tests::params(vec![259; prompt], Priority::Normal) }
}

fn limits(step: u64, mask: u64) -> MaskLimits {
    let (step, mask) = (Duration::from_millis(step), Duration::from_millis(mask));
    MaskLimits { step, mask, ..MaskLimits::default() }
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
