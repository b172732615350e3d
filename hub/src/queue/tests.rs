use std::collections::BTreeMap;

use ipc_proto::generate::Priority;
use ipc_proto::hub::HubConfig;
use secrecy::SecretString;

use super::*;

/// A hub process's queue with this home, and a hub that refuses connections, which is tried again for seconds.
fn queue(home: &Path, more: &[(&str, &str)]) -> Queue {
    let cache = home.join("hf");
    let fixed = [("HF_HUB_CACHE", cache.to_str().unwrap()), ("HF_ENDPOINT", "http://127.0.0.1:9")];
    let all = fixed.iter().chain(more).map(|(name, value)| ((*name).to_owned(), SecretString::from(*value)));
    let config = HubConfig { download_limit: None, variables: all.collect::<BTreeMap<_, _>>() };
    Queue::start(home, Arc::new(Downloader::new(config)))
}

async fn add(queue: &Queue, model: &str, order: DownloadOrder) -> Download {
    queue.add(model.parse().unwrap(), order).await.unwrap()
}

async fn states(queue: &Queue) -> Vec<DownloadState> {
    queue.list().await.into_iter().map(|download| download.state).collect()
}

async fn wait_until_failed(queue: &Queue) -> Download {
    for _ in 0..200 {
        let failed = queue.list().await.into_iter().find(|one| one.state == DownloadState::Failed);
        if let Some(failed) = failed {
            return failed;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{:?}", queue.list().await);
}

const OFFLINE: (&str, &str) = ("HF_HUB_OFFLINE", "1");

#[tokio::test]
async fn two_orders_for_a_model_are_one_download_and_a_higher_class_runs_first() {
    let home = tempfile::tempdir().unwrap();
    let queue = queue(home.path(), &[]);
    let first = add(&queue, "o/a", DownloadOrder::default()).await;
    assert_eq!((first.state, &*first.revision, first.bytes_total), (DownloadState::Running, "main", None));
    assert_eq!(add(&queue, "o/a", DownloadOrder::default()).await.id, first.id);
    let high = DownloadOrder { priority: Some(Priority::High), ..DownloadOrder::default() };
    let second = add(&queue, "o/b", high.clone()).await;
    assert_ne!(second.id, first.id);
    assert_eq!(states(&queue).await, [DownloadState::Queued, DownloadState::Running]);
    add(&queue, "o/a", high).await;
    assert_eq!(states(&queue).await, [DownloadState::Running, DownloadState::Queued], "the older one");
    assert_ne!(add(&queue, "o/a@v2", DownloadOrder::default()).await.id, first.id);
}

#[tokio::test]
async fn paused_download_stays_paused_after_a_restart_and_others_go_on() {
    let home = tempfile::tempdir().unwrap();
    let first = queue(home.path(), &[]);
    let paused = add(&first, "o/a", DownloadOrder::default()).await;
    add(&first, "o/b", DownloadOrder::default()).await;
    let change = DownloadChange { paused: Some(true), priority: None };
    assert_eq!(first.change(paused.id.clone(), change).await.unwrap().state, DownloadState::Paused);
    first.stop().await;
    let second = queue(home.path(), &[]);
    assert_eq!(states(&second).await, [DownloadState::Paused, DownloadState::Running]);
    let automatic = DownloadOrder { automatic: true, ..DownloadOrder::default() };
    assert_eq!(add(&second, "o/a", automatic).await.state, DownloadState::Paused);
    let resumed = second.change(paused.id, DownloadChange { paused: Some(false), priority: None }).await;
    assert_eq!(resumed.unwrap().state, DownloadState::Running, "it is the oldest");
    second.stop().await;
}

#[tokio::test]
async fn failed_download_has_its_reason_and_goes_on_by_an_order_only() {
    let home = tempfile::tempdir().unwrap();
    let queue = queue(home.path(), &[OFFLINE]);
    add(&queue, "o/a", DownloadOrder::default()).await;
    let failed = wait_until_failed(&queue).await;
    assert!(failed.error.unwrap().contains("HF_HUB_OFFLINE"));
    let automatic = DownloadOrder { automatic: true, ..DownloadOrder::default() };
    assert_eq!(add(&queue, "o/a", automatic).await.state, DownloadState::Failed, "it has just failed");
    let again = add(&queue, "o/a", DownloadOrder::default()).await;
    assert_eq!((again.id, again.state, again.error), (failed.id, DownloadState::Running, None));
}

#[tokio::test]
async fn removed_download_leaves_no_part_and_unknown_ids_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let queue = queue(home.path(), &[]);
    let blobs = home.path().join("hf/models--o--a/blobs");
    let parts = || {
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::write(blobs.join("e.mlxd.incomplete"), "x").unwrap();
    };
    parts();
    let kept = add(&queue, "o/a", DownloadOrder::default()).await;
    queue.remove(kept.id.clone(), true).await.unwrap();
    assert!(blobs.join("e.mlxd.incomplete").exists() && queue.list().await.is_empty());
    let cancelled = add(&queue, "o/a", DownloadOrder::default()).await;
    queue.remove(cancelled.id, false).await.unwrap();
    assert!(!home.path().join("hf/models--o--a").exists());
    let missing = queue.remove(kept.id, false).await.unwrap_err();
    assert_eq!(missing.kind, ErrorKind::NotFound(Resource::Download));
}

#[tokio::test]
async fn order_that_cannot_be_written_is_refused_and_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let queue = queue(home.path(), &[]);
    let first = add(&queue, "o/a", DownloadOrder::default()).await;
    std::fs::create_dir(home.path().join("downloads.json.new")).unwrap();
    let refused = queue.add("o/b".parse().unwrap(), DownloadOrder::default()).await.unwrap_err();
    assert!(refused.message.contains("cannot be written"), "{refused}");
    let change = DownloadChange { paused: Some(true), priority: Some(Priority::High) };
    queue.change(first.id, change).await.unwrap_err();
    let left = queue.list().await;
    assert_eq!((left.len(), left[0].priority), (1, Priority::Normal));
    assert_ne!(left[0].state, DownloadState::Paused);
}
