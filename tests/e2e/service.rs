//! `mlxd service` and `mlxd logs`. A script stands for `systemctl`: no service is made on this machine.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use e2e::places::{self, SMOLLM2};
use e2e::process;
use tempfile::TempDir;

/// A user with a home of their own.
struct User(TempDir);

impl User {
    /// The script writes its arguments down, and fails if they have the word `refuse`.
    fn new(refuse: &str) -> Self {
        let user = Self(tempfile::Builder::new().prefix("mlxd-service-").tempdir().unwrap());
        let program = user.path("systemctl");
        let script = format!(
            "#!/bin/sh\necho \"$*\" >> '{}'\ncase \"$*\" in *{refuse}*) echo 'no bus' >&2; exit 1;; esac\n",
            user.path("calls").display()
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        user
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(places::binary("mlxd"));
        command.env_clear().env("HOME", self.0.path()).env("PATH", self.0.path()).args(arguments);
        // The libraries of programs that were not installed.
        for name in ["LD_LIBRARY_PATH", "MLXD_MLX_PATHS"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command
    }

    fn mlxd(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.mlxd(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.mlxd(arguments);
        assert!(!output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// The calls of the script since the last time.
    #[cfg(target_os = "linux")]
    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        let _ = fs::remove_file(self.path("calls"));
        calls.lines().map(str::to_owned).collect()
    }
}

#[test]
#[cfg(target_os = "linux")]
fn service_is_installed_and_removed_by_systemd() {
    let user = User::new("nothing");
    let unit = user.path(".config/systemd/user/mlxd.service");
    assert!(user.done(&["service", "status"]).starts_with("not installed"));
    let printed = user.done(&["service", "install", "--print"]);
    assert!(printed.contains("ExecStart=") && !unit.exists() && user.calls().is_empty(), "{printed}");
    let said = user.done(&["service", "install"]);
    assert!(said.contains("mlxd.service") && said.contains("serve.log"), "{said}");
    assert_eq!(fs::read_to_string(&unit).unwrap(), printed);
    assert_eq!(user.calls(), ["--user daemon-reload", "--user enable --now mlxd"]);
    assert!(user.done(&["service", "status"]).contains("and it runs"));
    assert_eq!(user.calls(), ["--user is-active --quiet mlxd"]);
    user.done(&["service", "install", "--home", "/tmp/another"]);
    assert!(fs::read_to_string(&unit).unwrap().contains("--home \"/tmp/another\""));
    assert_eq!(user.calls()[0], "--user disable --now mlxd");
    user.done(&["service", "uninstall"]);
    assert_eq!(user.calls(), ["--user disable --now mlxd", "--user daemon-reload"]);
    assert!(!unit.exists());
    assert!(user.refused(&["service", "uninstall"]).contains("not installed"));
}

#[test]
#[cfg(target_os = "linux")]
fn manager_that_refuses_is_quoted() {
    let user = User::new("enable");
    let said = user.refused(&["service", "install"]);
    assert!(said.contains("`systemctl --user enable --now mlxd` failed: no bus"), "{said}");
}

#[test]
fn log_of_a_background_server_is_shown_by_process_and_followed() {
    let user = User::new("nothing");
    assert!(user.refused(&["logs"]).contains("there is no log"));
    let home = user.path(".mlxd");
    fs::create_dir(&home).unwrap();
    let models = places::models();
    fs::write(home.join("config.toml"), format!("port = 0\nmodels = [{:?}]\n", models.display())).unwrap();
    user.done(&["run", SMOLLM2, "--max-tokens", "1", "Hello"]);
    let mut following = user.command(&["logs", "--follow", "supervisor"]);
    let mut following = following.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("INFO"));
    let log = user.done(&["logs"]);
    assert!(log.contains("listening on http://") && log.contains(&format!("[{SMOLLM2}] ")), "{log}");
    let worker = user.done(&["logs", SMOLLM2]);
    let begin = format!("[{SMOLLM2}] ");
    assert!(!worker.is_empty() && worker.lines().all(|line| line.starts_with(&begin)), "{worker}");
    assert_eq!(user.done(&["logs", "-n", "1"]).lines().count(), 1);
    assert!(user.refused(&["service", "install"]).contains("mlxd stop"), "a server runs");
    user.done(&["stop"]);
    let mut log = fs::OpenOptions::new().append(true).open(home.join("serve.log")).unwrap();
    log.write_all(b"[gateway] no\nyes\n").unwrap();
    process::wait_for("the line is shown", std::time::Duration::from_secs(10), || {
        lines.next().is_some_and(|line| line.unwrap() == "yes")
    });
    following.kill().unwrap();
    following.wait().unwrap();
}

#[test]
fn long_log_is_set_aside_when_a_server_starts() {
    let user = User::new("nothing");
    let home = user.path(".mlxd");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("config.toml"), format!("port = 0\nmodels = [{:?}]\n", places::models().display()))
        .unwrap();
    fs::write(home.join("serve.log"), "old\n".repeat(5 << 20)).unwrap();
    user.done(&["run", SMOLLM2, "--max-tokens", "1", "Hello"]);
    user.done(&["stop"]);
    let log = fs::read_to_string(home.join("serve.log")).unwrap();
    assert!(!log.contains("old\n") && log.contains("listening on"), "{}", &log[..200.min(log.len())]);
    assert_eq!(fs::metadata(home.join("serve.log.1")).unwrap().len(), 20 << 20);
}
