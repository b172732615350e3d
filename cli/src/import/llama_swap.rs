//! llama-swap's `config.yaml` (<https://github.com/mostlygeek/llama-swap/wiki/Configuration>): models that an MLX server serves, other
//! programs as backends, peers as providers, selectors as routes. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ipc_proto::gateway::short_model;
use serde_json::Value;

use super::plan::{
    self, Backend, Kind, Model, Plan, Provider, ProviderModel, Route, entries, number, text, texts,
};
use crate::models::recommended::Recommended;

mod backend;
mod command;

use command::{Command, Source};

/// Settings of llama-swap's own work, without a meaning here.
const OWN: [&str; 14] = [
    "healthCheckTimeout",
    "logLevel",
    "logTimeFormat",
    "logToStdout",
    "logRequests",
    "store",
    "metricsMaxInMemory",
    "captureBuffer",
    "ui",
    "performance",
    "startPort",
    "includeAliasesInList",
    "unloadTimeout",
    "upstream",
];
const READ: [&str; 9] =
    ["models", "macros", "globalTTL", "hooks", "groups", "routing", "peers", "selectors", "apiKeys"];
/// Settings of a model that are read, or that concern its process only.
const MODEL: [&str; 19] = [
    "cmd",
    "cmdStop",
    "macros",
    "name",
    "description",
    "env",
    "proxy",
    "checkEndpoint",
    "ttl",
    "unloadTimeout",
    "useModelName",
    "aliases",
    "metadata",
    "concurrencyLimit",
    "sendLoadingState",
    "timeouts",
    "capabilities",
    "compat",
    "unlisted",
];
/// Replacements of macros within each other.
const DEPTH: usize = 8;

/// The plan for a file. `variable` is the environment; `recommended` names models for those that are not taken over.
///
/// # Errors
/// The text is no such file.
pub(super) fn plan(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
    recommended: &Recommended,
) -> Result<Plan, String> {
    let config: Value = super::yaml(text)?;
    if config.get("models").is_none_or(|models| !models.is_object()) {
        return Err("it has no object models, which a configuration of llama-swap has".into());
    }
    let mut reader =
        Reader { config: &config, variable, recommended, plan: Plan::default(), names: BTreeMap::new() };
    reader.plan.idle_seconds = number(&config, "globalTTL");
    for (name, model) in entries(&config, "models") {
        reader.model(name, model);
    }
    reader.hooks();
    reader.groups();
    reader.peers();
    reader.selectors();
    reader.leave_settings();
    Ok(reader.plan)
}

struct Reader<'a> {
    config: &'a Value,
    variable: &'a dyn Fn(&str) -> Option<String>,
    recommended: &'a Recommended,
    plan: Plan,
    /// The models that are taken over: their ids here by their names there.
    names: BTreeMap<String, String>,
}

impl Reader<'_> {
    fn model(&mut self, name: &str, model: &Value) {
        let line = text(model, "cmd").unwrap_or_default();
        let expanded = self.with_environment(&self.expand(line, name, &model["macros"]));
        let Some(command) = Command::parse(&expanded) else {
            return self.plan.leave(name, "its cmd cannot be read as a command line");
        };
        let id = match &command.source {
            Source::Hub(id) => id.clone(),
            Source::Folder(path) => {
                let path = match (path.strip_prefix("~/"), (self.variable)("HOME")) {
                    (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
                    _ => PathBuf::from(path),
                };
                let Some(id) = path.file_name().and_then(|id| id.to_str()).map(str::to_owned) else {
                    return self.plan.leave(name, "its model has no name");
                };
                self.plan.links.push(path);
                id
            }
            Source::Other(file) => {
                return match backend::backend(name, model, (&expanded, &command)) {
                    Ok(made) => self.backend(name, model, made),
                    Err(why) => {
                        let nearest = super::nearest(self.recommended, &[file.as_str(), name]);
                        self.plan.leave(name, format!("{why}; {nearest}"));
                    }
                };
            }
        };
        let aliases = std::iter::once(name).chain(texts(model, "aliases")).filter(|alias| *alias != id);
        let aliases: Vec<String> = aliases.map(str::to_owned).collect();
        self.names.extend(aliases.iter().map(|alias| (alias.clone(), id.clone())));
        self.names.insert(name.to_owned(), id.clone());
        if model.get("ttl").and_then(Value::as_i64) == Some(0) && self.plan.idle_seconds.is_some() {
            self.plan.leave(
                format!("{name}: ttl 0"),
                "a model that never goes is pinned: `mlxd set MODEL pin=true`",
            );
        }
        let settings = Model {
            aliases,
            context: command.context,
            idle_seconds: number(model, "ttl"),
            max_batch: number(model, "concurrencyLimit").filter(|limit| *limit <= 1024),
            ..Model::default()
        };
        let known = self.plan.models.entry(id).or_default();
        let both: BTreeSet<String> = known.aliases.drain(..).chain(settings.aliases.clone()).collect();
        *known = Model { aliases: both.into_iter().collect(), ..settings };
        let others = command.others.join(" ");
        if !others.is_empty() {
            self.plan.leave(format!("{name}: {others}"), "these flags of its server have no counterpart");
        }
        let why = "requests go on as the client sent them";
        self.plan.leave_others(&format!("{name}: "), model, &MODEL, why);
    }

    /// Takes a program over as a backend. Its first name is its alias; routes stand for the others.
    fn backend(&mut self, name: &str, model: &Value, (backend, left): (Backend, Vec<String>)) {
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
        let title: String = name.chars().map(plain).collect();
        // The name of this machine.
        let title = if title == "local" { "local-program".to_owned() } else { title };
        let id = format!("{title}/{}", short_model(&backend.model));
        self.names.insert(name.to_owned(), id.clone());
        for alias in texts(model, "aliases").into_iter().filter(|alias| *alias != name) {
            self.names.insert(alias.to_owned(), id.clone());
            let targets = vec![id.clone()];
            self.plan.routes.push(Route { model: alias.to_owned(), split: Vec::new(), targets });
        }
        let start_seconds = number(self.config, "healthCheckTimeout");
        self.plan.backends.insert(title, Backend { start_seconds, ..backend });
        for what in left {
            let why = if what.starts_with("env ") {
                "it may be a secret: name it in pass_env, and set it for `mlxd serve`"
            } else {
                "nothing here corresponds to it"
            };
            self.plan.leave(format!("{name}: {what}"), why);
        }
        let why = "requests go on as the client sent them";
        self.plan.leave_others(&format!("{name}: "), model, &MODEL, why);
    }

    /// The backend whose model has this id.
    fn backend_of(&mut self, id: &str) -> Option<&mut Backend> {
        let (title, model) = id.split_once('/')?;
        self.plan.backends.get_mut(title).filter(|backend| short_model(&backend.model) == model)
    }

    /// A text with its macros. Those of the model beat the global ones.
    fn expand(&self, text: &str, name: &str, own: &Value) -> String {
        let global = &self.config["macros"];
        let mut text = text.replace("${MODEL_ID}", name);
        for _ in 0..DEPTH {
            let before = text.clone();
            for macros in [own, global] {
                for (name, value) in macros.as_object().into_iter().flatten() {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    text = text.replace(&format!("${{{name}}}"), value.trim_end());
                }
            }
            if text == before {
                break;
            }
        }
        text
    }

    /// A text with the values of `${env.NAME}`. Never of an API key.
    fn with_environment(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${env.") {
            filled.push_str(before);
            let (name, tail) = after.split_once('}').unwrap_or((after, ""));
            filled.push_str(&(self.variable)(name).unwrap_or_default());
            rest = tail;
        }
        filled + rest
    }

    fn hooks(&mut self) {
        for name in texts(&self.config["hooks"]["on_startup"], "preload") {
            let id = self.names.get(name).cloned().unwrap_or_default();
            if let Some(model) = self.plan.models.get_mut(&id) {
                model.preload = true;
            } else if let Some(backend) = self.backend_of(&id) {
                backend.preload = true;
            } else {
                self.plan.leave(format!("hooks: preload {name}"), "the model is not taken over");
            }
        }
    }

    /// Members of persistent groups are pinned. Other groups say which models may run together: memory decides that here.
    fn groups(&mut self) {
        let routing = &self.config["routing"]["router"]["settings"];
        let mut others = Vec::new();
        for (name, group) in entries(self.config, "groups").chain(entries(routing, "groups")) {
            if group.get("persistent").and_then(Value::as_bool) != Some(true) {
                others.push(name.as_str());
                continue;
            }
            for member in texts(group, "members") {
                let id = self.names.get(member).cloned().unwrap_or_default();
                if let Some(model) = self.plan.models.get_mut(&id) {
                    model.pin = true;
                } else if let Some(backend) = self.backend_of(&id) {
                    backend.pin = true;
                }
            }
        }
        if routing.get("matrix").is_some() {
            others.push("matrix");
        }
        if !others.is_empty() {
            let why = "models share one budget of memory, and the one that was idle longest goes first";
            self.plan.leave(format!("groups: {}", others.join(", ")), why);
        }
    }

    fn peers(&mut self) {
        let peers: Vec<(&String, &Value)> = entries(self.config, "peers").collect();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for model in peers.iter().flat_map(|(_, peer)| texts(peer, "models")) {
            *counts.entry(model).or_default() += 1;
        }
        for (name, peer) in peers {
            let base = self.expand(text(peer, "proxy").unwrap_or_default(), name, &Value::Null);
            let models = texts(peer, "models");
            if !base.starts_with("http") || models.is_empty() {
                self.plan
                    .leave(format!("peer {name}"), "it has no address and models that a provider could have");
                continue;
            }
            let key = text(peer, "apiKey").map(|key| self.expand(key, name, &Value::Null));
            let key_env =
                key.as_deref().and_then(|key| plan::variable(key, "${env.", "}")).map(str::to_owned);
            if key.is_some() && key_env.is_none() {
                self.plan.leave(
                    format!("apiKey of peer {name}"),
                    "it stands in clear text: put it into a variable and name that by api_key_env",
                );
            }
            let alias = |model: &str| {
                let is_free = counts.get(model) == Some(&1) && !self.names.contains_key(model);
                is_free.then(|| model.to_owned())
            };
            let models = models.into_iter().map(|model| ProviderModel {
                id: model.to_owned(),
                alias: alias(model),
                ..ProviderModel::default()
            });
            let provider = Provider {
                kind: Kind::Compatible,
                url: format!("{}/v1", base.trim_end_matches('/').trim_end_matches("/v1")),
                key_env,
                timeout_seconds: None,
                models: models.collect(),
            };
            self.plan.providers.insert(name.clone(), provider);
            let why = "requests go on as the client sent them";
            let known = ["proxy", "apiKey", "models", "timeouts", "tailcatKey"];
            self.plan.leave_others(&format!("peer {name}: "), peer, &known, why);
        }
    }

    fn selectors(&mut self) {
        for (name, selector) in entries(self.config, "selectors") {
            let strategy = text(selector, "strategy").unwrap_or("pin");
            let targets = texts(selector, "targets").into_iter().filter_map(|target| self.target(target));
            let mut targets: Vec<String> = targets.collect();
            if strategy == "pin" {
                targets.truncate(1);
            }
            if targets.is_empty() {
                self.plan.leave(format!("selector {name}"), "none of its models is taken over");
                continue;
            }
            if !matches!(strategy, "pin" | "warm") {
                let why = "a route asks the next model when one is full or fails";
                self.plan.leave(format!("selector {name}: strategy {strategy}"), why);
            }
            self.plan.routes.push(Route { model: name.clone(), split: Vec::new(), targets });
        }
    }

    /// A model by its name there: one of this machine, or of a peer.
    fn target(&self, name: &str) -> Option<String> {
        if let Some(id) = self.names.get(name) {
            return Some(id.clone());
        }
        let of = |provider: &str, id: &str| {
            let models = &self.plan.providers.get(provider)?.models;
            models.iter().any(|model| model.id == id).then(|| format!("{provider}/{id}"))
        };
        let full = name.split_once('/').and_then(|(provider, id)| of(provider, id));
        full.or_else(|| self.plan.providers.keys().find_map(|provider| of(provider, name)))
    }

    fn leave_settings(&mut self) {
        if self.config.get("apiKeys").is_some() {
            self.plan
                .leave("apiKeys", "keys of clients are made here, and stand in no file: `mlxd key add NAME`");
        }
        let known: Vec<&str> = OWN.iter().chain(&READ).copied().collect();
        self.plan.leave_others("", self.config, &known, "nothing here corresponds to it");
    }
}

#[cfg(test)]
mod tests;
