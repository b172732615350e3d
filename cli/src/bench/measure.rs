//! Runs the requests: each length of prompts with each number of streams.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::prompt::{self, PROBE};
use super::report::Row;
use super::stream::{Sample, complete};
use super::{BenchError, Memory};
use crate::client::ClientError;
use crate::generation::Api;

/// What to measure.
pub(super) struct Plan {
    pub(super) model: String,
    /// Tokens of prompts.
    pub(super) contexts: Vec<u32>,
    /// Requests at once.
    pub(super) streams: Vec<u32>,
    /// Tokens of answers.
    pub(super) tokens: u32,
}

/// Measures every row. `memory` asks the server about the model, `note` shows progress.
///
/// # Errors
/// A request fails, or no prompt fits.
pub(super) fn measure(
    api: &Api,
    plan: &Plan,
    memory: &dyn Fn(&str) -> Result<Memory, ClientError>,
    note: &dyn Fn(&str),
) -> Result<Vec<Row>, BenchError> {
    let mut seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64);
    note(&format!("loading {}", plan.model));
    // The first request loads the model, the second one meets a model that has worked.
    complete(api, &plan.model, "a", 2)?;
    let probe = complete(api, &plan.model, &prompt::words(PROBE, seed), 2)?;
    let limit = memory(&plan.model)?.context;
    let mut rows = Vec::new();
    for context in &plan.contexts {
        if limit.is_some_and(|limit| context + plan.tokens > limit) {
            note(&format!("{context} tokens are left out: the model takes {} in all", limit.unwrap_or(0)));
            continue;
        }
        let words = prompt::length(*context, probe.prompt_tokens);
        for streams in &plan.streams {
            note(&format!("{context} tokens, {streams} at once"));
            let prompts: Vec<String> =
                (0..*streams).map(|at| prompt::words(words, seed + 1 + u64::from(at))).collect();
            seed += 1 + u64::from(*streams);
            let samples = at_once(api, plan, &prompts)?;
            let memory = memory(&plan.model)?;
            rows.push(row(*context, &samples, memory));
        }
    }
    if rows.is_empty() {
        return Err(BenchError::Refused("no length of prompts fits into the model's context".into()));
    }
    Ok(rows)
}

/// Sends all prompts at once, each on a connection of its own.
fn at_once(api: &Api, plan: &Plan, prompts: &[String]) -> Result<Vec<Sample>, BenchError> {
    thread::scope(|scope| {
        let requests: Vec<_> = prompts
            .iter()
            .map(|prompt| scope.spawn(move || complete(api, &plan.model, prompt, plan.tokens)))
            .collect();
        let ended = |request: thread::ScopedJoinHandle<'_, Result<Sample, BenchError>>| {
            request.join().unwrap_or_else(|_| Err(BenchError::Refused("a request's thread has ended".into())))
        };
        requests.into_iter().map(ended).collect()
    })
}

/// The figures of requests that were sent at once.
fn row(context: u32, samples: &[Sample], memory: Memory) -> Row {
    let firsts: Vec<Duration> = samples.iter().map(|sample| sample.first).collect();
    let slowest = firsts.iter().max().copied().unwrap_or_default();
    let prompt_tokens: u32 = samples.iter().map(|sample| sample.prompt_tokens).sum();
    let output_tokens: u32 = samples.iter().map(|sample| sample.output_tokens).sum();
    // The first token is the prefill's.
    let decoded = |sample: &Sample| f64::from(sample.output_tokens.saturating_sub(1));
    let rates = samples.iter().map(|sample| decoded(sample) / seconds(sample.last - sample.first));
    let count = samples.len() as u32;
    Row {
        context,
        streams: count,
        prompt_tokens: prompt_tokens / count.max(1),
        ttft_ms: milliseconds(median(firsts.iter().map(Duration::as_secs_f64))),
        slowest_ttft_ms: milliseconds(slowest.as_secs_f64()),
        prefill_per_second: rounded(f64::from(prompt_tokens) / seconds(slowest)),
        decode_per_second: rounded(median(rates)),
        all_per_second: rounded(f64::from(output_tokens) / seconds(decoding(samples))),
        footprint_bytes: memory.footprint,
        lease_bytes: memory.lease,
    }
}

/// From the earliest first token to the last token of all.
fn decoding(samples: &[Sample]) -> Duration {
    let first = samples.iter().map(|sample| sample.sent + sample.first).min();
    let last = samples.iter().map(|sample| sample.sent + sample.last).max();
    first.zip(last).map_or(Duration::ZERO, |(first, last): (Instant, Instant)| last - first)
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64().max(1e-6)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => 0.0,
        (count, middle) if count % 2 == 1 => values[middle],
        (_, middle) => f64::midpoint(values[middle - 1], values[middle]),
    }
}

fn milliseconds(seconds: f64) -> f64 {
    rounded(seconds * 1e3)
}

/// One decimal.
fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// tests/sdk/ui_units.mjs compares the web UI's figures with the same example.
    #[test]
    fn figures_are_those_of_the_example() {
        let example: Value = serde_json::from_str(include_str!("example.json")).unwrap();
        let sent = Instant::now();
        let number = |value: &Value| value.as_u64().unwrap();
        let sample = |sample: &Value| Sample {
            sent,
            first: Duration::from_millis(number(&sample["first"])),
            last: Duration::from_millis(number(&sample["last"])),
            prompt_tokens: number(&sample["prompt_tokens"]) as u32,
            output_tokens: number(&sample["output_tokens"]) as u32,
        };
        let samples: Vec<Sample> = example["samples"].as_array().unwrap().iter().map(sample).collect();
        let [footprint, lease] = ["footprint", "lease"].map(|name| number(&example["memory"][name]));
        let found =
            row(number(&example["context"]) as u32, &samples, Memory { context: None, footprint, lease });
        assert_eq!(serde_json::to_value(found).unwrap(), example["row"]);
    }

    #[test]
    fn figures_of_streams_are_rates_and_medians() {
        let sent = Instant::now();
        let sample = |first: u64, last: u64| Sample {
            sent,
            first: Duration::from_millis(first),
            last: Duration::from_millis(last),
            prompt_tokens: 1000,
            output_tokens: 101,
        };
        let memory = Memory { context: None, footprint: 7, lease: 9 };
        let one = row(1024, &[sample(500, 2500)], memory);
        assert_eq!((one.context, one.streams, one.prompt_tokens), (1024, 1, 1000));
        assert_eq!((one.ttft_ms, one.prefill_per_second), (500.0, 2000.0));
        assert_eq!((one.decode_per_second, one.all_per_second), (50.0, 50.5));
        assert_eq!((one.footprint_bytes, one.lease_bytes), (7, 9));
        let two = row(1024, &[sample(500, 2500), sample(1000, 5000)], memory);
        assert_eq!((two.ttft_ms, two.slowest_ttft_ms), (750.0, 1000.0));
        assert_eq!((two.prefill_per_second, two.decode_per_second), (2000.0, 37.5));
        assert_eq!(two.all_per_second, 44.9);
    }
}
