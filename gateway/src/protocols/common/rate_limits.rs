//! Writes a worker's capacity and the limits of an API key as the rate-limit headers of each protocol. Pure.
//!
//! A worker limits the number of concurrent requests, not their rate. The time at which capacity frees up is unpredictable, so its
//! reset headers are only a hint when to retry. The headers of a key's limits replace those of the worker.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use ipc_proto::error::RETRY_AFTER;
use ipc_proto::worker::Capacity;

use crate::access::budget::{Gauge, Standing};
use crate::protocols::error::whole_seconds;

/// Bytes of a request's body for each token of its estimate. English text has about four, and JSON more.
const BYTES_PER_TOKEN: u64 = 4;

/// Returns OpenAI's headers. The reset header is absent unless the capacity is used up or the request was refused for lack of it.
/// A request with several choices can be refused while some capacity is free.
pub fn openai(capacity: Capacity, is_refused: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("x-ratelimit-limit-requests"), capacity.limit.into());
    headers.insert(HeaderName::from_static("x-ratelimit-remaining-requests"), capacity.free.into());
    if (capacity.free == 0 || is_refused)
        && let Ok(reset) = HeaderValue::from_str(&format!("{}s", whole_seconds(RETRY_AFTER)))
    {
        headers.insert(HeaderName::from_static("x-ratelimit-reset-requests"), reset);
    }
    headers
}

/// Returns Anthropic's headers. The reset header is always present. It is `now` unless the capacity is used up or the request was
/// refused for lack of it.
pub fn anthropic(capacity: Capacity, is_refused: bool, now: DateTime<Utc>) -> HeaderMap {
    let wait = TimeDelta::seconds(if capacity.free == 0 || is_refused {
        whole_seconds(RETRY_AFTER) as i64
    } else {
        0
    });
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("anthropic-ratelimit-requests-limit"), capacity.limit.into());
    headers.insert(HeaderName::from_static("anthropic-ratelimit-requests-remaining"), capacity.free.into());
    if let Ok(reset) = HeaderValue::from_str(&format_rounded_up(now + wait)) {
        headers.insert(HeaderName::from_static("anthropic-ratelimit-requests-reset"), reset);
    }
    headers
}

/// Returns OpenAI's headers for the remaining limits of a key.
pub fn openai_key(standing: Standing) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (kind, gauge) in gauges(standing) {
        insert(&mut headers, format!("x-ratelimit-limit-{kind}"), gauge.limit.into());
        insert(&mut headers, format!("x-ratelimit-remaining-{kind}"), gauge.remaining.into());
        if let Ok(reset) = HeaderValue::from_str(&format!("{}s", whole_seconds(gauge.reset))) {
            insert(&mut headers, format!("x-ratelimit-reset-{kind}"), reset);
        }
    }
    headers
}

/// Returns Anthropic's headers for the remaining limits of a key.
pub fn anthropic_key(standing: Standing, now: DateTime<Utc>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (kind, gauge) in gauges(standing) {
        insert(&mut headers, format!("anthropic-ratelimit-{kind}-limit"), gauge.limit.into());
        insert(&mut headers, format!("anthropic-ratelimit-{kind}-remaining"), gauge.remaining.into());
        let reset = now + TimeDelta::from_std(gauge.reset).unwrap_or_default();
        if let Ok(reset) = HeaderValue::from_str(&format_rounded_up(reset)) {
            insert(&mut headers, format!("anthropic-ratelimit-{kind}-reset"), reset);
        }
    }
    headers
}

fn gauges(standing: Standing) -> impl Iterator<Item = (&'static str, Gauge)> {
    let all = [("requests", standing.requests), ("tokens", standing.tokens)];
    all.into_iter().filter_map(|(kind, gauge)| Some((kind, gauge?)))
}

fn insert(headers: &mut HeaderMap, name: String, value: HeaderValue) {
    if let Ok(name) = HeaderName::try_from(name) {
        headers.insert(name, value);
    }
}

/// About how many tokens the prompt of a request has, from the length of its body in bytes.
pub fn estimate(body_bytes: u64) -> u32 {
    u32::try_from(body_bytes / BYTES_PER_TOKEN).unwrap_or(u32::MAX)
}

/// Formats a time in whole seconds, rounded up so that it is never too early.
fn format_rounded_up(time: DateTime<Utc>) -> String {
    let part = i64::from(time.timestamp_subsec_nanos());
    let whole = if part == 0 { time } else { time + TimeDelta::nanoseconds(1_000_000_000 - part) };
    whole.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(headers: &HeaderMap) -> Vec<(&str, &str)> {
        headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
    }

    #[test]
    fn openai_headers_have_a_reset_time_only_without_free_capacity() {
        let names = ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests"];
        let free = openai(Capacity { limit: 288, free: 287 }, false);
        assert_eq!(pairs(&free), [(names[0], "288"), (names[1], "287")]);
        let full = openai(Capacity { limit: 288, free: 0 }, false);
        assert_eq!(pairs(&full), [(names[0], "288"), (names[1], "0"), ("x-ratelimit-reset-requests", "1s")]);
    }

    #[test]
    fn key_headers_name_the_limits_that_it_has() {
        let gauge = Gauge { limit: 60, remaining: 7, reset: std::time::Duration::from_millis(52_500) };
        let standing = Standing { requests: None, tokens: Some(gauge) };
        let expected = [
            ("x-ratelimit-limit-tokens", "60"),
            ("x-ratelimit-remaining-tokens", "7"),
            ("x-ratelimit-reset-tokens", "53s"),
        ];
        assert_eq!(pairs(&openai_key(standing)), expected);
        let now: DateTime<Utc> = "2026-11-29T12:00:00Z".parse().unwrap();
        let expected = [
            ("anthropic-ratelimit-tokens-limit", "60"),
            ("anthropic-ratelimit-tokens-remaining", "7"),
            ("anthropic-ratelimit-tokens-reset", "2026-11-29T12:00:53Z"),
        ];
        assert_eq!(pairs(&anthropic_key(standing, now)), expected);
        let both = Standing { requests: Some(gauge), tokens: Some(gauge) };
        assert_eq!(openai_key(both).len(), 6);
    }

    #[test]
    fn anthropic_reset_time_is_rounded_up_to_seconds() {
        let now: DateTime<Utc> = "2026-11-25T12:59:58.25Z".parse().unwrap();
        let prefix = "anthropic-ratelimit-requests-";
        for (left, now, reset) in [
            (7, now, "2026-11-25T12:59:59Z"),
            (0, now, "2026-11-25T13:00:00Z"),
            (0, now + TimeDelta::milliseconds(750), "2026-11-25T13:00:00Z"),
        ] {
            let headers = anthropic(Capacity { limit: 9, free: left }, false, now);
            let found: Vec<_> = pairs(&headers)
                .into_iter()
                .map(|(name, value)| (name.strip_prefix(prefix).unwrap(), value))
                .collect();
            let left = left.to_string();
            assert_eq!(found, [("limit", "9"), ("remaining", &*left), ("reset", reset)]);
        }
    }
}
