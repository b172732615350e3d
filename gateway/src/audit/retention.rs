//! Keeps the request log within its limits.

use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

use crate::access::budget::month_begin;
use crate::store::{Db, DbError};

/// Pause between two looks at the log.
const INTERVAL: Duration = Duration::from_secs(3600);
/// Rows of one statement: records of new requests are written between two of them.
const BATCH: u32 = 1000;
/// The same for contents, which are larger.
const CONTENT_BATCH: u32 = 50;
const BATCH_PAUSE: Duration = Duration::from_millis(50);

/// The limits of the request log. Requests of the current month stay: the limits of API keys count them after a restart.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Days after which a request is deleted.
    pub days: u32,
    /// The latest requests that stay.
    pub rows: u32,
    /// Days after which stored prompts and outputs are deleted.
    pub content_days: u32,
}

/// Deletes what is beyond the limits, now and each hour, until the task is dropped.
pub async fn run(db: Db, retention: Retention) {
    loop {
        let now_ms = Utc::now().timestamp_millis();
        match delete_old(&db, retention, now_ms).await {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(deleted, "old requests are deleted from the request log"),
            Err(error) => tracing::warn!(%error, "old requests cannot be deleted from the request log"),
        }
        match delete_old_contents(&db, retention.content_days, now_ms).await {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(deleted, "old prompts and outputs are deleted"),
            Err(error) => tracing::warn!(%error, "old prompts and outputs cannot be deleted"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Deletes what is beyond the limits at `now_ms`. Returns the number of requests.
async fn delete_old(db: &Db, retention: Retention, now_ms: i64) -> Result<u64, DbError> {
    let Retention { days, rows, .. } = retention;
    let expired = days_before(now_ms, days);
    let surplus = db.start_before(rows).await?.unwrap_or(i64::MIN);
    let latest = expired.max(surplus).min(month_begin_ms(now_ms) - 1);
    let mut deleted = 0;
    loop {
        let batch = db.delete_requests(latest, BATCH).await?;
        deleted += batch;
        if batch < u64::from(BATCH) {
            return Ok(deleted);
        }
        tokio::time::sleep(BATCH_PAUSE).await;
    }
}

/// Deletes stored prompts and outputs of requests that are older than `days`. Returns the number of requests.
async fn delete_old_contents(db: &Db, days: u32, now_ms: i64) -> Result<u64, DbError> {
    let mut deleted = 0;
    loop {
        let batch = db.delete_contents(days_before(now_ms, days), CONTENT_BATCH).await?;
        deleted += batch;
        if batch < u64::from(CONTENT_BATCH) {
            return Ok(deleted);
        }
        tokio::time::sleep(BATCH_PAUSE).await;
    }
}

fn days_before(now_ms: i64, days: u32) -> i64 {
    now_ms.saturating_sub(TimeDelta::days(days.into()).num_milliseconds())
}

/// The beginning of a time's month (UTC).
fn month_begin_ms(now_ms: i64) -> i64 {
    let today = DateTime::from_timestamp_millis(now_ms).unwrap_or_default().date_naive();
    month_begin(today).and_time(NaiveTime::MIN).and_utc().timestamp_millis()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::content::StoredContent;
    use crate::inference::record::Record;
    use crate::store::contents::ContentRow;
    use crate::store::requests::RequestFilter;

    const DAY_MS: i64 = 86_400_000;

    /// Deletes from a log with one request a day from the day 0 on. Returns the days that stay.
    async fn kept(days: i64, retention: Retention, now_ms: i64) -> Vec<i64> {
        let home = tempfile::tempdir().unwrap();
        let db = Db::new(home.path());
        let all: Vec<Record> = (0..days).map(|day| Record::example(&day.to_string(), day * DAY_MS)).collect();
        for records in all.chunks(500) {
            db.insert_requests(records).await.unwrap();
        }
        let deleted = delete_old(&db, retention, now_ms).await.unwrap();
        let rows = db.requests(&RequestFilter::default(), 5000).await.unwrap();
        assert_eq!(deleted as usize + rows.len(), all.len());
        rows.iter().rev().map(|row| row.started_at_ms / DAY_MS).collect()
    }

    #[tokio::test]
    async fn requests_beyond_the_days_are_deleted() {
        let retention = Retention { days: 31, rows: 1000, content_days: 7 };
        // The day 60 is 2 March 1970.
        assert_eq!(kept(61, retention, 60 * DAY_MS + 1).await, (30..61).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn requests_beyond_the_latest_are_deleted_in_batches() {
        let retention = Retention { days: 36_500, rows: 3, content_days: 7 };
        // The day 2100 is 2 October 1975.
        assert_eq!(kept(2101, retention, 2100 * DAY_MS).await, [2098, 2099, 2100]);
    }

    #[tokio::test]
    async fn requests_of_the_month_stay() {
        let retention = Retention { days: 36_500, rows: 3, content_days: 7 };
        assert_eq!(kept(40, retention, 39 * DAY_MS).await, (31..40).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn log_within_its_limits_stays() {
        let retention = Retention { days: 31, rows: 1000, content_days: 7 };
        assert_eq!(kept(3, retention, 3 * DAY_MS).await, [0, 1, 2]);
    }

    #[tokio::test]
    async fn contents_have_an_age_of_their_own() {
        let home = tempfile::tempdir().unwrap();
        let db = Db::new(home.path());
        let rows: Vec<ContentRow> = (0..120)
            .map(|at| ContentRow {
                request_id: at.to_string(),
                started_at_ms: at * DAY_MS / 10,
                content: StoredContent::default(),
            })
            .collect();
        db.insert_contents(&rows).await.unwrap();
        // Those of the first five days, in more than one batch.
        assert_eq!(delete_old_contents(&db, 7, 12 * DAY_MS).await.unwrap(), 51);
        assert_eq!(delete_old_contents(&db, 7, 12 * DAY_MS).await.unwrap(), 0);
    }
}
