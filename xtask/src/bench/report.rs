//! The table.

use std::fmt::Write;

use super::{Overhead, Prefix, Row, machine};

/// All figures of one run.
pub(super) struct Report {
    pub(super) rows: Vec<Row>,
    /// Of each server.
    pub(super) prefixes: Vec<Prefix>,
    pub(super) overhead: Overhead,
    /// Bytes a second.
    pub(super) bandwidth: f64,
    /// Bytes of the model's weights.
    pub(super) weights: u64,
    pub(super) rounds: usize,
    pub(super) tokens: u32,
}

impl Report {
    /// As Markdown.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let Self { rounds, tokens, .. } = self;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "# Main job: mlxd beside mlx-lm\n\n`cargo xtask bench`, {}, on {}.\n\n\
             SmolLM2-135M-Instruct in fp32 over HTTP (`/v1/completions`, streamed, greedy), prompts of about 130 tokens, \
             {tokens} tokens each; both servers in one run, asked in turn, on Linux with the same BLAS; medians of {rounds} \
             rounds. Ratios count; times are this machine's.\n",
            machine::today(),
            machine::description(),
        );
        text += "Decode: tokens after the first over the time since the first, summed over the streams. Whole: all tokens over the \
                 time from the question to the last of them.\n\n\
                 | streams | decode tok/s: mlxd | mlx-lm | ratio | whole tok/s: mlxd | mlx-lm | ratio | TTFT ms: mlxd | mlx-lm \
                 | ratio |\n|---|---|---|---|---|---|---|---|---|---|\n";
        for row in &self.rows {
            let [ours, theirs] = &row.servers[..] else { continue };
            let _ = writeln!(
                text,
                "| {} | {:.1} | {:.1} | {:.2} | {:.1} | {:.1} | {:.2} | {:.0} | {:.0} | {:.2} |",
                row.streams,
                ours.decode,
                theirs.decode,
                ours.decode / theirs.decode,
                ours.whole,
                theirs.whole,
                ours.whole / theirs.whole,
                ours.ttft_ms,
                theirs.ttft_ms,
                ours.ttft_ms / theirs.ttft_ms,
            );
        }
        self.roofline(&mut text);
        self.prefix(&mut text);
        self.overhead(&mut text);
        text
    }

    fn roofline(&self, text: &mut String) {
        let possible = self.bandwidth / self.weights as f64;
        let Some(ours) = self.rows.first().and_then(|row| row.servers.first()) else { return };
        let _ = writeln!(
            text,
            "\nRoofline for one stream: {:.1} GB/s of memory reads (all cores) over {:.0} MB of weights are {possible:.1} \
             tok/s; mlxd reaches {:.0} %.",
            self.bandwidth / 1e9,
            self.weights as f64 / 1e6,
            100.0 * ours.decode / possible,
        );
    }

    fn prefix(&self, text: &mut String) {
        let [ours, theirs] = &self.prefixes[..] else { return };
        text.push_str(
            "\n## A common beginning of about 1,000 tokens\n\n\
             | time to the first token, ms | mlxd | mlx-lm |\n|---|---|---|\n",
        );
        for (what, ours, theirs) in [
            ("first request", ours.cold, theirs.cold),
            ("next request", ours.cached, theirs.cached),
            ("eight at once, beginning new: the slowest", ours.together, theirs.together),
        ] {
            let _ = writeln!(text, "| {what} | {ours:.0} | {theirs:.0} |");
        }
    }

    fn overhead(&self, text: &mut String) {
        let Overhead { ready_ms, supervisor_mib, gateway_mib, ttft_ms, token_ms } = &self.overhead;
        let _ = writeln!(
            text,
            "\n## Around the model\n\nWith a worker that generates without computing (gateway, IPC, scheduler, tokeniser and \
             the client itself):\n\n\
             | figure | measured | aim |\n|---|---|---|\n\
             | time to the first token | {ttft_ms:.2} ms | ≤ 1 ms |\n\
             | time for each further token | {token_ms:.4} ms | ≤ 0.1 ms |\n\
             | `mlxd serve` until it answers | {ready_ms:.0} ms | ≤ 300 ms |\n\
             | idle resident memory, supervisor | {supervisor_mib:.1} MiB | ≤ 15 MiB |\n\
             | idle resident memory, gateway | {gateway_mib:.1} MiB | ≤ 40 MiB |"
        );
    }
}
