//! The gateway's overhead around the model: processor time for each streamed token, latency to the first one, and memory of
//! waiting streams. The worker generates without computing.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::servers::Server;
use super::{OURS_PORT, client, machine};
use crate::{demo, paths, setup};

const STREAMS: usize = 64;
const TOKENS: u32 = 4000;
/// Tokens of each stream at the pace of a model.
const PACED_TOKENS: u32 = 100;
/// The paths that stream.
pub(super) const PATHS: [&str; 3] = ["/v1/chat/completions", "/v1/messages", "/v1/responses"];
const REQUESTS: usize = 400;
const IDLE: usize = 1000;
/// More than a worker without weights takes.
const DOUBLE_MIB: f64 = 200.0;
/// A stream that waits answers after ten seconds.
const UNTIL_ANSWERED: Duration = Duration::from_secs(13);

/// One protocol's figures.
pub(super) struct Protocol {
    pub(super) path: &'static str,
    pub(super) ttft_p50_ms: f64,
    pub(super) ttft_p99_ms: f64,
    /// Of the gateway, for each token, in microseconds.
    pub(super) token_us: f64,
}

/// All figures of a server.
pub(super) struct Overhead {
    pub(super) protocols: Vec<Protocol>,
    /// The gateway's memory with [`IDLE`] waiting streams.
    pub(super) idle_mib: f64,
}

/// Measures, and writes bench/results/overhead.md.
///
/// # Errors
/// When a server cannot be started or a request fails.
pub(super) fn run() -> anyhow::Result<()> {
    setup::run()?;
    demo::build_with_doubles()?;
    let server = Server::mlxd(OURS_PORT, &paths::models(), true)?;
    let Overhead { protocols, idle_mib } = measure(&[&server])?.remove(0);
    let mut text = format!(
        "# What the gateway costs\n\n`cargo xtask bench overhead`, {}, {}\n\n\
         | | first token p50 | p99 | processor time for a token, {STREAMS} streams |\n|---|---|---|---|\n",
        machine::today(),
        machine::description(),
    );
    for Protocol { path, ttft_p50_ms, ttft_p99_ms, token_us } in protocols {
        writeln!(text, "| {path} | {ttft_p50_ms:.2} ms | {ttft_p99_ms:.2} ms | {token_us:.1} µs |")?;
    }
    writeln!(text, "\nWith {IDLE} streams waiting the gateway takes {idle_mib:.0} MiB.")?;
    super::write("overhead.md", &text)
}

/// Measures servers whose workers generate without computing. They are asked in turn.
///
/// # Errors
/// A request fails, or a worker has loaded a model.
pub(super) fn measure(servers: &[&Server]) -> anyhow::Result<Vec<Overhead>> {
    for server in servers {
        read_timed(send_request(server, "/v1/chat/completions", 4)?, b"")?;
        let worker_mib = server.child("mlxd-worker")?.mib;
        ensure!(worker_mib < DOUBLE_MIB, "the worker takes {worker_mib:.0} MiB: it has loaded a model");
    }
    let mut protocols: Vec<Vec<Protocol>> = servers.iter().map(|_| Vec::new()).collect();
    for path in PATHS {
        for (first, (server, protocols)) in
            first_tokens(servers, path)?.into_iter().zip(servers.iter().zip(&mut protocols))
        {
            protocols.push(Protocol {
                path,
                ttft_p99_ms: first[first.len() * 99 / 100],
                ttft_p50_ms: client::median(first),
                token_us: token_us(server, path)?,
            });
        }
    }
    let each = servers.iter().zip(protocols).map(|(server, protocols)| {
        let (answered, idle_mib) = idle(server)?;
        ensure!(answered == IDLE, "only {answered} of {IDLE} waiting streams were answered");
        Ok(Overhead { protocols, idle_mib })
    });
    each.collect()
}

/// For each server the times to the first token, in milliseconds, sorted.
fn first_tokens(servers: &[&Server], path: &str) -> anyhow::Result<Vec<Vec<f64>>> {
    let mut times = vec![Vec::new(); servers.len()];
    for request in 0..REQUESTS {
        for turn in 0..servers.len() {
            // Each server comes after each other one and never after itself, which would find its threads awake.
            let at = if request < REQUESTS / 2 { turn } else { servers.len() - 1 - turn };
            let time = read_timed(send_request(servers[at], path, 2)?, b"\"delta\"")?;
            times[at].push(time.context("no token came")? * 1e3);
        }
    }
    times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
    Ok(times)
}

/// Processor time of the gateway for a token of many streams, in microseconds.
fn token_us(server: &Server, path: &str) -> anyhow::Result<f64> {
    let before = server.gateway_cpu()?;
    std::thread::scope(|scope| {
        let one = || read_timed(send_request(server, path, TOKENS)?, b"");
        client::join_all((0..STREAMS).map(|_| scope.spawn(one)).collect())
    })?;
    Ok((server.gateway_cpu()? - before) * 1e6 / (STREAMS as f64 * f64::from(TOKENS)))
}

/// Processor time of the gateway for a piece of text of [`STREAMS`] streams, in microseconds, at the pace of a model: each
/// step brings one piece for each stream, while a worker that computes nothing sends many at once.
///
/// # Errors
/// A request fails, or no text comes.
pub(super) fn paced_us(server: &Server, path: &'static str) -> anyhow::Result<f64> {
    pieces(send_request(server, path, 4)?.0)?;
    let before = server.gateway_cpu()?;
    let counts = std::thread::scope(|scope| {
        let one = || pieces(send_request(server, path, PACED_TOKENS)?.0);
        client::join_all((0..STREAMS).map(|_| scope.spawn(one)).collect())
    })?;
    let counted: usize = counts.into_iter().sum();
    ensure!(counted >= STREAMS, "{path}: {counted} pieces of text");
    Ok((server.gateway_cpu()? - before) * 1e6 / counted as f64)
}

/// Reads to the end, and counts the events with text.
fn pieces(mut stream: TcpStream) -> anyhow::Result<usize> {
    const MARK: &[u8] = b"\"delta\"";
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    Ok(text.windows(MARK.len()).filter(|at| *at == MARK).count())
}

/// Sends a request for a stream. Each has another prompt, so that no server can answer from memory.
fn send_request(server: &Server, path: &str, tokens: u32) -> anyhow::Result<(TcpStream, Instant)> {
    static SENT: AtomicU32 = AtomicU32::new(0);
    let prompt = format!("Hi {}", SENT.fetch_add(1, Ordering::Relaxed));
    let mut body = json!({"model": server.model, "stream": true, "temperature": 0});
    match path {
        "/v1/responses" => {
            body["input"] = json!(prompt);
            body["store"] = json!(false);
            body["max_output_tokens"] = json!(tokens);
        }
        _ => {
            body["messages"] = json!([{"role": "user", "content": prompt}]);
            body["max_tokens"] = json!(tokens);
        }
    }
    let (address, body) = (server.base.trim_start_matches("http://"), body.to_string());
    // Clients send a request in one piece.
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address)?;
    let start = Instant::now();
    stream.write_all(request.as_bytes())?;
    Ok((stream, start))
}

/// Reads to the end. Returns the seconds until `mark`, if it came.
fn read_timed((mut stream, start): (TcpStream, Instant), mark: &[u8]) -> anyhow::Result<Option<f64>> {
    let (mut buffer, mut text, mut first) = ([0; 1 << 16], Vec::new(), None);
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(first);
        }
        if first.is_none() && !mark.is_empty() {
            text.extend_from_slice(&buffer[..count]);
            first = text.windows(mark.len()).any(|at| at == mark).then(|| start.elapsed().as_secs_f64());
        }
    }
}

/// Streams whose worker stands still: how many are answered, and the gateway's memory then, in MiB.
fn idle(server: &Server) -> anyhow::Result<(usize, f64)> {
    let worker = Pid::from_raw(server.child("mlxd-worker")?.pid);
    kill(worker, Signal::SIGSTOP)?;
    let waiting = wait(server);
    kill(worker, Signal::SIGCONT)?;
    waiting
}

/// Lets this process open as many connections as [`IDLE`] needs: macOS's terminals allow 256 files.
fn raise_descriptor_limit() -> anyhow::Result<()> {
    let wanted = IDLE as u64 + 200;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard)?;
    }
    Ok(())
}

fn wait(server: &Server) -> anyhow::Result<(usize, f64)> {
    raise_descriptor_limit()?;
    let mut streams = (0..IDLE)
        .map(|_| Ok(send_request(server, "/v1/chat/completions", 2)?.0))
        .collect::<anyhow::Result<Vec<_>>>()?;
    std::thread::sleep(UNTIL_ANSWERED);
    let mut beginning = [0; 15];
    let answered = streams.iter_mut().filter_map(|stream| {
        stream.set_read_timeout(Some(Duration::from_millis(100))).ok()?;
        stream.read_exact(&mut beginning).ok()?;
        (&beginning == b"HTTP/1.1 200 OK").then_some(())
    });
    Ok((answered.count(), server.child("mlxd-gateway")?.mib))
}
