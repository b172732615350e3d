//! A response body whose pieces a future writes.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use axum::body::{Body, Bytes};
use futures::stream;

/// Hands pieces from the future that writes a body to the body. Holds one piece.
#[derive(Clone, Default)]
pub(super) struct Pieces(Arc<Mutex<Option<Bytes>>>);

impl Pieces {
    /// Waits until the connection takes `piece`. An empty one is left out.
    pub(super) async fn push(&self, piece: impl Into<Bytes>) {
        let mut piece = Some(piece.into()).filter(|piece| !piece.is_empty());
        // The body polls the writing future after each piece that it has handed on, so nothing needs to wake it.
        poll_fn(|_| match piece.take() {
            None => Poll::Ready(()),
            piece => {
                *self.slot() = piece;
                Poll::Pending
            }
        })
        .await;
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the body whose pieces `write` pushes. It is polled as part of the body: a piece costs no task and no wake-up of its
/// own. It is dropped at its end, or with the body when the client leaves.
pub(super) fn body<W>(write: impl FnOnce(Pieces) -> W) -> Body
where
    W: Future<Output = ()> + Send + 'static,
{
    let pieces = Pieces::default();
    let mut writing = Some(Box::pin(write(pieces.clone())));
    Body::from_stream(stream::poll_fn(move |context| {
        if writing.as_mut().is_some_and(|future| future.as_mut().poll(context).is_ready()) {
            writing = None;
        }
        match pieces.slot().take() {
            Some(piece) => Poll::Ready(Some(Ok::<_, Infallible>(piece))),
            None if writing.is_none() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::StreamExt;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn pieces_arrive_in_order_and_empty_ones_are_left_out() {
        let body = body(|pieces| async move {
            pieces.push("a").await;
            pieces.push("").await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            pieces.push("b").await;
        });
        let pieces: Vec<Bytes> = body.into_data_stream().map(Result::unwrap).collect().await;
        assert_eq!(pieces, ["a", "b"]);
    }

    #[tokio::test]
    async fn future_ends_with_the_body() {
        let (sender, mut ended) = oneshot::channel::<()>();
        let body = body(|pieces| async move {
            let _ends = sender;
            pieces.push("a").await;
            pieces.push("b").await;
        });
        let mut body = body.into_data_stream();
        assert_eq!(body.next().await.unwrap().unwrap(), "a");
        assert_eq!(ended.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        drop(body);
        assert_eq!(ended.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }
}
