//! Parses `keep_alive` in Ollama's form: seconds or a Go duration such as `1h30m`. Negative values mean forever.

use ipc_proto::supervisor;
use ipc_proto::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;

/// Units of a Go duration, in seconds. Longer names come before their prefixes.
const UNITS: [(&str, f64); 6] =
    [("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
const MAX_BYTES: usize = 64;

/// The time until an idle model is unloaded, in Ollama's form.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a number of seconds or a text such as \"5m\"")]
pub enum KeepAlive {
    /// Seconds; negative means forever.
    Seconds(f64),
    /// Numbers with units, such as `1h30m`.
    Text(String),
}

/// Converts `keep_alive` to the neutral form.
///
/// # Errors
/// Returns an error for an invalid duration.
pub fn parse(keep_alive: Option<KeepAlive>) -> Result<Option<supervisor::KeepAlive>> {
    let seconds = match keep_alive {
        None => return Ok(None),
        Some(KeepAlive::Seconds(seconds)) => Some(seconds),
        Some(KeepAlive::Text(text)) => parse_seconds(&text),
    };
    let text = "keep_alive must be a number of seconds, or a text such as \"5m\" or \"1h30m\"; below 0 it is for ever";
    let seconds =
        seconds.filter(|seconds| seconds.is_finite()).ok_or_else(|| Error::invalid("keep_alive", text))?;
    // Rounded up, so that only 0 becomes 0. More than 136 years become forever.
    Ok(Some(match seconds.ceil() {
        _ if seconds < 0.0 => supervisor::KeepAlive::Forever,
        whole if whole > f64::from(u32::MAX) => supervisor::KeepAlive::Forever,
        whole => supervisor::KeepAlive::Seconds(whole as u32),
    }))
}

fn parse_seconds(text: &str) -> Option<f64> {
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
