//! `mlxd launch` without an agent: a script stands for one. `clients::launch` has the real ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use e2e::places::{self, SHALLOW};
use e2e::{Server, process};
use tempfile::TempDir;

/// A user whose path has one program, `claude`, which writes down what it gets.
struct User(TempDir);

impl User {
    fn new() -> Self {
        let user = Self(tempfile::tempdir().unwrap());
        let program = user.0.path().join("claude");
        fs::write(&program, "#!/bin/sh\nprintf '%s|' \"$@\"\nexec /usr/bin/env\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        user
    }

    fn launch(&self, home: &Path, arguments: &[&str]) -> Output {
        self.command(home).args(arguments).output().unwrap()
    }

    fn command(&self, home: &Path) -> Command {
        let mut command = Command::new(places::binary("mlxd"));
        command.env_clear().env("HOME", self.0.path()).env("PATH", self.0.path());
        command.args(["launch", "--home"]).arg(home);
        command
    }
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refusal(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The value of a variable that the agent has. Its arguments come before the first one, with a bar after each.
fn variable<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split(['\n', '|']).find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

#[test]
fn agent_gets_address_model_and_context_and_its_own_arguments() {
    let (user, server) = (User::new(), Server::start());
    let mut command = user.command(server.home());
    command.args(["claude", "--model", SHALLOW, "--", "-p", "two words"]);
    command
        .env("ANTHROPIC_API_KEY", "sk-own")
        .env("HTTPS_PROXY", "http://127.0.0.1:9")
        .env("NO_PROXY", "a.example");
    let text = text(&command.output().unwrap());
    assert!(text.starts_with("-p|two words|"), "{text}");
    for (name, value) in [
        ("ANTHROPIC_BASE_URL", server.url("")),
        ("ANTHROPIC_AUTH_TOKEN", "none".into()),
        ("ANTHROPIC_MODEL", SHALLOW.into()),
        ("CLAUDE_CODE_MAX_CONTEXT_TOKENS", "8192".into()),
        ("CLAUDE_CODE_MAX_OUTPUT_TOKENS", "2048".into()),
        ("NO_PROXY", "a.example,127.0.0.1,localhost".into()),
        ("CLAUDE_CONFIG_DIR", server.home().join("launch/claude").display().to_string()),
    ] {
        assert_eq!(variable(&text, name), Some(value.as_str()), "{name}\n{text}");
    }
    assert_eq!(variable(&text, "ANTHROPIC_API_KEY"), None, "{text}");
}

#[test]
fn server_with_keys_gets_one_for_the_agent_which_goes_with_the_profile() {
    let (user, server) = (User::new(), Server::start());
    let owner = server.mlxd(&["key", "add", "owner", "--scope", "admin"]);
    process::wait_for("a key is needed", std::time::Duration::from_secs(10), || {
        server.get("/v1/models").status == 401
    });
    let printed = text(&user.launch(server.home(), &["claude", "--model", SHALLOW, "--print"]));
    assert!(
        printed.contains("one is made") && printed.contains("ANTHROPIC_AUTH_TOKEN=(hidden)"),
        "{printed}"
    );
    assert!(!server.home().join("launch").exists(), "--print writes nothing");
    let launch = || {
        let text = text(&user.launch(server.home(), &["claude", "--model", SHALLOW]));
        variable(&text, "ANTHROPIC_AUTH_TOKEN").unwrap().to_owned()
    };
    let secret = launch();
    assert!(secret.len() > 20 && !owner.contains(&secret), "{secret}");
    assert_eq!(launch(), secret, "it is kept");
    let printed = text(&user.launch(server.home(), &["claude", "--model", SHALLOW, "--print"]));
    assert!(!printed.contains(&secret) && printed.contains("MAX_CONTEXT_TOKENS=8192"), "{printed}");
    let listed = server.mlxd(&["key", "ls"]);
    assert!(listed.contains("launch claude") && listed.contains("inference"), "{listed}");
    let removed = text(&user.launch(server.home(), &["--remove", "claude"]));
    assert!(
        removed.contains("its key is revoked") && server.mlxd(&["key", "ls"]).contains("revoked"),
        "{removed}"
    );
    assert!(!server.home().join("launch/claude").exists());
    let again = refusal(&user.launch(server.home(), &["--remove", "claude"]));
    assert!(again.contains("there is no profile of Claude Code"), "{again}");
}

#[test]
fn missing_program_and_missing_model_say_how_to_get_them() {
    let (user, server) = (User::new(), Server::start());
    let error = refusal(&user.launch(server.home(), &["codex", "--model", SHALLOW]));
    assert!(
        error.contains("Codex is not installed") && error.contains("npm install -g @openai/codex"),
        "{error}"
    );
    let error = refusal(&user.launch(server.home(), &["claude", "--model", "org/absent"]));
    assert!(error.contains("mlxd pull org/absent"), "{error}");
    let error = refusal(&user.launch(server.home(), &["claude", "--model", "absent"]));
    assert!(error.contains("\"absent\" does not exist; available are") && error.contains(SHALLOW), "{error}");
    assert!(error.contains("mlxd pull"), "{error}");
    let error = refusal(&user.launch(server.home(), &["claude"]));
    assert!(error.contains("say which with --model") && error.contains(SHALLOW), "{error}");
    assert!(!server.home().join("launch").exists());
}

#[test]
fn print_without_a_server_starts_none() {
    let user = User::new();
    let home = user.0.path().join("home");
    let printed = text(&user.launch(&home, &["claude", "--model", "org/m", "--print"]));
    assert!(printed.starts_with("note: no server runs: one is started\n"), "{printed}");
    assert!(printed.contains("ANTHROPIC_BASE_URL=http://127.0.0.1:10240\n"), "{printed}");
    assert!(!home.exists(), "it writes nothing");
}

#[test]
fn server_is_started_if_none_runs_and_stays() {
    let user = User::new();
    let home = user.0.path().join("home");
    fs::create_dir(&home).unwrap();
    let models = places::models();
    fs::write(home.join("config.toml"), format!("port = 0\nmodels = [{:?}]\n", models.display())).unwrap();
    let mut command = user.command(&home);
    // The libraries of programs that were not installed.
    for name in ["LD_LIBRARY_PATH", "MLXD_MLX_PATHS"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    let output = command.args(["claude", "--model", SHALLOW]).output().unwrap();
    let stop = Command::new(places::binary("mlxd")).args(["stop", "--home"]).arg(&home).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("no server ran: one is started") && said.contains("serve.log"), "{said}");
    assert!(text(&output).contains("ANTHROPIC_MODEL=") && stop.status.success(), "{stop:?}");
}
