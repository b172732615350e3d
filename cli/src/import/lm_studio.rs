//! LM Studio's `settings.json` and the saved defaults of its models. Its MLX models lie in a folder that mlxd searches anyway, unless
//! the user has moved it. Pure.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::folders::Found;
use super::plan::{Model, Plan, number, text};
use crate::models::recommended::Recommended;

/// The setting of a model's load parameters that has a counterpart.
const CONTEXT: &str = "llm.load.contextLength";

/// The contents of LM Studio's folder.
pub(super) struct Files<'a> {
    pub(super) settings: &'a Value,
    /// The saved defaults of models: paths without `.json`, and contents.
    pub(super) defaults: &'a [(String, Value)],
    /// The models in the folder of [`folder`].
    pub(super) found: &'a Found,
}

/// The folder of models.
pub(super) fn folder(settings: &Value, base: &Path) -> PathBuf {
    text(settings, "downloadsFolder").map_or_else(|| base.join("models"), PathBuf::from)
}

/// The plan for the files. `folder` is that of [`folder`]; `searched` are the folders that mlxd knows by itself.
pub(super) fn plan(
    files: &Files<'_>,
    folder: &Path,
    searched: &[PathBuf],
    recommended: &Recommended,
) -> Plan {
    let mut plan = Plan { folders: vec![folder.to_owned()], ..Plan::default() };
    plan.folders.retain(|folder| !searched.contains(folder));
    let ttl = &files.settings["developer"]["jitModelTTL"];
    if ttl["enabled"].as_bool() == Some(true) {
        plan.idle_seconds = number(ttl, "ttlSeconds");
    }
    for (path, defaults) in files.defaults {
        if !path.ends_with(".gguf") {
            model(&mut plan, path, defaults, files.found);
        }
    }
    for name in &files.found.gguf {
        let why =
            format!("it is a GGUF file, which mlxd does not serve; {}", super::nearest(recommended, &[name]));
        plan.leave(name, why);
    }
    plan
}

fn model(plan: &mut Plan, id: &str, defaults: &Value, found: &Found) {
    if !found.mlx.iter().any(|known| known == id) {
        return plan.leave(id, "it has saved settings, and is not in the folder");
    }
    let mut settings = Model::default();
    let mut others = Vec::new();
    let fields = |part: &str| defaults[part]["fields"].as_array().into_iter().flatten();
    for field in fields("load").chain(fields("operation")) {
        match text(field, "key") {
            Some(CONTEXT) => settings.context = number(field, "value").filter(|tokens| *tokens >= 16),
            Some(other) => others.push(other),
            None => {}
        }
    }
    if settings != Model::default() {
        plan.models.insert(id.to_owned(), settings);
    }
    if !others.is_empty() {
        let why = "sampling and prompts are set by requests, and loading needs no such settings here";
        plan.leave(format!("{id}: {}", others.join(", ")), why);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn contexts_and_the_idle_time_are_taken_over() {
        let settings = json!({
            "downloadsFolder": "/big/models",
            "developer": {"jitModelTTL": {"enabled": true, "ttlSeconds": 3600}},
        });
        let found = Found {
            mlx: vec!["mlx-community/Qwen3-8B-4bit".into()],
            gguf: vec!["Llama-3.2-3B-Instruct-Q4_K_M.gguf".into(), "strange-model.Q5_K_S.gguf".into()],
        };
        let fields = json!([{"key": "llm.load.contextLength", "value": 65536}, {"key": "llm.load.numParallelSessions", "value": 4}]);
        let defaults = [
            (
                "mlx-community/Qwen3-8B-4bit".to_owned(),
                json!({"load": {"fields": fields}, "operation": {"fields": []}}),
            ),
            ("mlx-community/gone".to_owned(), json!({})),
            ("org/m-GGUF/m.gguf".to_owned(), json!({"load": {"fields": fields}})),
        ];
        let folder = folder(&settings, Path::new("/u/.lmstudio"));
        let files = Files { settings: &settings, defaults: &defaults, found: &found };
        let recommended = Recommended::read().unwrap();
        let plan = plan(&files, &folder, &[PathBuf::from("/u/.lmstudio/models")], &recommended);
        assert_eq!((plan.folders, plan.idle_seconds), (vec![PathBuf::from("/big/models")], Some(3600)));
        let contexts: Vec<_> = plan.models.iter().map(|(id, model)| (id.as_str(), model.context)).collect();
        assert_eq!(contexts, [("mlx-community/Qwen3-8B-4bit", Some(65_536))]);
        let left: Vec<&str> = plan.left.iter().map(|left| left.what.as_str()).collect();
        assert_eq!(
            left,
            [
                "mlx-community/Qwen3-8B-4bit: llm.load.numParallelSessions",
                "mlx-community/gone",
                "Llama-3.2-3B-Instruct-Q4_K_M.gguf",
                "strange-model.Q5_K_S.gguf",
            ]
        );
        assert!(plan.left[2].why.ends_with("`mlxd pull mlx-community/Llama-3.2-3B-Instruct-4bit`"));
        assert!(plan.left[3].why.ends_with("`mlxd search strange-model`"), "{:?}", plan.left[3]);
    }

    #[test]
    fn usual_folder_is_searched_already() {
        let base = Path::new("/u/.lmstudio");
        let settings = json!({"developer": {"jitModelTTL": {"enabled": false, "ttlSeconds": 3600}}});
        let (found, folder) = (Found::default(), folder(&settings, base));
        let files = Files { settings: &settings, defaults: &[], found: &found };
        let plan = plan(&files, &folder, &[base.join("models")], &Recommended::read().unwrap());
        assert_eq!(plan, Plan::default());
    }
}
