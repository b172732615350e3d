//! `cargo xtask bench quantize`: conversions by `mlxd-worker quantize` beside `mlx_lm.convert`: tensors, time, peak memory.

use std::fmt::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::machine;
use crate::{demo, goldens, models, paths, setup};

/// Bits, weights per scale, mode.
const FORMS: [(u32, u32, &str); 3] = [(4, 64, "affine"), (8, 32, "affine"), (4, 32, "mxfp4")];

/// Converts, and writes bench/results/quantize.md.
///
/// # Errors
/// When a conversion fails, or a tensor differs from mlx-lm's.
pub(super) fn run() -> anyhow::Result<()> {
    setup::run()?;
    demo::build()?;
    let fp32 = paths::mlx().join("models-fp32");
    let small = models::fetch("smollm2")?.pop().context("no folder")?;
    models::fetch_as("smollm2", "F32", &fp32)?;
    let toy = models::fetch("qwen2")?.pop().context("no folder")?;
    let large = fp32.join(small.file_name().context("no name")?);
    let folders = [small, large, toy];
    let jobs = folders.iter().flat_map(|model| {
        FORMS.map(|(bits, group_size, mode)| {
            json!({"model": model, "bits": bits, "group_size": group_size, "mode": mode})
        })
    });
    let work = tempfile::tempdir()?;
    let list = work.path().join("jobs.json");
    std::fs::write(&list, Value::from_iter(jobs).to_string())?;
    let mut script = Command::new(goldens::environment()?.join("bin/python"));
    script.arg(paths::own("scripts/quantize_compare.py")).arg(paths::program("mlxd-worker"));
    script.arg(work.path()).arg(&list).env("HF_HUB_OFFLINE", "1").stderr(Stdio::inherit());
    let output = script.output().context("cannot run Python")?;
    ensure!(output.status.success(), "quantize_compare.py failed");
    let text = String::from_utf8(output.stdout)?;
    let rows = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    for row in &rows {
        let differ = row["differ"].as_array().context("no comparison")?;
        ensure!(differ.is_empty(), "{} differs from mlx-lm's: {differ:?}", row["job"]);
    }
    super::write("quantize.md", &report(&rows))
}

fn report(rows: &[Value]) -> String {
    let mut text = format!(
        "# Conversions: mlxd beside mlx-lm\n\n`cargo xtask bench quantize`, {}, on {}.\n\n\
         `mlxd-worker quantize` and `mlx_lm.convert` ({}) with the same options on the CPU, one after the other, once each. \
         Every tensor of mlx-lm's result is also in mlxd's, with the same type, shape and bits. Fields of config.json that differ \
         are named.\n\n\
         | Model | Weights, MB | Form | Tensors | Seconds: mlxd | mlx-lm | Peak MiB: mlxd | mlx-lm | Fields that differ |\n\
         |---|---|---|---|---|---|---|---|---|\n",
        machine::today(),
        machine::description(),
        goldens::PACKAGES[..2].join(", "),
    );
    for row in rows {
        let job = &row["job"];
        let number = |who: &str, what: &str| row[who][what].as_f64().unwrap_or(f64::NAN);
        let model = job["model"].as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        let fields: Vec<&str> =
            row["settings"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {model} | {:.0} | {} bits, {} of {} | {} | {:.1} | {:.1} | {:.0} | {:.0} | {} |",
            row["bytes"].as_f64().unwrap_or(f64::NAN) / 1e6,
            job["bits"],
            job["mode"].as_str().unwrap_or_default(),
            job["group_size"],
            row["tensors"],
            number("ours", "seconds"),
            number("theirs", "seconds"),
            number("ours", "mib"),
            number("theirs", "mib"),
            if fields.is_empty() { "none".into() } else { fields.join(", ") },
        );
    }
    text
}
