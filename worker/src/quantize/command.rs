//! The command line of `mlxd-worker quantize`. Its standard output has a line of JSON for each event.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use clap::Parser;
use ipc_proto::quantize::QuantizeEvent;
use mlx_rs::memory;

use super::{Job, QuantizeError};
use crate::shutdown::stop_signal;
use crate::weights::config::{Packing, PackingMode};

/// Bytes of freed buffers that MLX keeps for reuse.
const CACHE_LIMIT_BYTES: usize = 64 << 20;
/// Bytes read between two events of progress.
const PROGRESS_BYTES: u64 = 16 << 20;

/// Converts a model's weights to packed ones, in mlx-lm's format.
#[derive(Debug, Parser)]
#[command(name = "quantize")]
pub struct QuantizeArguments {
    /// Folder of the original model.
    #[arg(long)]
    model: PathBuf,
    /// Folder of the result, which must not exist.
    #[arg(long)]
    output: PathBuf,
    /// Bits per weight.
    #[arg(long)]
    bits: i32,
    /// Weights per scale.
    #[arg(long)]
    group_size: i32,
    /// Meaning of the bits.
    #[arg(long, value_enum)]
    mode: PackingMode,
    /// Replace a model that is at the output.
    #[arg(long)]
    replace: bool,
    /// Stop when standard input ends.
    #[arg(long)]
    lifeline: bool,
}

/// Converts, and returns the exit status. `arguments` begin with the name of the command.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> i32 {
    let QuantizeArguments { model, output, bits, group_size, mode, replace, lifeline } =
        QuantizeArguments::parse_from(arguments);
    let job = Job { model, output, packing: Packing { group_size, bits, mode }, replace };
    match convert(&job, lifeline) {
        Ok(()) => 0,
        Err(error) => {
            print(&QuantizeEvent::Failed { message: error.to_string() });
            1
        }
    }
}

fn convert(job: &Job, lifeline: bool) -> Result<(), QuantizeError> {
    let stop = Arc::new(AtomicBool::new(false));
    let unwatched = |cause| QuantizeError::Io { path: job.output.clone(), cause };
    watch_signals(Arc::clone(&stop)).map_err(unwatched)?;
    if lifeline {
        watch_input(Arc::clone(&stop)).map_err(unwatched)?;
    }
    memory::set_cache_limit(CACHE_LIMIT_BYTES)?;
    let mut printed = 0;
    super::run(job, &stop, &mut |event| {
        if let QuantizeEvent::Progress { read } = event {
            if read < printed + PROGRESS_BYTES {
                return;
            }
            printed = read;
        }
        print(&event);
    })
}

/// A reader that has left is no failure.
fn print(event: &QuantizeEvent) {
    let mut output = io::stdout().lock();
    if let Ok(line) = serde_json::to_string(event) {
        let _ = writeln!(output, "{line}").and_then(|()| output.flush());
    }
}

/// Sets `stop` at SIGINT and SIGTERM.
fn watch_signals(stop: Arc<AtomicBool>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let watch = move || {
        if runtime.block_on(stop_signal(false)).is_ok() {
            stop.store(true, Ordering::Relaxed);
        }
    };
    thread::Builder::new().name("signals".into()).spawn(watch).map(drop)
}

/// Sets `stop` when standard input ends: the command that started this process has ended.
fn watch_input(stop: Arc<AtomicBool>) -> io::Result<()> {
    let watch = move || {
        let mut buffer = [0; 64];
        let mut input = io::stdin().lock();
        while matches!(input.read(&mut buffer), Ok(1..)) {}
        stop.store(true, Ordering::Relaxed);
    };
    thread::Builder::new().name("lifeline".into()).spawn(watch).map(drop)
}
