//! Adds backends to the text of `config.toml`.

use std::collections::BTreeMap;

use ipc_proto::gateway::short_model;
use toml_edit::{Array, Item, Table, value};

use super::Merger;
use crate::import::plan::Backend;

/// The lease of a program whose weights are not known.
const GUESS: u64 = 8 << 30;
/// Memory beside the weights.
const BESIDE: u64 = 1 << 30;

impl Merger<'_> {
    pub(super) fn backends(&mut self, backends: BTreeMap<String, Backend>) {
        for (name, backend) in backends {
            if self.document.get("backends").is_some_and(|all| all.get(&name).is_some()) {
                continue;
            }
            if self.document.get("providers").is_some_and(|all| all.get(&name).is_some()) {
                self.leave(format!("backend {name}"), "config.toml has a provider of this name");
                continue;
            }
            let size = backend.weights.as_deref().and_then(self.present.size);
            let memory = size.map_or(GUESS, |bytes| bytes + bytes / 10 + BESIDE).div_ceil(1 << 30);
            self.take(format!("backend {name}: {}", backend.command.join(" ")));
            self.leave(
                format!("memory of backend {name}"),
                format!("{memory}GiB is an estimate: set the lease to what `mlxd ps` shows under load"),
            );
            self.model_switches(&name, &backend);
            let backends = self.document.entry("backends").or_insert_with(implicit);
            if let Some(backends) = backends.as_table_like_mut() {
                backends.insert(&name, Item::Table(table(backend, memory)));
            }
        }
    }

    /// What belongs into the table of its model.
    fn model_switches(&mut self, name: &str, backend: &Backend) {
        let switches = [("pin", backend.pin), ("preload", backend.preload)];
        if switches.iter().all(|(_, on)| !on) {
            return;
        }
        let Some(models) = self.document.entry("models").or_insert_with(implicit).as_table_like_mut() else {
            return;
        };
        let mut table = Table::new();
        for (key, _) in switches.into_iter().filter(|(_, on)| *on) {
            table.insert(key, value(true));
        }
        models.insert(&format!("{name}/{}", short_model(&backend.model)), Item::Table(table));
    }

    /// Whether a name is that of a backend's model.
    pub(super) fn is_of_backend(&self, backend: &str, model: &str) -> bool {
        let known = self.document.get("backends").and_then(|all| all.get(backend)?.get("model")?.as_str());
        known.map(short_model) == Some(model)
    }
}

fn implicit() -> Item {
    let mut table = Table::new();
    table.set_implicit(true);
    Item::Table(table)
}

fn table(backend: Backend, memory: u64) -> Table {
    let Backend { command, model, alias, context, idle_seconds, start_seconds, health, .. } = backend;
    let mut table = Table::new();
    table.insert("command", value(command.into_iter().collect::<Array>()));
    table.insert("model", value(model));
    table.insert("alias", value(alias));
    table.insert("memory", value(format!("{memory}GiB")));
    let numbers = [("context", context), ("idle_seconds", idle_seconds), ("start_seconds", start_seconds)];
    for (key, number) in numbers {
        if let Some(number) = number {
            table.insert(key, value(i64::from(number)));
        }
    }
    if let Some(health) = health {
        table.insert("health", value(health));
    }
    table
}
