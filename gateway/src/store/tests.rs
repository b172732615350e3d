use ipc_proto::ErrorKind;

use super::*;
use crate::inference::course::{Answerer, BackendName};
use crate::inference::labels::Labels;
use crate::inference::record::{Outcome, Record};

fn record(id: &str, outcome: Outcome) -> Record {
    Record {
        outcome,
        attempts: 2,
        recoveries: 1,
        answerer: Answerer {
            backend: Some(BackendName::Provider("far".into())),
            model: Some("big".into()),
            route: Some("claude-*".into()),
            reasons: vec!["overloaded", "timeout"],
            ..Answerer::default()
        },
        labels: Labels { user: Some("u".into()), session: None, notes: Some("{}".into()) },
        ..Record::example(id, 1_700_000_000_000)
    }
}

#[tokio::test]
async fn records_survive_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let db = Db::new(home.path());
    let records = [record("a", Outcome::Finished), record("b", Outcome::Failed(ErrorKind::Timeout))];
    db.insert_requests(&records).await.unwrap();
    db.close().await;
    let db = Db::new(home.path());
    let rows: Vec<(String, String, Option<String>, i64)> =
        sqlx::query_as("SELECT id, outcome, error, completion_tokens FROM requests ORDER BY id")
            .fetch_all(&db.reader().await.unwrap())
            .await
            .unwrap();
    let labels: (Option<String>, Option<String>, Option<String>) =
        sqlx::query_as("SELECT sender, session, notes FROM requests LIMIT 1")
            .fetch_one(&db.reader().await.unwrap())
            .await
            .unwrap();
    assert_eq!(labels, (Some("u".into()), None, Some("{}".into())));
    let expected = [("a", "finished", None, 2), ("b", "failed", Some("Timeout".to_owned()), 2)];
    assert_eq!(rows, expected.map(|(id, outcome, error, n)| (id.into(), outcome.into(), error, n)));
}

#[tokio::test]
async fn requests_are_listed_page_by_page() {
    let home = tempfile::tempdir().unwrap();
    let db = Db::new(home.path());
    let at = |id: &str, started_at_ms: i64| Record { started_at_ms, ..record(id, Outcome::Finished) };
    // Two of one millisecond lie on the border of the pages.
    let records = [at("a", 1), at("b", 2), at("c", 2), at("d", 3)];
    db.insert_requests(&records).await.unwrap();
    let ids = |rows: Vec<requests::RequestRow>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
    let first = db.requests(&requests::RequestFilter::default(), 2).await.unwrap();
    let row = &first[0];
    assert_eq!((row.backend.as_deref(), row.used_model.as_deref()), (Some("far"), Some("big")));
    assert_eq!(row.fallback_reason.as_deref(), Some("overloaded, timeout"));
    assert_eq!((row.attempts, row.route.as_deref(), &*row.status), (2, Some("claude-*"), "finished"));
    assert_eq!(ids(first), ["d", "c"]);
    let after = requests::RequestFilter { after: Some((2, "c".into())), ..Default::default() };
    assert_eq!(ids(db.requests(&after, 9).await.unwrap()), ["b", "a"]);
    let since =
        requests::RequestFilter { since_ms: Some(2), after: Some((3, "d".into())), ..Default::default() };
    assert_eq!(ids(db.requests(&since, 9).await.unwrap()), ["c", "b"]);
}

#[tokio::test]
async fn requests_are_filtered_by_every_condition() {
    let home = tempfile::tempdir().unwrap();
    let db = Db::new(home.path());
    let local = Answerer { backend: Some(BackendName::Local), ..Answerer::default() };
    let here = Record { answerer: local, model: "n".into(), ..record("b", Outcome::Cancelled) };
    db.insert_requests(&[record("a", Outcome::Finished), here]).await.unwrap();
    let filter = requests::RequestFilter::default;
    for (filter, expected) in [
        (requests::RequestFilter { model: Some("big".into()), ..filter() }, vec!["a"]),
        (requests::RequestFilter { model: Some("n".into()), ..filter() }, vec!["b"]),
        (requests::RequestFilter { backend: Some("local".into()), ..filter() }, vec!["b"]),
        (requests::RequestFilter { status: Some("finished".into()), ..filter() }, vec!["a"]),
        (requests::RequestFilter { since_ms: Some(i64::MAX), ..filter() }, vec![]),
    ] {
        let rows = db.requests(&filter, 9).await.unwrap();
        assert_eq!(rows.iter().map(|row| &*row.id).collect::<Vec<_>>(), expected, "{filter:?}");
    }
}

#[tokio::test]
async fn request_is_found_by_the_id_of_its_response() {
    let home = tempfile::tempdir().unwrap();
    let db = Db::new(home.path());
    let later = Record { started_at_ms: 1_800_000_000_000, ..record("req/2", Outcome::Finished) };
    db.insert_requests(&[record("req/1", Outcome::Finished), later, record("req0/1", Outcome::Finished)])
        .await
        .unwrap();
    for (id, found) in [("req", Some("req/2")), ("req/1", Some("req/1")), ("re", None), ("req/", None)] {
        assert_eq!(db.request(id).await.unwrap().map(|found| found.row.id).as_deref(), found, "{id}");
    }
}

#[tokio::test]
async fn batch_with_a_bad_record_inserts_nothing() {
    let home = tempfile::tempdir().unwrap();
    let db = Db::new(home.path());
    let twice = [record("a", Outcome::Cancelled), record("a", Outcome::Cancelled)];
    assert!(db.insert_requests(&twice).await.is_err());
    let (count,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM requests").fetch_one(&db.reader().await.unwrap()).await.unwrap();
    assert_eq!(count, 0);
}

fn stored(id: &str, previous: Option<&str>) -> responses::StoredResponse {
    let previous = previous.map(str::to_owned);
    let response = format!("{{{id}}}");
    responses::StoredResponse {
        id: id.into(),
        owner: "o".into(),
        previous,
        input: "[]".into(),
        response,
        instance: None,
    }
}

#[tokio::test]
async fn stored_responses_are_chained_deleted_and_expired() {
    let home = tempfile::tempdir().unwrap();
    let db = Db::new(home.path());
    for (id, previous) in [("a", None), ("b", Some("a")), ("c", Some("b")), ("x", None)] {
        db.store_response(&stored(id, previous), 5_000_000, 3600).await.unwrap();
    }
    let ids = |chain: Vec<responses::StoredResponse>| chain.into_iter().map(|one| one.id).collect::<Vec<_>>();
    assert_eq!(ids(db.response_chain("o", "c").await.unwrap()), ["a", "b", "c"]);
    assert_eq!(db.response("o", "b").await.unwrap(), Some(stored("b", Some("a"))));
    assert!(db.delete_response("o", "a").await.unwrap() && !db.delete_response("o", "a").await.unwrap());
    // The rest of the conversation still names the deleted response.
    assert_eq!(db.response_chain("o", "c").await.unwrap()[0].previous.as_deref(), Some("a"));
    assert_eq!(db.response_chain("o", "nothing").await.unwrap(), []);
    assert_eq!(db.response("o", "a").await.unwrap(), None);
    // Other owners cannot see them.
    assert_eq!(db.response("p", "b").await.unwrap(), None);
    assert_eq!(db.response_chain("p", "c").await.unwrap(), []);
    assert!(!db.delete_response("p", "b").await.unwrap());
    // Storing a response later deletes the expired ones.
    db.store_response(&stored("y", None), 5_000_000 + 3601, 3600).await.unwrap();
    assert_eq!(db.response("o", "x").await.unwrap(), None);
    assert!(db.response("o", "y").await.unwrap().is_some());
}

#[tokio::test]
async fn background_response_is_finished_once_by_its_instance() {
    let home = tempfile::tempdir().unwrap();
    let db = Db::new(home.path());
    let produced = responses::StoredResponse { instance: Some("one".into()), ..stored("a", None) };
    db.store_response(&produced, 5_000_000, 3600).await.unwrap();
    assert_eq!(db.response("o", "a").await.unwrap(), Some(produced));
    assert!(db.is_produced_by("a", "one").await.unwrap() && !db.is_produced_by("a", "two").await.unwrap());
    assert!(!db.finish_response("a", "two", "no").await.unwrap());
    for (instance, text) in [("two", "no"), ("one", "begun")] {
        db.update_response("a", instance, text).await.unwrap();
    }
    assert_eq!(db.response("o", "a").await.unwrap().unwrap().response, "begun");
    assert!(db.finish_response("a", "one", "end").await.unwrap());
    db.update_response("a", "one", "begun").await.unwrap();
    assert!(
        !db.finish_response("a", "one", "late").await.unwrap()
            && !db.is_produced_by("a", "one").await.unwrap()
    );
    let ended = responses::StoredResponse { response: "end".into(), ..stored("a", None) };
    assert_eq!(db.response("o", "a").await.unwrap(), Some(ended));
    assert!(!db.finish_response("b", "one", "not there").await.unwrap());
}

/// Limits the growth of the database to `more` pages of 4 KiB.
async fn limit_growth(db: &Db, more: u32) {
    // It has one connection.
    let writer = db.writer().await.unwrap();
    let (pages,): (u32,) = sqlx::query_as("PRAGMA page_count").fetch_one(&writer).await.unwrap();
    let text = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {}", pages + more));
    sqlx::query(text).execute(&writer).await.unwrap();
}

#[tokio::test]
async fn full_database_refuses_and_recovers_when_there_is_room() {
    let home = tempfile::tempdir().unwrap();
    let db = Db::new(home.path());
    let long = |id: &str| {
        let mut one = record(id, Outcome::Finished);
        one.labels.notes = Some("x".repeat(100_000));
        one
    };
    db.insert_requests(&[long("a")]).await.unwrap();
    limit_growth(&db, 2).await;
    for again in 0..3 {
        let error = db.insert_requests(&[record("b", Outcome::Finished), long("c")]).await.unwrap_err();
        assert!(error.to_string().contains("full"), "{error}");
        let mut kept = stored(&format!("k{again}"), None);
        kept.response = "y".repeat(100_000);
        assert!(db.store_response(&kept, 5_000_000, 3600).await.is_err());
        // Reading still works.
        assert_eq!(db.response("o", &kept.id).await.unwrap(), None);
    }
    limit_growth(&db, 1000).await;
    db.insert_requests(&[record("b", Outcome::Finished), long("c")]).await.unwrap();
    db.store_response(&stored("k", None), 5_000_000, 3600).await.unwrap();
    db.close().await;
    let db = Db::new(home.path());
    let text = "SELECT id FROM requests ORDER BY id";
    let ids: Vec<(String,)> = sqlx::query_as(text).fetch_all(&db.reader().await.unwrap()).await.unwrap();
    assert_eq!(ids, ["a", "b", "c"].map(|id| (id.to_owned(),)), "all of a batch or nothing");
    assert!(db.response("o", "k").await.unwrap().is_some());
}

#[tokio::test]
async fn database_that_cannot_be_opened_is_retried() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let db = Db::new(&home);
    assert!(db.open().await.is_err() && db.insert_requests(&[record("a", Outcome::Finished)]).await.is_err());
    std::fs::create_dir(&home).unwrap();
    db.insert_requests(&[record("a", Outcome::Finished)]).await.unwrap();
}

/// The modes of the database's files.
fn modes(home: &Path) -> Vec<u32> {
    use std::os::unix::fs::PermissionsExt;
    let file = |suffix| home.join(format!("mlxd.db{suffix}"));
    let mode = |path: PathBuf| std::fs::metadata(path).map(|found| found.permissions().mode() & 0o777);
    ["", "-wal", "-shm"].into_iter().map(|suffix| mode(file(suffix)).unwrap()).collect()
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let db = Db::new(home.path());
    db.insert_requests(&[record("a", Outcome::Finished)]).await.unwrap();
    assert_eq!(modes(home.path()), [0o600; 3]);
    // A database of an earlier version, which others could read.
    for suffix in ["", "-wal", "-shm"] {
        let file = home.path().join(format!("mlxd.db{suffix}"));
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    let next = Db::new(home.path());
    next.insert_requests(&[record("b", Outcome::Finished)]).await.unwrap();
    assert_eq!(modes(home.path()), [0o600; 3]);
}

/// The files that were set aside, without those of SQLite beside them.
fn set_aside(home: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(home).unwrap().map(|file| file.unwrap().path());
    let is_broken = |file: &PathBuf| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("mlxd.db.broken-") && !name.ends_with("-wal") && !name.ends_with("-shm")
    };
    files.filter(is_broken).collect()
}

#[tokio::test]
async fn file_that_is_no_database_is_set_aside() {
    let home = tempfile::tempdir().unwrap();
    let text = "not a database ".repeat(1000);
    std::fs::write(home.path().join("mlxd.db"), &text).unwrap();
    let db = Db::new(home.path());
    db.store_response(&stored("a", None), 5_000_000, 3600).await.unwrap();
    assert!(db.response("o", "a").await.unwrap().is_some());
    let [aside] = &set_aside(home.path())[..] else { panic!("one file is set aside") };
    assert_eq!(std::fs::read_to_string(aside).unwrap(), text);
}

/// The header is whole, so only a statement finds out.
#[tokio::test]
async fn database_found_corrupt_while_it_is_used_is_set_aside() {
    let home = tempfile::tempdir().unwrap();
    let db = Db::new(home.path());
    let mut long = stored("a", None);
    long.response = "x".repeat(100_000);
    db.store_response(&long, 5_000_000, 3600).await.unwrap();
    db.close().await;
    let path = home.path().join("mlxd.db");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096..].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let db = Db::new(home.path());
    // Depending on the page, opening fails or the statements do.
    for _ in 0..3 {
        let _ = db.store_response(&stored("b", None), 5_000_000, 3600).await;
    }
    db.store_response(&stored("c", None), 5_000_000, 3600).await.unwrap();
    assert!(db.response("o", "c").await.unwrap().is_some());
    assert_eq!(set_aside(home.path()).len(), 1);
}

#[tokio::test]
async fn lock_of_another_program_stops_writing_but_not_reading() {
    let home = tempfile::tempdir().unwrap();
    let db = Db::new(home.path());
    db.store_response(&stored("a", None), 5_000_000, 3600).await.unwrap();
    let other = Db::new(home.path()).writer().await.unwrap();
    let mut lock = other.acquire().await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut *lock).await.unwrap();
    let begun = std::time::Instant::now();
    let writes = (0..4).map(|n| {
        let (db, row) = (db.clone(), stored(&format!("w{n}"), None));
        tokio::spawn(async move { db.store_response(&row, 5_000_000, 3600).await })
    });
    let writes: Vec<_> = writes.collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(db.response("o", "a").await.unwrap().is_some());
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    for write in writes {
        let error = write.await.unwrap().unwrap_err();
        assert!(error.is_temporary(), "{error}");
    }
    sqlx::query("COMMIT").execute(&mut *lock).await.unwrap();
    db.store_response(&stored("b", None), 5_000_000, 3600).await.unwrap();
}

/// As the gateway and `mlxd key` do at the first start.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn new_database_is_opened_by_several_programs_at_once() {
    for _ in 0..5 {
        let home = tempfile::tempdir().unwrap();
        let programs: Vec<Db> = (0..4).map(|_| Db::new(home.path())).collect();
        let opened = futures::future::join_all(programs.iter().map(Db::open)).await;
        assert!(opened.iter().all(Result::is_ok), "{opened:?}");
    }
}
