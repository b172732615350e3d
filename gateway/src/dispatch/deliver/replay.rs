//! Answers with the recorded events of a stream.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::response::Response;
use tokio_stream::StreamExt;

use super::silence::KEEP_ALIVE_INTERVAL;
use super::{Served, stream_response};
use crate::dispatch::replay_buffer::ReplayBuffer;
use crate::dispatch::sse;

/// Answers with the events of a stream from number `from` on, and follows the stream to its end.
pub fn replay(buffer: &ReplayBuffer, from: usize) -> Response {
    let pieces = Box::pin(buffer.read(from));
    let with_keep_alive = futures::stream::unfold(pieces, |mut pieces| async move {
        let piece = match tokio::time::timeout(KEEP_ALIVE_INTERVAL, pieces.next()).await {
            Ok(piece) => piece?,
            Err(_) => Bytes::from_static(sse::KEEP_ALIVE),
        };
        Some((piece, pieces))
    });
    stream_response(
        sse::MEDIA_TYPE,
        Body::from_stream(with_keep_alive.map(Ok::<_, Infallible>)),
        Served::default(),
    )
}
