//! `mlxd import` on the files of other programs.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Runs `mlxd` with a home of its own and one variable with a key.
fn mlxd(home: &TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlxd"));
    command.env_clear().env("HOME", home.path()).env("MLXD_MEMORY", "2GiB").env("SET_KEY", "sk-secret");
    command.current_dir(home.path()).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn write(home: &TempDir, path: &str, content: &str) {
    let path = home.path().join(path);
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn print_changes_nothing_and_import_writes_no_key() {
    let home = tempfile::tempdir().unwrap();
    write(
        &home,
        "proxy.yaml",
        "model_list:\n- model_name: fast\n  litellm_params: {model: openai/gpt-4.1-mini, api_key: os.environ/SET_KEY}\n\
         - model_name: far\n  litellm_params: {model: groq/llama, api_key: os.environ/UNSET_KEY}\n",
    );
    let config = home.path().join(".mlxd/config.toml");
    let shown = text(&mlxd(&home, &["import", "litellm", "proxy.yaml", "--print"]));
    assert!(shown.contains("provider openai") && shown.contains("nothing is changed"), "{shown}");
    assert!(shown.contains("UNSET_KEY, which is not set"), "{shown}");
    assert!(!config.exists());
    let done = text(&mlxd(&home, &["import", "litellm", "proxy.yaml"]));
    let written = fs::read_to_string(&config).unwrap();
    assert!(
        written.contains("api_key_env = \"SET_KEY\"") && written.contains("alias = \"fast\""),
        "{written}"
    );
    assert!(!written.contains("sk-secret") && !done.contains("sk-secret"));
    let again = text(&mlxd(&home, &["import", "litellm", "proxy.yaml"]));
    assert!(again.contains("nothing to take over"), "{again}");
    assert_eq!(fs::read_to_string(&config).unwrap(), written);
    text(&mlxd(&home, &["ls"]));
}

#[test]
fn folder_of_omlx_is_searched_afterwards() {
    let home = tempfile::tempdir().unwrap();
    write(&home, ".omlx/models/org/toy/config.json", "{\"model_type\": \"llama\"}");
    write(&home, ".omlx/models/org/toy/model.safetensors", "12345");
    write(
        &home,
        ".omlx/model_settings.json",
        "{\"version\": 1, \"models\": {\"toy\": {\"model_alias\": \"mine\"}}}",
    );
    let done = text(&mlxd(&home, &["import", "omlx"]));
    assert!(done.contains("settings of org/toy: aliases toy, mine"), "{done}");
    let list = text(&mlxd(&home, &["ls"]));
    assert!(list.contains("org/toy"), "{list}");
}

#[test]
fn missing_program_and_wrong_file_are_named() {
    let home = tempfile::tempdir().unwrap();
    write(&home, "config.yaml", "models: {}\n");
    for (arguments, part) in [
        (&["import", "ollama"][..], ".ollama/models"),
        (&["import", "litellm"], "config.yaml: it has no list model_list"),
        (&["import", "litellm", "nowhere.yaml"], "nowhere.yaml does not exist"),
    ] {
        let output = mlxd(&home, arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(part), "{error}");
    }
    assert!(text(&mlxd(&home, &["import", "llama-swap"])).contains("nothing to take over"));
}
