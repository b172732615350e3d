//! Waits for a server that was just started.

use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::bail;

/// Returns once `process`, a server called `name`, answers at `base`/health; looks every millisecond.
///
/// # Errors
/// When it ends instead, when `patience` is over, or when `give_up` says so.
pub(crate) fn wait(
    process: &mut Child,
    (name, base): (&str, &str),
    patience: Duration,
    give_up: impl Fn() -> bool,
) -> anyhow::Result<()> {
    let start = Instant::now();
    while ureq::get(format!("{base}/health")).call().is_err() {
        if let Some(status) = process.try_wait()? {
            bail!("{name} ended at once ({status}); its reason, if it gave one, stands above");
        }
        if start.elapsed() > patience || give_up() {
            bail!("{name} did not answer at {base}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
