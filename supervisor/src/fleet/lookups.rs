//! Finds the model that a caller names. If that needs a fresh catalogue, the call waits for a scan.
//!
//! - A model that runs needs no scan, except for a restart.
//! - A known model waits for a scan of its own store, because its files may have changed.
//! - An unknown name waits for a scan of every store: the model may have been added just now.
//!
//! A store that does not answer in time is not waited for. A known model is then served from the last catalogue. An
//! unknown one is refused with the names of the folders that did not answer.

use std::time::{Duration, Instant};

use ipc_proto::supervisor::{KeepAlive, ModelEntry, ModelSettings};
use ipc_proto::{Error, ErrorKind, Origin, Resource, Result};

use super::actor::FleetActor;
use super::calls::answer;
use super::{Caller, Reply};
use crate::overrides::Edit;
use crate::registry::{Catalogue, FRESH, SCAN_LIMIT, ScanTicket};

/// A list of models shows the last catalogue of a store that takes longer.
const LIST_LIMIT: Duration = Duration::from_secs(1);

/// A call that needs the catalogue.
pub(super) enum Lookup {
    /// Concerns one model, by id or alias.
    Model(String, ModelCall),
    List(Reply<Vec<ModelEntry>>),
}

/// A call that concerns one model.
pub(super) enum ModelCall {
    Ensure(Caller),
    Entry(Reply<Result<ModelEntry>>),
    KeepAlive(KeepAlive, Reply<Result<()>>),
    /// A request is to blame for the death of the worker with this incarnation.
    Excuse(u64, Reply<Result<()>>),
    Unload {
        force: bool,
        reply: Reply<Result<()>>,
    },
    Restart(Reply<Result<()>>),
    Settings(Reply<Result<ModelSettings>>),
    Edit(Edit, Reply<Result<()>>),
}

/// A lookup that waits for scans.
pub(super) struct PendingLookup {
    lookup: Lookup,
    ticket: ScanTicket,
    deadline: Instant,
}

impl ModelCall {
    fn refuse(self, error: Error) {
        match self {
            Self::Ensure(caller) => answer(caller.reply, Err(error)),
            Self::KeepAlive(_, reply)
            | Self::Excuse(_, reply)
            | Self::Unload { reply, .. }
            | Self::Restart(reply)
            | Self::Edit(_, reply) => answer(reply, Err(error)),
            Self::Settings(reply) => answer(reply, Err(error)),
            Self::Entry(reply) => answer(reply, Err(error)),
        }
    }
}

impl FleetActor {
    /// Answers a call at once if it needs no scan, else when the scan is done.
    pub(super) fn begin_lookup(&mut self, lookup: Lookup) {
        let now = Instant::now();
        let (max_age, limit) = match lookup {
            // A restart reads the files again.
            Lookup::Model(name, call) if self.runs(&name) && !matches!(call, ModelCall::Restart(_)) => {
                return self.call_model(&name, call, &[]);
            }
            Lookup::Model(..) => (Duration::ZERO, SCAN_LIMIT),
            Lookup::List(_) => (FRESH, LIST_LIMIT),
        };
        let ticket = self.registry.request_scans(max_age, now);
        self.lookups.push(PendingLookup { lookup, ticket, deadline: now + limit });
        self.finish_lookups(now);
    }

    /// Answers the calls whose scans are done, overdue or past the deadline.
    pub(super) fn finish_lookups(&mut self, now: Instant) {
        for pending in std::mem::take(&mut self.lookups) {
            if now < pending.deadline && !self.is_settled(&pending, now) {
                self.lookups.push(pending);
                continue;
            }
            match pending.lookup {
                Lookup::List(reply) => answer(reply, self.models()),
                Lookup::Model(name, call) => {
                    let unanswered = self.registry.unanswered(&pending.ticket);
                    self.call_model(&name, call, &unanswered);
                }
            }
        }
    }

    fn is_settled(&self, pending: &PendingLookup, now: Instant) -> bool {
        let mut stores = Vec::new();
        match &pending.lookup {
            Lookup::List(_) => stores.extend(self.registry.all_stores()),
            Lookup::Model(name, _) => {
                let id = self.find_id(name);
                stores.extend(self.registry.stores_for(id.as_ref().unwrap_or(name)));
                // The memory estimate includes the draft model.
                if let Some(draft) = id.and_then(|id| self.settings(&id).draft_model) {
                    stores.extend(self.registry.stores_for(&draft));
                }
            }
        }
        self.registry.is_settled(&stores, &pending.ticket, now)
    }

    fn call_model(&mut self, name: &str, call: ModelCall, unanswered: &[String]) {
        let Some(id) = self.find_id(name) else {
            return call.refuse(self.not_found(name, unanswered));
        };
        match call {
            ModelCall::Ensure(caller) => self.ensure_ready(&id, caller),
            ModelCall::Entry(reply) => answer(reply, Ok(self.model_entry(&id))),
            ModelCall::KeepAlive(keep, reply) => {
                self.set_keep_alive(&id, keep);
                answer(reply, Ok(()));
            }
            ModelCall::Excuse(number, reply) => {
                self.excuse(&id, number);
                answer(reply, Ok(()));
            }
            ModelCall::Unload { force, reply } => self.unload(&id, force, reply),
            ModelCall::Restart(reply) => self.restart(&id, reply),
            ModelCall::Settings(reply) => answer(reply, Ok(self.settings(&id))),
            ModelCall::Edit(edit, reply) => self.edit_settings(id, edit, reply),
        }
    }

    /// The id for an id or alias, as far as the last catalogue knows.
    fn find_id(&self, name: &str) -> Option<String> {
        if self.workers_of(name).next().is_some() || self.registry.get(name).is_some() {
            return Some(name.to_owned());
        }
        let has_alias = |id: &&String| self.settings(id).aliases.iter().any(|alias| alias == name);
        let id = self.configured_ids().find(has_alias)?;
        self.registry.get(id).map(|_| id.clone())
    }

    fn runs(&self, name: &str) -> bool {
        self.find_id(name).is_some_and(|id| self.workers_of(&id).next().is_some())
    }

    fn not_found(&self, name: &str, unanswered: &[String]) -> Error {
        let available = self.registry.describe_available();
        if unanswered.is_empty() {
            let text = format!("the model \"{name}\" does not exist{}; {available}", download_hint(name));
            return Error::not_found(Resource::Model, text).with_field("model");
        }
        let text = format!(
            "the model \"{name}\" is not known, and {} did not answer within {} s; {available}",
            unanswered.join(" and "),
            SCAN_LIMIT.as_secs()
        );
        Error::new(ErrorKind::Unavailable, Origin::Supervisor, text).with_field("model")
    }

    /// Takes over a store's new catalogue.
    pub(super) fn handle_scan(&mut self, store: usize, catalogue: Catalogue) {
        let now = Instant::now();
        let was_complete = self.registry.is_complete();
        self.registry.complete_scan(store, catalogue, now);
        self.preload_found();
        if self.registry.is_complete() && !was_complete {
            self.warn_about_missing_models();
            self.warn_about_aliases();
        }
        self.finish_lookups(now);
    }

    /// Starts the models with `preload` that scans have found since the server started.
    fn preload_found(&mut self) {
        let found: Vec<String> =
            self.preloads.iter().filter(|id| self.registry.get(id).is_some()).cloned().collect();
        for id in found {
            self.preloads.remove(&id);
            self.slot(&id).preload = true;
        }
    }

    /// A misspelt id would otherwise go unnoticed.
    fn warn_about_missing_models(&mut self) {
        for id in std::mem::take(&mut self.preloads) {
            tracing::warn!(model = id, "a model that is to be preloaded does not exist");
        }
        let available = self.registry.describe_available();
        for id in self.unknown_ids() {
            tracing::warn!(model = id, "settings are there for a model that does not exist; {available}");
        }
    }
}

/// The command that downloads a model, if its name is one of the hub's: `organisation/name`.
fn download_hint(name: &str) -> String {
    let is_plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    match name.split_once('/') {
        Some((organisation, rest)) if is_plain(organisation) && is_plain(rest) => {
            format!(" here: download it with `mlxd pull {name}`")
        }
        _ => String::new(),
    }
}
