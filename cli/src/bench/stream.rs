//! One streamed request, and the times of its tokens.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::BenchError;
use crate::generation::Api;

const PATH: &str = "/v1/completions";

/// A request's measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    /// When it was sent.
    pub(super) sent: Instant,
    /// From then to the first token.
    pub(super) first: Duration,
    /// From then to the last token.
    pub(super) last: Duration,
    pub(super) prompt_tokens: u32,
    pub(super) output_tokens: u32,
}

/// Generates exactly `tokens` tokens after a prompt.
pub(super) fn complete(api: &Api, model: &str, prompt: &str, tokens: u32) -> Result<Sample, BenchError> {
    let body = json!({
        "model": model, "prompt": prompt, "max_tokens": tokens, "min_tokens": tokens, "ignore_eos": true,
        "temperature": 0, "stream": true, "stream_options": {"include_usage": true},
    });
    let sent = Instant::now();
    let (mut first, mut last, mut usage) = (None, Duration::ZERO, Value::Null);
    api.events::<BenchError>(PATH, &body, &|| false, |event| {
        let time = sent.elapsed();
        if has_text(event) {
            first = first.or(Some(time));
            last = time;
        }
        if let Some(counts) = usage_of(event) {
            usage = counts.clone();
        }
        Ok(())
    })?;
    let count = |name: &str| usage[name].as_u64().and_then(|count| u32::try_from(count).ok());
    match (first, count("prompt_tokens"), count("completion_tokens")) {
        (Some(first), Some(prompt_tokens), Some(output_tokens)) => {
            Ok(Sample { sent, first, last, prompt_tokens, output_tokens })
        }
        _ => Err(BenchError::Refused("the answer ends without text and token counts".into())),
    }
}

/// Whether an event has a piece of the text.
fn has_text(event: &Value) -> bool {
    event.pointer("/choices/0/text").and_then(Value::as_str).is_some_and(|text| !text.is_empty())
}

/// The counts of an event.
fn usage_of(event: &Value) -> Option<&Value> {
    event.get("usage").filter(|usage| usage.is_object())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_has_text_or_counts() {
        let text = json!({"choices": [{"text": " a"}], "usage": null});
        assert!(has_text(&text) && usage_of(&text).is_none());
        let end = json!({"choices": [{"text": ""}]});
        assert!(!has_text(&end) && usage_of(&end).is_none());
        let counts = json!({"choices": [], "usage": {"prompt_tokens": 3}});
        assert_eq!(usage_of(&counts).unwrap()["prompt_tokens"], 3);
    }
}
