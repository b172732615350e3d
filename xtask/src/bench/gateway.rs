//! `cargo xtask bench gateway`: the gateway in front of a provider, beside LiteLLM's proxy.
//!
//! Both stand in front of the same provider, which answers at once, and are measured in turn in one run. mlxd checks a key, chooses a
//! route and records each request; LiteLLM checks a key and has no database.

use std::fmt::Write as _;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::http::{Connection, Request};
use super::servers::Server;
use super::upstream::Upstream;
use super::{client, machine};
use crate::{demo, paths, setup};

/// Options of `cargo xtask bench gateway`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Requests of each kind, many at once.
    #[arg(long, default_value_t = 10_000)]
    requests: usize,
    /// Requests at once.
    #[arg(long, default_value_t = 64)]
    at_once: usize,
    /// Requests of each kind, one after the other.
    #[arg(long, default_value_t = 2000)]
    alone: usize,
    /// Leave LiteLLM out.
    #[arg(long)]
    ours_only: bool,
}

const OURS_PORT: u16 = 10256;
const THEIRS_PORT: u16 = 10257;
/// LiteLLM's proxy, which has its own path in Rust for Messages.
const LITELLM: &str = "litellm[proxy]==1.110.2";
/// The key that clients present.
const KEY: &str = "sk-bench-0123456789abcdef";
/// Requests before those that count.
const WARM_UP: usize = 200;

/// A kind of request.
struct Kind {
    name: &'static str,
    path: &'static str,
    model: &'static str,
    stream: bool,
}

const KINDS: [Kind; 4] = [
    Kind { name: "chat", path: "/v1/chat/completions", model: "bench-chat", stream: false },
    Kind { name: "chat, stream", path: "/v1/chat/completions", model: "bench-chat", stream: true },
    Kind { name: "Messages", path: "/v1/messages", model: "bench-messages", stream: false },
    Kind { name: "Messages, stream", path: "/v1/messages", model: "bench-messages", stream: true },
];

/// Figures of one kind of request at one server.
struct Measured {
    /// Times of requests one after the other, in milliseconds, sorted.
    alone: Vec<f64>,
    /// Requests a second, many at once.
    rate: f64,
}

/// Measures, and writes bench/results/gateway.md.
///
/// # Errors
/// A server cannot be started, a request fails, or the log lacks one.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    setup::run()?;
    demo::build_with_doubles()?;
    let upstream = Upstream::start()?;
    let ours = Server::in_front_of(OURS_PORT, &settings(upstream.address))?;
    let theirs = if arguments.ours_only { None } else { Some(litellm(upstream.address)?) };
    let mut rows = Vec::new();
    let (mut sent, cpu) = (0, ours.gateway_cpu()?);
    for kind in &KINDS {
        eprintln!("  {}", kind.name);
        let direct = measure(upstream.address, kind, arguments)?;
        let here = measure(address(&ours)?, kind, arguments)?;
        sent += WARM_UP + arguments.alone + arguments.requests;
        let there = theirs.as_ref().map(|server| measure(address(server)?, kind, arguments)).transpose()?;
        rows.push((kind.name, direct, here, there));
    }
    let cpu_us = (ours.gateway_cpu()? - cpu) * 1e6 / sent as f64;
    let mib = ours.child("mlxd-gateway")?.mib;
    let recorded = recorded(&ours, sent)?;
    super::write("gateway.md", &text(arguments, &rows, cpu_us, mib, (sent, recorded)))
}

/// mlxd's `config.toml`: two providers at one address, and routes of which the last one applies.
fn settings(upstream: SocketAddr) -> String {
    format!(
        r#"api_keys = ["{KEY}"]

[providers.chat]
kind = "openai"
url = "http://{upstream}/v1"
api_key = "sk-upstream"
models = ["m"]

[providers.messages]
kind = "anthropic"
url = "http://{upstream}"
api_key = "sk-upstream"
models = ["m"]

[[routes]]
name = "tools"
model = "bench-*"
has_tools = true
targets = ["chat/m"]

[[routes]]
model = "bench-chat"
targets = ["chat/m"]

[[routes]]
model = "bench-messages"
targets = ["messages/m"]
"#
    )
}

/// LiteLLM's proxy, with its settings for speed: no callbacks, no retries, Messages in Rust.
fn litellm(upstream: SocketAddr) -> anyhow::Result<Server> {
    let venv = paths::mlx().join("litellm-venv");
    setup::Stamp::new("litellm-venv", &[LITELLM]).once(|| setup::make_venv(&venv, &[LITELLM]))?;
    let settings = format!(
        r#"model_list:
  - model_name: bench-chat
    litellm_params:
      model: openai/m
      api_base: http://{upstream}/v1
      api_key: sk-upstream
  - model_name: bench-messages
    litellm_params:
      model: anthropic/m
      api_base: http://{upstream}
      api_key: sk-upstream
      rust: true
litellm_settings:
  callbacks: []
  num_retries: 0
general_settings:
  master_key: {KEY}
"#
    );
    Server::litellm(THEIRS_PORT, &venv, &settings)
}

fn address(server: &Server) -> anyhow::Result<SocketAddr> {
    let authority = server.base.trim_start_matches("http://");
    authority.to_socket_addrs()?.next().with_context(|| format!("{authority} is no address"))
}

fn measure(address: SocketAddr, kind: &Kind, arguments: &Arguments) -> anyhow::Result<Measured> {
    let body = format!(
        r#"{{"model": "{}", "max_tokens": 64, "stream": {}, "messages": [{{"role": "user", "content": "Say hello to the people in the room."}}]}}"#,
        kind.model, kind.stream
    );
    let headers = format!("authorization: Bearer {KEY}\r\nanthropic-version: 2023-06-01\r\n");
    let request = Request::post(kind.path, &headers, &body);
    let mut connection = Connection::open(address)?;
    for _ in 0..WARM_UP {
        connection.ask(&request)?;
    }
    let mut alone = (0..arguments.alone)
        .map(|_| Ok(connection.ask(&request)?.as_secs_f64() * 1e3))
        .collect::<anyhow::Result<Vec<f64>>>()?;
    alone.sort_by(f64::total_cmp);
    let elapsed = at_once(address, &request, arguments)?;
    Ok(Measured { alone, rate: arguments.requests as f64 / elapsed.as_secs_f64() })
}

/// The time that many clients take for all requests.
fn at_once(address: SocketAddr, request: &Request, arguments: &Arguments) -> anyhow::Result<Duration> {
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let one = || -> anyhow::Result<()> {
            let mut connection = Connection::open(address)?;
            while next.fetch_add(1, Ordering::Relaxed) < arguments.requests {
                connection.ask(request)?;
            }
            Ok(())
        };
        client::join_all((0..arguments.at_once).map(|_| scope.spawn(one)).collect())
    })?;
    Ok(start.elapsed())
}

/// The requests in the log, once the last one is there.
fn recorded(server: &Server, sent: usize) -> anyhow::Result<usize> {
    let url = format!("{}/admin/v1/requests/export", server.base);
    let mut lines = 0;
    for _ in 0..50 {
        let mut answer = server.agent.get(&url).header("authorization", format!("Bearer {KEY}")).call()?;
        lines = answer.body_mut().with_config().limit(1 << 30).read_to_string()?.lines().count();
        if lines >= sent {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    ensure!(lines == sent, "the log has {lines} of {sent} requests");
    Ok(lines)
}

type Row = (&'static str, Measured, Measured, Option<Measured>);

fn text(
    arguments: &Arguments,
    rows: &[Row],
    cpu_us: f64,
    mib: f64,
    (sent, recorded): (usize, usize),
) -> String {
    let mut text = format!(
        "# The gateway in front of a provider\n\n`cargo xtask bench gateway`, {}, {}.\n\n\
         mlxd with a key, three routes and the request log, beside {LITELLM} with a key and no database: one worker, \
         Messages by its Rust path. The provider answers at once; client and provider run on the same cores.\n\n\
         ## One request after the other\n\n\
         Added: the time of a whole answer beside asking the provider itself; {} requests each.\n\n\
         | request | provider p50 | mlxd adds, p50 | p99 | LiteLLM adds, p50 | p99 |\n|---|---|---|---|---|---|\n",
        machine::today(),
        machine::description(),
        arguments.alone,
    );
    // Writing to a string cannot fail.
    for (name, direct, ours, theirs) in rows {
        let base = at(&direct.alone, 50);
        let added =
            |measured: &Measured, share: usize| format!("{:.3} ms", at(&measured.alone, share) - base);
        let their = |share| theirs.as_ref().map_or_else(|| "-".into(), |theirs| added(theirs, share));
        let _ = writeln!(
            text,
            "| {name} | {base:.3} ms | {} | {} | {} | {} |",
            added(ours, 50),
            added(ours, 99),
            their(50),
            their(99)
        );
    }
    let _ = write!(
        text,
        "\n## {} at once\n\nRequests a second; {} each.\n\n\
         | request | provider | mlxd | LiteLLM | ratio |\n|---|---|---|---|---|\n",
        arguments.at_once, arguments.requests
    );
    for (name, direct, ours, theirs) in rows {
        let (rate, ratio) = match theirs {
            Some(theirs) => (format!("{:.0}", theirs.rate), format!("{:.1}", ours.rate / theirs.rate)),
            None => ("-".into(), "-".into()),
        };
        let _ = writeln!(text, "| {name} | {:.0} | {:.0} | {rate} | {ratio} |", direct.rate, ours.rate);
    }
    let _ = writeln!(
        text,
        "\nmlxd's gateway used {cpu_us:.0} µs of processor time for a request and {mib:.0} MiB of memory. \
         Its log has {recorded} of {sent} requests."
    );
    text
}

/// The value that `share` percent of the sorted `values` do not exceed.
fn at(values: &[f64], share: usize) -> f64 {
    values.get(values.len() * share / 100).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_what_each_server_adds() {
        let measured = |ms: f64, rate| Measured { alone: vec![ms; 100], rate };
        let rows = [("chat", measured(0.1, 9000.0), measured(0.25, 3000.0), Some(measured(4.1, 150.0)))];
        let arguments = Arguments { requests: 10, at_once: 2, alone: 100, ours_only: false };
        let text = text(&arguments, &rows, 90.0, 41.0, (5, 5));
        assert!(text.contains("| chat | 0.100 ms | 0.150 ms | 0.150 ms | 4.000 ms | 4.000 ms |"), "{text}");
        assert!(text.contains("| chat | 9000 | 3000 | 150 | 20.0 |"), "{text}");
    }
}
