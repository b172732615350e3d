use std::sync::atomic::{AtomicUsize, Ordering};

use ipc_proto::{Error, ErrorKind, Origin};
use serde_json::json;

use super::*;
use crate::inference::routing::questions::Finding;

/// Answers after some milliseconds.
struct Slow {
    answers: Vec<Option<u64>>,
    asked: AtomicUsize,
    left: AtomicUsize,
}

/// Counts an answer that is not awaited to its end.
struct Leaving<'a>(&'a AtomicUsize);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Slow {
    fn new(answers: &[Option<u64>]) -> Self {
        Self { answers: answers.to_vec(), asked: AtomicUsize::new(0), left: AtomicUsize::new(0) }
    }
}

impl Judge for Slow {
    fn answer<'a>(&'a self, _: Question<'a>, _: &'a str) -> BoxFuture<'a, Result<Found>> {
        let place = self.asked.fetch_add(1, Ordering::Relaxed);
        async move {
            let leaving = Leaving(&self.left);
            match self.answers[place] {
                Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                None => std::future::pending().await,
            }
            std::mem::forget(leaving);
            Ok(Found { finding: Finding::Truth(false), prompt_tokens: 1, completion_tokens: 1 })
        }
        .boxed()
    }
}

fn three_sentences() -> Routes {
    let route = |sentence: &str| json!({"sentence": sentence, "judge": "j", "targets": ["m"]});
    let routes = json!([route("one"), route("two"), route("three"), {"name": "rest", "targets": ["n"]}]);
    serde_json::from_value(routes).unwrap()
}

fn facts() -> Facts {
    Facts { model: "a".into(), text: Some("t".into()), ..Facts::default() }
}

async fn decided(limit_ms: u32, judge: &dyn Judge) -> (Decision, Duration) {
    let began = Instant::now();
    let decision = decide_within(&three_sentences(), facts(), limit_ms, judge).await;
    (decision, began.elapsed())
}

#[tokio::test]
async fn judge_that_never_answers_delays_by_the_limit_once() {
    let judge = Slow::new(&[None, None, None]);
    let (decision, took) = decided(60, &judge).await;
    assert_eq!(decision.route.as_deref(), Some("rest"));
    assert!(took >= Duration::from_millis(60) && took < Duration::from_millis(1000), "{took:?}");
    // The first question has used up the time, and its work has ended.
    assert_eq!((judge.asked.load(Ordering::Relaxed), judge.left.load(Ordering::Relaxed)), (1, 1));
    for step in &decision.steps[..3] {
        assert_eq!(step.because.as_deref(), Some("not judged: no answer within 60 ms"));
    }
}

#[tokio::test]
async fn questions_share_the_limit() {
    let judge = Slow::new(&[Some(1), None, None]);
    let (decision, took) = decided(80, &judge).await;
    assert!(took < Duration::from_millis(1000), "{took:?}");
    let because: Vec<_> = decision.steps.iter().map(|step| step.because.as_deref()).collect();
    let late = Some("not judged: no answer within 80 ms");
    assert_eq!(because, [Some("judged to be untrue: one"), late, late, None]);
}

#[tokio::test]
async fn failure_of_a_judge_is_the_reason() {
    struct Broken;
    impl Judge for Broken {
        fn answer<'a>(&'a self, _: Question<'a>, _: &'a str) -> BoxFuture<'a, Result<Found>> {
            let error = Error::new(ErrorKind::ModelBroken, Origin::Worker, "its weights are broken");
            std::future::ready(Err(error)).boxed()
        }
    }
    let (decision, _) = decided(5000, &Broken).await;
    assert_eq!(decision.steps[2].because.as_deref(), Some("not judged: its weights are broken"));
    assert_eq!(decision.steps[0].judged[0].problem.as_deref(), Some("its weights are broken"));
    assert_eq!(decision.route.as_deref(), Some("rest"));
}
