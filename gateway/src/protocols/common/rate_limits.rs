//! A worker's capacity as the rate-limit headers that each protocol's clients read. Pure.
//!
//! Nothing here limits a rate, only the number of requests at once. The time at which capacity frees up cannot be predicted, so
//! the reset headers are a hint when to try again.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use ipc_proto::error::RETRY_AFTER;
use ipc_proto::worker::Capacity;

use crate::protocols::error::whole_seconds;

/// OpenAI's. The reset header is absent while capacity is free.
pub fn openai(capacity: Capacity) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("x-ratelimit-limit-requests"), capacity.limit.into());
    headers.insert(HeaderName::from_static("x-ratelimit-remaining-requests"), capacity.free.into());
    if capacity.free == 0
        && let Ok(reset) = HeaderValue::from_str(&format!("{}s", whole_seconds(RETRY_AFTER)))
    {
        headers.insert(HeaderName::from_static("x-ratelimit-reset-requests"), reset);
    }
    headers
}

/// Anthropic's. The reset header is always present; it is `now` while capacity is free.
pub fn anthropic(capacity: Capacity, now: DateTime<Utc>) -> HeaderMap {
    let wait = TimeDelta::seconds(if capacity.free == 0 { whole_seconds(RETRY_AFTER) as i64 } else { 0 });
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("anthropic-ratelimit-requests-limit"), capacity.limit.into());
    headers.insert(HeaderName::from_static("anthropic-ratelimit-requests-remaining"), capacity.free.into());
    if let Ok(reset) = HeaderValue::from_str(&rounded_up(now + wait)) {
        headers.insert(HeaderName::from_static("anthropic-ratelimit-requests-reset"), reset);
    }
    headers
}

/// In whole seconds, as clients expect it; not a moment too early.
fn rounded_up(time: DateTime<Utc>) -> String {
    let part = i64::from(time.timestamp_subsec_nanos());
    let whole = if part == 0 { time } else { time + TimeDelta::nanoseconds(1_000_000_000 - part) };
    whole.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(headers: &HeaderMap) -> Vec<(&str, &str)> {
        headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
    }

    #[test]
    fn a_time_is_told_where_there_is_something_to_wait_for() {
        let names = ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests"];
        let free = openai(Capacity { limit: 288, free: 287 });
        assert_eq!(written(&free), [(names[0], "288"), (names[1], "287")]);
        let full = openai(Capacity { limit: 288, free: 0 });
        assert_eq!(
            written(&full),
            [(names[0], "288"), (names[1], "0"), ("x-ratelimit-reset-requests", "1s")]
        );
    }

    #[test]
    fn times_are_whole_seconds_and_not_past() {
        let now: DateTime<Utc> = "2026-11-25T12:59:58.25Z".parse().unwrap();
        let prefix = "anthropic-ratelimit-requests-";
        for (left, now, reset) in [
            (7, now, "2026-11-25T12:59:59Z"),
            (0, now, "2026-11-25T13:00:00Z"),
            (0, now + TimeDelta::milliseconds(750), "2026-11-25T13:00:00Z"),
        ] {
            let headers = anthropic(Capacity { limit: 9, free: left }, now);
            let told: Vec<_> = written(&headers)
                .into_iter()
                .map(|(name, value)| (name.strip_prefix(prefix).unwrap(), value))
                .collect();
            let left = left.to_string();
            assert_eq!(told, [("limit", "9"), ("remaining", &*left), ("reset", reset)]);
        }
    }
}
