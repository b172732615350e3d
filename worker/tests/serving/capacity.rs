//! Requests past the capacity are refused, and each answer reports the remaining capacity.

use ipc_proto::embed::{EmbedRequest, Embeddings, Input};
use ipc_proto::generate::ChoiceId;
use ipc_proto::worker::{Capacity, WorkerClient};
use ipc_proto::{Error, ErrorKind};

use super::harness::{Worker, context, text};
use crate::models::model;
use crate::{finished, real};

fn capacity(limit: u32, free: u32) -> Capacity {
    Capacity { limit, free }
}

/// Asserts that `error` is a refusal for lack of capacity; returns the capacity that it reports.
fn refused(error: &Error) -> Capacity {
    assert_eq!((error.kind, error.is_retryable()), (ErrorKind::Overloaded, true), "{error}");
    error.capacity.unwrap()
}

#[tokio::test]
async fn accepted_and_refused_requests_report_capacity() {
    let worker = real(&["--max-sequences", "1", "--max-waiting", "2"]);
    let mut gateway = worker.gateway(1).await;
    for (id, left) in [(0, 2), (1, 1), (9, 0)] {
        let accepted = gateway.submit(text(id, "x", 60)).await.unwrap();
        assert_eq!(accepted.capacity, capacity(3, left));
    }
    assert_eq!(refused(&gateway.submit(text(2, "x", 2)).await.unwrap_err()), capacity(3, 0));
    // A cancelled request frees its slot.
    gateway.control.cancel(context(), gateway.stream, ChoiceId(9)).await.unwrap();
    // The engine handles the cancellation after the current step.
    let mut again = gateway.submit(text(2, "x", 2)).await;
    while again.is_err() {
        again = gateway.submit(text(2, "x", 2)).await;
    }
    assert_eq!(again.unwrap().capacity, capacity(3, 0));
    let answers = gateway.answers(3).await;
    assert_eq!(answers.iter().map(|answer| finished(answer).1.completion_tokens).max(), Some(60));
    assert_eq!(gateway.submit(text(0, "x", 1)).await.unwrap().capacity, capacity(3, 2));
    // An invalid request takes no slot.
    assert_eq!(gateway.submit(text(4, "", 1)).await.unwrap_err().capacity, None);
    gateway.answers(1).await;
    assert_eq!(gateway.submit(text(0, "x", 1)).await.unwrap().capacity, capacity(3, 2));
}

/// Each request is accepted as soon as the previous one has ended.
#[tokio::test]
async fn without_a_queue_a_free_row_is_used() {
    let worker = real(&["--max-sequences", "1", "--max-waiting", "0"]);
    let mut gateway = worker.gateway(1).await;
    for _ in 0..20 {
        assert_eq!(gateway.submit(text(0, "x", 2)).await.unwrap().capacity, capacity(1, 0));
        gateway.answers(1).await;
    }
    gateway.submit(text(0, "x", 8000)).await.unwrap();
    assert_eq!(refused(&gateway.submit(text(1, "x", 2)).await.unwrap_err()), capacity(1, 0));
}

async fn embed(control: &WorkerClient, texts: usize) -> Result<Embeddings, Error> {
    let input = Input::Text("a few words about nothing at all ".repeat(24));
    let request = EmbedRequest { inputs: vec![input; texts], ..EmbedRequest::default() };
    control.embed(context(), request).await.unwrap()
}

#[tokio::test]
async fn encoder_past_its_limit_refuses() {
    // 0 counts as one: otherwise no request would be admitted.
    for (waiting, limit) in [("2", 2), ("0", 1)] {
        let arguments = ["--max-waiting", waiting];
        let worker = Worker::start(&model("all-MiniLM-L6-v2"), false, &arguments);
        let gateway = worker.gateway(1).await;
        let control = &gateway.control;
        assert_eq!(embed(control, 1).await.unwrap().capacity, capacity(limit, limit));
        let many: Vec<_> = (0..limit)
            .map(|_| {
                let control = control.clone();
                tokio::spawn(async move { embed(&control, 200).await })
            })
            .collect();
        gateway.until(|health| health.running == limit).await;
        assert_eq!(refused(&embed(control, 1).await.unwrap_err()), capacity(limit, 0));
        // Jobs without a client are dropped.
        many.into_iter().for_each(|call| call.abort());
        gateway.until(|health| health.running == 0).await;
        assert_eq!(embed(control, 1).await.unwrap().capacity, capacity(limit, limit));
    }
}
