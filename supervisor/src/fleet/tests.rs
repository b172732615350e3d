use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::failures::BROKEN;
use crate::registry::Store;
use ipc_proto::supervisor::ModelState;

/// A fleet of one model "m", whose worker is a shell script.
struct Stage {
    fleet: Fleet,
    folder: TempDir,
}

fn setup(script: &str) -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("models/m");
    fs::create_dir_all(&model).unwrap();
    fs::write(model.join("config.json"), "{}").unwrap();
    let program = folder.path().join("worker.sh");
    let log = folder.path().join("starts");
    fs::write(&program, format!("#!/bin/sh\necho $$ >> {}\n{script}\n", log.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let fleet = start(Setup {
        registry: Registry::new(vec![Store::Folder(folder.path().join("models"))]),
        program,
        run: folder.path().to_owned(),
        policy: Policy::default(),
    });
    Stage { fleet, folder }
}

impl Stage {
    /// Process ids of the workers started so far.
    fn starts(&self) -> Vec<i32> {
        let log = fs::read_to_string(self.folder.path().join("starts")).unwrap_or_default();
        log.lines().map(|line| line.parse().unwrap()).collect()
    }

    async fn refused(&self) -> Error {
        self.fleet.ensure_ready(Want::model("m")).await.unwrap_err()
    }
}

fn runs(pid: i32) -> bool {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_ok()
}

#[tokio::test]
async fn a_worker_that_ends_while_loading_is_quoted() {
    let setup = setup("echo 'tensor x is missing' >&2; exit 3");
    let error = setup.refused().await;
    assert_eq!((error.kind, error.retryable), (ErrorKind::ModelBroken, false));
    assert!(error.message.contains("\"m\"") && error.message.contains("tensor x is missing"), "{error}");
    let state = &setup.fleet.models().await[0].state;
    assert!(matches!(state, ModelState::Failed(text) if text.contains("tensor x")), "{state:?}");
}

#[tokio::test]
async fn a_broken_model_is_not_tried_again_at_once() {
    let setup = setup("exit 3");
    let first = setup.refused().await;
    for _ in 0..20 {
        assert_eq!(setup.refused().await, first);
    }
    assert_eq!(setup.starts().len(), 1);
    tokio::time::sleep(BROKEN).await;
    setup.refused().await;
    assert_eq!(setup.starts().len(), 2);
}

#[tokio::test]
async fn all_who_ask_at_once_share_one_start() {
    let setup = setup("sleep 0.3; exit 3");
    let asks: Vec<_> = (0..20)
        .map(|_| setup.fleet.clone())
        .map(|fleet| async move { fleet.ensure_ready(Want::model("m")).await })
        .collect();
    let asks: Vec<_> = asks.into_iter().map(tokio::spawn).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(matches!(setup.fleet.models().await[0].state, ModelState::Loading { .. }));
    for ask in asks {
        assert!(ask.await.unwrap().is_err());
    }
    assert_eq!(setup.starts().len(), 1);
}

#[tokio::test]
async fn stopping_ends_a_worker_that_will_not() {
    let setup = setup("trap '' TERM; exec sleep 100");
    let ask = setup.fleet.clone();
    let ask = tokio::spawn(async move { ask.ensure_ready(Want::model("m")).await });
    while setup.starts().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let start = Instant::now();
    setup.fleet.stop(Duration::from_millis(100)).await;
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(!runs(setup.starts()[0]));
    assert_eq!(ask.await.unwrap().unwrap_err().kind, ErrorKind::Unavailable);
}

#[tokio::test]
async fn unknown_models_and_missing_programs_are_named() {
    let setup = setup("exit 3");
    let error = setup.fleet.ensure_ready(Want::model("n")).await.unwrap_err();
    assert_eq!((error.kind, error.param.as_deref()), (ErrorKind::ModelNotFound, Some("model")));
    assert!(error.message.contains("available are m"), "{error}");
    fs::remove_file(setup.folder.path().join("worker.sh")).unwrap();
    assert!(setup.refused().await.message.contains("cannot be started"));
}
