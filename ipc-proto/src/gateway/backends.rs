//! Backends: programs of this machine with an OpenAI-compatible API, which the supervisor starts when a request asks for them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::text::is_name;

/// The longest time in seconds that a start or a request may be given.
const LONGEST: u32 = 86_400;
/// The words in a command that the port and the model take the place of.
pub const PORT: &str = "{port}";
/// See [`PORT`].
pub const MODEL: &str = "{model}";

/// All backends, by name. The model of one is named `backend/model`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, ManagedBackend>")]
pub struct Backends(BTreeMap<String, ManagedBackend>);

/// One program, and the model that it serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManagedBackend {
    /// A known program. Without one there is a `command`.
    #[serde(default)]
    pub preset: Option<Preset>,
    /// The path of the preset's program, if it is not in `PATH`.
    #[serde(default)]
    pub program: Option<String>,
    /// Further arguments for the preset's program.
    #[serde(default)]
    pub args: Vec<String>,
    /// A program and its arguments, with [`PORT`] and, if it wants, [`MODEL`].
    #[serde(default)]
    pub command: Vec<String>,
    /// What the program calls its model: a path, or a name on the hub. Requests to it name this.
    pub model: String,
    /// Another name under which clients may ask for it, besides `backend/model`.
    #[serde(default)]
    pub alias: Option<String>,
    /// Its lease in the memory budget, as people write sizes.
    pub memory: String,
    /// The maximum of prompt and output together, in tokens, for model lists.
    #[serde(default)]
    pub context: Option<u32>,
    /// Idle seconds after which the program is stopped. `None` uses the server's setting.
    #[serde(default)]
    pub idle_seconds: Option<u32>,
    /// Seconds that the program has until it answers its health check.
    #[serde(default = "default_start")]
    pub start_seconds: u32,
    /// Seconds that a request may take in all.
    #[serde(default = "default_timeout")]
    pub timeout_seconds: u32,
    /// The path whose success says that the program is ready. `None` is the preset's, or `/health`.
    #[serde(default)]
    pub health: Option<String>,
    /// Variables of the server's environment that the program gets besides the usual ones.
    #[serde(default)]
    pub pass_env: Vec<String>,
}

/// A known program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// `mlx_lm.server` of mlx-lm.
    MlxLm,
    /// `vllm-mlx serve`.
    VllmMlx,
    /// `mlx-openai-server launch`.
    MlxOpenaiServer,
    /// `llama-server` of llama.cpp.
    LlamaServer,
}

fn default_start() -> u32 {
    120
}

fn default_timeout() -> u32 {
    600
}

/// The name of a backend's model for clients, after the backend's. Of a path only the last part counts.
pub fn short_model(model: &str) -> &str {
    let is_path = model.starts_with(['/', '~', '.']);
    let last = model.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if is_path { last } else { model }
}

impl Backends {
    /// Each backend with its name, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ManagedBackend)> {
        self.0.iter().map(|(name, backend)| (name.as_str(), backend))
    }

    /// The backend of this name.
    pub fn get(&self, name: &str) -> Option<&ManagedBackend> {
        self.0.get(name)
    }
}

impl TryFrom<BTreeMap<String, ManagedBackend>> for Backends {
    type Error = String;

    fn try_from(backends: BTreeMap<String, ManagedBackend>) -> Result<Self, String> {
        let mut names = BTreeSet::new();
        for (name, backend) in &backends {
            backend.check(name).map_err(|problem| format!("{name}.{problem}"))?;
            for own in std::iter::once(backend.model_id(name)).chain(backend.alias.clone()) {
                if let Some(twice) = names.replace(own) {
                    return Err(format!("{name}.alias: two backends have a model named \"{twice}\""));
                }
            }
        }
        Ok(Self(backends))
    }
}

impl ManagedBackend {
    /// The name of its model for clients, if the backend has this name. Of a path only the last part counts.
    pub fn model_id(&self, backend: &str) -> String {
        format!("{backend}/{}", self.short_model())
    }

    /// The part of [`Self::model_id`] after the backend.
    pub fn short_model(&self) -> &str {
        short_model(&self.model)
    }

    /// Checks a backend that is to have this name. Its `memory` is not read.
    ///
    /// # Errors
    /// The field that is wrong, a colon, and the problem.
    pub fn check(&self, name: &str) -> Result<(), String> {
        if !is_name(name) {
            return Err(
                "name: a backend's name has 1 to 100 letters, digits, \"-\", \"_\" and \".\" only".into()
            );
        }
        if name == "local" {
            return Err("name: \"local\" is this machine's own workers; give the backend another name".into());
        }
        self.check_command()?;
        if self.short_model().is_empty() || self.model.chars().any(char::is_control) {
            return Err("model: write the path or the name of the model that it serves".into());
        }
        if self.alias.as_deref().is_some_and(|alias| alias.is_empty() || alias.len() > 256) {
            return Err("alias: it has 1 to 256 bytes".into());
        }
        for (field, seconds) in
            [("start_seconds", self.start_seconds), ("timeout_seconds", self.timeout_seconds)]
        {
            if !(1..=LONGEST).contains(&seconds) {
                return Err(format!("{field}: must lie between 1 and {LONGEST}, not {seconds}"));
            }
        }
        if let Some(path) = &self.health
            && !(path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(format!("health: \"{path}\" is no path such as /health"));
        }
        let is_variable = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        match self.pass_env.iter().find(|name| !is_variable(name) || name.starts_with("MLXD_")) {
            Some(name) => Err(format!("pass_env: \"{name}\" is no variable that a program may get")),
            None => Ok(()),
        }
    }

    fn check_command(&self) -> Result<(), String> {
        let has_command = !self.command.is_empty();
        if self.preset.is_none() && !has_command {
            return Err(
                r#"preset: name a known program, or write command = ["program", "--port", "{port}"]"#.into(),
            );
        }
        if self.preset.is_some() && has_command {
            return Err(
                "command: there is a preset as well; its program is set by program, and args follow".into()
            );
        }
        if self.preset.is_none() && (self.program.is_some() || !self.args.is_empty()) {
            return Err(
                "command: program and args belong to a preset; write all arguments into command".into()
            );
        }
        if has_command && !self.command.iter().any(|argument| argument.contains(PORT)) {
            return Err(format!("command: one argument needs {PORT}, the port on which it is to listen"));
        }
        let mut words = self.command.iter().chain(&self.program).chain(&self.args);
        if words.any(|word| word.contains('\0')) || self.command.first().is_some_and(String::is_empty) {
            return Err("command: an argument is empty or has a zero".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(backends: &Value) -> Result<Backends, String> {
        serde_json::from_value(backends.clone()).map_err(|error| error.to_string())
    }

    fn backend(more: &Value) -> Value {
        let mut all = json!({"preset": "mlx-lm", "model": "org/m", "memory": "4GiB"});
        for (name, value) in more.as_object().unwrap() {
            all[name] = value.clone();
        }
        all
    }

    #[test]
    fn backend_needs_a_program_a_model_and_memory() {
        let all = parse(&json!({"lm": backend(&json!({"alias": "qwen"}))})).unwrap();
        let (name, lm) = all.iter().next().unwrap();
        assert_eq!((lm.model_id(name), lm.start_seconds, lm.timeout_seconds), ("lm/org/m".into(), 120, 600));
        let document = serde_json::to_value(&all).unwrap();
        assert_eq!(parse(&document).unwrap(), all);
        for (field, model, short) in [
            ("path", "/models/SmolLM2/", "SmolLM2"),
            ("home", "~/m.gguf", "m.gguf"),
            ("hub", "org/m", "org/m"),
        ] {
            let all = parse(&json!({field: backend(&json!({"model": model}))})).unwrap();
            assert_eq!(all.get(field).unwrap().short_model(), short);
        }
    }

    #[test]
    fn wrong_backend_is_refused_by_its_field() {
        for (more, part) in [
            (json!({"preset": "vllm"}), "vllm"),
            (json!({"preset": null}), "lm.preset: name a known program"),
            (json!({"command": ["x", "{port}"]}), "lm.command: there is a preset as well"),
            (json!({"preset": null, "command": ["x"]}), "lm.command: one argument needs {port}"),
            (
                json!({"preset": null, "command": ["x", "{port}"], "args": ["y"]}),
                "lm.command: program and args",
            ),
            (json!({"preset": null, "command": ["", "{port}"]}), "lm.command: an argument is empty"),
            (json!({"model": "/"}), "lm.model"),
            (json!({"alias": ""}), "lm.alias"),
            (json!({"start_seconds": 0}), "lm.start_seconds: must lie between 1 and 86400, not 0"),
            (json!({"timeout_seconds": 90_000}), "lm.timeout_seconds"),
            (json!({"health": "health"}), "lm.health: \"health\" is no path"),
            (json!({"pass_env": ["MLXD_API_KEYS"]}), "lm.pass_env: \"MLXD_API_KEYS\""),
            (json!({"pass_env": ["A=B"]}), "lm.pass_env"),
            (json!({"port": 1}), "port"),
        ] {
            let problem = parse(&json!({"lm": backend(&more)})).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
        assert!(parse(&json!({"a/b": backend(&json!({}))})).unwrap_err().contains("a backend's name"));
        assert!(parse(&json!({"local": backend(&json!({}))})).unwrap_err().contains("this machine"));
        let two = json!({"a": backend(&json!({"alias": "x"})), "b": backend(&json!({"alias": "x"}))});
        assert!(parse(&two).unwrap_err().contains("b.alias: two backends have a model named \"x\""));
    }
}
