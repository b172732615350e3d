//! `keep_alive`, as Ollama has it: seconds, or a text with units as Go writes durations; below 0 for ever.

use ipc_proto::supervisor;
use ipc_proto::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;

/// Units of a text, in seconds.
const UNITS: [(&str, f64); 6] =
    [("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
const MAX_BYTES: usize = 64;

/// How long an idle model stays, as Ollama has it.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a number of seconds or a text such as \"5m\"")]
pub enum KeepAlive {
    /// Seconds; below 0 for ever.
    Seconds(f64),
    /// Numbers with units: `1h30m`.
    Text(String),
}

/// The neutral duration.
///
/// # Errors
/// When it is no duration.
pub fn checked(asked: Option<KeepAlive>) -> Result<Option<supervisor::KeepAlive>> {
    let seconds = match asked {
        None => return Ok(None),
        Some(KeepAlive::Seconds(seconds)) => Some(seconds),
        Some(KeepAlive::Text(text)) => parse(&text),
    };
    let text = "keep_alive must be a number of seconds, or a text such as \"5m\" or \"1h30m\"; below 0 it is for ever";
    let seconds =
        seconds.filter(|seconds| seconds.is_finite()).ok_or_else(|| Error::invalid("keep_alive", text))?;
    // Rounded up: only 0 is 0. What is longer than 136 years is for ever.
    Ok(Some(match seconds.ceil() {
        _ if seconds < 0.0 => supervisor::KeepAlive::Forever,
        whole if whole > f64::from(u32::MAX) => supervisor::KeepAlive::Forever,
        whole => supervisor::KeepAlive::Seconds(whole as u32),
    }))
}

fn parse(text: &str) -> Option<f64> {
    if text.len() > MAX_BYTES {
        return None;
    }
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let (sign, mut rest) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let (unit, factor) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        seconds += number.parse::<f64>().ok()? * factor;
        rest = &after[unit.len()..];
    }
    Some(sign * seconds)
}

#[cfg(test)]
mod tests;
