//! Long steps: a spinner with the time on a terminal, a plain line elsewhere, and the end of the output on failure.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// The number of lines shown of a failed command's output.
const SHOWN_LINES: usize = 20;

/// Runs `command`, showing `what` it does.
///
/// # Errors
/// When it cannot be started or fails; the end of its output is part of the error.
pub(crate) fn step(what: &str, command: &mut Command) -> anyhow::Result<()> {
    let start = Instant::now();
    let bar = spinner(what);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{what}: cannot start {}", command.get_program().display()))?;
    let (lines, output) = mpsc::channel();
    let readers = [
        child.stdout.take().map(|pipe| forward(pipe, lines.clone())),
        child.stderr.take().map(|pipe| forward(pipe, lines)),
    ];
    let mut last = VecDeque::new();
    for line in output {
        bar.set_message(format!("{what}: {}", line.chars().take(80).collect::<String>()));
        if last.len() == SHOWN_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    for reader in readers.into_iter().flatten() {
        let _ = reader.join();
    }
    let status = child.wait()?;
    bar.finish_and_clear();
    if !status.success() {
        bail!("{what} failed ({status}):\n{}", Vec::from(last).join("\n"));
    }
    eprintln!("  {what}: {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Shows `what` and its duration on a terminal until it is cleared.
pub(crate) fn spinner(what: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_message(what.to_owned());
    if let Ok(style) = ProgressStyle::with_template("  {spinner} {wide_msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn forward(pipe: impl Read + Send + 'static, lines: mpsc::Sender<String>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
    })
}

/// Runs `command` with its output shown as it comes, for programs with a progress display of their own.
///
/// # Errors
/// When it cannot be started or fails.
pub(crate) fn shown(what: &str, command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("{what}: cannot start {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{what} failed ({status})");
    }
    Ok(())
}
