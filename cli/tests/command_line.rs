//! What `mlxd` says when it cannot start: one line that names the cause, and an exit status that scripts can tell apart.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use tempfile::TempDir;

/// Runs `mlxd serve` in an own home; gives exit status and standard error.
fn serve(home: &TempDir, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlxd"));
    command.env_clear().env("HOME", home.path()).env("MLXD_LOG", "off").arg("serve").args(arguments);
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn home() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_wrong_configuration_is_status_64() {
    let home = home();
    let (status, said) = serve(&home, &["--host", "0.0.0.0"]);
    assert!(status == Some(64) && said.contains("MLXD_API_KEYS") && said.lines().count() == 1, "{said}");
    let (status, said) = serve(&home, &["--models", "/nowhere"]);
    assert!(status == Some(64) && said.contains("/nowhere is no folder"), "{said}");
    fs::create_dir(home.path().join(".mlxd")).unwrap();
    fs::write(home.path().join(".mlxd/config.toml"), "prot = 3\n").unwrap();
    let (status, said) = serve(&home, &[]);
    assert!(status == Some(64) && said.contains("config.toml") && said.contains("prot"), "{said}");
}

#[test]
fn damaged_settings_are_status_64_and_named_by_file_and_line() {
    let home = home();
    let folder = home.path().join(".mlxd");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("settings.toml"), "[models.m]\ncontext = 4096\nreplicas = \"two\"\n").unwrap();
    let (status, said) = serve(&home, &["--port", "0"]);
    let told = said.contains(".mlxd/settings.toml: line 3: ") && said.contains("delete it");
    assert!(status == Some(64) && told && said.lines().count() == 1, "{said}");
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (status, said) = serve(&home(), &["--port", &port]);
    assert!(status == Some(1) && said.contains(&port) && said.lines().count() == 1, "{said}");
}

#[test]
fn flags_that_there_are_not_are_refused() {
    let (status, said) = serve(&home(), &["--prot", "3"]);
    assert!(status == Some(2) && said.contains("--port"), "{said}");
}

/// Runs `mlxd` in a home without a server; gives exit status and standard error.
fn alone(arguments: &[&str]) -> (Option<i32>, String) {
    let home = home();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlxd"));
    let output = command.env_clear().env("HOME", home.path()).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn show_without_a_server_says_how_to_start_one() {
    for arguments in [&["show", "m"][..], &["show", "m", "--prompt", "-"]] {
        let (status, said) = alone(arguments);
        assert!(status == Some(1) && said.contains("mlxd serve") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn show_takes_ids_and_json_of_prompts_only() {
    for arguments in [&["show", "m", "--ids"][..], &["show", "m", "--prompt", "-", "--ids", "--json"]] {
        assert_eq!(alone(arguments).0, Some(2), "{arguments:?}");
    }
}
