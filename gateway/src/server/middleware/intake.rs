//! Limits on request bodies: their speed, their encoding, and those that no handler reads.
//!
//! A body may be large and slow, but it has to go on. Each further piece of it has a deadline, so that a client that stops
//! halfway does not occupy a connection for ever. A body that was refused unread is read on for a while: a client that is still
//! writing when its connection closes cannot read the refusal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use futures::{Stream, StreamExt, stream};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::protocols::error::unroutable;

/// Bytes that must come within the time limit, unless the body ends before.
const PIECE_BYTES: u64 = 16 << 10;
/// Bytes that are read at most of a body that no handler reads.
const MAX_UNREAD_BYTES: usize = 128 << 20;
/// The longest time for that.
const UNREAD_TIME: Duration = Duration::from_secs(10);

/// Limits of a request's body.
#[derive(Debug, Clone, Copy)]
pub struct IntakePolicy {
    /// The time for each further 16 KiB, or for the rest.
    pub patience: Duration,
}

/// The received part of a body, for the refusal.
#[derive(Debug, Default)]
struct Received {
    bytes: AtomicU64,
    late: AtomicBool,
}

/// Puts time limits on the body, and refuses encoded ones.
pub async fn apply(State(policy): State<IntakePolicy>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let received = Arc::new(Received::default());
    let (head, body) = request.into_parts();
    let upload = Upload {
        pieces: Some(body.into_data_stream()),
        waits: head.headers.contains_key(header::EXPECT),
        deadline: Instant::now() + policy.patience,
        piece: 0,
        patience: policy.patience,
        received: Arc::clone(&received),
    };
    if let Some(coding) = coding(&head.headers) {
        return unsupported_coding(&coding);
    }
    let announced =
        head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()).map(str::to_owned);
    let response = next.run(Request::from_parts(head, Body::from_stream(upload.into_stream()))).await;
    if !received.late.load(Ordering::Relaxed) {
        return response;
    }
    let announced = announced.map(|bytes| format!(" of {bytes}")).unwrap_or_default();
    let text = format!(
        "the body came too slowly: {}{announced} bytes, and less than {} KiB in the last {} s (body_seconds)",
        received.bytes.load(Ordering::Relaxed),
        PIECE_BYTES >> 10,
        policy.patience.as_secs(),
    );
    let mut response = unroutable(StatusCode::REQUEST_TIMEOUT, text);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The encoding of the body, if there is one.
fn coding(headers: &HeaderMap) -> Option<String> {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut named =
        codings.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let coding = named.find(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))?;
    Some(String::from_utf8_lossy(coding).into_owned())
}

/// RFC 9110, section 12.5.3: the header lists the accepted encodings.
fn unsupported_coding(coding: &str) -> Response {
    let text = format!("Content-Encoding: bodies in \"{coding}\" are not decoded; send the JSON itself");
    let mut response = unroutable(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
    response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    response
}

/// The body of a request as it comes.
struct Upload {
    /// `None` after its end.
    pieces: Option<BodyDataStream>,
    /// Whether the client waits for a word before it sends the body, and has not got it.
    waits: bool,
    deadline: Instant,
    /// Bytes since the deadline was set.
    piece: u64,
    patience: Duration,
    received: Arc<Received>,
}

impl Upload {
    fn into_stream(self) -> impl Stream<Item = Result<Bytes, axum::Error>> {
        stream::unfold(self, |mut upload| async move { Some((upload.next().await?, upload)) })
    }

    async fn next(&mut self) -> Option<Result<Bytes, axum::Error>> {
        let pieces = self.pieces.as_mut()?;
        // The first look at the body makes hyper send the word.
        self.waits = false;
        let next = timeout_at(self.deadline, pieces.next()).await;
        if let Ok(Some(Ok(bytes))) = next {
            self.count(bytes.len() as u64);
            return Some(Ok(bytes));
        }
        self.pieces = None;
        next.unwrap_or_else(|late| {
            self.received.late.store(true, Ordering::Relaxed);
            Some(Err(axum::Error::new(late)))
        })
    }

    fn count(&mut self, bytes: u64) {
        self.received.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.piece += bytes;
        if self.piece >= PIECE_BYTES {
            self.piece = 0;
            self.deadline = Instant::now() + self.patience;
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // A client that waits for a word reads the answer instead, and sends no body.
        let unread = self.pieces.take().filter(|_| !self.waits);
        if let (Some(pieces), Ok(runtime)) = (unread, Handle::try_current()) {
            runtime.spawn(timeout(UNREAD_TIME, discard(pieces)));
        }
    }
}

/// Reads to the end, or until it was too much.
async fn discard(mut pieces: BodyDataStream) {
    let mut left = MAX_UNREAD_BYTES;
    while let Some(Ok(bytes)) = pieces.next().await {
        let Some(rest) = left.checked_sub(bytes.len()) else { return };
        left = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_encodings_that_change_the_body_are_named() {
        let named = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            coding(&headers)
        };
        assert_eq!(named(&[]), None);
        assert_eq!(named(&["", "identity, Identity"]), None);
        assert_eq!(named(&["gzip"]), Some("gzip".into()));
        assert_eq!(named(&["identity", "identity , zstd"]), Some("zstd".into()));
    }
}
