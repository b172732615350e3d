//! Waits for a server to start.

use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::bail;

/// Waits until `process`, the server `name`, answers at `url`. Polls every millisecond.
///
/// # Errors
/// When the process ends, `patience` is over, or `give_up` returns true.
pub(crate) fn wait(
    process: &mut Child,
    (name, url): (&str, &str),
    patience: Duration,
    give_up: impl Fn() -> bool,
) -> anyhow::Result<()> {
    let start = Instant::now();
    while ureq::get(url).call().is_err() {
        if let Some(status) = process.try_wait()? {
            bail!("{name} ended at once ({status}); its reason, if it gave one, stands above");
        }
        if start.elapsed() > patience || give_up() {
            bail!("{name} did not answer at {url}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
