//! Decides which failures may pass, and describes them.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};

use crate::backoff::Backoff;
use crate::error::HubError;

/// Characters of a server's own sentence.
const SHOWN: usize = 200;

/// A failed question, and whether to ask again.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: HubError,
    next: Next,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Asking again changes nothing.
    End,
    /// Ask again, after the pause that the server wants.
    Again(Option<Duration>),
    /// The address has expired: ask the hub for another.
    Locate,
}

impl Failure {
    pub(crate) fn fatal(error: HubError) -> Self {
        Self { error, next: Next::End }
    }

    pub(crate) fn passing(error: HubError) -> Self {
        Self { error, next: Next::Again(None) }
    }

    pub(crate) fn after(error: HubError, wait: Option<Duration>) -> Self {
        Self { error, next: Next::Again(wait) }
    }

    /// A refused read. `is_foreign`: it came from a server other than the hub, whose addresses expire.
    pub(super) fn of_file(
        status: StatusCode,
        is_foreign: bool,
        (error, wait): (HubError, Option<Duration>),
    ) -> Self {
        let next = match status {
            _ if may_pass(status) => Next::Again(wait),
            StatusCode::RANGE_NOT_SATISFIABLE => Next::End,
            _ if is_foreign && status.is_client_error() => Next::Locate,
            _ => Next::End,
        };
        Self { error, next }
    }

    /// Whether the address is to be asked for again.
    pub(crate) fn has_expired(&self) -> bool {
        self.next == Next::Locate
    }

    /// The pause before asking again; `None` if that is useless.
    pub(crate) fn pause(&self, backoff: &mut Backoff, spread: f64) -> Option<Duration> {
        match self.next {
            Next::End => None,
            Next::Again(asked) => backoff.next_pause(asked, spread),
            Next::Locate => backoff.next_pause(None, spread),
        }
    }

    /// The error after the last try.
    pub(crate) fn last(self, what: &str, backoff: &Backoff) -> HubError {
        match backoff.failures() {
            0 | 1 => self.error,
            failures => HubError::GivenUp { file: what.to_owned(), failures, cause: Box::new(self.error) },
        }
    }
}

/// Whether an answer of this status may be another one later.
pub(super) fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// The hub's reason, from an answer's headers.
pub(super) struct Reason {
    pub(super) code: String,
    pub(super) message: String,
    /// The time to wait.
    pub(super) wait: Option<Duration>,
}

impl Reason {
    pub(super) fn read(response: &Response) -> Self {
        let headers = response.headers();
        Self {
            code: text(headers, "x-error-code"),
            message: text(headers, "x-error-message"),
            wait: wait(headers),
        }
    }
}

/// The error for an answer that is no success, and the time that the server wants to pass.
pub(super) async fn status(response: Response) -> (HubError, Option<Duration>) {
    let (host, status, wait) = (host(response.url()), response.status().as_u16(), wait(response.headers()));
    let message = text(response.headers(), "x-error-message");
    let body = if message.is_empty() { response.text().await.unwrap_or_default() } else { message };
    let line = body.lines().next().unwrap_or_default();
    (HubError::Status { host, status, text: line.chars().take(SHOWN).collect() }, wait)
}

/// Seconds to wait: `Retry-After: 5`, or the `t` of `RateLimit: "api";r=0;t=55`.
fn wait(headers: &HeaderMap) -> Option<Duration> {
    let limit = text(headers, "ratelimit");
    let left = limit.split(';').find_map(|part| part.trim().strip_prefix("t="));
    let after = text(headers, RETRY_AFTER.as_str());
    let seconds: u64 = left.unwrap_or(&after).trim().parse().ok()?;
    // Both clocks round.
    Some(Duration::from_secs(if left.is_some() { seconds.saturating_add(1) } else { seconds }))
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// `host:port` of an address.
pub(super) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or("the hub");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// An error of the connection. The address is left out: it may be a signed one.
pub(crate) fn unreachable(url: &Url, error: &reqwest::Error) -> HubError {
    let mut cause = String::new();
    let mut source = error.source();
    while let Some(inner) = source {
        cause = inner.to_string();
        source = inner.source();
    }
    if error.is_timeout() {
        cause = "it does not answer in time".to_owned();
    } else if cause.is_empty() {
        cause = "the connection broke".to_owned();
    }
    HubError::Unreachable { host: host(url), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (name.parse::<reqwest::header::HeaderName>().unwrap(), value.parse().unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn pause_is_the_rate_limits_or_retry_after() {
        let limited = headers(&[("ratelimit", "\"api\";r=0;t=55"), ("retry-after", "2")]);
        assert_eq!(wait(&limited), Some(Duration::from_secs(56)));
        assert_eq!(wait(&headers(&[("retry-after", "2")])), Some(Duration::from_secs(2)));
        assert_eq!(wait(&headers(&[])), None);
    }

    #[test]
    fn foreign_refusal_asks_for_another_address_and_the_hubs_ends() {
        let failure = |status: u16, is_foreign| {
            let error = HubError::Token;
            Failure::of_file(StatusCode::from_u16(status).unwrap(), is_foreign, (error, None)).next
        };
        assert_eq!(failure(403, true), Next::Locate);
        assert_eq!(failure(403, false), Next::End);
        assert_eq!(failure(503, true), Next::Again(None));
        assert_eq!(failure(416, true), Next::End);
    }
}
