//! Several choices of one submission: they share a prompt, differ by seed, and are admitted together.

use ipc_proto::generate::{Choice, ChoiceId, Event, FinishReason, Sampling, Submission};
use ipc_proto::stream::StreamFrame;
use ipc_proto::{ErrorKind, Origin};

use super::harness::{Answer, context, edited, text};
use crate::{finished, real};

const SEED: u64 = 40;
const TOKENS: u32 = 60;

/// A hot request with these choices, given by id and index.
fn sampled(seed: u64, choices: &[(u64, u32)]) -> Submission {
    let choice = |(id, index): &(u64, u32)| Choice { id: ChoiceId(*id), index: *index, ..Choice::default() };
    edited(text(0, "Once upon a time", TOKENS), |submission| {
        submission.generation.sampling =
            Sampling { temperature: Some(1.5), seed: Some(seed), ..Sampling::default() };
        submission.generation.ignore_eos = true;
        submission.choices = choices.iter().map(choice).collect();
    })
}

#[tokio::test]
async fn choices_equal_separate_requests_with_consecutive_seeds() {
    let worker = real(&["--max-sequences", "4", "--max-waiting", "1"]);
    let mut gateway = worker.gateway(1).await;
    let mut alone: Vec<Answer> = Vec::new();
    for index in 0..3 {
        gateway.submit(sampled(SEED + index, &[(0, 0)])).await.unwrap();
        alone.push(gateway.answers(1).await.remove(0));
    }
    let accepted = gateway.submit(sampled(SEED, &[(0, 0), (1, 1), (2, 2)])).await.unwrap();
    assert_eq!((accepted.capacity.limit, accepted.capacity.free), (5, 2));
    let together = gateway.answers(3).await;
    for (one, other) in alone.iter().zip(&together) {
        assert_eq!((&one.text, &one.tokens), (&other.text, &other.tokens));
        assert_eq!(finished(other).1.prompt_tokens, accepted.prompt_tokens);
    }
    assert!(alone[0].text != alone[1].text && alone[1].text != alone[2].text, "{alone:?}");
    // After a failover, another worker runs the last choice alone.
    gateway.submit(sampled(SEED, &[(0, 2)])).await.unwrap();
    assert_eq!(gateway.answers(1).await[0].text, alone[2].text);
}

#[tokio::test]
async fn more_choices_than_free_capacity_are_refused_as_a_whole() {
    let worker = real(&["--max-sequences", "1", "--max-waiting", "2"]);
    let gateway = worker.gateway(1).await;
    assert_eq!(gateway.submit(text(9, "x", 8000)).await.unwrap().capacity.free, 2);
    let error = gateway.submit(sampled(SEED, &[(0, 0), (1, 1), (2, 2)])).await.unwrap_err();
    assert_eq!((error.kind, error.origin), (ErrorKind::Overloaded, Origin::Worker), "{error}");
    assert!(error.is_retryable());
    // Neither capacity nor an id is taken.
    let accepted = gateway.submit(sampled(SEED, &[(0, 0), (1, 1)])).await.unwrap();
    assert_eq!((accepted.capacity.limit, accepted.capacity.free), (3, 0));
}

#[tokio::test]
async fn two_choices_of_one_id_are_refused() {
    let worker = real(&["--max-sequences", "2", "--max-waiting", "1"]);
    let gateway = worker.gateway(1).await;
    let twice = gateway.submit(sampled(SEED, &[(0, 0), (0, 1)])).await.unwrap_err();
    assert_eq!(twice.kind, ErrorKind::InvalidRequest, "{twice}");
    assert_eq!(gateway.submit(text(0, "x", 8000)).await.unwrap().capacity.free, 2);
}

#[tokio::test]
async fn cancelled_choice_leaves_the_others_running() {
    let worker = real(&[]);
    let mut gateway = worker.gateway(1).await;
    gateway.submit(sampled(SEED, &[(0, 0), (1, 1), (2, 2)])).await.unwrap();
    gateway.control.cancel(context(), gateway.stream, ChoiceId(1)).await.unwrap();
    let mut ends: [Option<Event>; 3] = Default::default();
    while ends[0].is_none() || ends[2].is_none() {
        let StreamFrame::Step(frame) = gateway.frame().await else { panic!("welcomed twice") };
        for (id, event) in frame.events {
            if event.is_last() {
                ends[id.0 as usize] = Some(event);
            }
        }
    }
    let [first, second, third] = ends;
    assert_eq!(second, None);
    for end in [first, third] {
        let Some(Event::Finished { reason, usage }) = end else { panic!("{end:?}") };
        assert_eq!((reason, usage.completion_tokens), (FinishReason::Length, TOKENS));
    }
    let health = gateway.until(|health| health.running == 0).await;
    assert_eq!((health.waiting, health.kv_blocks_used), (0, 0));
}
