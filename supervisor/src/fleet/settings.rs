//! Model settings: those in force, and edits at run time.
//!
//! A thread writes the file, one edit at a time and in order. An edit is in force, and answered, once it is on disk. An
//! edit that cannot be written changes nothing, and the next one builds on the file as it is.

use std::io;
use std::thread;

use ipc_proto::supervisor::{ModelSettings, WorkerState};
use ipc_proto::{Error, ErrorKind, Origin, Result};

use super::actor::FleetActor;
use super::calls::{DRAIN, answer};
use super::{FleetCommand, Limits, Reply};
use crate::overrides::{Edit, SettingsOverrides};

/// An edit that waits for its turn or is being written.
pub(super) struct PendingEdit {
    id: String,
    edit: Edit,
    reply: Reply<Result<()>>,
}

impl FleetActor {
    /// Ids with settings, in config.toml or at run time.
    pub(super) fn configured_ids(&self) -> impl Iterator<Item = &String> {
        self.policy.models.keys().chain(self.overrides.model_ids())
    }

    /// Puts other limits in force. Settings of single models stay.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        let Limits { budget, idle_seconds, hang_seconds } = limits;
        self.ledger.set_budget(budget);
        (self.policy.idle_seconds, self.policy.hang_seconds) = (idle_seconds, hang_seconds);
    }

    /// A model's settings as they are in force.
    pub(super) fn settings(&self, id: &str) -> ModelSettings {
        let set = self.overrides.settings(id).or_else(|| self.policy.models.get(id));
        set.cloned().unwrap_or_default()
    }

    /// Whether a model is exempt from eviction.
    pub(super) fn is_pinned(&self, id: &str) -> bool {
        self.overrides.pinned(id).unwrap_or_else(|| self.settings(id).pin)
    }

    /// Refuses settings that would have no effect on the model of a backend, and aliases that already name a model.
    fn check_settings(&self, id: &str, settings: &ModelSettings) -> Result<()> {
        if self.externals.models.contains_key(id) {
            let own = self.policy.models.get(id).map(|settings| settings.aliases.as_slice());
            settings.check_for_backend(own.unwrap_or_default())?;
        }
        self.check_aliases(id, settings)
    }

    /// Refuses aliases that already name a model.
    fn check_aliases(&self, id: &str, settings: &ModelSettings) -> Result<()> {
        for alias in &settings.aliases {
            if let Some(owner) = self.owner(alias, id) {
                let text = format!("aliases: \"{alias}\" is already a name of the model \"{owner}\"");
                return Err(Error::invalid("aliases", text));
            }
        }
        Ok(())
    }

    /// The model that has this name as its id, or as an alias although it is not `id`.
    fn owner(&self, name: &str, id: &str) -> Option<String> {
        if self.registry.get(name).is_some() || self.workers_of(name).next().is_some() {
            return Some(name.to_owned());
        }
        let has_alias = |other: &&String| {
            other.as_str() != id && self.settings(other).aliases.iter().any(|alias| alias == name)
        };
        self.configured_ids().find(has_alias).cloned()
    }

    /// Logs aliases that already name a model: only the files show that.
    pub(super) fn warn_about_aliases(&self) {
        for id in self.configured_ids().filter(|id| self.registry.get(id).is_some()) {
            for alias in self.settings(id).aliases {
                if let Some(owner) = self.owner(&alias, id) {
                    tracing::warn!(model = id, alias, owner, "an alias is already a name of another model");
                }
            }
        }
    }

    /// Writes an edit after those that came before it.
    pub(super) fn edit_settings(&mut self, id: String, edit: Edit, reply: Reply<Result<()>>) {
        if let Edit::Settings(settings) = &edit
            && let Err(error) = self.check_settings(&id, settings)
        {
            return answer(reply, Err(error));
        }
        self.edits.push_back(PendingEdit { id, edit, reply });
        if self.edits.len() == 1 {
            self.write_next_edit();
        }
    }

    fn write_next_edit(&mut self) {
        let Some(next) = self.edits.front() else { return };
        let edited = self.overrides.with(&next.id, next.edit.clone());
        let commands = self.commands.clone();
        let write = move || {
            let outcome = edited.write().map(|()| edited);
            let _ = commands.send(FleetCommand::SettingsWritten(outcome));
        };
        if let Err(error) = thread::Builder::new().name("settings".into()).spawn(write) {
            self.finish_edit(Err(error));
        }
    }

    /// Puts the edit that was written in force, answers it, and begins the next.
    pub(super) fn finish_edit(&mut self, outcome: io::Result<SettingsOverrides>) {
        let Some(done) = self.edits.pop_front() else { return };
        match outcome {
            Ok(overrides) => {
                self.overrides = overrides;
                if matches!(done.edit, Edit::Settings(_)) {
                    self.end_surplus_workers(&done.id);
                    // The failures were those of other settings.
                    self.slot(&done.id).failures.reset();
                }
                answer(done.reply, Ok(()));
            }
            Err(cause) => answer(done.reply, Err(write_error(&cause))),
        }
        self.write_next_edit();
    }

    /// Ends the youngest workers if there are more than the settings allow.
    fn end_surplus_workers(&mut self, id: &str) {
        let replicas = self.settings(id).replicas as usize;
        let mut active = Vec::new();
        for (number, worker) in self.workers_of(id) {
            if matches!(worker.process.state(), WorkerState::Ready | WorkerState::Starting) {
                active.push(number);
            }
        }
        for number in active.into_iter().skip(replicas) {
            self.end_worker(number, Some(DRAIN), "it has more workers than are set");
        }
    }
}

fn write_error(cause: &io::Error) -> Error {
    tracing::error!(%cause, "settings cannot be written");
    let text = format!("nothing was set, since it cannot be written down: {cause}");
    Error::new(ErrorKind::Internal, Origin::Supervisor, text)
}
