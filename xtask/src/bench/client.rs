//! Sends requests as a streaming client does, and times the pieces.

use std::io::{BufRead, BufReader};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::servers::Server;

/// Time for the prompts of running streams, and for some undisturbed tokens.
pub(super) const UNTIL_DISTURBED: Duration = Duration::from_secs(6);

/// A text that differs for each seed.
#[derive(Debug, Clone)]
pub(super) struct Prompt(String);

/// The figures of one batch of simultaneous requests.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    /// Tokens after the first over the time since the first, of all streams together.
    pub(super) decode: f64,
    /// All tokens over the time from the question to the last of them.
    pub(super) whole: f64,
    /// Median of the streams' times to the first text.
    pub(super) ttft_ms: f64,
    /// The longest of them.
    pub(super) last_ttft_ms: f64,
    /// Median of the streams' mean times between tokens.
    pub(super) token_ms: f64,
    /// Median of all times between texts.
    pub(super) itl_p50_ms: f64,
    /// Their 95th percentile.
    pub(super) itl_p95_ms: f64,
}

impl Prompt {
    pub(super) fn new(seed: usize, words: usize) -> Self {
        const WORDS: [&str; 12] = [
            "river", "stone", "light", "winter", "garden", "letter", "window", "silver", "morning", "paper",
            "forest", "signal",
        ];
        let word =
            |n: usize| WORDS[(n.wrapping_mul(7919) ^ seed.wrapping_mul(104_729) ^ (n >> 3)) % WORDS.len()];
        let text: Vec<&str> = (0..words).map(word).collect();
        Self(format!("Story {seed}: {}. Once upon a time", text.join(" ")))
    }

    /// A text whose first `words` words are those of every other of this `seed`.
    pub(super) fn sharing(seed: usize, words: usize, own: usize) -> Self {
        let Self(beginning) = Self::new(seed, words);
        Self(format!("{beginning}. The answer to question {own} of {} is", own * own + seed))
    }
}

/// The times of one stream.
pub(super) struct Stream {
    pub(super) asked: Instant,
    /// Arrival of each text; never empty.
    pub(super) texts: Vec<Instant>,
    tokens: u64,
}

impl Stream {
    /// Arrival of the first text.
    pub(super) fn first(&self) -> Instant {
        self.texts[0]
    }

    fn last(&self) -> Instant {
        self.texts[self.texts.len() - 1]
    }

    /// Milliseconds from each text to the next.
    pub(super) fn gaps(&self) -> impl Iterator<Item = f64> {
        self.texts.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3)
    }
}

/// Sends one request for each prompt at once and waits for all.
pub(super) fn send_all(server: &Server, prompts: &[Prompt], tokens: u32) -> anyhow::Result<Measured> {
    let streams: Vec<Stream> = std::thread::scope(|scope| {
        let asking: Vec<_> =
            prompts.iter().map(|prompt| scope.spawn(|| stream(server, prompt, tokens))).collect();
        join_all(asking)
    })?;
    Ok(measure(&streams))
}

/// Requests `tokens` tokens for each of `prompts`. When each has its first, requests `few` for `other`. Returns all times.
pub(super) fn send_during(
    server: &Server,
    prompts: &[Prompt],
    tokens: u32,
    other: &Prompt,
    few: u32,
) -> anyhow::Result<(Vec<Stream>, Stream)> {
    disturb(server, prompts, tokens, UNTIL_DISTURBED, || stream(server, other, few))
}

/// Requests `tokens` tokens for each of `prompts`, and does `other` after a pause. Returns all times.
pub(super) fn disturb<T>(
    server: &Server,
    prompts: &[Prompt],
    tokens: u32,
    pause: Duration,
    other: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<(Vec<Stream>, T)> {
    std::thread::scope(|scope| {
        let running: Vec<_> =
            prompts.iter().map(|prompt| scope.spawn(|| stream(server, prompt, tokens))).collect();
        std::thread::sleep(pause);
        let other = other();
        Ok((join_all(running)?, other?))
    })
}

/// Waits for all clients, and returns what they return.
///
/// # Errors
/// That of the first one that failed or panicked.
pub(super) fn join_all<T>(clients: Vec<ScopedJoinHandle<'_, anyhow::Result<T>>>) -> anyhow::Result<Vec<T>> {
    let join = |client: ScopedJoinHandle<'_, anyhow::Result<T>>| {
        client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?
    };
    clients.into_iter().map(join).collect()
}

fn measure(streams: &[Stream]) -> Measured {
    let ms = |from: Instant, to: Instant| (to - from).as_secs_f64() * 1e3;
    let asked = streams.iter().map(|stream| stream.asked).min();
    let last = streams.iter().map(Stream::last).max();
    let took = asked.zip(last).map_or(f64::NAN, |(asked, last)| (last - asked).as_secs_f64());
    let mut gaps: Vec<f64> = streams.iter().flat_map(Stream::gaps).collect();
    gaps.sort_by(f64::total_cmp);
    let percentile = |part: f64| gaps.get((gaps.len() as f64 * part) as usize).copied().unwrap_or(f64::NAN);
    let all: u64 = streams.iter().map(|stream| stream.tokens).sum();
    let rate = |stream: &Stream| (stream.tokens - 1) as f64 / (stream.last() - stream.first()).as_secs_f64();
    Measured {
        decode: streams.iter().map(rate).sum(),
        whole: all as f64 / took,
        ttft_ms: median(streams.iter().map(|stream| ms(stream.asked, stream.first())).collect()),
        last_ttft_ms: streams.iter().map(|stream| ms(stream.asked, stream.first())).fold(0.0, f64::max),
        token_ms: median(
            streams.iter().map(|s| ms(s.first(), s.last()) / (s.tokens - 1).max(1) as f64).collect(),
        ),
        itl_p50_ms: percentile(0.5),
        itl_p95_ms: percentile(0.95),
    }
}

fn stream(server: &Server, prompt: &Prompt, tokens: u32) -> anyhow::Result<Stream> {
    let body = json!({
        "model": server.model, "prompt": prompt.0, "max_tokens": tokens, "temperature": 0, "stream": true,
        "stream_options": {"include_usage": true},
    });
    let asked = Instant::now();
    let response = send(server, &body.to_string())?;
    let mut lines = BufReader::new(response.into_body().into_reader()).lines();
    let (mut texts, mut counted) = (Vec::new(), None);
    while let Some(line) = lines.next().transpose()? {
        let Some(data) = line.strip_prefix("data: ").filter(|data| *data != "[DONE]") else { continue };
        let chunk: Value = serde_json::from_str(data)?;
        if let Some(error) = chunk.get("error") {
            bail!("{}: {error}", server.name);
        }
        let text = chunk.pointer("/choices/0/text").and_then(Value::as_str).unwrap_or_default();
        if !text.is_empty() {
            texts.push(Instant::now());
        }
        counted = chunk.pointer("/usage/completion_tokens").and_then(Value::as_u64).or(counted);
    }
    if texts.is_empty() {
        bail!("{} answered nothing", server.name);
    }
    let tokens = counted.with_context(|| format!("{} counted no tokens", server.name))?.max(1);
    Ok(Stream { asked, texts, tokens })
}

/// Sends a request, and again when the connection is refused or reset: Python's server has a backlog of five.
fn send(server: &Server, body: &str) -> anyhow::Result<ureq::http::Response<ureq::Body>> {
    let mut left = 50;
    loop {
        let request = server.agent.post(format!("{}/v1/completions", server.base));
        match request.header("content-type", "application/json").send(body) {
            Err(ureq::Error::Io(_)) if left > 0 => left -= 1,
            response => return Ok(response?),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Measured {
    /// The medians of each figure.
    pub(super) fn median(all: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(all.iter().map(figure).collect());
        Self {
            decode: of(|one| one.decode),
            whole: of(|one| one.whole),
            ttft_ms: of(|one| one.ttft_ms),
            last_ttft_ms: of(|one| one.last_ttft_ms),
            token_ms: of(|one| one.token_ms),
            itl_p50_ms: of(|one| one.itl_p50_ms),
            itl_p95_ms: of(|one| one.itl_p95_ms),
        }
    }
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
