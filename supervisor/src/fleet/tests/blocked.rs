//! Disks that do not answer. Scans and writes that block must delay nothing else.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use ipc_proto::supervisor::Details;

use super::*;
use crate::registry::{Folder, Model, SCAN_LIMIT};

/// A store whose scans block until the test sends a catalogue.
struct BlockedSource(Receiver<Catalogue>);

impl ModelSource for BlockedSource {
    fn path(&self) -> &Path {
        Path::new("/mnt/blocked")
    }

    fn scan(&mut self) -> Catalogue {
        self.0.recv().unwrap_or_default()
    }
}

/// The models "m" and "n" in a folder, after a store that does not answer.
fn fleet_with_blocked_store(script: &str, policy: Policy) -> (Stage, Sender<Catalogue>) {
    let (catalogues, received) = channel();
    let stage = stage_with(script, |folder| {
        let mut all: Vec<Box<dyn ModelSource>> = vec![Box::new(BlockedSource(received))];
        all.extend(sources_in(folder));
        fleet_of(folder, policy, all)
    });
    (stage, catalogues)
}

fn catalogue(id: &str, folder: &Path) -> Catalogue {
    let model =
        Model { folder: Folder::unread(folder.to_owned()), details: Details::default(), silent: false };
    Catalogue::from([(id.to_owned(), Arc::new(model))])
}

async fn ids(fleet: &Fleet) -> Vec<String> {
    fleet.models().await.into_iter().map(|entry| entry.id).collect()
}

/// The duration must be far below the limit for a scan.
async fn at_once<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(SCAN_LIMIT / 2, call).await.expect("the call waits for the store")
}

#[tokio::test]
async fn blocked_store_delays_no_calls_for_models_of_another_store() {
    let (stage, _catalogues) = fleet_with_blocked_store("exit 3", Policy::default());
    let error = at_once(stage.refused()).await;
    assert_eq!(error.kind, ErrorKind::ModelBroken, "{error}");
    at_once(stage.fleet.pin("n".into(), true)).await.unwrap();
    at_once(stage.fleet.unload("m".into(), true)).await.unwrap();
    at_once(stage.fleet.restart("m".into())).await.unwrap();
    assert_eq!(at_once(ids(&stage.fleet)).await, ["m", "n"]);
    at_once(stage.fleet.pool()).await;
}

#[tokio::test]
async fn unknown_model_is_refused_with_the_folder_that_does_not_answer() {
    let (stage, _catalogues) = fleet_with_blocked_store("exit 3", Policy::default());
    let waiting = stage.fleet.ensure_ready(Want::model("late"));
    let error = tokio::time::timeout(SCAN_LIMIT * 2, waiting).await.unwrap().unwrap_err();
    assert_eq!((error.kind, error.is_retryable()), (ErrorKind::Unavailable, true));
    assert!(error.message.contains("/mnt/blocked did not answer within 5 s"), "{error}");
    assert!(error.message.contains("available are m, n"), "{error}");
    // The scan is overdue now, so nothing waits for it again.
    let error = at_once(stage.fleet.ensure_ready(Want::model("late"))).await.unwrap_err();
    assert!(error.message.contains("/mnt/blocked"), "{error}");
    assert_eq!(at_once(ids(&stage.fleet)).await, ["m", "n"]);
}

#[tokio::test]
async fn store_that_answers_late_serves_waiting_callers_and_preloads() {
    let preload = ModelSettings { preload: true, ..ModelSettings::default() };
    let policy = Policy { models: BTreeMap::from([("late".into(), preload)]), ..Policy::default() };
    let (stage, catalogues) = fleet_with_blocked_store("exec sleep 100", policy);
    let fleet = stage.fleet.clone();
    let waiting = tokio::spawn(async move { fleet.settings("late".into()).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished() && stage.starts().is_empty());
    assert!(stage.fleet.pool().await.unknown.is_empty(), "it may still be found");
    // One answer for each scan that is requested.
    for _ in 0..100 {
        catalogues.send(catalogue("late", stage.folder.path())).unwrap();
    }
    assert!(at_once(waiting).await.unwrap().unwrap().preload);
    while stage.starts().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(ids(&stage.fleet).await, ["late", "m", "n"]);
}

#[tokio::test]
async fn model_in_a_store_that_stops_answering_is_served_from_the_last_catalogue() {
    let (stage, catalogues) = fleet_with_blocked_store("exit 3", Policy::default());
    catalogues.send(catalogue("late", stage.folder.path())).unwrap();
    while ids(&stage.fleet).await.len() < 3 {}
    let waiting = stage.fleet.ensure_ready(Want::model("late"));
    let error = tokio::time::timeout(SCAN_LIMIT * 3, waiting).await.unwrap().unwrap_err();
    assert_eq!(error.kind, ErrorKind::ModelBroken, "its worker was started: {error}");
}

#[tokio::test]
async fn model_whose_folder_does_not_answer_is_refused_at_once_and_starts_no_worker() {
    let (stage, catalogues) = fleet_with_blocked_store("exec sleep 100", Policy::default());
    let model = Model { silent: true, ..(*catalogue("late", stage.folder.path())["late"]).clone() };
    for _ in 0..10 {
        catalogues.send(Catalogue::from([("late".to_owned(), Arc::new(model.clone()))])).unwrap();
    }
    let error = at_once(stage.fleet.ensure_ready(Want::model("late"))).await.unwrap_err();
    assert_eq!((error.kind, error.is_retryable()), (ErrorKind::Unavailable, true));
    let folder = stage.folder.path().display().to_string();
    assert!(error.message.contains(&folder) && error.message.contains("does not answer"), "{error}");
    assert!(stage.starts().is_empty());
}

#[tokio::test]
async fn blocked_write_of_settings_delays_only_later_edits() {
    let stage = setup("exit 3");
    let draft = stage.folder.path().join("settings.toml.new");
    // Opening a FIFO for writing blocks until it has a reader.
    nix::unistd::mkfifo(&draft, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let pin = |pinned| {
        let fleet = stage.fleet.clone();
        tokio::spawn(async move { fleet.pin("n".into(), pinned).await })
    };
    let first = pin(false);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let second = pin(true);
    let error = at_once(stage.refused()).await;
    assert_eq!(error.kind, ErrorKind::ModelBroken, "{error}");
    assert!(!at_once(stage.fleet.models()).await[1].pinned, "an edit is not in force before it is written");
    assert!(!first.is_finished() && !second.is_finished());
    // A FIFO cannot be synced, so the first edit fails and removes it. The second edit succeeds.
    let _reader = fs::File::open(&draft).unwrap();
    let refused = at_once(first).await.unwrap().unwrap_err();
    assert!(refused.message.contains("cannot be written down"), "{refused}");
    at_once(second).await.unwrap().unwrap();
    assert!(stage.fleet.models().await[1].pinned);
}
