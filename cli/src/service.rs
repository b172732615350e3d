//! `mlxd service`: has the system start the server at login, by a systemd user unit or a launchd agent.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::client::{self, ClientError, Home};
use crate::config::{self, ConfigError, Environment};
use crate::server::{self, ServerError};

mod manager;
mod text;

use manager::Manager;
use text::Service;

/// What to do with the service.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Start the server now and at each login.
    Install {
        /// Show the unit or agent, and do nothing.
        #[arg(long)]
        print: bool,
        #[command(flatten)]
        home: Home,
    },
    /// Stop the server, and do not start it again.
    Uninstall,
    /// Say whether it is installed, and whether it runs.
    Status {
        /// Write JSON.
        #[arg(long)]
        json: bool,
    },
}

/// A reason why the command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("a server runs with the home {}: end it with `mlxd stop` first", .0.display())]
    Running(PathBuf),
    #[error("the service is not installed: there is no {}", .0.display())]
    Absent(PathBuf),
    #[error("{} is written, but `{command}` failed: {reason}", file.display())]
    Manager { file: PathBuf, command: String, reason: String },
    #[error("HOME is not set")]
    NoHome,
    #[error("{}: {cause}", path.display())]
    File { path: PathBuf, cause: io::Error },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs a command. It prints its own output.
pub(crate) fn run(verb: Verb, environment: &Environment) -> Result<(), ServiceError> {
    let manager = Manager::of_this_system(environment)?;
    let text = match verb {
        Verb::Install { print, home } => {
            let home = config::home(home.folder(), environment)?;
            let program = supervisor::sibling("mlxd")?;
            let service = Service::new(program, home, |name| environment.variable(name));
            if print { manager.text(&service) } else { install(&manager, &service)? }
        }
        Verb::Uninstall => uninstall(&manager)?,
        Verb::Status { json } => status(&manager, json),
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

fn install(manager: &Manager, service: &Service) -> Result<String, ServiceError> {
    let file = manager.file();
    if file.exists() {
        // The one before may have another home. A failure here shows again below.
        for command in manager.stop() {
            let _ = call(&command);
        }
    }
    if client::is_running(&service.home)? {
        return Err(ServiceError::Running(service.home.clone()));
    }
    let failed = |cause| ServiceError::File { path: file.clone(), cause };
    // The manager opens the log before the server makes its home.
    fs::create_dir_all(&service.home)
        .map_err(|cause| ServiceError::File { path: service.home.clone(), cause })?;
    fs::create_dir_all(file.parent().unwrap_or(&file)).map_err(failed)?;
    fs::write(&file, manager.text(service)).map_err(failed)?;
    for command in manager.start() {
        let output = call(&command).map_err(|cause| refused(&file, &command, cause.to_string()))?;
        if !output.status.success() {
            return Err(refused(&file, &command, said(&output)));
        }
    }
    let (file, log) = (file.display(), service.home.join(server::LOG));
    Ok(format!(
        "the server runs now and from each login on\n{file} says how; its log is {}\n`mlxd service uninstall` takes it back\n",
        log.display()
    ))
}

fn uninstall(manager: &Manager) -> Result<String, ServiceError> {
    let file = manager.file();
    if !file.exists() {
        return Err(ServiceError::Absent(file));
    }
    let mut notes = String::new();
    for command in manager.stop() {
        // Without a manager nothing runs.
        match call(&command) {
            Ok(output) if output.status.success() => {}
            Ok(output) => notes += &format!("`{}` said: {}\n", command.join(" "), said(&output)),
            Err(error) => notes += &format!("`{}` failed: {error}\n", command.join(" ")),
        }
    }
    fs::remove_file(&file).map_err(|cause| ServiceError::File { path: file.clone(), cause })?;
    for command in manager.forget() {
        let _ = call(&command);
    }
    Ok(format!("{notes}the service is removed; models, settings and log stay\n"))
}

fn status(manager: &Manager, json: bool) -> String {
    let file = manager.file();
    let is_installed = file.exists();
    let is_running = is_installed && call(&manager.is_running()).is_ok_and(|output| output.status.success());
    if json {
        return format!(
            "{}\n",
            serde_json::json!({"installed": is_installed, "running": is_running, "file": file})
        );
    }
    match (is_installed, is_running) {
        (false, _) => "not installed: `mlxd service install` has the system start the server\n".to_owned(),
        (true, false) => {
            format!("installed as {}, but it does not run: `mlxd logs` may say why\n", file.display())
        }
        (true, true) => format!("installed as {}, and it runs\n", file.display()),
    }
}

fn call(command: &[String]) -> io::Result<Output> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?;
    Command::new(program).args(arguments).output()
}

fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned());
    line.unwrap_or_else(|| output.status.to_string())
}

fn refused(file: &std::path::Path, command: &[String], reason: String) -> ServiceError {
    ServiceError::Manager { file: file.to_owned(), command: command.join(" "), reason }
}
