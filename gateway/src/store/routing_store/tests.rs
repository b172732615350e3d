use std::sync::Mutex as StdMutex;
use std::time::Instant;

use ipc_proto::gateway::MasterKey;
use serde_json::{Value, json};

use super::rotation::Step;
use super::*;
use crate::secrets::{generate, id_of};

/// A store, and the last table that it has published.
type Watched = (RoutingStore, Arc<StdMutex<RoutingTable>>);

fn config(settings: &Value) -> GatewayConfig {
    serde_json::from_value(settings.clone()).unwrap()
}

fn watched(home: &Path, config: &GatewayConfig) -> Watched {
    let last = Arc::new(StdMutex::new(RoutingTable::default()));
    let kept = Arc::clone(&last);
    let publish = move |table| *kept.lock().unwrap() = table;
    (RoutingStore::new(Db::new(home), home, config, publish), last)
}

fn store(home: &Path) -> RoutingStore {
    watched(home, &GatewayConfig::default()).0
}

fn with_key(home: &Path, key: &MasterKey) -> RoutingStore {
    watched(home, &GatewayConfig { master_key: Some(key.clone()), ..GatewayConfig::default() }).0
}

fn provider(key: Option<&str>) -> Provider {
    let models = json!(["m", {"id": "big", "alias": "fast"}]);
    let mut value = json!({"kind": "openai", "url": "https://far.example/v1", "models": models});
    value["api_key"] = json!(key);
    serde_json::from_value(value).unwrap()
}

fn plain(model: &str) -> Provider {
    serde_json::from_value(json!({"kind": "openai", "url": "https://near.example", "models": [model]}))
        .unwrap()
}

fn key_of(record: &ProviderRecord) -> Option<&str> {
    record.provider.api_key.as_ref().map(ExposeSecret::expose_secret)
}

fn routes(value: Value) -> Vec<Route> {
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn added_provider_is_in_force_until_it_is_removed() {
    let home = tempfile::tempdir().unwrap();
    let (store, published) = watched(home.path(), &GatewayConfig::default());
    let added = store.add("far", &provider(Some("sk-far-12345678")), true).await.unwrap();
    assert_eq!((key_of(&added), added.last_four.as_deref()), (Some("sk-far-12345678"), Some("5678")));
    assert_eq!((added.source, added.is_offered, added.problem), (ProviderSource::Database, true, None));
    assert!(published.lock().unwrap().providers.contains_key("far"));
    let disabled = store.set_enabled("far", false).await.unwrap();
    assert!(!disabled.is_offered && key_of(&disabled).is_some());
    assert!(published.lock().unwrap().providers.is_empty());
    store.set_enabled("far", true).await.unwrap();
    assert_eq!(store.remove("far").await.unwrap().name, "far");
    assert!(published.lock().unwrap().providers.is_empty());
    for refused in [store.remove("far").await, store.set_enabled("far", true).await, store.get("far").await] {
        assert!(matches!(refused, Err(RoutingError::Missing(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn replaced_provider_keeps_loses_or_changes_its_key() {
    let home = tempfile::tempdir().unwrap();
    let store = store(home.path());
    store.add("far", &provider(Some("sk-one-12345678")), true).await.unwrap();
    let changed = Provider { timeout_seconds: 7, ..provider(None) };
    for (change, key, end) in [
        (KeyChange::Keep, Some("sk-one-12345678"), Some("5678")),
        (KeyChange::Set(Some("short".into())), Some("short"), None),
        (KeyChange::Set(None), None, None),
    ] {
        let record = store.replace("far", &changed, (change, true)).await.unwrap();
        assert_eq!((key_of(&record), record.last_four.as_deref()), (key, end));
        assert_eq!((record.provider.timeout_seconds, record.has_key), (7, key.is_some()));
    }
    let record = store.set_key("far", Some(&"sk-two-12345678".into())).await.unwrap();
    assert_eq!(key_of(&record), Some("sk-two-12345678"));
}

#[tokio::test]
async fn settings_win_over_the_database_and_are_not_changed_there() {
    let home = tempfile::tempdir().unwrap();
    let far = json!({"kind": "openai", "url": "https://file.example", "api_key": "sk-file-12345678", "models": [{"id": "m", "alias": "fast"}]});
    let settings = config(&json!({"providers": {"far": far}}));
    let (store, published) = watched(home.path(), &settings);
    for refused in [
        store.add("far", &plain("m"), true).await,
        store.replace("far", &plain("m"), (KeyChange::Keep, true)).await,
        store.remove("far").await,
        store.set_enabled("far", false).await,
    ] {
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("config.toml") && text.contains("[providers.far]"), "{text}");
    }
    let taken = store.add("near", &provider(None), true).await.unwrap_err();
    assert!(
        matches!(&taken, RoutingError::Conflict(text) if text.contains("\"fast\" is used twice")),
        "{taken}"
    );
    // The settings may come after the row.
    let elsewhere = watched(home.path(), &GatewayConfig::default()).0;
    elsewhere.add("far", &plain("m"), true).await.unwrap();
    elsewhere.add("near", &provider(None), true).await.unwrap();
    let loaded = store.reload().await.unwrap();
    let view: Vec<_> = loaded.providers.iter().map(|one| (&*one.name, one.source, one.is_offered)).collect();
    let expected = [
        ("far", ProviderSource::Config, true),
        ("far", ProviderSource::Database, false),
        ("near", ProviderSource::Database, false),
    ];
    assert_eq!(view, expected);
    assert!(loaded.providers[1..].iter().all(|one| one.problem.is_some()));
    assert_eq!(published.lock().unwrap().providers["far"].provider.url, "https://file.example");
}

#[tokio::test]
async fn wrong_provider_is_refused_by_its_field() {
    let home = tempfile::tempdir().unwrap();
    let store = store(home.path());
    for (name, provider, wrong) in [
        ("a/b", plain("m"), "name"),
        ("local", plain("m"), "name"),
        ("far", Provider { url: "ftp://x".into(), ..plain("m") }, "url"),
        ("far", Provider { models: Vec::new(), ..plain("m") }, "models"),
    ] {
        let refused = store.add(name, &provider, true).await.unwrap_err();
        assert!(matches!(&refused, RoutingError::Invalid { field, .. } if field == wrong), "{refused:?}");
    }
    store.add("far", &plain("m"), true).await.unwrap();
    assert!(matches!(store.add("far", &plain("m"), true).await, Err(RoutingError::Conflict(_))));
}

#[tokio::test]
async fn routes_follow_those_of_the_settings_and_have_a_revision() {
    let home = tempfile::tempdir().unwrap();
    let settings = config(&json!({"routes": [{"name": "file", "model": "a", "targets": ["m"]}]}));
    let (store, published) = watched(home.path(), &settings);
    let loaded = store.set_routes(routes(json!([{"model": "b", "targets": ["n"]}])), Some(0)).await.unwrap();
    assert_eq!((loaded.routes_revision, loaded.routes.len()), (1, 1));
    let titles = || -> Vec<String> {
        let table = published.lock().unwrap();
        table.routes.iter().enumerate().map(|(place, route)| route.title(place)).collect()
    };
    assert_eq!(titles(), ["file", "b"]);
    let stale = store.set_routes(Vec::new(), Some(0)).await.unwrap_err();
    assert!(matches!(stale, RoutingError::Stale(1)), "{stale}");
    for (wrong, field, part) in [
        (json!([{"model": "b", "targets": []}]), "routes[0].targets", "routes[0].targets or split"),
        (
            json!([{"model": "c", "targets": ["m"]}, {"model": "a", "targets": ["m"]}]),
            "routes[1]",
            "route for file",
        ),
        (
            json!([{"name": "file", "model": "b", "targets": ["m"]}]),
            "routes[0]",
            "another route has this name",
        ),
    ] {
        let refused = store.set_routes(routes(wrong), None).await.unwrap_err();
        let RoutingError::Invalid { field: found, problem } = &refused else { panic!("{refused:?}") };
        assert!(found == field && problem.contains(part), "{refused:?}");
    }
    assert_eq!(titles(), ["file", "b"], "a refused list changes nothing");
    assert_eq!(store.set_routes(Vec::new(), None).await.unwrap().routes_revision, 2);
    assert_eq!(titles(), ["file"]);
}

#[tokio::test]
async fn running_gateway_notices_the_changes_of_another_process() {
    let home = tempfile::tempdir().unwrap();
    let last = Arc::new(StdMutex::new(RoutingTable::default()));
    let kept = Arc::clone(&last);
    let publish = move |table| *kept.lock().unwrap() = table;
    let _running =
        RoutingStore::start(Db::new(home.path()), home.path(), &GatewayConfig::default(), publish).await;
    let other = store(home.path());
    other.add("far", &provider(Some("sk-far-12345678")), true).await.unwrap();
    wait_until("the provider is not noticed", || last.lock().unwrap().providers.contains_key("far")).await;
    other.rotate(None).await.unwrap();
    other.set_routes(routes(json!([{"model": "b", "targets": ["far/m"]}])), None).await.unwrap();
    wait_until("the route is not noticed", || last.lock().unwrap().routes.len() == 1).await;
    let table = last.lock().unwrap().clone();
    assert!(table.providers["far"].problem.is_none(), "the key is read by the new master key");
}

async fn wait_until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn wrong_master_key_is_named_and_other_providers_go_on() {
    let home = tempfile::tempdir().unwrap();
    let (one, other) = (generate().unwrap(), generate().unwrap());
    with_key(home.path(), &one).add("far", &provider(Some("sk-far-12345678")), true).await.unwrap();
    let store = with_key(home.path(), &other);
    store.add("near", &plain("m"), true).await.unwrap();
    let loaded = store.reload().await.unwrap();
    let [far, near] = &loaded.providers[..] else { panic!("{loaded:?}") };
    let problem = far.problem.as_ref().unwrap();
    for part in [id_of(&one).to_string(), id_of(&other).to_string(), "MLXD_MASTER_KEY".into()] {
        assert!(problem.contains(&part), "{problem}");
    }
    assert!(far.is_offered && key_of(far).is_none() && near.problem.is_none());
    // Setting the key again helps.
    let again = store.set_key("far", Some(&"sk-new-12345678".into())).await.unwrap();
    assert_eq!((again.problem, again.last_four.as_deref()), (None, Some("5678")));
}

#[tokio::test]
async fn lost_master_key_is_not_replaced_while_it_is_needed() {
    let home = tempfile::tempdir().unwrap();
    let store = store(home.path());
    store.add("far", &provider(Some("sk-far-12345678")), true).await.unwrap();
    std::fs::remove_file(home.path().join("master.key")).unwrap();
    let near = Provider { api_key: Some("sk-near-12345678".into()), ..plain("m") };
    let refused = store.add("near", &near, true).await.unwrap_err().to_string();
    assert!(refused.contains("far") && refused.contains("master.key"), "{refused}");
    let problem = store.get("far").await.unwrap().problem.unwrap();
    assert!(problem.contains("there is no master key here"), "{problem}");
    store.remove("far").await.unwrap();
    store.add("near", &near, true).await.unwrap();
}

#[tokio::test]
async fn key_is_not_in_the_files_of_the_database() {
    let home = tempfile::tempdir().unwrap();
    let store = store(home.path());
    store.add("far", &provider(Some("sk-far-12345678")), true).await.unwrap();
    store.rotate(None).await.unwrap();
    store.set_key("far", Some(&"sk-two-12345678".into())).await.unwrap();
    let mut sizes = 0;
    for file in std::fs::read_dir(home.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        sizes += bytes.len();
        for secret in ["sk-far-12345678", "sk-two-12345678"] {
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()));
        }
    }
    assert!(sizes > 1000, "the scan sees the files");
}

#[tokio::test]
async fn rotation_seals_all_keys_by_a_new_master_key() {
    let home = tempfile::tempdir().unwrap();
    let store = store(home.path());
    store.add("far", &provider(Some("sk-far-12345678")), true).await.unwrap();
    store.add("near", &plain("m"), true).await.unwrap();
    let before = std::fs::read_to_string(home.path().join("master.key")).unwrap();
    let rotated = store.rotate(None).await.unwrap();
    assert!(rotated.sealed == 1 && rotated.from != rotated.to);
    let after = std::fs::read_to_string(home.path().join("master.key")).unwrap();
    assert_ne!(before, after);
    assert_eq!(key_of(&store.get("far").await.unwrap()), Some("sk-far-12345678"));
    std::fs::write(home.path().join("master.key"), before).unwrap();
    assert!(store.get("far").await.unwrap().problem.is_some(), "the key before opens nothing");
}

#[tokio::test]
async fn rotation_of_a_given_key_needs_the_new_one() {
    let home = tempfile::tempdir().unwrap();
    let (one, other) = (generate().unwrap(), generate().unwrap());
    let given = with_key(home.path(), &one);
    given.add("far", &provider(Some("sk-far-12345678")), true).await.unwrap();
    let refusal = given.rotate(None).await.unwrap_err().to_string();
    assert!(refusal.contains("the settings give the master key"), "{refusal}");
    for _ in 0..2 {
        // The second time there is nothing to do.
        assert_eq!(given.rotate(Some(other.clone())).await.unwrap().sealed, 1);
    }
    assert_eq!(key_of(&with_key(home.path(), &other).get("far").await.unwrap()), Some("sk-far-12345678"));
    let wrong = with_key(home.path(), &one).rotate(Some(generate().unwrap())).await.unwrap_err().to_string();
    assert!(wrong.contains("far") && wrong.contains(&id_of(&other).to_string()), "{wrong}");
    let filed = store(home.path()).rotate(Some(one)).await.unwrap_err().to_string();
    assert!(filed.contains("master.key"), "{filed}");
}

#[tokio::test]
async fn rotation_that_crashes_anywhere_loses_no_key() {
    for crash in [Step::Sealed, Step::OldKept, Step::KeyReplaced, Step::Committed] {
        let home = tempfile::tempdir().unwrap();
        let first = store(home.path());
        first.add("far", &provider(Some("sk-far-12345678")), true).await.unwrap();
        let after = |step: Step| match step == crash {
            true => Err(RoutingError::Conflict("crash".into())),
            false => Ok(()),
        };
        assert!(first.rotate_in_steps(None, after).await.is_err());
        let second = store(home.path());
        assert_eq!(key_of(&second.get("far").await.unwrap()), Some("sk-far-12345678"), "{crash:?}");
        // The next change tidies up, and all is readable by the one key that is left.
        second
            .add("near", &Provider { api_key: Some("sk-near-12345678".into()), ..plain("m") }, true)
            .await
            .unwrap();
        let left: Vec<String> = std::fs::read_dir(home.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("key"))
            .collect();
        assert_eq!(left, ["master.key"], "{crash:?}");
        for (name, key) in [("far", "sk-far-12345678"), ("near", "sk-near-12345678")] {
            assert_eq!(key_of(&second.get(name).await.unwrap()), Some(key), "{crash:?}");
        }
        second.rotate(None).await.unwrap();
        assert_eq!(key_of(&second.get("far").await.unwrap()), Some("sk-far-12345678"), "{crash:?}");
    }
}
