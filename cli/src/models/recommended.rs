//! Models that are worth a try, from a list in this program: `mlxd search --recommended` needs no hub.
//!
//! `recommended.json` has the day on which it was made. It lists only families that workers serve.

use std::collections::BTreeMap;

use hub::appraisal::{Machine, Verdict};
use ipc_proto::supervisor::Details;
use serde::Deserialize;
use serde_json::{Value, json};

use super::search::cell;
use super::units;
use crate::table;

const LIST: &str = include_str!("recommended.json");

/// The list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recommended {
    /// The day on which it was made, such as 2026-11-30.
    date: String,
    models: Vec<Entry>,
}

/// A model of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Its name on the hub.
    id: String,
    /// As the hub writes it.
    license: String,
    /// Bytes of its weights, rounded.
    bytes: u64,
    /// The memory of the smallest Mac that serves it by default, in GiB.
    memory_gib: u64,
    /// Its strengths.
    #[serde(rename = "use")]
    purpose: String,
    /// Its names in other programs' stores.
    also: Vec<String>,
    /// The number of elements by safetensors type.
    elements: BTreeMap<String, u64>,
    /// The fields of config.json that the estimate of memory reads.
    config: Value,
}

/// A model of the list, and whether it fits here.
struct Appraised<'a> {
    entry: &'a Entry,
    details: Details,
    memory: u64,
    verdict: Verdict,
}

impl Recommended {
    /// The list of this program.
    ///
    /// # Errors
    /// It cannot be read: a fault of the build.
    pub(crate) fn read() -> serde_json::Result<Self> {
        serde_json::from_str(LIST)
    }

    /// The recommended model that is the same as another program's, such as `qwen3:8b` or `Qwen3-8B-Q4_K_M.gguf`.
    pub(crate) fn nearest(&self, name: &str) -> Option<&str> {
        let name = letters(name.rsplit('/').next().unwrap_or(name));
        let length = |entry: &Entry| {
            let own = entry.names().map(|own| letters(&own));
            own.filter(|own| name.starts_with(own.as_str())).map(|own| own.len()).max()
        };
        let fitting = self.models.iter().filter_map(|entry| Some((length(entry)?, &*entry.id)));
        fitting.max().map(|(_, id)| id)
    }

    fn appraise(&self, machine: Machine, only_fitting: bool) -> Vec<Appraised<'_>> {
        let all = self.models.iter().map(|entry| entry.appraise(machine));
        all.filter(|one| !only_fitting || one.verdict == Verdict::Fits).collect()
    }

    /// The list for a terminal, smallest models first.
    pub(super) fn table(&self, machine: Machine, only_fitting: bool) -> String {
        let mut rows = vec![["MODEL", "SIZE", "MEMORY", "MAC", "GOOD FOR", "HERE"].map(String::from)];
        for Appraised { entry, memory, verdict, .. } in self.appraise(machine, only_fitting) {
            rows.push([
                entry.id.clone(),
                units::bytes(entry.bytes),
                units::bytes(memory),
                format!("{} GiB", entry.memory_gib),
                entry.purpose.clone(),
                cell(&verdict, machine),
            ]);
        }
        format!("{}list of {}; `mlxd search` asks the hub for newer ones\n", table::aligned(&rows), self.date)
    }

    /// The list in JSON.
    pub(super) fn document(&self, machine: Machine, only_fitting: bool) -> Value {
        let all = self.appraise(machine, only_fitting).into_iter().map(|one| {
            let Appraised { entry, details, memory, verdict } = one;
            json!({
                "id": entry.id, "license": entry.license, "bytes": entry.bytes, "use": entry.purpose,
                "memory_gib": entry.memory_gib, "family": details.architecture, "memory_bytes": memory,
                "verdict": verdict.word(),
            })
        });
        json!({"date": self.date, "models": Value::from_iter(all)})
    }
}

impl Entry {
    /// Judges it as a search judges a model of the hub.
    fn appraise(&self, machine: Machine) -> Appraised<'_> {
        let elements = self.elements.iter().map(|(kind, count)| (kind.as_str(), *count));
        let details = supervisor::remote_details(&self.config, elements);
        let memory = supervisor::memory_needed(&details);
        let verdict = Verdict::new(&details, memory, machine);
        Appraised { entry: self, details, memory, verdict }
    }

    /// Its name without organisation and format, and its names elsewhere.
    fn names(&self) -> impl Iterator<Item = String> {
        let name = self.id.rsplit('/').next().unwrap_or(&self.id);
        let end = ["-4bit", "-MXFP4-Q4"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
        std::iter::once(end.to_owned()).chain(self.also.iter().cloned())
    }
}

/// The letters and digits of a name, in lower case.
fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A budget that every model of the list fits into.
    const ALL: Machine = Machine { budget: u64::MAX };

    #[test]
    fn list_has_families_that_are_served_and_sizes_of_its_elements() {
        let list = Recommended::read().unwrap();
        assert!(list.models.len() >= 15 && list.date.len() == "2026-11-30".len());
        for one in list.appraise(ALL, false) {
            let Appraised { entry, details, verdict, .. } = one;
            assert_eq!((verdict, details.problem), (Verdict::Fits, None), "{}", entry.id);
            let bytes: u64 = entry.elements.iter().map(|(kind, count)| count * width(kind)).sum();
            let difference = bytes.abs_diff(entry.bytes) as f64 / bytes as f64;
            assert!(difference < 0.03, "{}: {bytes} and {}", entry.id, entry.bytes);
        }
    }

    fn width(kind: &str) -> u64 {
        match kind {
            "U32" => 4,
            "BF16" => 2,
            _ => 1,
        }
    }

    /// The weights, 8,192 tokens of 16 bits and a step's memory, beside the default budget.
    #[test]
    fn named_mac_has_the_memory() {
        for entry in Recommended::read().unwrap().models {
            let number = |name: &str| entry.config[name].as_u64().unwrap();
            let token = 4 * number("num_hidden_layers") * number("num_key_value_heads") * number("head_dim");
            let needed = entry.bytes + 8192 * token + (384 << 20);
            let share = if entry.memory_gib < 36 { 2.0 / 3.0 } else { 0.75 };
            let budget = (entry.memory_gib << 30) as f64 * share * 0.75;
            assert!((needed as f64) < budget, "{}: {needed} of {budget}", entry.id);
        }
    }

    #[test]
    fn small_machine_fits_the_small_models_only() {
        let list = Recommended::read().unwrap();
        let machine = Machine { budget: 12_000_000_000 };
        let fitting = list.table(machine, true);
        assert!(fitting.contains("Qwen3-0.6B-4bit") && !fitting.contains("235B"), "{fitting}");
        let all = list.table(machine, false);
        assert!(all.contains("235B") && all.contains("too large: models may have 12.0 GB"), "{all}");
        assert!(all.ends_with("`mlxd search` asks the hub for newer ones\n"));
        let document = list.document(machine, true);
        assert_eq!(document["models"][0]["verdict"], "fits");
    }

    #[test]
    fn names_of_other_programs_lead_to_the_same_model() {
        let list = Recommended::read().unwrap();
        for (name, found) in [
            ("qwen3:8b", Some("mlx-community/Qwen3-8B-4bit")),
            ("/models/Qwen3-8B-Q4_K_M.gguf", Some("mlx-community/Qwen3-8B-4bit")),
            (
                "unsloth/Qwen3-Coder-30B-A3B-Instruct-GGUF",
                Some("mlx-community/Qwen3-Coder-30B-A3B-Instruct-4bit"),
            ),
            ("llama3.2:latest", Some("mlx-community/Llama-3.2-3B-Instruct-4bit")),
            ("llama3.2:1b", Some("mlx-community/Llama-3.2-1B-Instruct-4bit")),
            ("gpt-oss-120b-mxfp4-00001-of-00003.gguf", Some("mlx-community/gpt-oss-120b-MXFP4-Q4")),
            ("Llama-3.2-11B-Vision-Instruct", None),
            ("Qwen3-80B", None),
            ("", None),
        ] {
            assert_eq!(list.nearest(name), found, "{name}");
        }
    }
}
