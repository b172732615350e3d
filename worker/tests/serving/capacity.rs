//! Requests are refused where there is no place for them, and each answer says how many are left.

use ipc_proto::embed::{EmbedRequest, Embeddings, Input};
use ipc_proto::generate::RequestId;
use ipc_proto::worker::{Room, WorkerClient};
use ipc_proto::{Error, ErrorKind};

use super::harness::{Worker, context, text};
use crate::models::model;
use crate::{finished, real};

fn room(limit: u32, left: u32) -> Room {
    Room { limit, left }
}

/// Asserts a refusal for want of a place; what it says of the room.
fn refused(error: &Error) -> Room {
    assert_eq!((error.kind, error.retryable), (ErrorKind::Overloaded, true), "{error}");
    error.room.unwrap()
}

#[tokio::test]
async fn every_answer_says_how_many_places_are_left() {
    let worker = real(&["--max-sequences", "1", "--max-waiting", "2"]);
    let mut gateway = worker.gateway(1).await;
    for (id, left) in [(0, 2), (1, 1), (9, 0)] {
        let accepted = gateway.submit(text(id, "x", 60)).await.unwrap();
        assert_eq!(accepted.room, room(3, left));
    }
    assert_eq!(refused(&gateway.submit(text(2, "x", 2)).await.unwrap_err()), room(3, 0));
    // One that is taken back makes room, and so does one that ends.
    gateway.control.cancel(context(), gateway.stream, RequestId(9)).await.unwrap();
    // The engine hears of it after the step that runs.
    let mut again = gateway.submit(text(2, "x", 2)).await;
    while again.is_err() {
        again = gateway.submit(text(2, "x", 2)).await;
    }
    assert_eq!(again.unwrap().room, room(3, 0));
    let answers = gateway.answers(3).await;
    assert_eq!(answers.iter().map(|answer| finished(answer).1.completion_tokens).max(), Some(60));
    assert_eq!(gateway.submit(text(0, "x", 1)).await.unwrap().room, room(3, 2));
    // A request that cannot be served takes no place from those that can.
    assert_eq!(gateway.submit(text(4, "x", 0)).await.unwrap_err().room, None);
    gateway.answers(1).await;
    assert_eq!(gateway.submit(text(0, "x", 1)).await.unwrap().room, room(3, 2));
}

/// Without a queue one request after the other is served, each as soon as the one before has ended.
#[tokio::test]
async fn where_none_may_wait_a_free_row_is_taken() {
    let worker = real(&["--max-sequences", "1", "--max-waiting", "0"]);
    let mut gateway = worker.gateway(1).await;
    for _ in 0..20 {
        assert_eq!(gateway.submit(text(0, "x", 2)).await.unwrap().room, room(1, 0));
        gateway.answers(1).await;
    }
    gateway.submit(text(0, "x", 8000)).await.unwrap();
    assert_eq!(refused(&gateway.submit(text(1, "x", 2)).await.unwrap_err()), room(1, 0));
}

async fn embed(control: &WorkerClient, texts: usize) -> Result<Embeddings, Error> {
    let input = Input::Text("a few words about nothing at all ".repeat(24));
    let request = EmbedRequest { inputs: vec![input; texts], ..EmbedRequest::default() };
    control.embed(context(), request).await.unwrap()
}

#[tokio::test]
async fn a_model_that_reads_refuses_as_well() {
    // 0 stands for one: there would be none at all.
    for (waiting, limit) in [("2", 2), ("0", 1)] {
        let arguments = ["--max-waiting", waiting];
        let worker = Worker::start(&model("all-MiniLM-L6-v2"), false, &arguments);
        let gateway = worker.gateway(1).await;
        let control = &gateway.control;
        assert_eq!(embed(control, 1).await.unwrap().room, room(limit, limit));
        let many: Vec<_> = (0..limit)
            .map(|_| {
                let control = control.clone();
                tokio::spawn(async move { embed(&control, 200).await })
            })
            .collect();
        gateway.until(|health| health.running == limit).await;
        assert_eq!(refused(&embed(control, 1).await.unwrap_err()), room(limit, 0));
        // Whose client leaves is done with.
        many.into_iter().for_each(|call| call.abort());
        gateway.until(|health| health.running == 0).await;
        assert_eq!(embed(control, 1).await.unwrap().room, room(limit, limit));
    }
}
