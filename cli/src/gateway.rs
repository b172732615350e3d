//! Runs the commands of `mlxd-gateway`, the program beside this one: it knows requests, prompts, keys, providers and routes.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;
use serde_json::{Value, json};

use crate::client::{ClientError, Home};
use crate::config::{self, Environment};

const PROGRAM: &str = "mlxd-gateway";

/// A secret from the environment, since others see a command line.
///
/// # Errors
/// The variable is not set.
pub(crate) fn variable(name: &str, environment: &Environment) -> Result<String, ClientError> {
    let unset = || ClientError::Settings(format!("the environment has no variable {name}"));
    environment.variable(name).ok_or_else(unset)
}

/// The standard output of a command on the home folder `home`, for this standard input.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_in(
    home: &Path,
    command: &str,
    verb: &[&OsStr],
    input: &str,
) -> Result<String, ClientError> {
    run(&arguments(home, command, verb), input)
}

/// The arguments for a command on a home folder.
fn arguments<'a>(home: &'a Path, command: &'a str, verb: &[&'a OsStr]) -> Vec<&'a OsStr> {
    [&[command.as_ref(), "--home".as_ref(), home.as_os_str()], verb].concat()
}

/// The standard output of the program for these arguments and this standard input.
///
/// # Errors
/// The program is missing, or refuses. Its sentence is the error.
pub(crate) fn run<A: AsRef<OsStr>>(arguments: &[A], input: &str) -> Result<String, ClientError> {
    let output = output(arguments, input, Stdio::piped())?;
    Ok(String::from_utf8_lossy(&output).into_owned())
}

/// Runs the program. Returns its standard output, if `stdout` is a pipe.
fn output<A: AsRef<OsStr>>(arguments: &[A], input: &str, stdout: Stdio) -> Result<Vec<u8>, ClientError> {
    let program = supervisor::sibling(PROGRAM)?;
    let mut command = Command::new(&program);
    command.args(arguments).stdin(Stdio::piped()).stdout(stdout).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|cause| ClientError::File { file: program.clone(), cause })?;
    if let Some(mut pipe) = child.stdin.take() {
        // If the program has ended already, its standard error has the reason.
        let _ = pipe.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ClientError::Gateway(if reason.is_empty() { output.status.to_string() } else { reason }))
}

/// Selects the home folder and the output.
#[derive(Debug, clap::Args)]
pub(crate) struct Form {
    /// Write JSON, as the admin API answers.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) home: Home,
}

/// The commands on one home folder, with or without a running server.
pub(crate) struct Folder {
    path: PathBuf,
    /// The gateway's settings.
    settings: Value,
}

impl Folder {
    /// The home folder that the flag, the environment or the default names.
    ///
    /// # Errors
    /// A setting is wrong.
    pub(crate) fn new(home: Home, environment: &Environment) -> Result<Self, ClientError> {
        let path = config::home(home.folder(), environment)?;
        let settings = config::gateway_settings(&path, environment)?;
        Ok(Self { path, settings: serde_json::to_value(settings).map_err(std::io::Error::from)? })
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The answer of a command, as it is and parsed. The body is that of the same request over HTTP. It goes through a pipe: others
    /// see command lines.
    ///
    /// # Errors
    /// The program is missing, or refuses.
    pub(crate) fn ask(
        &self,
        command: &str,
        verb: &[&OsStr],
        body: &impl Serialize,
    ) -> Result<(String, Value), ClientError> {
        let input = self.input(body)?;
        let answer = run_in(&self.path, command, verb, &input)?;
        let parsed = serde_json::from_str(&answer).map_err(std::io::Error::from)?;
        Ok((answer, parsed))
    }

    /// Runs a command as [`Self::ask`] does. Its standard output is this program's.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(crate) fn pass_on(
        &self,
        command: &str,
        verb: &[&OsStr],
        body: &impl Serialize,
    ) -> Result<(), ClientError> {
        output(&arguments(&self.path, command, verb), &self.input(body)?, Stdio::inherit()).map(drop)
    }

    fn input(&self, body: &impl Serialize) -> Result<String, ClientError> {
        let body = serde_json::to_value(body).map_err(std::io::Error::from)?;
        Ok(json!({"settings": self.settings, "body": body}).to_string())
    }
}
