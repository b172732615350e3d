//! The tables of `cargo xtask bench serve`, with the engine's targets beside the figures.

use std::fmt::Write;

use super::serve::{Beside, Cell, Results};
use super::{client, machine};

/// As Markdown.
pub(super) fn text(results: &Results) -> String {
    let Results { tokens, rounds, .. } = results;
    let mut text = format!(
        "# Serving: mlxd beside mlx-lm\n\n`cargo xtask bench serve`, {}, on {}.\n\n\
         SmolLM2-135M-Instruct in fp32 over HTTP (`/v1/completions`, streamed, greedy), {tokens} tokens each, all servers in one run \
         and asked in turn; medians of {rounds} rounds (long prompts: {}). mlx-lm runs with OpenBLAS, and once more with the BLAS shim \
         of mlxd's worker. Ratios count; times are this machine's, and it is shared.\n",
        machine::today(),
        machine::description(),
        (rounds / 3).max(1),
    );
    for words in prompts(&results.cells) {
        table(&mut text, results, words);
    }
    roofline(&mut text, results);
    prefixes(&mut text, results);
    let d = &results.disturbed;
    line(
        &mut text,
        &format!(
            "\n## A prompt of 4,000 tokens beside four streams\n\nMedian time between tokens of the streams: {:.1} ms before, {:.1} ms \
             while it is taken in ({:.2} times, aim ≤ 2); its first token comes after {:.1} s.",
            d.before_p50,
            d.during_p50,
            d.during_p50 / d.before_p50,
            d.ttft_ms / 1e3,
        ),
    );
    text
}

fn line(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

/// The lengths of prompt, shortest first.
fn prompts(cells: &[Cell]) -> Vec<usize> {
    let mut words: Vec<usize> = cells.iter().map(|cell| cell.prompt_words).collect();
    words.sort_unstable();
    words.dedup();
    words
}

fn table(text: &mut String, results: &Results, words: usize) {
    let tokens = if words < 500 { "128" } else { "1,000" };
    line(
        text,
        &format!(
            "\n## Prompts of about {tokens} tokens\n\n\
             Decode: tokens after the first over the time since the first, summed over the streams. Whole: all tokens over the time from the \
             question to the last of them. TTFT: median of the streams. ITL: all times between texts.\n\n\
             | streams | server | decode tok/s | whole tok/s | TTFT ms | ITL p50 ms | ITL p95 ms | mlxd's decode, whole |\n|---|---|---|---|---|---|---|---|"
        ),
    );
    for cell in results.cells.iter().filter(|cell| cell.prompt_words == words) {
        let ours = &cell.servers[0];
        for (name, m) in results.names.iter().zip(&cell.servers) {
            let ratio = format!("{:.2}x, {:.2}x", ours.decode / m.decode, ours.whole / m.whole);
            line(
                text,
                &format!(
                    "| {} | {name} | {:.1} | {:.1} | {:.0} | {:.1} | {:.1} | {} |",
                    cell.streams,
                    m.decode,
                    m.whole,
                    m.ttft_ms,
                    m.itl_p50_ms,
                    m.itl_p95_ms,
                    if *name == results.names[0] { "" } else { &ratio },
                ),
            );
        }
    }
}

fn roofline(text: &mut String, results: &Results) {
    let weights = results.weights as f64;
    let shares = results.roofline.iter().map(|beside| beside.decode * weights / beside.bandwidth);
    let share = client::median(shares.collect());
    line(
        text,
        &format!(
            "\nRoofline for one stream: {:.0} MB of weights are read for each token. In {} streams, one after the other, mlxd read \
             {:.0} % of what a plain pass over memory on all cores read just before and after (median; aim 70 %):\n",
            weights / 1e6,
            results.roofline.len(),
            100.0 * share,
        ),
    );
    line(text, "| memory, GB/s | its tokens/s | mlxd, tokens/s | share |\n|---|---|---|---|");
    for Beside { decode, bandwidth } in &results.roofline {
        let possible = bandwidth / weights;
        let share = 100.0 * decode / possible;
        line(text, &format!("| {:.1} | {possible:.1} | {decode:.1} | {share:.0} % |", bandwidth / 1e9));
    }
    let of = |streams: usize| results.cells.iter().find(|cell| cell.streams == streams);
    let Some(one) = of(1).map(|cell| &cell.servers[0]) else { return };
    if let Some(eight) = of(8).map(|cell| &cell.servers[0]) {
        line(
            text,
            &format!(
                "\nEight streams decode {:.2} times as fast as one (aim 2.5).",
                eight.decode / one.decode
            ),
        );
    }
}

fn prefixes(text: &mut String, results: &Results) {
    line(
        text,
        "\n## A common beginning of about 1,000 tokens\n\n\
         | server | first request, TTFT ms | next request | of the first | eight at once, beginning new: slowest | of the first |\n\
         |---|---|---|---|---|---|",
    );
    for (name, p) in results.names.iter().zip(&results.prefixes) {
        line(
            text,
            &format!(
                "| {name} | {:.0} | {:.0} | {:.1} % | {:.0} | {:.2}x |",
                p.cold,
                p.cached,
                100.0 * p.cached / p.cold,
                p.together,
                p.together / p.cold
            ),
        );
    }
}
