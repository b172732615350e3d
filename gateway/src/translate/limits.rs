//! What a worker has room for, as the rate-limit headers that each protocol's clients read. Pure.
//!
//! There is no rate to tell of: the limit is how many requests a worker has at once. When a place will be free nobody knows;
//! what is told of that is when to ask again.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use ipc_proto::worker::Room;

use crate::error::RETRY_AFTER_SECONDS;

/// OpenAI's. Of the time to wait for they hold nothing while there is no need to wait.
pub fn openai(room: Room) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("x-ratelimit-limit-requests"), room.limit.into());
    headers.insert(HeaderName::from_static("x-ratelimit-remaining-requests"), room.left.into());
    if room.left == 0
        && let Ok(reset) = HeaderValue::from_str(&format!("{RETRY_AFTER_SECONDS}s"))
    {
        headers.insert(HeaderName::from_static("x-ratelimit-reset-requests"), reset);
    }
    headers
}

/// Anthropic's, which always name a time: it is `now` while there is room.
pub fn anthropic(room: Room, now: DateTime<Utc>) -> HeaderMap {
    let wait = TimeDelta::seconds(if room.left == 0 { RETRY_AFTER_SECONDS.into() } else { 0 });
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("anthropic-ratelimit-requests-limit"), room.limit.into());
    headers.insert(HeaderName::from_static("anthropic-ratelimit-requests-remaining"), room.left.into());
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
        let free = openai(Room { limit: 288, left: 287 });
        assert_eq!(written(&free), [(names[0], "288"), (names[1], "287")]);
        let full = openai(Room { limit: 288, left: 0 });
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
            let headers = anthropic(Room { limit: 9, left }, now);
            let told: Vec<_> = written(&headers)
                .into_iter()
                .map(|(name, value)| (name.strip_prefix(prefix).unwrap(), value))
                .collect();
            let left = left.to_string();
            assert_eq!(told, [("limit", "9"), ("remaining", &*left), ("reset", reset)]);
        }
    }
}
