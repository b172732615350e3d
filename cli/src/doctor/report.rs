//! The report: Markdown with one section for each kind of measurement.

use std::fmt::Write as _;

use serde_json::Value;

use super::model::Measurement;

/// A report in the making.
pub(super) struct Report {
    text: String,
    checks: usize,
    failures: Vec<String>,
}

impl Report {
    pub(super) fn new() -> Self {
        Self { text: "# mlxd doctor\n".into(), checks: 0, failures: Vec::new() }
    }

    /// Whether every check passed.
    pub(super) fn is_healthy(&self) -> bool {
        self.failures.is_empty()
    }

    /// One line for each failure, or one for all checks.
    pub(super) fn summary(&self) -> String {
        match self.failures.as_slice() {
            [] => format!("All {} checks passed.", self.checks),
            failures => {
                format!("{} of {} checks failed:\n- {}", failures.len(), self.checks, failures.join("\n- "))
            }
        }
    }

    /// The whole report.
    pub(super) fn text(&self) -> String {
        format!("{}\n## Summary\n\n{}\n", self.text, self.summary())
    }

    pub(super) fn section(&mut self, title: &str, text: &str) {
        // Writing to a string does not fail.
        let _ = write!(self.text, "\n## {title}\n\n{text}\n");
    }

    pub(super) fn system(&mut self, facts: &[(&'static str, String)]) {
        self.section("System", &list(facts));
    }

    /// The worker's JSON: MLX, its device and the checks of operations.
    pub(super) fn operations(&mut self, worker: &Value) {
        let mut text = format!("MLX {} on the {}.\n", plain(&worker["mlx"]), plain(&worker["device"]));
        for (key, value) in worker["device_info"].as_object().into_iter().flatten() {
            let _ = write!(text, "\n- {key}: {}", plain(value));
        }
        text.push_str("\n\n| Operation | Error | Allowed | |\n|---|---|---|---|");
        for check in worker["checks"].as_array().into_iter().flatten() {
            let (name, is_ok) = (plain(&check["name"]), check["ok"] == true);
            let error = check.get("failure").unwrap_or(&check["error"]);
            let row = format!("{name} | {} | {}", plain(error), plain(&check["tolerance"]));
            let _ =
                write!(text, "\n| {row} | {} |", self.judge(is_ok, || format!("{name}: {}", plain(error))));
        }
        self.section("MLX", &text);
    }

    pub(super) fn model(&mut self, measured: &Measurement) {
        let mut text = String::new();
        for (recorded, given) in &measured.texts {
            let verdict =
                self.judge(given == recorded, || format!("SmolLM2 gave {given:?} instead of {recorded:?}"));
            let _ = writeln!(text, "- {verdict}: {given:?}");
        }
        let _ = write!(
            text,
            "- prefill: {:.1} tokens/s\n- decode: {:.1} tokens/s",
            measured.prefill_per_second, measured.decode_per_second
        );
        self.section("SmolLM2", &text);
        self.section("Memory of its worker", &list(&measured.worker));
        let pool = serde_json::to_string_pretty(&measured.pool).unwrap_or_default();
        self.section("Memory pool", &format!("```json\n{pool}\n```"));
    }

    /// Counts a check and returns its verdict. `failure` describes it.
    fn judge(&mut self, is_ok: bool, failure: impl FnOnce() -> String) -> &'static str {
        self.checks += 1;
        if is_ok {
            return "ok";
        }
        self.failures.push(failure());
        "FAILED"
    }
}

fn list(facts: &[(&'static str, String)]) -> String {
    let line = |(name, value): &(&str, String)| {
        if value.contains('\n') {
            format!("- {name}:\n\n```\n{value}\n```")
        } else {
            format!("- {name}: {value}")
        }
    };
    facts.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A text without quotation marks, anything else as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn measured(given: &str) -> Measurement {
        Measurement {
            texts: vec![("right", given.to_owned())],
            prefill_per_second: 10.0,
            decode_per_second: 2.5,
            pool: json!({ "pressure": "normal" }),
            worker: vec![("ps", "17".into()), ("footprint(1)", "two\nlines".into())],
        }
    }

    #[test]
    fn report_of_a_healthy_machine_counts_its_checks() {
        let mut report = Report::new();
        report.system(&[("Kernel", "Linux".into())]);
        let check = json!({ "name": "softmax", "error": 0.0, "tolerance": 0.1, "ok": true });
        report.operations(
            &json!({ "mlx": "1.2", "device": "cpu", "device_info": { "size": 4 }, "checks": [check] }),
        );
        report.model(&measured("right"));
        assert!(report.is_healthy());
        let text = report.text();
        for part in [
            "- Kernel: Linux",
            "MLX 1.2 on the cpu.",
            "- size: 4",
            "| softmax | 0.0 | 0.1 | ok |",
            "decode: 2.5",
            "two\nlines\n```",
            "All 2 checks passed.",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn failed_checks_are_named_in_the_summary() {
        let mut report = Report::new();
        let checks = json!([{ "name": "a", "error": null, "tolerance": 0.1, "ok": false }, { "name": "b", "failure": "no kernel", "ok": false }]);
        report.operations(&json!({ "checks": checks }));
        report.model(&measured("wrong"));
        assert!(!report.is_healthy());
        assert_eq!(
            report.summary(),
            "3 of 3 checks failed:\n- a: null\n- b: no kernel\n- SmolLM2 gave \"wrong\" instead of \"right\""
        );
    }
}
