//! LiteLLM's `config.yaml` (<https://docs.litellm.ai/docs/proxy/configs>): deployments become models of providers, groups and
//! fallbacks become routes. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::plan::{self, Plan, Price, Provider, ProviderModel, Route, decimal, entries, number, text};

mod deployment;

use deployment::{Target, target};

/// Where LiteLLM keeps a name's fallbacks, and which of them have a route's meaning.
const FALLBACKS: [&str; 2] = ["fallbacks", "context_window_fallbacks"];
/// Settings of the router that are read here.
const ROUTER: [&str; 5] =
    ["fallbacks", "context_window_fallbacks", "default_fallbacks", "model_group_alias", "routing_strategy"];
const LIBRARY: [&str; 4] = ["fallbacks", "context_window_fallbacks", "default_fallbacks", "request_timeout"];

/// The plan for a file. `variable` is the environment, for addresses that are in it.
///
/// # Errors
/// The text is no such file.
pub(super) fn plan(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Plan, String> {
    let config: Value = super::yaml(text)?;
    let deployments = config.get("model_list").and_then(Value::as_array);
    let deployments = deployments.ok_or("it has no list model_list, which a configuration of LiteLLM has")?;
    let mut builder = Builder::default();
    for deployment in deployments {
        builder.add(deployment, &config, variable);
    }
    builder.finish(&config);
    Ok(builder.plan)
}

#[derive(Default)]
struct Builder {
    plan: Plan,
    /// In the file's order.
    groups: Vec<Group>,
}

/// A name for clients.
#[derive(Clone)]
struct Group {
    name: String,
    /// The name whose fallbacks it has.
    origin: String,
    /// Models, with their weights.
    members: Vec<(String, u32)>,
}

impl Builder {
    fn add(&mut self, deployment: &Value, config: &Value, variable: &dyn Fn(&str) -> Option<String>) {
        let parameters = &deployment["litellm_params"];
        let name = text(deployment, "model_name").unwrap_or_default();
        let model = text(parameters, "model").unwrap_or_default();
        let title = format!("{name} ({model})");
        let target = match target(name, model, deployment, variable) {
            Ok(target) => target,
            Err(why) => return self.plan.leave(title, why),
        };
        if target.has_clear_key {
            let put = target.key_env.as_ref().map_or_else(
                || "if the server needs it, name a variable by api_key_env".to_owned(),
                |name| format!("put it into the variable {name}"),
            );
            self.plan.leave(format!("api_key of {title}"), format!("it stands in clear text: {put}"));
        }
        let ignored = "requests go on as the client sent them, and limits belong to API keys: `mlxd key add`";
        self.plan.leave_others(&format!("{title}: "), parameters, &deployment::PARAMETERS, ignored);
        let seconds =
            number(parameters, "timeout").or_else(|| number(&config["litellm_settings"], "request_timeout"));
        let provider = self.provider(&target, seconds);
        let details = &deployment["model_info"];
        let entry = ProviderModel {
            id: target.id.clone(),
            alias: None,
            context: number(details, "max_input_tokens").or_else(|| number(details, "max_tokens")),
            price: price(parameters, details),
        };
        let models = &mut self
            .plan
            .providers
            .entry(provider.clone())
            .or_insert_with(|| target.provider(seconds))
            .models;
        if !models.iter().any(|model| model.id == entry.id) {
            models.push(entry);
        }
        if decimal(parameters, "weight").is_some_and(|weight| weight.fract() != 0.0) {
            self.plan
                .leave(format!("weight of {title}"), "a weight is a whole number: multiply all of the group");
        }
        let weight =
            number(parameters, "weight").or_else(|| number(parameters, "rpm")).unwrap_or(1).min(1_000_000);
        let member = (format!("{provider}/{}", target.id), weight);
        match self.groups.iter_mut().find(|group| group.name == name) {
            Some(group) if group.members.iter().any(|(other, _)| *other == member.0) => {}
            Some(group) => group.members.push(member),
            None => {
                self.groups.push(Group { name: name.into(), origin: name.into(), members: vec![member] });
            }
        }
    }

    /// The name of the target's provider: a new one if none has its address and key.
    fn provider(&mut self, target: &Target, seconds: Option<u32>) -> String {
        let same = |one: &Provider| {
            (one.kind, &one.url, &one.key_env) == (target.kind, &target.url, &target.key_env)
        };
        if let Some((name, provider)) = self.plan.providers.iter_mut().find(|(_, one)| same(one)) {
            provider.timeout_seconds = provider.timeout_seconds.max(seconds);
            return name.clone();
        }
        let free = |name: &String| !self.plan.providers.contains_key(name);
        let numbered = (2..).map(|number| format!("{}-{number}", target.name));
        std::iter::once(target.name.clone()).chain(numbered).find(free).unwrap_or_default()
    }

    fn finish(&mut self, config: &Value) {
        let (router, library) = (&config["router_settings"], &config["litellm_settings"]);
        for (alias, group) in entries(router, "model_group_alias") {
            let group = group.as_str().or_else(|| text(group, "model")).unwrap_or_default();
            match self.members(group) {
                Some(members) => {
                    self.groups.push(Group { name: alias.clone(), origin: group.to_owned(), members });
                }
                None => self
                    .plan
                    .leave(format!("model_group_alias {alias}"), format!("{group} is not taken over")),
            }
        }
        let fallbacks = fallbacks(&[router, library]);
        let everyone = [router, library].into_iter().flat_map(|at| plan::texts(at, "default_fallbacks"));
        let everyone: Vec<String> = everyone.map(str::to_owned).collect();
        for Group { name, origin, members } in self.groups.clone() {
            let mut further = Vec::new();
            for other in fallbacks.get(&origin).into_iter().flatten().chain(&everyone) {
                match self.members(other) {
                    Some(members) => further.extend(members.into_iter().map(|(model, _)| model)),
                    None => self.plan.leave(format!("fallback of {name} to {other}"), "it is not taken over"),
                }
            }
            self.name(name, members, further);
        }
        self.leave_settings(config);
    }

    fn members(&self, group: &str) -> Option<Vec<(String, u32)>> {
        self.groups.iter().find(|one| one.name == group).map(|one| one.members.clone())
    }

    /// Gives models a name: an alias if that is enough, else a route.
    fn name(&mut self, name: String, members: Vec<(String, u32)>, further: Vec<String>) {
        let mut targets: Vec<String> = Vec::new();
        for target in members.iter().map(|(model, _)| model.clone()).chain(further) {
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        if let [only] = &targets[..]
            && (*only == name || self.alias(only, &name))
        {
            return;
        }
        let split = if members.len() > 1 { members } else { Vec::new() };
        self.plan.routes.push(Route { model: name, split, targets });
    }

    /// Sets a model's alias. Returns whether it had none.
    fn alias(&mut self, target: &str, name: &str) -> bool {
        let Some((provider, id)) = target.split_once('/') else { return false };
        let models = self.plan.providers.get_mut(provider).map(|provider| &mut provider.models);
        let model = models.into_iter().flatten().find(|model| model.id == id && model.alias.is_none());
        model.map(|model| model.alias = Some(name.to_owned())).is_some()
    }

    fn leave_settings(&mut self, config: &Value) {
        let strategy = text(&config["router_settings"], "routing_strategy").unwrap_or("simple-shuffle");
        if strategy != "simple-shuffle" {
            let why = "a route splits requests by weights";
            self.plan.leave(format!("router_settings: routing_strategy {strategy}"), why);
        }
        let general = &config["general_settings"];
        if general.get("master_key").is_some() {
            let why = "keys of clients are made here, and stand in no file: `mlxd key add NAME`";
            self.plan.leave("general_settings: master_key", why);
        }
        let why = "nothing here corresponds to it";
        self.plan.leave_others("general_settings: ", general, &["master_key"], why);
        self.plan.leave_others("router_settings: ", &config["router_settings"], &ROUTER, why);
        self.plan.leave_others("litellm_settings: ", &config["litellm_settings"], &LIBRARY, why);
        let why = "set them where `mlxd serve` starts";
        self.plan.leave_others("environment_variables: ", &config["environment_variables"], &[], why);
        let known = [
            "model_list",
            "general_settings",
            "router_settings",
            "litellm_settings",
            "environment_variables",
        ];
        self.plan.leave_others("", config, &known, "nothing here corresponds to it");
    }
}

/// The names that follow each name, from lists of objects with one entry each.
fn fallbacks(places: &[&Value]) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for place in places {
        for field in FALLBACKS {
            for entry in place.get(field).and_then(Value::as_array).into_iter().flatten() {
                for (name, others) in entry.as_object().into_iter().flatten() {
                    let others = others.as_array().into_iter().flatten().filter_map(Value::as_str);
                    all.entry(name.clone()).or_default().extend(others.map(str::to_owned));
                }
            }
        }
    }
    all
}

/// Dollars for a million tokens, from dollars for one.
fn price(parameters: &Value, details: &Value) -> Option<Price> {
    let million = |name: &str| {
        let dollars = [parameters, details].iter().find_map(|at| decimal(at, name))?;
        Some((dollars * 1e12).round() / 1e6)
    };
    let (input, output) = (million("input_cost_per_token")?, million("output_cost_per_token")?);
    Some(Price { input, cached_input: million("cache_read_input_token_cost"), output })
}

impl Target {
    fn provider(&self, timeout_seconds: Option<u32>) -> Provider {
        Provider {
            kind: self.kind,
            url: self.url.clone(),
            key_env: self.key_env.clone(),
            timeout_seconds,
            models: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
