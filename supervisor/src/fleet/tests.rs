use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::failures::BROKEN;
use crate::registry::{Store, Summaries, sources};
use crate::test_doubles::ScriptedProbe;
use ipc_proto::Resource;
use ipc_proto::supervisor::ModelState;

mod blocked;
mod refused;
mod served;

/// A fleet of the models "m" and "n". Its worker program is a shell script.
struct Stage {
    fleet: Fleet,
    folder: TempDir,
}

fn setup(script: &str) -> Stage {
    stage(script, Policy::default())
}

/// The same under a policy. The file `pressure` sets the memory pressure.
fn stage(script: &str, policy: Policy) -> Stage {
    stage_with(script, |folder| fleet_in(folder, policy))
}

fn stage_with(script: &str, start: impl FnOnce(&std::path::Path) -> Fleet) -> Stage {
    let folder = tempfile::tempdir().unwrap();
    for name in ["m", "n"] {
        write_model(&folder.path().join("models").join(name));
    }
    let program = folder.path().join("worker.sh");
    let log = folder.path().join("starts");
    fs::write(&program, format!("#!/bin/sh\necho $$ >> {}\n{script}\n", log.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let fleet = start(folder.path());
    Stage { fleet, folder }
}

/// A model without a visible problem. Its weights have four bytes.
fn write_model(folder: &std::path::Path) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("config.json"), r#"{"model_type": "llama"}"#).unwrap();
    fs::write(folder.join("tokenizer.json"), "{}").unwrap();
    let header = r#"{"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}"#;
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 4]].concat();
    fs::write(folder.join("model.safetensors"), file).unwrap();
}

/// The models in a folder of this one.
fn sources_in(folder: &std::path::Path) -> Vec<Box<dyn ModelSource>> {
    let summaries = std::sync::Arc::new(Summaries::of(folder));
    sources([Store::Folder(folder.join("models"))], &summaries)
}

fn fleet_in(folder: &std::path::Path, policy: Policy) -> Fleet {
    fleet_of(folder, policy, sources_in(folder))
}

fn fleet_of(folder: &std::path::Path, policy: Policy, sources: Vec<Box<dyn ModelSource>>) -> Fleet {
    let setup = FleetSetup {
        sources,
        program: folder.join("worker.sh"),
        externals: Externals::default(),
        run: folder.to_owned(),
        budget: policy.memory.unwrap_or(8 << 30),
        policy,
        overrides: SettingsOverrides::load(folder.join(crate::overrides::FILE_NAME)).unwrap(),
        pressure: Box::new(ScriptedProbe(folder.join("pressure"))),
    };
    start(setup).unwrap()
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
async fn worker_that_exits_while_loading_gives_its_stderr_in_the_error() {
    let setup = setup("echo 'tensor x is missing' >&2; exit 3");
    let error = setup.refused().await;
    assert_eq!((error.kind, error.is_retryable()), (ErrorKind::ModelBroken, false));
    assert!(error.message.contains("\"m\"") && error.message.contains("tensor x is missing"), "{error}");
    let state = &setup.fleet.models().await[0].state;
    assert!(matches!(state, ModelState::Failed(text) if text.contains("tensor x")), "{state:?}");
}

#[tokio::test]
async fn broken_model_is_not_started_again_at_once() {
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
async fn concurrent_callers_share_one_start() {
    let setup = setup("sleep 0.3; exit 3");
    let calls: Vec<_> = (0..20)
        .map(|_| setup.fleet.clone())
        .map(|fleet| async move { fleet.ensure_ready(Want::model("m")).await })
        .collect();
    let calls: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(matches!(setup.fleet.models().await[0].state, ModelState::Loading { .. }));
    for call in calls {
        assert!(call.await.unwrap().is_err());
    }
    assert_eq!(setup.starts().len(), 1);
}

#[tokio::test]
async fn stop_kills_a_worker_that_ignores_sigterm() {
    let setup = setup("trap '' TERM; exec sleep 100");
    let call = setup.fleet.clone();
    let call = tokio::spawn(async move { call.ensure_ready(Want::model("m")).await });
    while setup.starts().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let start = Instant::now();
    setup.fleet.stop(Duration::from_millis(100)).await;
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(!runs(setup.starts()[0]));
    assert_eq!(call.await.unwrap().unwrap_err().kind, ErrorKind::Unavailable);
}

#[tokio::test]
async fn unknown_model_or_missing_program_is_named_in_the_error() {
    let setup = setup("exit 3");
    let error = setup.fleet.ensure_ready(Want::model("x")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound(Resource::Model));
    assert_eq!(error.field, Some("model".into()));
    assert!(error.message.contains("available are m, n"), "{}", error.message);
    fs::remove_file(setup.folder.path().join("worker.sh")).unwrap();
    assert!(setup.refused().await.message.contains("cannot be started"));
}

/// Waits for the model "m" on a separate task.
fn spawn_ensure(setup: &Stage) -> tokio::task::JoinHandle<Result<Vec<WorkerAddress>>> {
    let fleet = setup.fleet.clone();
    tokio::spawn(async move { fleet.ensure_ready(Want::model("m")).await })
}

impl Stage {
    fn pressure(&self, text: &str) {
        fs::write(self.folder.path().join("pressure"), text).unwrap();
    }

    /// Polls the first model until it is as wanted.
    async fn until(&self, wanted: impl Fn(&ModelEntry) -> bool) -> ModelEntry {
        for _ in 0..500 {
            let entry = self.fleet.models().await.remove(0);
            if wanted(&entry) {
                return entry;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it stays at {:?}", self.fleet.models().await);
    }
}

#[tokio::test]
async fn caller_that_leaves_before_the_start_causes_none() {
    let setup = setup("sleep 0.2; exit 3");
    setup.pressure("warn");
    let impatient = spawn_ensure(&setup);
    setup.until(|entry| entry.state == ModelState::Queued && entry.waiting == 1).await;
    assert_eq!(setup.fleet.pool().await.queue, ["m"]);
    impatient.abort();
    setup.until(|entry| entry.waiting == 0).await;
    setup.pressure("normal");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(setup.starts().is_empty(), "no caller waits for it any more");
    // A caller that stays gets its start.
    setup.pressure("warn");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let patient = spawn_ensure(&setup);
    setup.until(|entry| entry.waiting == 1).await;
    setup.pressure("normal");
    assert!(patient.await.unwrap().is_err());
    assert_eq!(setup.starts().len(), 1);
}

#[tokio::test]
async fn model_larger_than_the_budget_is_refused_with_the_numbers() {
    let policy = Policy { memory: Some(100 << 20), ..Policy::default() };
    let setup = stage("exit 3", policy);
    let error = setup.refused().await;
    assert_eq!((error.kind, error.is_retryable()), (ErrorKind::Unavailable, false));
    assert!(error.message.contains("385 MiB") && error.message.contains("budget of 100 MiB"), "{error}");
    assert!(setup.starts().is_empty());
    assert_eq!(setup.fleet.pool().await.leased, 0);
}

#[tokio::test]
async fn larger_budget_counts_at_once() {
    let policy = Policy { memory: Some(100 << 20), ..Policy::default() };
    let setup = stage("exit 3", policy);
    assert_eq!(setup.refused().await.kind, ErrorKind::Unavailable);
    let limits = Limits { budget: 8 << 30, idle_seconds: Some(9), hang_seconds: 5 };
    setup.fleet.set_limits(limits).await.unwrap();
    assert_eq!(setup.fleet.pool().await.budget, 8 << 30);
    assert_eq!(setup.refused().await.kind, ErrorKind::ModelBroken, "its worker starts now");
}

#[tokio::test]
async fn worker_killed_while_loading_is_replaced_until_the_breaker_opens() {
    let setup = setup("kill -9 $$");
    let error = setup.refused().await;
    assert!(error.message.contains("SIGKILL") && error.is_retryable(), "{error}");
    assert_eq!(setup.starts().len(), 5);
    let entry = setup.fleet.models().await.remove(0);
    let exit = entry.last_exit.unwrap();
    assert_eq!((exit.signal, exit.code, exit.expected, exit.incarnation), (Some(9), None, false, 5));
    assert_eq!(setup.refused().await.message, error.message, "without another start");
    assert_eq!(setup.starts().len(), 5);
    assert_eq!(setup.fleet.pool().await.leased, 0, "no lease is left");
    // An unload resets the breaker.
    setup.fleet.unload("m".into(), false).await.unwrap();
    setup.refused().await;
    assert_eq!(setup.starts().len(), 10);
}

#[tokio::test]
async fn unload_ends_a_start_and_refuses_its_callers() {
    let setup = setup("exec sleep 100");
    let waiting = spawn_ensure(&setup);
    setup.until(|entry| entry.workers.iter().any(|worker| worker.pid.is_some())).await;
    assert!(setup.fleet.pool().await.leased > 0);
    setup.fleet.unload("m".into(), true).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap_err().kind, ErrorKind::Unavailable);
    assert!(!runs(setup.starts()[0]));
    assert_eq!(setup.fleet.pool().await.leased, 0);
    let entry = setup.until(|entry| entry.state == ModelState::Stopped).await;
    assert!(entry.last_exit.unwrap().expected);
}

#[tokio::test]
async fn unload_does_not_wait_for_workers_started_later() {
    // The script logs a second line once its trap is set.
    let setup = setup(
        "trap 'sleep 1; exit 0' TERM; echo $$ >> \"$(dirname \"$0\")/starts\"; while :; do sleep 0.05; done",
    );
    let first = spawn_ensure(&setup);
    while setup.starts().len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let fleet = setup.fleet.clone();
    let unloading = tokio::spawn(async move { fleet.unload("m".into(), false).await });
    assert_eq!(first.await.unwrap().unwrap_err().kind, ErrorKind::Unavailable);
    // The gateway does so for requests that move to another worker.
    let second = spawn_ensure(&setup);
    setup.until(|entry| entry.workers.len() == 2).await;
    tokio::time::timeout(Duration::from_secs(10), unloading).await.unwrap().unwrap().unwrap();
    assert!(!runs(setup.starts()[0]));
    assert_eq!(setup.fleet.models().await[0].workers.len(), 1, "the new one stays");
    setup.fleet.unload("m".into(), true).await.unwrap();
    assert!(second.await.unwrap().is_err());
    assert_eq!(setup.fleet.pool().await.leased, 0);
}

#[tokio::test]
async fn restart_whose_new_worker_is_ended_fails() {
    let setup = setup("exec sleep 100");
    let waiting = spawn_ensure(&setup);
    setup.until(|entry| entry.workers.len() == 1).await;
    let fleet = setup.fleet.clone();
    let restarting = tokio::spawn(async move { fleet.restart("m".into()).await });
    setup.until(|entry| entry.workers.len() == 2).await;
    setup.pressure("critical");
    let restarted = tokio::time::timeout(Duration::from_secs(15), restarting).await.unwrap().unwrap();
    assert_eq!(restarted.unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(setup.fleet.pool().await.leased, 0);
    waiting.abort();
}

#[tokio::test]
async fn restart_whose_old_worker_dies_while_it_waits_starts_one_worker() {
    let setup = setup("exec sleep 100");
    let waiting = spawn_ensure(&setup);
    setup.until(|entry| entry.workers.iter().any(|worker| worker.pid.is_some())).await;
    // Under pressure nothing starts. The restart waits behind another model.
    setup.pressure("warn");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let fleet = setup.fleet.clone();
    let other = tokio::spawn(async move { fleet.ensure_ready(Want::model("n")).await });
    let fleet = setup.fleet.clone();
    let restarting = tokio::spawn(async move { fleet.restart("m".into()).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    while setup.starts().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let old = nix::unistd::Pid::from_raw(setup.starts()[0]);
    nix::sys::signal::kill(old, nix::sys::signal::Signal::SIGKILL).unwrap();
    setup.until(|entry| entry.workers.is_empty()).await;
    setup.pressure("normal");
    setup.until(|entry| entry.workers.iter().any(|worker| worker.pid.is_some())).await;
    // Time for a superfluous start.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let models = setup.fleet.models().await;
    assert_eq!(
        models.iter().map(|entry| entry.workers.len()).collect::<Vec<_>>(),
        [1, 1],
        "one of each model"
    );
    setup.fleet.unload("m".into(), true).await.unwrap();
    let restarted = tokio::time::timeout(Duration::from_secs(5), restarting).await.unwrap().unwrap();
    assert!(restarted.unwrap_err().message.contains("unloaded"), "it waited as a caller");
    assert!(waiting.await.unwrap().is_err());
    other.abort();
}

#[tokio::test]
async fn request_that_lost_an_unloaded_worker_does_not_load_it_again() {
    let setup = setup("exec sleep 100");
    let waiting = spawn_ensure(&setup);
    let first = setup.until(|entry| entry.workers.len() == 1).await.workers[0].incarnation;
    setup.fleet.unload("m".into(), true).await.unwrap();
    assert!(waiting.await.unwrap().is_err());
    let again = |lost| setup.fleet.ensure_ready(Want { lost: Some(lost), ..Want::model("m") });
    let error = again(first).await.unwrap_err();
    assert!(error.message.contains("was unloaded by an operator") && !error.is_retryable(), "{error}");
    assert_eq!((error.kind, error.origin), (ErrorKind::Unavailable, ipc_proto::Origin::Supervisor));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(setup.starts().len(), 1, "nothing was loaded");
    // Other requests load it. One that lost a worker by a crash waits for the next worker.
    let fresh = spawn_ensure(&setup);
    let second = setup.until(|entry| entry.workers.len() == 1).await.workers[0].incarnation;
    let crashed = tokio::time::timeout(Duration::from_millis(300), again(second)).await;
    assert!(crashed.is_err(), "it waits: {crashed:?}");
    setup.fleet.unload("m".into(), true).await.unwrap();
    assert!(fresh.await.unwrap().is_err());
}

#[tokio::test]
async fn settings_outlive_the_fleet_and_take_effect_only_if_written() {
    let policy = || {
        let settings = ModelSettings { kv_mib: Some(7), ..ModelSettings::default() };
        Policy { models: BTreeMap::from([("m".into(), settings)]), ..Policy::default() }
    };
    let first = stage("exit 3", policy());
    let set = ModelSettings { preload: true, aliases: vec!["other".into()], ..ModelSettings::default() };
    first.fleet.set_settings("m".into(), set.clone()).await.unwrap();
    first.fleet.pin("n".into(), true).await.unwrap();
    let second = Stage { fleet: fleet_in(first.folder.path(), policy()), folder: first.folder };
    assert_eq!(
        second.fleet.settings("other".into()).await.unwrap(),
        set,
        "the whole table replaces that of config.toml"
    );
    let models = second.fleet.models().await;
    assert_eq!(models.iter().map(|entry| entry.pinned).collect::<Vec<_>>(), [false, true]);
    second.until(|entry| matches!(&entry.state, ModelState::Failed(_))).await;
    assert_eq!(second.starts().len(), 1, "it was preloaded");
    // A setting that cannot be written is not in force.
    fs::remove_file(second.folder.path().join("settings.toml")).unwrap();
    fs::create_dir(second.folder.path().join("settings.toml")).unwrap();
    let refused = second.fleet.pin("n".into(), false).await.unwrap_err();
    assert!(refused.message.contains("cannot be written down"), "{refused}");
    assert!(second.fleet.models().await[1].pinned);
}

#[tokio::test]
async fn settings_reach_the_worker_as_flags_and_aliases_resolve() {
    let mut settings = ModelSettings {
        aliases: vec!["nick".into()],
        context: Some(128),
        kv_mib: Some(7),
        max_batch: Some(3),
        draft_tokens: 2,
        draft_model: Some("m".into()),
        adapter: Some("/adapters/a".into()),
        tool_format: Some("hermes".into()),
        sanitize_control_tokens: true,
        pin: true,
        ..ModelSettings::default()
    };
    let policy = Policy { models: BTreeMap::from([("m".into(), settings.clone())]), ..Policy::default() };
    let setup = stage("echo \"$@\" >&2; exit 3", policy);
    let error = setup.fleet.ensure_ready(Want::model("nick")).await.unwrap_err();
    for flag in [
        "--kv-mib 7",
        "--context-tokens 128",
        "--max-sequences 3",
        "--draft-tokens 2",
        "/models/m --adapter=/adapters/a",
        "--tool-format=hermes",
        "--sanitize-control-tokens",
    ] {
        assert!(error.message.contains(flag), "{flag}: {error}");
    }
    assert!(setup.fleet.models().await[0].pinned);
    setup.fleet.pin("nick".into(), false).await.unwrap();
    assert!(!setup.fleet.models().await[0].pinned);
    settings.replicas = 0;
    let refused = setup.fleet.set_settings("m".into(), settings.clone()).await.unwrap_err();
    assert_eq!(refused.field, Some("replicas".into()));
    settings.replicas = 2;
    settings.aliases = vec!["other".into()];
    setup.fleet.set_settings("m".into(), settings.clone()).await.unwrap();
    assert_eq!(setup.fleet.settings("other".into()).await.unwrap(), settings);
    assert_eq!(
        setup.fleet.settings("nick".into()).await.unwrap_err().kind,
        ErrorKind::NotFound(Resource::Model)
    );
}

#[tokio::test]
async fn watcher_gets_every_state() {
    let setup = setup("sleep 0.3; echo broken >&2; exit 3");
    let mut revision = setup.fleet.watch(0).await.revision;
    let waiting = spawn_ensure(&setup);
    let mut states = Vec::new();
    while !matches!(states.last(), Some(ModelState::Failed(_))) {
        let changes = setup.fleet.watch(revision).await;
        assert!(!changes.lost && changes.revision > revision);
        revision = changes.revision;
        states.extend(changes.changes.into_iter().map(|change| change.state));
    }
    assert!(matches!(states[..], [ModelState::Loading { .. }, ModelState::Failed(_)]), "{states:?}");
    assert!(waiting.await.unwrap().is_err());
}
