//! Failed starts of `mlxd`: one line names the cause, and scripts can distinguish the exit statuses.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use tempfile::TempDir;

/// Runs `mlxd serve` in a home of its own. Returns exit status and standard error.
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
fn wrong_configuration_is_status_64() {
    let home = home();
    let (status, stderr) = serve(&home, &["--models", "/nowhere"]);
    assert!(status == Some(64) && stderr.contains("/nowhere is no folder"), "{stderr}");
    fs::create_dir(home.path().join(".mlxd")).unwrap();
    fs::write(home.path().join(".mlxd/config.toml"), "prot = 3\n").unwrap();
    let (status, stderr) = serve(&home, &[]);
    assert!(status == Some(64) && stderr.contains("config.toml") && stderr.contains("prot"), "{stderr}");
}

#[test]
fn damaged_settings_are_status_64_and_named_by_file_and_line() {
    let home = home();
    let folder = home.path().join(".mlxd");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("settings.toml"), "[models.m]\ncontext = 4096\nreplicas = \"two\"\n").unwrap();
    let (status, stderr) = serve(&home, &["--port", "0"]);
    let named = stderr.contains(".mlxd/settings.toml: line 3: ") && stderr.contains("delete it");
    assert!(status == Some(64) && named && stderr.lines().count() == 1, "{stderr}");
}

#[test]
fn taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (status, stderr) = serve(&home(), &["--port", &port]);
    assert!(status == Some(1) && stderr.contains(&port) && stderr.lines().count() == 1, "{stderr}");
}

#[test]
fn unknown_flag_is_refused_with_a_suggestion() {
    let (status, stderr) = serve(&home(), &["--prot", "3"]);
    assert!(status == Some(2) && stderr.contains("--port"), "{stderr}");
}

/// Runs `mlxd` in a home without a server. Returns exit status and standard error.
fn alone(arguments: &[&str]) -> (Option<i32>, String) {
    let home = home();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlxd"));
    let output = command.env_clear().env("HOME", home.path()).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn show_without_a_server_names_the_command_that_starts_one() {
    for arguments in [&["show", "m"][..], &["show", "m", "--prompt", "-"]] {
        let (status, stderr) = alone(arguments);
        assert!(
            status == Some(1) && stderr.contains("mlxd serve") && stderr.lines().count() == 1,
            "{stderr}"
        );
    }
}

#[test]
fn ids_and_json_without_a_prompt_are_refused() {
    for arguments in [&["show", "m", "--ids"][..], &["show", "m", "--prompt", "-", "--ids", "--json"]] {
        assert_eq!(alone(arguments).0, Some(2), "{arguments:?}");
    }
}

#[test]
fn completions_and_manual_have_every_command() {
    let folder = home();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_mlxd")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let script = run(&["completions", "bash"]);
    run(&["man", "--out", folder.path().to_str().unwrap()]);
    for command in
        ["serve", "pull", "search", "ls", "rm", "run", "launch", "login", "logs", "service", "ps", "doctor"]
    {
        assert!(script.contains(&format!("mlxd,{command})")), "{command}");
        let page = fs::read_to_string(folder.path().join(format!("mlxd-{command}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{command}");
    }
    assert!(run(&["man"]).contains("mlxd"));
    assert!(folder.path().join("mlxd-key-add.1").exists());
}

#[test]
fn empty_list_names_the_commands_that_fill_it() {
    let home = home();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlxd"));
    let output = command.env_clear().env("HOME", home.path()).arg("ls").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("mlxd search") && text.contains("mlxd pull"), "{text}");
}

#[test]
fn help_is_as_recorded() {
    for command in
        ["bench", "import", "launch", "login", "login link", "logs", "search", "service", "service install"]
    {
        let words = command.split(' ').chain(["--help"]);
        let output = Command::new(env!("CARGO_BIN_EXE_mlxd")).args(words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        insta::assert_snapshot!(command.replace(' ', "_"), String::from_utf8(output.stdout).unwrap());
    }
}
