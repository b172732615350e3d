//! macOS: the memory that the GPU may use at once. Metal knows it, and the worker links Metal, so the worker is asked.
//!
//! Compiled for the tests of every system. Not yet verified on a Mac.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// The property of MLX's device, in bytes.
const PROPERTY: &str = "max_recommended_working_set_size";

/// The time limit for the answer. The first start of a program may wait for a check of its signature.
const LIMIT: Duration = Duration::from_secs(10);

/// Asks the worker `program` for Metal's recommended working set in bytes.
///
/// # Errors
/// One line with the reason why it gives none.
pub(super) async fn ask(program: &Path) -> Result<u64, String> {
    let mut command = Command::new(program);
    crate::child::hide_private_variables(&mut command);
    command.arg("device").stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output()).await;
    let output = output.map_err(|_| format!("no answer within {} s", LIMIT.as_secs()))?;
    let output = output.map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()));
    }
    parse(&output.stdout).ok_or_else(|| format!("the device has no {PROPERTY}"))
}

/// The property in the worker's answer, a JSON object.
fn parse(answer: &[u8]) -> Option<u64> {
    let device: serde_json::Value = serde_json::from_slice(answer).ok()?;
    device[PROPERTY].as_u64().filter(|bytes| *bytes > 0)
}

/// Memory for models in bytes, by the best source that answers: Metal, the limit that the user has set
/// (`iogpu.wired_limit_mb`, 0 if none), a table for a machine with `total` bytes.
pub(super) fn choose(metal: Option<u64>, wired_limit_mib: Option<u64>, total: Option<u64>) -> Option<u64> {
    let limit = wired_limit_mib.filter(|mib| *mib > 0).map(|mib| mib << 20);
    metal.or(limit).or(total.map(estimate))
}

/// About Metal's figure for a machine with `total` bytes: a table, for a worker that does not answer.
///
/// It is two thirds of the memory below 36 GiB and three quarters from there on. The real figure varies with the release of
/// macOS: for 16 GiB, 10.7 and 11.8 GiB were seen; for 36 GiB 27; for 128 GiB 96 and 107.5.
fn estimate(total: u64) -> u64 {
    if total < 36 << 30 { total / 3 * 2 } else { total / 4 * 3 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    /// The result of `ask` for a worker that runs this script.
    async fn answer_of(script: &str) -> Result<u64, String> {
        let (_folder, program) = crate::machine::script(script);
        ask(&program).await
    }

    #[tokio::test]
    async fn worker_is_asked_for_its_device() {
        let device = r#"[ "$1" = device ] && echo '{"max_recommended_working_set_size": 28991029248, "architecture": "applegpu_g16s"}'"#;
        assert_eq!(answer_of(device).await, Ok(28_991_029_248));
    }

    #[tokio::test]
    async fn worker_without_an_answer_gives_its_reason() {
        for (script, reason) in [
            ("echo 'no metallib' >&2; exit 1", "exit status: 1: no metallib"),
            ("echo '{\"max_recommended_working_set_size\": 0}'", "the device has no max_recommended"),
            ("echo '{\"architecture\": \"x86_64\"}'", "the device has no max_recommended"),
            ("echo nonsense", "the device has no max_recommended"),
        ] {
            let given = answer_of(script).await.unwrap_err();
            assert!(given.contains(reason), "{script}: {given}");
        }
        assert!(ask(Path::new("/no/such/worker")).await.unwrap_err().contains("No such file"));
    }

    #[test]
    fn metal_precedes_the_users_limit_and_that_precedes_the_table() {
        let (metal, limit, total) = (Some(27 * GIB), Some(30 << 10), Some(36 * GIB));
        for (metal, limit, total, expected) in [
            (metal, limit, total, Some(27 * GIB)),
            (metal, None, None, Some(27 * GIB)),
            (None, limit, total, Some(30 * GIB)),
            (None, Some(0), total, Some(27 * GIB)),
            (None, None, total, Some(27 * GIB)),
            (None, Some(0), None, None),
        ] {
            assert_eq!(choose(metal, limit, total), expected, "{metal:?} {limit:?} {total:?}");
        }
    }

    #[test]
    fn table_has_three_quarters_from_36_gib_on() {
        for (total, at_least, at_most) in
            [(8, 5, 6), (16, 10, 11), (24, 16, 17), (36, 27, 27), (64, 48, 48), (128, 96, 96)]
        {
            let bytes = estimate(total * GIB);
            assert!(bytes >= at_least * GIB - 2 && bytes <= at_most * GIB, "{total} GiB: {bytes}");
        }
    }
}
