//! Ollama's models and variables. Its weights are GGUF files, which mlxd does not serve: each model gets the nearest one of the
//! recommended list, under the name that its clients know. Pure.

use serde_json::Value;

use super::plan::{Plan, number, text};
use crate::models::recommended::Recommended;

/// The layer of a manifest with one tensor, for Ollama's own MLX engine.
const TENSOR: &str = "application/vnd.ollama.image.tensor";
/// The layer with the parameters of a Modelfile.
const PARAMETERS: &str = "application/vnd.ollama.image.params";

/// A model of Ollama.
pub(super) struct Installed {
    /// Such as `qwen3:8b` or `user/model:latest`.
    pub(super) name: String,
    pub(super) manifest: Value,
    /// The parameters, an object. Null without any.
    pub(super) parameters: Value,
}

/// The plan for models and variables.
pub(super) fn plan(
    models: &[Installed],
    variable: &dyn Fn(&str) -> Option<String>,
    recommended: &Recommended,
) -> Plan {
    let mut plan = Plan::default();
    let context = variable("OLLAMA_CONTEXT_LENGTH").and_then(|text| text.trim().parse().ok());
    for installed in models {
        add(&mut plan, installed, context, recommended);
    }
    if let Some(text) = variable("OLLAMA_KEEP_ALIVE") {
        match seconds(&text) {
            Some(Some(seconds)) => plan.idle_seconds = Some(seconds),
            // For ever, which is the default.
            Some(None) => {}
            None => plan.leave(format!("OLLAMA_KEEP_ALIVE {text}"), "it is no time"),
        }
    }
    for (name, why) in [
        ("OLLAMA_NUM_PARALLEL", "a worker batches up to 32 requests: `mlxd set MODEL max_batch=N`"),
        ("OLLAMA_MAX_LOADED_MODELS", "models share one budget of memory: `memory` in config.toml"),
        ("OLLAMA_MAX_QUEUE", "requests wait for as long as their clients do"),
        (
            "OLLAMA_HOST",
            "mlxd listens on localhost:10240, and answers Ollama's API too: `host` and `port` in config.toml",
        ),
    ] {
        if variable(name).is_some() {
            plan.leave(name, why);
        }
    }
    plan
}

fn add(plan: &mut Plan, installed: &Installed, context: Option<u32>, recommended: &Recommended) {
    let name = &installed.name;
    let mut layers = installed.manifest["layers"].as_array().into_iter().flatten();
    let format = if layers.any(|layer| text(layer, "mediaType") == Some(TENSOR)) {
        "its weights are in a file for each tensor, as only Ollama reads them"
    } else {
        "its weights are GGUF, which mlxd does not serve"
    };
    plan.leave(name, format!("{format}; {}", super::nearest(recommended, &[name])));
    let parameters = &installed.parameters;
    let why = "sampling and prompts are set by requests";
    plan.leave_others(&format!("{name}: "), parameters, &["num_ctx"], why);
    let Some(id) = recommended.nearest(name) else { return };
    let settings = plan.models.entry(id.to_owned()).or_default();
    settings.aliases.push(name.clone());
    // The plain name stands for the latest tag.
    settings.aliases.extend(name.strip_suffix(":latest").map(str::to_owned));
    settings.context = number(parameters, "num_ctx").or(context).filter(|tokens| *tokens >= 16);
}

/// The digest of the parameters in a manifest.
pub(super) fn parameters_digest(manifest: &Value) -> Option<&str> {
    let mut layers = manifest["layers"].as_array()?.iter();
    let layer = layers.find(|layer| text(layer, "mediaType") == Some(PARAMETERS))?;
    text(layer, "digest")
        .filter(|digest| digest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b':'))
}

/// A time such as `10m`, `1h30m` or `300`. `None` inside if it is negative, which stands for ever; `None` if it is none.
fn seconds(text: &str) -> Option<Option<u32>> {
    let text = text.trim();
    if text.starts_with('-') {
        return Some(None);
    }
    if let Ok(seconds) = text.parse() {
        return Some(Some(seconds));
    }
    let mut total = 0f64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let factor = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * factor;
        rest = tail;
    }
    (!text.is_empty()).then_some(Some(total as u32))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn installed(name: &str, layer: &str, parameters: Value) -> Installed {
        let manifest = json!({"schemaVersion": 2, "layers": [
            {"mediaType": layer, "digest": "sha256:00", "size": 1},
            {"mediaType": PARAMETERS, "digest": "sha256:ab12", "size": 9},
        ]});
        Installed { name: name.into(), manifest, parameters }
    }

    #[test]
    fn each_model_gets_the_nearest_one_under_its_name() {
        let gguf = "application/vnd.ollama.image.model";
        let models = [
            installed("qwen3:8b", gguf, json!({"num_ctx": 32768, "temperature": 0.6})),
            installed("llama3.2:latest", TENSOR, Value::Null),
            installed("someone/rare:7b", gguf, Value::Null),
        ];
        let variable = |name: &str| match name {
            "OLLAMA_KEEP_ALIVE" => Some("1h30m".to_owned()),
            "OLLAMA_CONTEXT_LENGTH" => Some("8192".to_owned()),
            "OLLAMA_HOST" => Some("0.0.0.0".to_owned()),
            _ => None,
        };
        let plan = plan(&models, &variable, &Recommended::read().unwrap());
        let settings = |id: &str| (plan.models[id].aliases.join(","), plan.models[id].context);
        assert_eq!(settings("mlx-community/Qwen3-8B-4bit"), ("qwen3:8b".into(), Some(32_768)));
        assert_eq!(
            settings("mlx-community/Llama-3.2-3B-Instruct-4bit"),
            ("llama3.2:latest,llama3.2".into(), Some(8192))
        );
        assert_eq!((plan.models.len(), plan.idle_seconds), (2, Some(5400)));
        let left: Vec<&str> = plan.left.iter().map(|left| left.what.as_str()).collect();
        assert_eq!(
            left,
            ["qwen3:8b", "qwen3:8b: temperature", "llama3.2:latest", "someone/rare:7b", "OLLAMA_HOST"]
        );
        assert!(
            plan.left[0].why.contains("GGUF")
                && plan.left[0].why.contains("`mlxd pull mlx-community/Qwen3-8B-4bit`")
        );
        assert!(plan.left[2].why.contains("a file for each tensor"));
        assert!(plan.left[3].why.ends_with("`mlxd search rare`"), "{:?}", plan.left[3]);
        assert_eq!(parameters_digest(&models[0].manifest), Some("sha256:ab12"));
    }

    #[test]
    fn times_are_those_of_ollama() {
        let times = ["5m", "300", "1h30m", "1.5h", "-1", "-1m", "0", "500ms"].map(seconds);
        let expected = [Some(300), Some(300), Some(5400), Some(5400), None, None, Some(0), Some(0)];
        assert_eq!(times, expected.map(Some));
        for wrong in ["", "soon", "5 parsecs", "m", "5m3"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
