//! Runs every step from a fresh checkout to a first answer.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::progress::{shown, spinner};
use crate::{health, models, paths, setup};

/// Options of `cargo xtask demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Stop after the answer.
    #[arg(long)]
    once: bool,
    /// Port to serve on.
    #[arg(long, default_value_t = 10240)]
    port: u16,
    /// A model's folder, or the id of a model below .mlx/models.
    #[arg(long)]
    model: Option<String>,
    /// The question.
    #[arg(long, default_value = "What is the capital of France?")]
    ask: String,
}

/// The servers' log: what a person must know. tarpc warns of every connection that ends, at each stop.
pub(crate) const QUIET_LOG: &str = "warn,tarpc=off";
/// How long mlxd may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A served model: its parent folder, and its id there.
pub(crate) struct Served {
    pub(crate) folder: PathBuf,
    pub(crate) id: String,
}

/// A running server, stopped when dropped.
pub(crate) struct Server(pub(crate) Child);

/// Sets up, builds, serves a model, requests an answer, and serves on until Ctrl-C.
///
/// # Errors
/// One line with the failed step and the cause.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register(signal, Arc::clone(&stop)).context("cannot take Ctrl-C")?;
    }
    // Before minutes of building.
    if TcpListener::bind(("127.0.0.1", arguments.port)).is_err() {
        bail!("port {} is taken: is another server running? Choose another with --port", arguments.port);
    }
    eprintln!("setting up");
    setup::run()?;
    let served = served(arguments.model.as_deref())?;
    eprintln!("building");
    build()?;
    let mut server = Server::start(arguments.port, &paths::mlx().join("home"), &served.folder)?;
    let base = format!("http://127.0.0.1:{}", arguments.port);
    health::wait(&mut server.0, ("mlxd", &format!("{base}/health")), PATIENCE, || {
        stop.load(Ordering::SeqCst)
    })?;
    stream_answer(&base, &served.id, &arguments.ask, &stop)?;
    if !arguments.once {
        explain(&base, &served.id);
        server.wait(&stop)?;
    }
    Ok(())
}

/// Builds the programs.
///
/// # Errors
/// When one does not compile.
pub(crate) fn build() -> anyhow::Result<()> {
    build_with(&[])
}

/// Builds the programs with the worker's test doubles: the overhead is measured with a worker that computes nothing.
///
/// # Errors
/// When one does not compile.
pub(crate) fn build_with_doubles() -> anyhow::Result<()> {
    // Not "worker/test-doubles": the gateway has a dependency of that name, and Cargo would set the feature there only.
    build_with(&["--features", "test-doubles"])
}

fn build_with(features: &[&str]) -> anyhow::Result<()> {
    let mut cargo = paths::cargo();
    let packages = ["-p", "cli", "-p", "gateway", "-p", "hub", "-p", "runner", "-p", "worker"];
    cargo.args(["build", "--release"]).args(packages).args(features);
    shown("cargo build", &mut cargo)
}

/// The model with this folder or id; without one, the small model, which is fetched.
///
/// # Errors
/// There is no such model, or it cannot be fetched.
pub(crate) fn served(model: Option<&str>) -> anyhow::Result<Served> {
    let Some(model) = model else {
        let folder = models::fetch("smollm2")?.remove(0);
        return split(&folder);
    };
    let path = Path::new(model);
    if path.join("config.json").is_file() {
        return split(&std::path::absolute(path)?);
    }
    if paths::models().join(model).join("config.json").is_file() {
        return Ok(Served { folder: paths::models(), id: model.to_owned() });
    }
    bail!(
        "{model} is neither a model's folder (with a config.json) nor a model below {}",
        paths::models().display()
    )
}

fn split(folder: &Path) -> anyhow::Result<Served> {
    let id = folder.file_name().context("the model's folder has no name")?.to_string_lossy().into_owned();
    let folder = folder.parent().context("the model's folder has no parent")?.to_owned();
    Ok(Served { folder, id })
}

impl Server {
    /// mlxd with a home of its own: `~/.mlxd` is left alone.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(port: u16, home: &Path, models: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(paths::program("mlxd"));
        command.arg("serve").args(["--port", &port.to_string(), "--home"]).arg(home);
        command.arg("--models").arg(models).env("MLXD_LOG", QUIET_LOG);
        Ok(Self(command.spawn().context("cannot start mlxd")?))
    }

    /// Waits until the process ends or `stop` is set.
    fn wait(&mut self, stop: &AtomicBool) -> anyhow::Result<()> {
        while !stop.load(Ordering::SeqCst) {
            if let Some(status) = self.0.try_wait()? {
                bail!("mlxd ended ({status})");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        eprintln!();
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ctrl-C in a terminal has reached it already; a second signal would abort all requests.
        let ended = |child: &mut Child| child.try_wait().is_ok_and(|status| status.is_some());
        let grace = Instant::now() + Duration::from_millis(300);
        while Instant::now() < grace && !ended(&mut self.0) {
            std::thread::sleep(Duration::from_millis(10));
        }
        if !ended(&mut self.0) {
            let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
            let _ = self.0.wait();
        }
    }
}

/// Streams the answer to the terminal.
fn stream_answer(base: &str, model: &str, question: &str, stop: &AtomicBool) -> anyhow::Result<()> {
    println!("\n> {question}");
    let body = json!({
        "model": model, "messages": [{"role": "user", "content": question}], "temperature": 0, "stream": true,
    });
    let waiting = spinner("loading the model");
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    let request = ureq::Agent::from(config).post(format!("{base}/v1/chat/completions"));
    let response = request.header("content-type", "application/json").send(body.to_string())?;
    waiting.finish_and_clear();
    let ok = response.status().is_success();
    let mut reader = BufReader::new(response.into_body().into_reader());
    if !ok {
        let mut text = String::new();
        reader.read_line(&mut text)?;
        bail!("the question was refused: {text}");
    }
    for line in reader.lines() {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let line = line?;
        let Some(data) = line.strip_prefix("data: ").filter(|data| *data != "[DONE]") else { continue };
        let chunk: Value = serde_json::from_str(data)?;
        if let Some(message) = chunk.pointer("/error/message").and_then(Value::as_str) {
            bail!("the answer broke off: {message}");
        }
        if let Some(text) = chunk.pointer("/choices/0/delta/content").and_then(Value::as_str) {
            print!("{text}");
            std::io::stdout().flush()?;
        }
    }
    println!("\n");
    Ok(())
}

fn explain(base: &str, model: &str) {
    println!(
        "mlxd serves at {base} until Ctrl-C. Ask it yourself:\n\n\
         open {base} in a browser, or\n\n\
         curl {base}/v1/chat/completions -H 'content-type: application/json' \\\n  \
         -d '{{\"model\": \"{model}\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hello!\"}}]}}'\n\n\
         or with OpenAI's Python SDK:\n\n\
         from openai import OpenAI\n\
         client = OpenAI(base_url=\"{base}/v1\", api_key=\"none\")\n\
         answer = client.chat.completions.create(\n    \
         model=\"{model}\", messages=[{{\"role\": \"user\", \"content\": \"Hello!\"}}])\n\
         print(answer.choices[0].message.content)\n"
    );
}
