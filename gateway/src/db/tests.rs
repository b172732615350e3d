use ipc_proto::ErrorKind;
use ipc_proto::generate::Usage;

use super::*;
use crate::audit::record::{Outcome, Record};

fn record(id: &str, outcome: Outcome) -> Record {
    Record {
        id: id.into(),
        started_at_ms: 1_700_000_000_000,
        endpoint: "/v1/completions",
        model: "m".into(),
        streamed: true,
        outcome,
        usage: Usage { prompt_tokens: 3, cached_tokens: 1, completion_tokens: 2, reasoning_tokens: 0 },
        first_token_ms: None,
        total_ms: 9,
    }
}

#[tokio::test]
async fn records_stay_over_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let db = Db::open(home.path()).await.unwrap();
    let records = [record("a", Outcome::Finished), record("b", Outcome::Failed(ErrorKind::Timeout))];
    db.insert_requests(&records).await.unwrap();
    db.close().await;
    let db = Db::open(home.path()).await.unwrap();
    let rows: Vec<(String, String, Option<String>, i64)> =
        sqlx::query_as("SELECT id, outcome, error, completion_tokens FROM requests ORDER BY id")
            .fetch_all(&db.pool)
            .await
            .unwrap();
    let expected = [("a", "finished", None, 2), ("b", "failed", Some("Timeout".to_owned()), 2)];
    assert_eq!(rows, expected.map(|(id, outcome, error, n)| (id.into(), outcome.into(), error, n)));
}

#[tokio::test]
async fn one_bad_record_adds_none_of_its_batch() {
    let home = tempfile::tempdir().unwrap();
    let db = Db::open(home.path()).await.unwrap();
    let twice = [record("a", Outcome::Cancelled), record("a", Outcome::Cancelled)];
    assert!(db.insert_requests(&twice).await.is_err());
    let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM requests").fetch_one(&db.pool).await.unwrap();
    assert_eq!(count, 0);
}
