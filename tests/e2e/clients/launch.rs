//! `mlxd launch` with the agents from npm: one answer each, and nothing outside of the profile changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use e2e::induction::{self, SCRIPTED, Script, Turn};
use e2e::{Server, bounded, places};
use sha2::{Digest, Sha256};

use super::{LIMIT, SECOND_ANSWER, WORD, Workspace, expect_no_process_of};

/// Configuration of the user's own, which leads to no server. It must neither be used nor changed.
const OWN: [(&str, &str); 5] = [
    (".claude.json", r#"{"numStartups": 7, "hasCompletedOnboarding": true}"#),
    (".claude/settings.json", r#"{"env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}, "model": "opus"}"#),
    (".codex/config.toml", "model = \"of-the-user\"\nmodel_provider = \"none\"\n"),
    (".config/opencode/opencode.json", r#"{"model": "none/of-the-user"}"#),
    (".local/share/opencode/auth.json", "{}"),
];

/// Every path below a folder, with the digest of its contents.
fn listing(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let digest = if kind.is_dir() {
                left.push(path.clone());
                String::new()
            } else if kind.is_file() {
                Sha256::digest(fs::read(&path).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
            } else {
                format!("{:?}", fs::read_link(&path))
            };
            all.insert(path, digest);
        }
    }
    all
}

/// Launches an agent, which must answer and leave home and project as they were. Then its profile is removed.
fn launch(agent: &str, arguments: &[&str]) {
    let workspace = Workspace::new();
    for (name, text) in OWN {
        let path = workspace.home().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    fs::write(workspace.work().join("note.txt"), WORD).unwrap();
    let models = tempfile::tempdir().unwrap();
    let turns = vec![Turn::Say(SECOND_ANSWER.into())];
    induction::write(models.path(), &Script { turns, aside: "A note", summary: None });
    let server = Server::builder().models(models.path()).start();
    let programs = places::clients().join("node_modules/.bin");
    let path = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths(std::iter::once(programs).chain(std::env::split_paths(&path))).unwrap();
    let mlxd = |arguments: &[&str]| {
        let mut mlxd = workspace.command(&places::binary("mlxd"));
        mlxd.args(["launch", "--home"]).arg(server.home()).args(arguments).env("PATH", &path);
        bounded::run(&mut mlxd, workspace.root.path(), LIMIT)
    };
    let before = (listing(&workspace.home()), listing(&workspace.work()));
    let ended = mlxd(&[&[agent, "--model", SCRIPTED, "--"], arguments].concat());
    expect_no_process_of(&workspace);
    let done = ended.status.is_some_and(|status| status.success());
    assert!(done && ended.out.contains(SECOND_ANSWER), "{ended:?}\n{}", server.log());
    assert_eq!(before, (listing(&workspace.home()), listing(&workspace.work())));
    let profile = server.home().join("launch").join(agent);
    assert!(profile.is_dir());
    let removed = mlxd(&["--remove", agent]);
    assert!(removed.status.is_some_and(|status| status.success()) && !profile.exists(), "{removed:?}");
}

#[test]
fn claude_code_is_launched_and_changes_nothing_outside() {
    launch("claude", &["-p", "What does note.txt say?"]);
}

#[test]
fn codex_is_launched_and_changes_nothing_outside() {
    launch("codex", &["exec", "--skip-git-repo-check", "What does note.txt say?"]);
}

#[test]
fn opencode_is_launched_and_changes_nothing_outside() {
    launch("opencode", &["run", "What does note.txt say?"]);
}
