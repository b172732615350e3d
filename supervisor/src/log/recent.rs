//! The last lines of the log, for pages that show it. A server in a terminal has no file of it.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use ipc_proto::supervisor::{LogLine, LogLines};

/// Lines that are kept.
const MAX_LINES: usize = 5000;
/// Bytes of their texts.
const MAX_BYTES: usize = 2 << 20;
/// The process whose lines have no name before them.
const SUPERVISOR: &str = "supervisor";

/// The kept lines.
#[derive(Debug)]
pub(super) struct Recent {
    /// Milliseconds since the epoch.
    since_ms: u64,
    lines: VecDeque<LogLine>,
    /// The number of the last line.
    last: u64,
    bytes: usize,
}

impl Recent {
    pub(super) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { since_ms: since.as_millis() as u64, lines: VecDeque::new(), last: 0, bytes: 0 }
    }

    /// Keeps the lines of a text, and forgets the oldest ones beyond the limits.
    pub(super) fn push(&mut self, text: &[u8]) {
        for line in String::from_utf8_lossy(text).lines() {
            let (process, text) = split(line);
            self.last += 1;
            self.bytes += text.len();
            self.lines.push_back(LogLine {
                number: self.last,
                process: process.to_owned(),
                text: text.to_owned(),
            });
            while self.lines.len() > MAX_LINES || self.bytes > MAX_BYTES {
                let Some(oldest) = self.lines.pop_front() else { break };
                self.bytes -= oldest.text.len();
            }
        }
    }

    /// See [`ipc_proto::supervisor::Supervisor::logs`]. A number that no line has yet is of another run: the last lines answer it.
    pub(super) fn behind(&self, after: Option<u64>, most: usize) -> LogLines {
        let first = self.last - self.lines.len() as u64;
        let start = match after {
            Some(after) if after <= self.last => after.saturating_sub(first) as usize,
            _ => self.lines.len().saturating_sub(most),
        };
        LogLines {
            since_ms: self.since_ms,
            lines: self.lines.iter().skip(start).take(most).cloned().collect(),
            has_gap: after.is_some_and(|after| after < first),
        }
    }
}

/// The process that wrote a line, and the rest. The supervisor writes `[name] ` before its children's lines.
fn split(line: &str) -> (&str, &str) {
    let named = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    named.unwrap_or((SUPERVISOR, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &LogLines) -> Vec<&str> {
        lines.lines.iter().map(|line| &*line.text).collect()
    }

    #[test]
    fn lines_have_their_process_and_a_number() {
        let mut recent = Recent::new();
        recent.push(b"starts\n");
        recent.push(b"[org/m] loads\n[gateway] listens\n");
        let all = recent.behind(None, 9);
        let processes: Vec<_> = all.lines.iter().map(|line| (line.number, &*line.process)).collect();
        assert_eq!(processes, [(1, "supervisor"), (2, "org/m"), (3, "gateway")]);
        assert_eq!(texts(&all), ["starts", "loads", "listens"]);
        assert!(all.since_ms > 0 && !all.has_gap);
    }

    #[test]
    fn reader_goes_on_behind_its_last_line() {
        let mut recent = Recent::new();
        assert_eq!(recent.behind(None, 9).lines, []);
        for number in 1..=5 {
            recent.push(format!("{number}\n").as_bytes());
        }
        assert_eq!(texts(&recent.behind(None, 2)), ["4", "5"]);
        assert_eq!(texts(&recent.behind(Some(2), 2)), ["3", "4"]);
        assert_eq!(texts(&recent.behind(Some(5), 2)), [""; 0]);
        assert_eq!(texts(&recent.behind(Some(99), 1)), ["5"], "a number of another run");
    }

    #[test]
    fn oldest_lines_are_forgotten_and_missed() {
        let mut recent = Recent::new();
        for number in 1..=MAX_LINES + 3 {
            recent.push(format!("{number}\n").as_bytes());
        }
        let behind = recent.behind(Some(1), 1);
        assert!(behind.has_gap && texts(&behind) == ["4"], "{behind:?}");
        assert!(!recent.behind(Some(3), 1).has_gap);
        recent.push("x".repeat(MAX_BYTES - 100).as_bytes());
        assert!(recent.lines.len() < 40 && recent.bytes <= MAX_BYTES, "{}", recent.bytes);
    }
}
