//! A server of the command's own: its home is a temporary folder, and it ends with the command.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Time that the server has to answer at first.
const START: Duration = Duration::from_secs(30);
/// Time for one request. The first one loads the model.
const REQUEST: Duration = Duration::from_secs(600);
/// Time that the server has to end.
const STOP: Duration = Duration::from_secs(10);

/// A reason why the command cannot measure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DoctorError {
    #[error("{} is missing: build it with `cargo build --release`", .0.display())]
    Missing(PathBuf),
    #[error("{} cannot be started: {cause}", program.display())]
    Start { program: PathBuf, cause: std::io::Error },
    #[error("the worker's checks failed: {0}")]
    Worker(String),
    #[error("{} is no folder of a model with a parent folder", .0.display())]
    Model(PathBuf),
    #[error("the server did not answer {path}: {reason}")]
    Answer { path: String, reason: String },
    #[error("{} cannot be written: {cause}", file.display())]
    Report { file: PathBuf, cause: std::io::Error },
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The path of a program that belongs to `mlxd`.
pub(super) fn program(name: &str) -> Result<PathBuf, DoctorError> {
    let path = supervisor::sibling(name)?;
    if path.is_file() { Ok(path) } else { Err(DoctorError::Missing(path)) }
}

/// The server. Dropping it ends it and removes its home.
pub(super) struct PrivateServer {
    process: Child,
    address: String,
    home: PathBuf,
}

impl PrivateServer {
    /// Serves the models below `models`.
    pub(super) fn start(models: &Path) -> Result<Self, DoctorError> {
        let program = program("mlxd")?;
        let home = std::env::temp_dir().join(format!("mlxd-doctor-{}", std::process::id()));
        // The port is free now. If another program takes it before the server does, the server says so and ends.
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut command = Command::new(&program);
        command.args(["serve", "--host", "127.0.0.1", "--port", &port.to_string(), "--home"]).arg(&home);
        command.arg("--models").arg(models).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Keys and settings of the user's own server must not apply.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MLXD_")) {
            command.env_remove(name);
        }
        let process = command.spawn().map_err(|cause| DoctorError::Start { program, cause })?;
        let server = Self { process, address: format!("http://127.0.0.1:{port}"), home };
        server.wait_until_it_answers()?;
        Ok(server)
    }

    fn wait_until_it_answers(&self) -> Result<(), DoctorError> {
        let start = Instant::now();
        loop {
            match self.get("/health") {
                Ok(_) => return Ok(()),
                Err(error) if start.elapsed() > START => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, DoctorError> {
        let answer = agent().get(format!("{}{path}", self.address)).call();
        read(path, answer)
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, DoctorError> {
        let request =
            agent().post(format!("{}{path}", self.address)).header("content-type", "application/json");
        read(path, request.send(body.to_string()))
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.process.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let start = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) && start.elapsed() < STOP {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(REQUEST));
    // A proxy for other addresses must not be asked for this one.
    config.proxy(None).build().into()
}

fn read(
    path: &str,
    answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<Value, DoctorError> {
    let failed = |reason: String| DoctorError::Answer { path: path.to_owned(), reason };
    let mut answer = answer.map_err(|error| failed(error.to_string()))?;
    let status = answer.status();
    let text = answer.body_mut().read_to_string().map_err(|error| failed(error.to_string()))?;
    if !status.is_success() {
        return Err(failed(format!("{status} {text}")));
    }
    // /health has no body.
    Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
}
