//! What routes refer to outside of their list: roles, and the models that judge.

use super::{Route, RouteFault, Routes};
use crate::gateway::backends::Backends;
use crate::gateway::judge::JudgeSettings;
use crate::gateway::providers::Providers;
use crate::gateway::roles::{ROLE_PREFIX, Roles};

/// The settings that routes refer to.
#[derive(Debug, Clone, Copy)]
pub struct References<'a> {
    /// The roles that targets may name.
    pub roles: &'a Roles,
    /// The models that judge where a route names none.
    pub judge: &'a JudgeSettings,
    /// The providers, whose models never judge.
    pub providers: &'a Providers,
    /// The programs of this machine, whose models never judge either.
    pub backends: &'a Backends,
}

impl References<'_> {
    /// Checks the models that judge where a route names none.
    ///
    /// # Errors
    /// One of them is a provider's, or empty.
    pub fn check_judge(&self) -> Result<(), String> {
        for (key, name) in [("model", &self.judge.model), ("embedding_model", &self.judge.embedding_model)] {
            if let Some(name) = name {
                self.check_name(name).map_err(|problem| format!("{key}: {problem}"))?;
            }
        }
        Ok(())
    }

    /// Checks that a name can be that of a model of this machine.
    fn check_name(&self, name: &str) -> Result<(), String> {
        if name.is_empty() {
            return Err("it is empty".into());
        }
        let is_prefix = name.split_once('/').is_some_and(|(before, _)| self.providers.get(before).is_some());
        let has_alias = |alias: &Option<String>| alias.as_deref() == Some(name);
        let mut models = self.providers.iter().flat_map(|(_, provider)| &provider.models);
        if is_prefix || models.any(|model| has_alias(&model.alias)) {
            return Err(format!("\"{name}\" is a provider's model; only models of this machine judge"));
        }
        let mut backends = self.backends.iter();
        let is_prefix = name.split_once('/').is_some_and(|(before, _)| self.backends.get(before).is_some());
        if is_prefix || backends.any(|(_, backend)| has_alias(&backend.alias)) {
            return Err(format!("\"{name}\" is a backend's model; only models that mlxd runs itself judge"));
        }
        if name.starts_with(ROLE_PREFIX) {
            return Err(format!("\"{name}\" is a role; name a model of this machine"));
        }
        Ok(())
    }

    fn check_route(&self, route: &Route) -> Result<(), String> {
        if let Some(share) = route.split.iter().find(|share| share.model.starts_with(ROLE_PREFIX)) {
            return Err(format!("split: \"{}\" is a role, which only targets can name", share.model));
        }
        let is_unknown = |name: &&String| name.starts_with(ROLE_PREFIX) && self.roles.find(name).is_none();
        if let Some(name) = route.targets.iter().find(is_unknown) {
            let known: Vec<String> = self.roles.names().collect();
            let known = if known.is_empty() { "no role".to_owned() } else { known.join(", ") };
            return Err(format!("targets: there is no \"{name}\"; config.toml has {known}"));
        }
        if route.sentence.is_some() {
            let name = route.judge.as_ref().or(self.judge.model.as_ref());
            let name =
                name.ok_or("sentence: set a model that judges, by judge or by judge.model in config.toml")?;
            self.check_name(name).map_err(|problem| format!("judge: {problem}"))?;
        }
        if let Some(similar) = &route.similar {
            let name = similar.model.as_ref().or(self.judge.embedding_model.as_ref());
            let name = name.ok_or(
                "similar: set an embedding model, by similar.model or by judge.embedding_model in config.toml",
            )?;
            self.check_name(name).map_err(|problem| format!("similar: model: {problem}"))?;
        }
        Ok(())
    }
}

impl Routes {
    /// Checks what the routes from a place on refer to.
    ///
    /// # Errors
    /// The first of them with an unknown role, or without a model of this machine that judges its conditions.
    pub fn check_references(&self, references: &References<'_>, from: usize) -> Result<(), RouteFault> {
        for (place, route) in self.0.iter().enumerate().skip(from) {
            let fault = |problem| RouteFault { place, title: route.title(place), problem };
            references.check_route(route).map_err(fault)?;
        }
        Ok(())
    }

    /// The routes as they count: with the models that judge, the models of roles as targets, and a route for each role.
    ///
    /// A role's route stands after all others, but before a route that takes every request with its name by a pattern alone.
    /// A route that names a role of this machine only becomes so itself.
    #[must_use]
    pub fn in_force(&self, roles: &Roles, judge: &JudgeSettings) -> Self {
        let mut all: Vec<Route> = self.0.iter().map(|route| completed(route.clone(), roles, judge)).collect();
        for (role, name) in roles.routes().zip(roles.names()) {
            let swallows =
                |route: &Route| route.is_unconditional() && route.takes(&name) && !route.names(&name);
            let place = all.iter().position(swallows).unwrap_or(all.len());
            all.insert(place, role);
        }
        Self(all)
    }
}

fn completed(mut route: Route, roles: &Roles, judge: &JudgeSettings) -> Route {
    let mut targets = Vec::with_capacity(route.targets.len());
    for target in std::mem::take(&mut route.targets) {
        match roles.find(&target) {
            Some(role) => {
                route.local_only |= role.local_only;
                targets.extend_from_slice(&role.targets);
            }
            None => targets.push(target),
        }
    }
    route.targets = targets;
    if route.sentence.is_some() && route.judge.is_none() {
        route.judge.clone_from(&judge.model);
    }
    if let Some(similar) = &mut route.similar
        && similar.model.is_none()
    {
        similar.model.clone_from(&judge.embedding_model);
    }
    route
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn roles() -> Roles {
        of(json!({"fast": ["a", "b"], "own": {"targets": ["c"], "local_only": true}}))
    }

    #[test]
    fn references_must_lead_somewhere() {
        let providers: Providers = of(json!({"far": {"kind": "openai", "url": "http://far.example",
            "models": [{"id": "m", "alias": "quick"}]}}));
        let backends: Backends =
            of(json!({"vllm": {"preset": "vllm-mlx", "model": "org/big", "alias": "own", "memory": "9GB"}}));
        let (roles, none) = (roles(), JudgeSettings::default());
        let judge: JudgeSettings = of(json!({"model": "judge", "embedding_model": "vectors"}));
        let similar = |more: Value| {
            let mut similar = json!({"examples": ["x"], "at_least": 0.5});
            similar.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"similar": similar, "targets": ["m"]})
        };
        for (route, settings, problem) in [
            (json!({"targets": ["role:fast", "m"]}), &none, ""),
            (
                json!({"targets": ["m", "role:slow"]}),
                &none,
                "targets: there is no \"role:slow\"; config.toml has role:fast, role:own",
            ),
            (
                json!({"split": [{"model": "role:fast", "weight": 1}]}),
                &none,
                "split: \"role:fast\" is a role",
            ),
            (json!({"sentence": "s", "targets": ["m"]}), &none, "sentence: set a model"),
            (json!({"sentence": "s", "targets": ["m"]}), &judge, ""),
            (json!({"sentence": "s", "judge": "own/model", "targets": ["m"]}), &none, ""),
            (
                json!({"sentence": "s", "judge": "far/m", "targets": ["m"]}),
                &judge,
                "judge: \"far/m\" is a provider's",
            ),
            (
                json!({"sentence": "s", "judge": "quick", "targets": ["m"]}),
                &judge,
                "judge: \"quick\" is a provider's",
            ),
            (
                json!({"sentence": "s", "judge": "role:fast", "targets": ["m"]}),
                &judge,
                "judge: \"role:fast\" is a role",
            ),
            (
                json!({"sentence": "s", "judge": "vllm/big", "targets": ["m"]}),
                &judge,
                "judge: \"vllm/big\" is a backend's",
            ),
            (
                json!({"sentence": "s", "judge": "own", "targets": ["m"]}),
                &judge,
                "judge: \"own\" is a backend's",
            ),
            (similar(json!({})), &none, "similar: set an embedding model"),
            (similar(json!({})), &judge, ""),
            (similar(json!({"model": "far/e"})), &judge, "similar: model: \"far/e\""),
        ] {
            let references =
                References { roles: &roles, judge: settings, providers: &providers, backends: &backends };
            let routes: Routes = of(json!([route.clone()]));
            let fault =
                routes.check_references(&references, 0).err().map(|fault| fault.problem).unwrap_or_default();
            assert!(fault.starts_with(problem) && fault.is_empty() == problem.is_empty(), "{route}: {fault}");
        }
        for (settings, problem) in [
            (json!({"model": "far/m"}), "model: \"far/m\""),
            (json!({"embedding_model": ""}), "embedding_model: it is empty"),
        ] {
            let references = References {
                roles: &roles,
                judge: &of(settings),
                providers: &providers,
                backends: &backends,
            };
            assert!(references.check_judge().unwrap_err().starts_with(problem));
        }
    }

    #[test]
    fn roles_become_targets_and_routes() {
        let routes: Routes = of(json!([
            {"name": "first", "has_tools": true, "targets": ["x", "role:fast"]},
            {"name": "private", "model": "p", "targets": ["role:own"]},
            {"name": "rest", "targets": ["m"]},
        ]));
        let all = routes.in_force(&roles(), &JudgeSettings::default());
        let titles: Vec<String> = all.iter().enumerate().map(|(place, route)| route.title(place)).collect();
        assert_eq!(titles, ["first", "private", "role:fast", "role:own", "rest"]);
        let all: Vec<&Route> = all.iter().collect();
        assert_eq!(all[0].targets, ["x", "a", "b"]);
        assert_eq!((all[1].targets.as_slice(), all[1].local_only), (&["c".to_owned()][..], true));
        assert_eq!((all[0].local_only, all[3].local_only), (false, true));
    }

    #[test]
    fn route_without_a_judge_gets_that_of_the_settings() {
        let routes: Routes = of(json!([
            {"sentence": "s", "targets": ["m"]},
            {"sentence": "s", "judge": "mine", "targets": ["m"]},
            {"similar": {"examples": ["x"], "at_least": 1}, "targets": ["m"]},
            {"targets": ["m"]},
        ]));
        let judge: JudgeSettings = of(json!({"model": "judge", "embedding_model": "vectors"}));
        let all = routes.in_force(&Roles::default(), &judge);
        let judges: Vec<_> = all.iter().map(|route| route.judge.as_deref()).collect();
        assert_eq!(judges, [Some("judge"), Some("mine"), None, None]);
        let third = all.iter().nth(2).unwrap().similar.as_ref().unwrap();
        assert_eq!(third.model.as_deref(), Some("vectors"));
    }
}
