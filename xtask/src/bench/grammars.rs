//! `cargo xtask bench grammars`: how much requests with ambiguous grammars slow two plain streams, and how long they live.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};

use super::client::{self, Prompt};
use super::servers::Server;
use super::{MODEL, machine};
use crate::{demo, models, paths, setup};

/// Options of `cargo xtask bench grammars`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Rounds; the times between tokens of all of them count together.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Tokens of each plain stream.
    #[arg(long, default_value_t = 400)]
    tokens: u32,
    /// Requests with an ambiguous grammar at once.
    #[arg(long, default_value_t = 6)]
    grammars: usize,
}

const PORT: u16 = 10256;
const STREAMS: usize = 2;
/// Each text has more readings than the square of its length.
const AMBIGUOUS: &str = "start: text\ntext: text text | text text text | /[a-z ,.]/\n";
/// A grammar as clients send it.
const USUAL: &str = r#"{"type": "object", "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["name", "tags"], "additionalProperties": false}"#;

/// Times between tokens, in milliseconds, and the ends of the constrained requests.
#[derive(Default)]
struct Figures {
    before: Vec<f64>,
    during: Vec<f64>,
    lives: Vec<Duration>,
    refused: usize,
}

/// Measures, and writes bench/results/grammars.md.
///
/// # Errors
/// When a server cannot be started or a request fails.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    setup::run()?;
    demo::build()?;
    let fp32 = paths::mlx().join("models-fp32");
    models::fetch_as("smollm2", "F32", &fp32)?;
    let server = Server::mlxd(PORT, &fp32, false)?;
    client::send_all(&server, &[Prompt::new(usize::MAX, 10)], 4)?;
    // Preparing the vocabulary is not part of the comparison.
    constrained(&server, &json!({"guided_json": serde_json::from_str::<Value>(USUAL)?}), 16)?;
    let mut figures = Figures::default();
    for round in 0..arguments.rounds {
        measure(&server, arguments, round, &mut figures)?;
    }
    let speeds = [json!({}), json!({"guided_json": serde_json::from_str::<Value>(USUAL)?})];
    let speeds = speeds.map(|fields| speed(&server, &fields, arguments.rounds));
    let [plain, schema] = speeds;
    super::write("grammars.md", &text(figures, arguments, (plain?, schema?)))
}

fn measure(
    server: &Server,
    arguments: &Arguments,
    round: usize,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let seeds = (0..STREAMS).map(|at| 81_000_000 + round * 10 + at);
    let prompts: Vec<Prompt> = seeds.map(|seed| Prompt::new(seed, 20)).collect();
    let started = || {
        let began = Instant::now();
        let ask = || constrained(server, &json!({"guided_grammar": AMBIGUOUS}), 200);
        let ends: Vec<Ended> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..arguments.grammars).map(|_| scope.spawn(ask)).collect();
            client::join_all(asking)
        })?;
        Ok((began, Instant::now(), ends))
    };
    let (streams, (began, ended, ends)) =
        client::disturb(server, &prompts, arguments.tokens, client::UNTIL_DISTURBED, started)?;
    for pair in streams.iter().flat_map(|stream| stream.texts.windows(2)) {
        let gap = (pair[1] - pair[0]).as_secs_f64() * 1e3;
        if pair[1] < began {
            figures.before.push(gap);
        } else if pair[0] > began && pair[1] < ended {
            figures.during.push(gap);
        }
    }
    let refused = ends.iter().filter(|end| end.status == 400).count();
    let longest = ends.iter().map(|end| end.life).max().unwrap_or_default();
    eprintln!("  round {round}: {refused} of {} refused, the last after {longest:.1?}", ends.len());
    figures.refused += refused;
    figures.lives.extend(ends.into_iter().map(|end| end.life));
    Ok(())
}

/// A request that has ended.
struct Ended {
    status: u16,
    life: Duration,
    tokens: u64,
}

/// Sends a request with these fields.
fn constrained(server: &Server, fields: &Value, tokens: u32) -> anyhow::Result<Ended> {
    let mut body =
        json!({"model": MODEL, "prompt": "Once upon a time", "max_tokens": tokens, "temperature": 0});
    if let (Some(body), Some(fields)) = (body.as_object_mut(), fields.as_object()) {
        body.extend(fields.clone());
    }
    let start = Instant::now();
    let request = server.agent.post(format!("{}/v1/completions", server.base));
    let request = request.config().http_status_as_error(false).build();
    let mut response = request.header("content-type", "application/json").send(body.to_string())?;
    let status = response.status().as_u16();
    let answer: Value = serde_json::from_str(&response.body_mut().read_to_string()?)?;
    let tokens = answer.pointer("/usage/completion_tokens").and_then(Value::as_u64).unwrap_or(0);
    Ok(Ended { status, life: start.elapsed(), tokens })
}

/// Tokens a second of one request: the median of a few.
fn speed(server: &Server, fields: &Value, rounds: usize) -> anyhow::Result<f64> {
    let mut fields = fields.clone();
    fields["ignore_eos"] = json!(true);
    let speeds = (0..rounds.max(3)).map(|_| {
        let one = constrained(server, &fields, 1)?;
        let all = constrained(server, &fields, 97)?;
        ensure!(all.tokens > 32, "{} tokens are too few to measure: {}", all.tokens, all.status);
        Ok((all.tokens - 1) as f64 / all.life.saturating_sub(one.life).as_secs_f64())
    });
    Ok(client::median(speeds.collect::<anyhow::Result<_>>()?))
}

fn text(figures: Figures, arguments: &Arguments, (plain, schema): (f64, f64)) -> String {
    let Figures { before, during, lives, refused } = figures;
    let rows = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)].map(|(name, part)| {
        let (before, during) = (percentile(&before, part), percentile(&during, part));
        format!("| {name} | {before:.1} | {during:.1} | {:.2} |\n", during / before)
    });
    let longest = lives.iter().max().copied().unwrap_or_default();
    format!(
        "# Ambiguous grammars beside two plain streams\n\n`cargo xtask bench grammars`, {}, on {}.\n\n\
         SmolLM2-135M-Instruct in fp32, two streams of {} tokens (`/v1/completions`, greedy). After six seconds {} requests come whose \
         grammar has very many readings of each text. {} rounds together; aim for p95: 1.5 times.\n\n\
         | time between tokens, ms | undisturbed ({}) | beside them ({}) | ratio |\n|---|---|---|---|\n{}\n\
         {refused} of {} such requests end with a 400. The longest lives {:.1} s.\n\n\
         One request alone: {plain:.1} tokens a second without a constraint, {schema:.1} under a JSON schema.\n",
        machine::today(),
        machine::description(),
        arguments.tokens,
        arguments.grammars,
        arguments.rounds,
        before.len(),
        during.len(),
        rows.concat(),
        lives.len(),
        longest.as_secs_f64(),
    )
}

fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len() as f64 * part) as usize).copied().unwrap_or(f64::NAN)
}
