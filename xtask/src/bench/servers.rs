//! The measured servers. Dropping one stops it.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::MODEL;
use crate::demo::QUIET_LOG;
use crate::{health, paths};

/// How long a server may take to answer; mlx-lm imports for seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running server.
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) base: String,
    pub(super) model: String,
    pub(super) agent: ureq::Agent,
    /// From its start to its first answer.
    pub(super) ready_ms: f64,
    process: Child,
    _home: Option<TempDir>,
}

impl Server {
    /// mlxd with the models below `models`; `null` generates without computing, which needs
    /// [`crate::demo::build_with_doubles`].
    pub(super) fn mlxd(port: u16, models: &Path, null: bool) -> anyhow::Result<Self> {
        Self::built_in(&paths::program(""), port, models, null)
    }

    /// mlxd from the folder `programs`, as [`Self::mlxd`] starts this build's.
    pub(super) fn built_in(programs: &Path, port: u16, models: &Path, null: bool) -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        let mut command = Command::new(programs.join("mlxd"));
        command.args(["serve", "--port", &port.to_string(), "--home"]).arg(home.path());
        command.arg("--models").arg(models).env("MLXD_LOG", QUIET_LOG);
        if null {
            command.env("MLXD_WORKER_RUNNER", "null");
        }
        Self::start("mlxd", port, MODEL.into(), command, Some(home))
    }

    /// mlxd with these settings as its `config.toml`.
    pub(super) fn in_front_of(port: u16, settings: &str) -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        fs::write(home.path().join("config.toml"), settings)?;
        let mut command = Command::new(paths::program("mlxd"));
        command
            .args(["serve", "--port", &port.to_string(), "--home"])
            .arg(home.path())
            .env("MLXD_LOG", QUIET_LOG);
        Self::start("mlxd", port, MODEL.into(), command, Some(home))
    }

    /// LiteLLM's proxy from `venv`, with these settings.
    pub(super) fn litellm(port: u16, venv: &Path, settings: &str) -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        let file = home.path().join("config.yaml");
        fs::write(&file, settings)?;
        let mut command = Command::new(venv.join("bin/litellm"));
        command.arg("--config").arg(&file).args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        command
            .args(["--num_workers", "1"])
            .env("LITELLM_LOG", "ERROR")
            .env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self::start_at("litellm", port, MODEL.into(), command, (Some(home), "/health/liveliness"))
    }

    /// mlx-lm's own server from `venv`, on Linux with this BLAS instead of its wheel's.
    pub(super) fn mlx_lm(
        name: &'static str,
        port: u16,
        venv: &Path,
        model: &Path,
        blas: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(venv.join("bin/mlx_lm.server"));
        command.arg("--model").arg(model).args(["--port", &port.to_string(), "--log-level", "ERROR"]);
        command.env("HF_HUB_OFFLINE", "1").stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(blas) = blas.filter(|_| cfg!(target_os = "linux")) {
            command.env("LD_PRELOAD", blas);
        }
        Self::start(name, port, model.display().to_string(), command, None)
    }

    fn start(
        name: &'static str,
        port: u16,
        model: String,
        command: Command,
        home: Option<TempDir>,
    ) -> anyhow::Result<Self> {
        Self::start_at(name, port, model, command, (home, "/health"))
    }

    /// Starts a server that answers at the path `health` once it serves.
    fn start_at(
        name: &'static str,
        port: u16,
        model: String,
        mut command: Command,
        (home, health): (Option<TempDir>, &str),
    ) -> anyhow::Result<Self> {
        TcpListener::bind(("127.0.0.1", port)).with_context(|| format!("port {port} is needed"))?;
        let base = format!("http://127.0.0.1:{port}");
        let start = Instant::now();
        let process = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let agent: ureq::Agent = ureq::Agent::config_builder().build().into();
        let mut server = Self { name, base, model, agent, ready_ms: 0.0, process, _home: home };
        let url = format!("{}{health}", server.base);
        health::wait(&mut server.process, (name, &url), PATIENCE, || false)?;
        server.ready_ms = start.elapsed().as_secs_f64() * 1e3;
        Ok(server)
    }

    /// Resident memory of an mlxd's supervisor and gateway, in MiB.
    pub(super) fn resident(&self) -> anyhow::Result<(f64, f64)> {
        let listed = Command::new("ps").args(["-A", "-o", "pid=,ppid=,rss=,comm="]).output().context("ps")?;
        let (mut supervisor, mut gateway) = (None, None);
        for line in String::from_utf8(listed.stdout)?.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [pid, parent, kib, ..] = fields[..] else { continue };
            let mib = kib.parse::<f64>()? / 1024.0;
            let own = self.process.id().to_string();
            if pid == own {
                supervisor = Some(mib);
            } else if parent == own && line.contains("mlxd-gateway") {
                gateway = Some(mib);
            }
        }
        supervisor.zip(gateway).context("ps lists no gateway")
    }

    /// Its child process `program`.
    pub(super) fn child(&self, program: &str) -> anyhow::Result<ChildProcess> {
        let own = self.process.id().to_string();
        let listed = Command::new("ps").args(["-A", "-o", "pid=,ppid=,rss=,comm="]).output().context("ps")?;
        let text = String::from_utf8(listed.stdout)?;
        let found = text.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [pid, parent, kib, ..] = fields[..] else { return None };
            let child = ChildProcess { pid: pid.parse().ok()?, mib: kib.parse::<f64>().ok()? / 1024.0 };
            (parent == own && line.contains(program)).then_some(child)
        });
        found.with_context(|| format!("ps lists no {program}"))
    }

    /// Processor time that the gateway has used, in seconds.
    pub(super) fn gateway_cpu(&self) -> anyhow::Result<f64> {
        let pid = self.child("mlxd-gateway")?.pid;
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return ps_time(pid) };
        let nanoseconds = |thread: fs::DirEntry| -> Option<f64> {
            let schedstat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            schedstat.split_whitespace().next()?.parse().ok()
        };
        Ok(threads.flatten().filter_map(nanoseconds).sum::<f64>() / 1e9)
    }
}

/// A process of a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChildProcess {
    pub(super) pid: i32,
    /// Resident memory.
    pub(super) mib: f64,
}

/// CPU time by macOS's `ps`, as `minutes:seconds.hundredths`. `ps` on Linux has no fractions.
fn ps_time(pid: i32) -> anyhow::Result<f64> {
    let output = Command::new("ps").args(["-o", "time=", "-p", &pid.to_string()]).output().context("ps")?;
    let text = String::from_utf8(output.stdout)?;
    let parts = text.trim().split(':').map(str::parse::<f64>).collect::<Result<Vec<_>, _>>()?;
    Ok(parts.into_iter().fold(0.0, |sum, part| sum * 60.0 + part))
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM);
        let _ = self.process.wait();
    }
}
