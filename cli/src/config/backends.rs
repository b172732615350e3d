//! Backends of `config.toml`: the command of each, with the place of a wrong one in the file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ipc_proto::gateway::{Backends, MODEL, ManagedBackend, PORT, Preset};
use ipc_proto::supervisor::ModelSettings;
use serde::Deserialize;
use supervisor::ExternalModel;
use toml::{Table, Value};

use super::{ConfigError, memory, wording};

/// The path of the health check of most programs.
const HEALTH: &str = "/health";

/// A known program: its name, and its arguments before those of the settings. All of them have their health check at [`HEALTH`].
struct Known {
    program: &'static str,
    arguments: &'static [&'static str],
}

/// As the versions in `docs/src/providers.md` take them.
fn known(preset: Preset) -> Known {
    let (program, arguments): (_, &[_]) = match preset {
        Preset::MlxLm => ("mlx_lm.server", &["--model", MODEL, "--host", "127.0.0.1", "--port", PORT]),
        Preset::VllmMlx => ("vllm-mlx", &["serve", MODEL, "--host", "127.0.0.1", "--port", PORT]),
        Preset::MlxOpenaiServer => (
            "mlx-openai-server",
            &["launch", "--model-path", MODEL, "--model-type", "lm", "--host", "127.0.0.1", "--port", PORT],
        ),
        Preset::LlamaServer => ("llama-server", &["--model", MODEL, "--host", "127.0.0.1", "--port", PORT]),
    };
    Known { program, arguments }
}

/// Checks the backends in the file, so that an error says where in it the wrong one is.
pub(super) fn check(file: &Table, path: &Path) -> Result<(), ConfigError> {
    let Some(Value::Table(tables)) = file.get("backends") else { return Ok(()) };
    let text = fs::read_to_string(path).unwrap_or_default();
    let wrong = |name: &str, problem: &str| {
        let field = problem.split([':', ' ', '.']).next().unwrap_or_default();
        let place = line_of(&text, name, field).map_or_else(String::new, |line| format!("line {line}: "));
        ConfigError::File { path: path.to_owned(), problem: format!("{place}backends.{name}.{problem}") }
    };
    let mut backends = BTreeMap::new();
    for (name, table) in tables {
        let backend = ManagedBackend::deserialize(table.clone()).map_err(|error| {
            let sentence = wording::sentence(&format!("backends.{name}"), &error);
            wrong(name, sentence.strip_prefix(&format!("backends.{name}.")).unwrap_or(&sentence))
        })?;
        backend.check(name).map_err(|problem| wrong(name, &problem))?;
        memory::parse(&backend.memory).map_err(|problem| wrong(name, &format!("memory: {problem}")))?;
        if file.get("providers").and_then(|all| all.get(name)).is_some() {
            return Err(wrong(name, "name: a provider has this name, too"));
        }
        backends.insert(name.clone(), backend);
    }
    Backends::try_from(backends).map(drop).map_err(|text| {
        let (name, problem) = text.split_once('.').unwrap_or((&text, ""));
        wrong(name, problem)
    })
}

/// The line of a backend's field, or of its head, counted from 1.
fn line_of(text: &str, name: &str, field: &str) -> Option<usize> {
    let heads = [format!("[backends.{name}]"), format!("[backends.\"{name}\"]")];
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim_start()));
    let (head, _) = lines.find(|(_, line)| heads.iter().any(|head| line.starts_with(head)))?;
    let mut own = lines.take_while(|(_, line)| !line.starts_with('['));
    let is_field =
        |line: &str| line.strip_prefix(field).is_some_and(|rest| rest.trim_start().starts_with('='));
    let found = own.find(|(_, line)| !field.is_empty() && is_field(line));
    Some(found.map_or(head, |(line, _)| line))
}

/// The models of all backends. Their settings join those of the file in `models`.
///
/// # Errors
/// A setting of `models` has no effect on a backend's model.
pub(super) fn resolve(
    backends: &Backends,
    models: &mut BTreeMap<String, ModelSettings>,
    home: Option<&str>,
) -> Result<Vec<ExternalModel>, ConfigError> {
    let mut externals = Vec::new();
    for (name, backend) in backends.iter() {
        let id = backend.model_id(name);
        let wrong = |key: String, problem: String| ConfigError::Value { name: key, problem };
        let settings = models.entry(id.clone()).or_default();
        settings.check_for_backend(&[]).map_err(|error| wrong(format!("models.\"{id}\""), error.message))?;
        settings.aliases.extend(backend.alias.clone());
        settings.idle_seconds = settings.idle_seconds.or(backend.idle_seconds);
        let memory = memory::parse(&backend.memory)
            .map_err(|problem| wrong(format!("backends.{name}.memory"), problem))?;
        externals.push(ExternalModel {
            id,
            backend: name.to_owned(),
            command: command(backend, home),
            health: backend.health.clone().unwrap_or_else(|| HEALTH.to_owned()),
            memory,
            start_seconds: backend.start_seconds,
            request_seconds: backend.timeout_seconds,
            context: backend.context,
            pass_env: backend.pass_env.clone(),
        });
    }
    Ok(externals)
}

/// The program and its arguments, without the port. `~/` at the beginning of one is the user's home.
fn command(backend: &ManagedBackend, home: Option<&str>) -> Vec<String> {
    let words: Vec<&str> = match backend.preset.map(known) {
        Some(Known { program, arguments }) => {
            let program = backend.program.as_deref().unwrap_or(program);
            let own = backend.args.iter().map(String::as_str);
            std::iter::once(program).chain(arguments.iter().copied()).chain(own).collect()
        }
        None => backend.command.iter().map(String::as_str).collect(),
    };
    let filled = words.into_iter().map(|word| word.replace(MODEL, &backend.model));
    filled.map(|word| at_home(word, home)).collect()
}

fn at_home(word: String, home: Option<&str>) -> String {
    match (word.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => format!("{home}/{rest}"),
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Backends {
        toml::from_str(text).unwrap()
    }

    fn commands(text: &str) -> Vec<String> {
        let externals = resolve(&parse(text), &mut BTreeMap::new(), Some("/home/ann")).unwrap();
        externals.iter().map(|one| one.command.join(" ")).collect()
    }

    #[test]
    fn preset_becomes_a_command() {
        for (preset, command) in [
            ("mlx-lm", "mlx_lm.server --model org/m --host 127.0.0.1 --port {port}"),
            ("vllm-mlx", "vllm-mlx serve org/m --host 127.0.0.1 --port {port}"),
            (
                "mlx-openai-server",
                "mlx-openai-server launch --model-path org/m --model-type lm --host 127.0.0.1 --port {port}",
            ),
            ("llama-server", "llama-server --model org/m --host 127.0.0.1 --port {port}"),
        ] {
            let text = format!("[x]\npreset = \"{preset}\"\nmodel = \"org/m\"\nmemory = \"1GiB\"");
            assert_eq!(commands(&text), [command]);
        }
        let own = "[x]\npreset = \"mlx-lm\"\nprogram = \"~/v/bin/mlx_lm.server\"\nargs = [\"--trust\"]\nmodel = \"~/m\"\nmemory = \"1GiB\"";
        let expected =
            "/home/ann/v/bin/mlx_lm.server --model /home/ann/m --host 127.0.0.1 --port {port} --trust";
        assert_eq!(commands(own), [expected]);
        let free = "[x]\ncommand = [\"serve\", \"{model}:{port}\"]\nmodel = \"m\"\nmemory = \"1GiB\"";
        assert_eq!(commands(free), ["serve m:{port}"]);
    }

    #[test]
    fn settings_of_a_backend_join_those_of_its_model() {
        let backends = parse(
            "[lm]\npreset = \"mlx-lm\"\nmodel = \"/models/m\"\nmemory = \"2GiB\"\nalias = \"fast\"\nidle_seconds = 60\n\
             context = 4096\nhealth = \"/ok\"\npass_env = [\"HF_TOKEN\"]\nstart_seconds = 5\ntimeout_seconds = 7",
        );
        let mut models = BTreeMap::from([("lm/m".into(), ModelSettings { pin: true, ..<_>::default() })]);
        let externals = resolve(&backends, &mut models, None).unwrap();
        let expected = ExternalModel {
            id: "lm/m".into(),
            backend: "lm".into(),
            command: command(backends.get("lm").unwrap(), None),
            health: "/ok".into(),
            memory: 2 << 30,
            start_seconds: 5,
            request_seconds: 7,
            context: Some(4096),
            pass_env: vec!["HF_TOKEN".into()],
        };
        assert_eq!(externals, [expected]);
        let settings = &models["lm/m"];
        assert_eq!((settings.pin, settings.idle_seconds), (true, Some(60)));
        assert_eq!(settings.aliases, ["fast"]);
        let mut wrong =
            BTreeMap::from([("lm/m".into(), ModelSettings { kv_mib: Some(1), ..<_>::default() })]);
        let problem = resolve(&backends, &mut wrong, None).unwrap_err().to_string();
        assert!(problem.contains("models.\"lm/m\": kv_mib has no effect"), "{problem}");
    }

    #[test]
    fn line_is_that_of_the_field_or_of_the_head() {
        let text = "port = 1\n[backends.a]\nmemory = \"x\"\n[backends.lm]\npreset = \"mlx-lm\"\n  memory= \"x\"\n[other]\nalias = 1\n";
        for (field, line) in [("memory", 6), ("preset", 5), ("alias", 4), ("", 4)] {
            assert_eq!(line_of(text, "lm", field), Some(line), "{field}");
        }
        assert_eq!(line_of(text, "none", "memory"), None);
    }
}
