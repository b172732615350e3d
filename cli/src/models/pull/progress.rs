//! Shows a download: bars on a terminal, plain lines else, or lines of JSON.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hub::{Event, Progress};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::models::messages::{self, say};
use crate::models::units;

/// Between two plain lines.
const INTERVAL: Duration = Duration::from_secs(5);
const BAR: &str = "{wide_bar} {decimal_bytes}/{decimal_total_bytes}  {decimal_bytes_per_sec}  {eta}  {msg}";

/// Prints a line of JSON.
pub(super) fn print(value: &Value) {
    let _ = writeln!(std::io::stdout().lock(), "{value}");
}

/// The message for an event, if it needs one.
fn sentence(event: &Event) -> Option<String> {
    match event {
        Event::Waiting(what) => Some(format!("another program downloads {what}; waiting for it")),
        Event::Planned { files, bytes, present, .. } if *present == 0 => {
            Some(format!("{files} files, {}", units::bytes(*bytes)))
        }
        Event::Planned { files, bytes, present, .. } => Some(format!(
            "{files} files, {}, of which {} are here",
            units::bytes(*bytes),
            units::bytes(*present)
        )),
        Event::Retrying { path, cause, after } => {
            Some(format!("{path}: {cause}; again in {}", units::duration(*after)))
        }
        Event::Restarted { path, .. } => {
            Some(format!("{path}: the earlier download is damaged; it begins again"))
        }
        Event::Received { .. } | Event::Completed { .. } => None,
    }
}

/// A bar on a terminal.
pub(super) struct Bars {
    bar: ProgressBar,
}

impl Bars {
    pub(super) fn new() -> Self {
        Self { bar: messages::bar(BAR) }
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bars {
    fn event(&self, event: Event) {
        if let Some(sentence) = sentence(&event) {
            self.bar.suspend(|| say(&sentence));
        }
        match event {
            Event::Planned { bytes, present, .. } => {
                self.bar.set_length(bytes);
                self.bar.set_position(present);
                // Bytes from an earlier download did not come at this rate.
                self.bar.reset_eta();
            }
            Event::Received { path, bytes } => {
                self.bar.inc(bytes);
                self.bar.set_message(path);
            }
            Event::Restarted { lost, .. } => self.bar.set_position(self.bar.position().saturating_sub(lost)),
            Event::Waiting(_) | Event::Completed { .. } | Event::Retrying { .. } => {}
        }
    }
}

/// Plain lines.
pub(super) struct Lines {
    state: Mutex<State>,
}

struct State {
    total: u64,
    there: u64,
    /// Bytes there at the time of the last line.
    said: u64,
    last: Instant,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self { state: Mutex::new(State { total: 0, there: 0, said: 0, last: Instant::now() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The line for now, if it is time for one.
    fn line(&mut self, now: Instant) -> Option<String> {
        let passed = now.saturating_duration_since(self.last);
        if passed < INTERVAL {
            return None;
        }
        let rate = (self.there - self.said.min(self.there)) as f64 / passed.as_secs_f64();
        let left = Duration::try_from_secs_f64((self.total - self.there) as f64 / rate.max(1.0)).ok()?;
        (self.last, self.said) = (now, self.there);
        Some(format!(
            "{}% of {}, {}/s, {} left",
            (self.there * 100).checked_div(self.total).unwrap_or(100),
            units::bytes(self.total),
            units::bytes(rate as u64),
            units::duration(left)
        ))
    }
}

impl Progress for Lines {
    fn event(&self, event: Event) {
        if let Some(sentence) = sentence(&event) {
            say(&sentence);
        }
        let mut state = self.state();
        match event {
            Event::Planned { bytes, present, .. } => {
                (state.total, state.there, state.said) = (bytes, present, present);
            }
            Event::Received { bytes, .. } => state.there = (state.there + bytes).min(state.total),
            Event::Restarted { lost, .. } => state.there = state.there.saturating_sub(lost),
            Event::Waiting(_) | Event::Completed { .. } | Event::Retrying { .. } => {}
        }
        let line = state.line(Instant::now());
        drop(state);
        if let Some(line) = line {
            say(&line);
        }
    }
}

/// A line of JSON for each event.
pub(super) struct JsonLines;

impl Progress for JsonLines {
    fn event(&self, event: Event) {
        print(&to_json(&event));
    }
}

fn to_json(event: &Event) -> Value {
    match event {
        Event::Waiting(what) => json!({"event": "waiting", "for": what}),
        Event::Planned { commit, files, bytes, present, .. } => {
            json!({"event": "planned", "commit": commit, "files": files, "bytes": bytes, "present": present})
        }
        Event::Received { path, bytes } => json!({"event": "received", "file": path, "bytes": bytes}),
        Event::Completed { path, bytes } => json!({"event": "completed", "file": path, "bytes": bytes}),
        Event::Retrying { path, cause, after } => {
            json!({"event": "retrying", "file": path, "cause": cause, "after_ms": after.as_millis() as u64})
        }
        Event::Restarted { path, lost } => json!({"event": "restarted", "file": path, "lost": lost}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_has_share_rate_and_rest_every_few_seconds() {
        let start = Instant::now();
        let mut state = State { total: 10_000_000, there: 2_000_000, said: 1_000_000, last: start };
        assert_eq!(state.line(start + Duration::from_secs(4)), None);
        let line = state.line(start + Duration::from_secs(5)).unwrap();
        assert_eq!(line, "20% of 10.0 MB, 200.0 kB/s, 40.0 s left");
        assert_eq!(state.line(start + Duration::from_secs(6)), None);
    }

    #[test]
    fn plan_says_what_is_here() {
        let (id, commit) = (String::new(), String::new());
        let plan = |present| {
            let (id, commit) = (id.clone(), commit.clone());
            Event::Planned { id, commit, files: 2, bytes: 5_000_000, present }
        };
        assert_eq!(sentence(&plan(0)).unwrap(), "2 files, 5.0 MB");
        assert_eq!(sentence(&plan(1_000_000)).unwrap(), "2 files, 5.0 MB, of which 1.0 MB are here");
    }
}
