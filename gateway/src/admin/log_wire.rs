//! The JSON types of the log, and the parts of a line. Pure.

use chrono::DateTime;
use ipc_proto::supervisor::{LogLine, LogLines};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const LEVELS: [&str; 5] = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];

/// The query of the log.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    /// The number of the last line that the client has.
    pub after: Option<u64>,
    /// Lines at most.
    pub limit: Option<u32>,
}

/// Lines of the log.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LogLines")]
pub struct Lines {
    /// The oldest first.
    pub lines: Vec<Line>,
    /// When the numbers began, in milliseconds since the epoch: each run of the server has its own.
    pub since_ms: u64,
    /// Whether lines behind `after` are no longer kept.
    pub has_gap: bool,
}

/// A line of the log.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "LogLine")]
pub struct Line {
    /// Its number in this run of the server.
    pub number: u64,
    /// `supervisor`, `gateway`, `hub`, or the id of a worker's model.
    pub process: String,
    /// Milliseconds since the epoch; null for a line that goes on with the one before.
    pub at_ms: Option<i64>,
    /// ERROR, WARN, INFO, DEBUG or TRACE; null likewise.
    pub level: Option<&'static str>,
    /// The rest.
    pub text: String,
}

impl From<LogLines> for Lines {
    fn from(log: LogLines) -> Self {
        Self {
            lines: log.lines.into_iter().map(Line::from).collect(),
            since_ms: log.since_ms,
            has_gap: log.has_gap,
        }
    }
}

impl From<LogLine> for Line {
    fn from(line: LogLine) -> Self {
        let LogLine { number, process, text } = line;
        match head(&text) {
            Some((at_ms, level, rest)) => {
                Self { number, process, at_ms: Some(at_ms), level: Some(level), text: rest.to_owned() }
            }
            None => Self { number, process, at_ms: None, level: None, text },
        }
    }
}

/// The time, the level and the rest of a line, as tracing writes it.
fn head(text: &str) -> Option<(i64, &'static str, &str)> {
    let (time, rest) = text.split_once(' ')?;
    let at = DateTime::parse_from_rfc3339(time).ok()?.timestamp_millis();
    let (level, rest) = rest.trim_start().split_once(' ')?;
    let level = *LEVELS.iter().find(|known| **known == level)?;
    Some((at, level, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_is_taken_apart() {
        let line =
            |text: &str| Line::from(LogLine { number: 7, process: "gateway".into(), text: text.into() });
        let parts = line("2026-11-29T08:00:00.250000Z  WARN gateway::server: too slow seconds=3");
        assert_eq!((parts.at_ms, parts.level), (Some(1_795_939_200_250), Some("WARN")));
        assert_eq!(parts.text, "gateway::server: too slow seconds=3");
        for text in [
            "thread 'main' panicked at src/a.rs:1:",
            "",
            "2026-11-29T08:00:00Z",
            "2026-11-29T08:00:00Z NOTE x",
        ] {
            let whole = line(text);
            assert_eq!((whole.at_ms, whole.level, &*whole.text, whole.number), (None, None, text, 7));
        }
    }
}
