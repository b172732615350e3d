use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use ipc_proto::ErrorKind as Kind;
use ipc_proto::gateway::Dollars;
use ipc_proto::generate::{Priority, Usage};

use super::*;
use crate::access::budget::Limits;
use crate::access::key::{Rights, Scope};
use crate::inference::record::Record;
use crate::inference::sender::KeyIdentity;

fn store(home: &Path) -> KeyStore {
    KeyStore::new(Db::new(home), home, Arc::new(Keys::default()))
}

fn record(id: &str, secret: &str) -> KeyRecord {
    let models = vec![serde_json::from_value("org/*".into()).unwrap()];
    let scopes = vec![Scope::Inference, Scope::AdminRead];
    KeyRecord {
        id: id.into(),
        name: "laptop".into(),
        digest: secret::digest(secret),
        last_four: secret::last_four(secret),
        rights: Rights { scopes, models, local_only: true, priority: Some(Priority::Low) },
        limits: Limits {
            requests_per_minute: Some(u32::MAX),
            tokens_per_minute: None,
            tokens_per_day: Some(100),
            tokens_per_month: Some(1000),
            cost_per_day: Some(Dollars(2_500_000_000)),
            cost_per_month: None,
        },
        store_content: true,
        created_at: 7,
        expires_at: Some(i64::MAX),
        last_used_at: None,
        revoked_at: None,
    }
}

fn is_valid(store: &KeyStore, secret: &str) -> bool {
    store.keys.find([secret].into_iter(), Some(Scope::Inference), Moment::now()).is_ok()
}

#[tokio::test]
async fn added_key_is_valid_until_it_is_revoked() {
    let home = tempfile::tempdir().unwrap();
    let store = store(home.path());
    assert!(!store.keys.are_needed());
    store.add(&record("key_1", "a")).await.unwrap();
    assert!(store.keys.are_needed() && is_valid(&store, "a") && !is_valid(&store, "b"));
    let listed = store.list().await.unwrap();
    assert!(listed[0].last_used_at.is_some());
    assert_eq!(listed, [KeyRecord { last_used_at: listed[0].last_used_at, ..record("key_1", "a") }]);
    let revoked = store.revoke("key_1").await.unwrap().unwrap();
    assert!(revoked.revoked_at.is_some() && !is_valid(&store, "a"));
    assert!(store.keys.are_needed(), "the last key is gone, and the server stays closed");
    let again = store.revoke("key_1").await.unwrap().unwrap();
    assert_eq!(again.revoked_at, revoked.revoked_at);
    assert!(store.revoke("key_2").await.unwrap().is_none());
}

#[tokio::test]
async fn file_that_says_keys_are_needed_is_its_owners() {
    let home = tempfile::tempdir().unwrap();
    store(home.path()).add(&record("key_1", "a")).await.unwrap();
    let mode = fs::metadata(home.path().join(KEYS_REQUIRED)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, OWNER_ONLY);
    let names: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.iter().filter(|name| name.to_string_lossy().contains("key")).count(), 1, "{names:?}");
}

/// A lost database must not open the server.
#[tokio::test]
async fn server_stays_closed_without_its_database() {
    let home = tempfile::tempdir().unwrap();
    let first = store(home.path());
    first.add(&record("key_1", "a")).await.unwrap();
    first.db.close().await;
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(home.path().join(format!("mlxd.db{suffix}")));
    }
    let keys = KeyStore::start(Db::new(home.path()), home.path(), Keys::default()).keys();
    assert!(keys.are_needed() && keys.are_loading());
    keys.ready().await.unwrap();
    let refused = keys.find(["a"].into_iter(), Some(Scope::Inference), Moment::now()).unwrap_err();
    assert_eq!(refused.kind, Kind::Unauthorized);
}

/// As after a backup of the database alone.
#[tokio::test]
async fn database_with_keys_and_without_the_file_closes_the_server() {
    let home = tempfile::tempdir().unwrap();
    store(home.path()).add(&record("key_1", "a")).await.unwrap();
    fs::remove_file(home.path().join(KEYS_REQUIRED)).unwrap();
    let running = KeyStore::start(Db::new(home.path()), home.path(), Keys::default());
    wait_until("the server stays open", || running.keys.are_needed() && is_valid(&running, "a")).await;
    assert!(home.path().join(KEYS_REQUIRED).exists());
}

async fn wait_until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn running_gateway_notices_the_changes_of_another_process() {
    let home = tempfile::tempdir().unwrap();
    let running = KeyStore::start(Db::new(home.path()), home.path(), Keys::default());
    let other = store(home.path());
    other.add(&record("key_1", "a")).await.unwrap();
    wait_until("the key is not noticed", || running.keys.are_needed() && is_valid(&running, "a")).await;
    other.revoke("key_1").await.unwrap();
    wait_until("the revocation is not noticed", || !is_valid(&running, "a")).await;
}

/// The tokens of earlier requests count after a restart.
#[tokio::test]
async fn limits_of_a_day_are_read_from_the_audit_log() {
    let home = tempfile::tempdir().unwrap();
    let first = store(home.path());
    first.add(&record("key_1", "a")).await.unwrap();
    let used = |id: &str, started_at_ms: i64| Record {
        usage: Usage { prompt_tokens: 30, completion_tokens: 30, ..Usage::default() },
        key: Some(KeyIdentity { id: id.into(), name: "laptop".into() }),
        ..Record::example(&format!("{id}{started_at_ms}"), started_at_ms)
    };
    let now = Moment::now().time.timestamp_millis();
    first.db.insert_requests(&[used("key_1", now), used("key_2", now), used("key_1", 0)]).await.unwrap();
    let admit = |store: &KeyStore| {
        let tenant = store.keys.find(["a"].into_iter(), Some(Scope::Inference), Moment::now()).unwrap();
        tenant.admit(0, Moment::now()).map(drop).map_err(|refused| refused.error.message)
    };
    let second = store(home.path());
    second.reload().await.unwrap();
    admit(&second).unwrap();
    second.db.insert_requests(&[used("key_1", now + 1)]).await.unwrap();
    second.reload().await.unwrap();
    assert_eq!(admit(&second).unwrap_err(), "this API key's limit of 100 tokens a day (UTC) is reached");
}

#[tokio::test]
async fn last_uses_are_stored_in_batches() {
    let home = tempfile::tempdir().unwrap();
    let first = store(home.path());
    first.add(&record("key_1", "a")).await.unwrap();
    assert!(is_valid(&first, "a"));
    assert_eq!(first.db.keys().await.unwrap()[0].last_used_at, None);
    first.flush().await.unwrap();
    let stored = store(home.path()).list().await.unwrap();
    assert!(stored[0].last_used_at.is_some());
}
