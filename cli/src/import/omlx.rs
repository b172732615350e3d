//! oMLX's `settings.json` and `model_settings.json` (<https://github.com/jundot/omlx>). Its models are MLX's, so their folder is
//! searched from then on. Pure.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::folders::Found;
use super::plan::{Model, Plan, entries, number, text, texts};

/// Fields of a model that are read, or that only concern oMLX's own pages.
const MODEL: [&str; 9] = [
    "max_context_window",
    "ttl_seconds",
    "model_alias",
    "is_pinned",
    "is_favorite",
    "is_hidden",
    "display_name",
    "description",
    "active_profile_name",
];

/// The contents of oMLX's folder.
pub(super) struct Files<'a> {
    pub(super) settings: &'a Value,
    pub(super) models: &'a Value,
    /// The models in each of the folders of [`folders`].
    pub(super) found: &'a [Found],
}

/// The folders of models that the settings name, in oMLX's folder by default.
pub(super) fn folders(settings: &Value, base: &Path, home: Option<&Path>) -> Vec<PathBuf> {
    let model = &settings["model"];
    let mut named = texts(model, "model_dirs");
    named.extend(text(model, "model_dir").filter(|_| named.is_empty()));
    if named.is_empty() {
        return vec![base.join("models")];
    }
    let absolute = |name: &str| match (name.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(name),
    };
    named.into_iter().map(absolute).collect()
}

/// The plan for the files. `folders` are those of [`folders`].
pub(super) fn plan(files: &Files<'_>, folders: &[PathBuf]) -> Plan {
    let mut plan = Plan {
        folders: folders.to_vec(),
        idle_seconds: number(&files.settings["idle_timeout"], "idle_timeout_seconds"),
        ..Plan::default()
    };
    for (name, fields) in entries(files.models, "models") {
        let ids = files.found.iter().flat_map(|found| &found.mlx);
        // oMLX names a model by its folder alone.
        let Some(id) = ids.clone().find(|id| id.rsplit('/').next() == Some(name.as_str())) else {
            plan.leave(name, "it has settings, and is in none of the folders");
            continue;
        };
        let short = Some(name).filter(|name| *name != id).cloned();
        let alias = text(fields, "model_alias").map(str::to_owned);
        let flag = |name: &str| fields.get(name).and_then(Value::as_bool) == Some(true);
        let settings = Model {
            aliases: short.into_iter().chain(alias).collect(),
            context: number(fields, "max_context_window").filter(|tokens| *tokens >= 16),
            idle_seconds: number(fields, "ttl_seconds"),
            pin: flag("is_pinned"),
            ..Model::default()
        };
        if flag("is_default") {
            plan.leave(
                format!("{name}: is_default"),
                "clients name the model they want: `mlxd set MODEL aliases=NAME`",
            );
        }
        leave_others(&mut plan, name, fields);
        plan.models.insert(id.clone(), settings);
    }
    // Models without settings keep oMLX's short names.
    for id in files.found.iter().flat_map(|found| &found.mlx) {
        if let Some((_, short)) = id.rsplit_once('/') {
            plan.models
                .entry(id.clone())
                .or_insert_with(|| Model { aliases: vec![short.to_owned()], ..Model::default() });
        }
    }
    for name in files.found.iter().flat_map(|found| &found.gguf) {
        plan.leave(name, "it is a GGUF file, which mlxd does not serve");
    }
    leave_settings(&mut plan, files.settings);
    plan
}

/// Fields of a model that are switched on and have no counterpart.
fn leave_others(plan: &mut Plan, name: &str, fields: &Value) {
    let is_set = |value: &Value| !matches!(value, Value::Null | Value::Bool(false));
    // oMLX writes the defaults of these drafts along.
    let is_default = |field: &str| {
        (field.starts_with("dflash_") || field.starts_with("turboquant_")) && !field.ends_with("enabled")
    };
    let set = fields.as_object().into_iter().flatten().filter(|(field, value)| {
        is_set(value) && !MODEL.contains(&field.as_str()) && *field != "is_default" && !is_default(field)
    });
    let names: Vec<&str> = set.map(|(field, _)| field.as_str()).collect();
    if !names.is_empty() {
        let why =
            "sampling and templates are set by requests: `generation_config.json` has a model's defaults";
        plan.leave(format!("{name}: {}", names.join(", ")), why);
    }
}

fn leave_settings(plan: &mut Plan, settings: &Value) {
    let auth = &settings["auth"];
    if text(auth, "api_key").is_some() || auth["sub_keys"].as_array().is_some_and(|keys| !keys.is_empty()) {
        plan.leave("auth", "keys of clients are made here, and stand in no file: `mlxd key add NAME`");
    }
    if let Some(port) = number(&settings["server"], "port") {
        plan.leave(
            format!("server: port {port}"),
            "mlxd listens on 10240: `port` in config.toml changes that",
        );
    }
    if text(&settings["memory"], "memory_guard_tier") == Some("custom") {
        plan.leave(
            "memory: memory_guard_custom_ceiling_gb",
            "set `memory` in config.toml, for example \"24GiB\"",
        );
    }
    if text(&settings["mcp"], "config_path").is_some() {
        plan.leave("mcp", "mlxd is no client of MCP servers: agents are");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(mlx: &[&str]) -> Found {
        let mlx = mlx.iter().map(|id| (*id).to_owned()).collect();
        Found { mlx, gguf: vec!["old.gguf".into()] }
    }

    #[test]
    fn settings_go_to_the_models_of_the_folder() {
        let settings = json!({
            "version": "1.0", "server": {"port": 8000}, "model": {"model_dirs": []},
            "idle_timeout": {"idle_timeout_seconds": 1200},
            "auth": {"api_key": "omlx-secret", "sub_keys": []}, "memory": {"memory_guard_tier": "balanced"},
        });
        let models = json!({"version": 1, "models": {
            "Qwen3-8B-4bit": {"model_alias": "fast", "max_context_window": 32768, "ttl_seconds": 60, "is_pinned": true,
                "is_default": true, "temperature": 0.7, "force_sampling": false, "dflash_in_memory_cache": true},
            "gone": {"is_pinned": true},
        }});
        let found = [found(&["mlx-community/Qwen3-8B-4bit", "other/Small"])];
        let base = Path::new("/u/.omlx");
        let folders = folders(&settings, base, None);
        assert_eq!(folders, [PathBuf::from("/u/.omlx/models")]);
        let plan = plan(&Files { settings: &settings, models: &models, found: &found }, &folders);
        assert_eq!(
            plan.models["mlx-community/Qwen3-8B-4bit"],
            Model {
                aliases: vec!["Qwen3-8B-4bit".into(), "fast".into()],
                context: Some(32_768),
                idle_seconds: Some(60),
                pin: true,
                ..Model::default()
            }
        );
        assert_eq!(plan.models["other/Small"].aliases, ["Small"]);
        assert_eq!((&plan.folders, plan.idle_seconds), (&folders, Some(1200)));
        let left: Vec<&str> = plan.left.iter().map(|left| left.what.as_str()).collect();
        assert_eq!(
            left,
            [
                "Qwen3-8B-4bit: is_default",
                "Qwen3-8B-4bit: temperature",
                "gone",
                "old.gguf",
                "auth",
                "server: port 8000"
            ]
        );
        assert!(!format!("{plan:?}").contains("secret"));
    }

    #[test]
    fn folders_are_those_of_the_settings() {
        let base = Path::new("/u/.omlx");
        let of = |settings: Value| folders(&settings, base, Some(Path::new("/u")));
        assert_eq!(of(json!({"model": {"model_dir": "~/models"}})), [PathBuf::from("/u/models")]);
        let two = json!({"model": {"model_dirs": ["/a", "/b"], "model_dir": "/a"}});
        assert_eq!(of(two), [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert_eq!(of(Value::Null), [PathBuf::from("/u/.omlx/models")]);
    }
}
