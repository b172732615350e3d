//! `mlxd serve`: the configuration, then the supervisor until it ends.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use supervisor::{Log, ServeError};
use tracing_subscriber::EnvFilter;

use crate::config::live::LiveFile;
use crate::{config, login, logs};

/// Time that the last lines of the log have to be written.
const LAST_LINES: Duration = Duration::from_millis(500);
/// EX_USAGE of sysexits.h: the configuration is wrong.
const WRONG_CONFIGURATION: u8 = 64;

/// Serves until a signal ends it. Status 64 means a wrong configuration.
pub(crate) fn run(flags: config::Flags, environment: config::Environment) -> ExitCode {
    ipc_proto::core_files::forbid();
    let filter =
        EnvFilter::try_from_env("MLXD_LOG").unwrap_or_else(|_| EnvFilter::new(ipc_proto::DEFAULT_LOG));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(Log::default).with_ansi(false).init();
    let (config, file) = match LiveFile::open(flags, environment) {
        Ok(opened) => opened,
        Err(error) => {
            eprintln!("mlxd: {error}");
            return ExitCode::from(WRONG_CONFIGURATION);
        }
    };
    if let Err(error) = logs::shorten(&config.home) {
        eprintln!("mlxd: the log cannot be shortened: {error}");
    }
    // One thread: the supervisor does little, and the kernel kills children when the thread that started them ends.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.map_err(Into::into).and_then(|runtime| {
        let home = config::is_unclaimed(&config).then(|| config.home.clone());
        let listening = |address| {
            if let Some(home) = home {
                // It waits for a process.
                std::thread::spawn(move || login::invite(&home, address));
            }
        };
        let served = runtime.block_on(supervisor::serve(config, Arc::new(file), listening));
        // Ends the children. A thread that hangs is not waited for.
        runtime.shutdown_background();
        served
    });
    Log::settle(LAST_LINES);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mlxd: {error}");
            match error {
                ServeError::Settings { .. } => ExitCode::from(WRONG_CONFIGURATION),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
