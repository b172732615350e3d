//! The figures of a run: as a file, as a table, and beside those of an earlier run. Pure.

use serde::{Deserialize, Serialize};

use crate::table;

/// Changes below this share are noise on most machines, and shown without a mark.
const NOISE: f64 = 0.05;

/// A run.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    /// Seconds since the epoch.
    created: u64,
    /// The version of mlxd.
    mlxd: String,
    system: String,
    /// Bytes.
    machine_memory: u64,
    model: String,
    /// Tokens of each answer.
    tokens: u32,
    rows: Vec<Row>,
}

/// The figures for one length of prompts and one number of streams.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    /// The tokens of a prompt that were asked for.
    pub(super) context: u32,
    pub(super) streams: u32,
    /// The tokens of a prompt as the server counts them, on average.
    pub(super) prompt_tokens: u32,
    /// Time to the first token, the median of all streams.
    pub(super) ttft_ms: f64,
    pub(super) slowest_ttft_ms: f64,
    /// Tokens of all prompts, until each has its first token.
    pub(super) prefill_per_second: f64,
    /// Tokens of one stream, the median.
    pub(super) decode_per_second: f64,
    /// Tokens of all streams together.
    pub(super) all_per_second: f64,
    /// Memory of the model's processes afterwards, as the system counts it.
    pub(super) footprint_bytes: u64,
    /// Memory that the server grants them.
    pub(super) lease_bytes: u64,
}

impl Report {
    pub(super) fn new(model: String, tokens: u32, rows: Vec<Row>, created: u64) -> Self {
        Self {
            created,
            mlxd: env!("CARGO_PKG_VERSION").to_owned(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            machine_memory: supervisor::physical_memory(),
            model,
            tokens,
            rows,
        }
    }

    /// Reads a report's file.
    ///
    /// # Errors
    /// Another document.
    pub(super) fn parse(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    pub(super) fn json(&self) -> std::io::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// A name for its file, from model and time.
    pub(super) fn file_name(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') { c } else { '_' };
        format!("{}-{}.json", self.model.chars().map(plain).collect::<String>(), self.created)
    }

    /// A table. With an earlier run, changes of at least five percent stand behind the figures.
    pub(super) fn table(&self, before: Option<&Self>) -> String {
        let heads =
            ["PROMPT", "STREAMS", "TTFT", "PREFILL", "DECODE", "ALL", "MEMORY", "LEASE"].map(String::from);
        let mut rows = vec![heads];
        for row in &self.rows {
            let same = |other: &&Row| (other.context, other.streams) == (row.context, row.streams);
            let old = before.and_then(|before| before.rows.iter().find(same));
            let figure =
                |text: String, of: fn(&Row) -> f64| match old.and_then(|old| change(of(old), of(row))) {
                    Some(change) => format!("{text} ({change})"),
                    None => text,
                };
            rows.push([
                row.prompt_tokens.to_string(),
                row.streams.to_string(),
                figure(format!("{} ms", row.ttft_ms), |row| row.ttft_ms),
                figure(format!("{}/s", row.prefill_per_second), |row| row.prefill_per_second),
                figure(format!("{}/s", row.decode_per_second), |row| row.decode_per_second),
                figure(format!("{}/s", row.all_per_second), |row| row.all_per_second),
                figure(table::size(row.footprint_bytes), |row| row.footprint_bytes as f64),
                table::size(row.lease_bytes),
            ]);
        }
        let head = format!("{}, {} tokens an answer, mlxd {}\n", self.model, self.tokens, self.mlxd);
        let compared = before.map_or_else(String::new, |before| {
            format!("in brackets: change since {} on mlxd {}\n", before.model, before.mlxd)
        });
        head + &table::aligned(&rows) + &compared
    }
}

/// A change in percent. `None` if it is noise, or there was nothing before.
fn change(before: f64, after: f64) -> Option<String> {
    let change = (after - before) / before;
    (before > 0.0 && change.abs() >= NOISE).then(|| format!("{:+.0} %", change * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(context: u32, streams: u32, rate: f64) -> Row {
        Row {
            context,
            streams,
            prompt_tokens: context + 1,
            ttft_ms: 100.5,
            slowest_ttft_ms: 120.0,
            prefill_per_second: 900.0,
            decode_per_second: rate,
            all_per_second: rate * f64::from(streams),
            footprint_bytes: 700 << 20,
            lease_bytes: 2 << 30,
        }
    }

    fn report(rows: Vec<Row>) -> Report {
        Report::new("org/m".into(), 64, rows, 1_796_000_000)
    }

    #[test]
    fn table_has_a_line_for_each_row() {
        let text = report(vec![row(128, 1, 30.0), row(128, 4, 20.0)]).table(None);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(text.starts_with("org/m, 64 tokens an answer, mlxd "), "{text}");
        let second = ["129", "4", "100.5", "ms", "900/s", "20/s", "80/s", "700", "MiB", "2.0", "GiB"];
        assert_eq!((lines.len(), &lines[3][..]), (4, &second[..]));
    }

    #[test]
    fn comparison_marks_changes_and_not_noise() {
        let before = report(vec![row(128, 1, 30.0)]);
        let text = report(vec![row(128, 1, 36.0), row(4096, 1, 9.0)]).table(Some(&before));
        assert!(
            text.contains("36/s (+20 %)") && text.contains("100.5 ms  ") && text.contains("9/s  "),
            "{text}"
        );
        assert!(
            text.ends_with(&format!("change since org/m on mlxd {}\n", env!("CARGO_PKG_VERSION"))),
            "{text}"
        );
        assert_eq!(change(100.0, 104.9), None);
        assert_eq!(change(100.0, 50.0).as_deref(), Some("-50 %"));
        assert_eq!(change(0.0, 50.0), None);
    }

    #[test]
    fn file_is_read_again_and_others_are_refused() {
        let report = report(vec![row(128, 1, 30.0)]);
        assert_eq!(Report::parse(&report.json().unwrap()).unwrap(), report);
        assert_eq!(report.file_name(), "org_m-1796000000.json");
        assert!(Report::parse("{\"model\": \"m\"}").is_err());
    }
}
