//! The table of ended requests.

use sqlx::QueryBuilder;

use crate::inference::record::{Outcome, Record};
use crate::store::{Db, DbError};

/// Names the columns: during an upgrade the old and the new gateway write at the same time.
const INSERT: &str = "INSERT INTO requests (id, started_at_ms, endpoint, model, streamed, outcome, error, prompt_tokens, \
                      cached_tokens, completion_tokens, first_token_ms, total_ms, recoveries, sender, session, notes) ";

impl Db {
    /// Inserts `records`, at most 2,000, in one statement. A transaction of several would be wrong. sqlx does not
    /// notice when a full disk ends it, and later statements on the connection are never committed.
    ///
    /// # Errors
    /// The database refuses. Nothing was inserted.
    pub async fn insert_requests(&self, records: &[Record]) -> Result<(), DbError> {
        let mut insert = QueryBuilder::new(INSERT);
        insert.push_values(records, |mut row, record| {
            let error = match record.outcome {
                Outcome::Failed(kind) => Some(format!("{kind:?}")),
                Outcome::Finished | Outcome::Cancelled => None,
            };
            row.push_bind(&record.id)
                .push_bind(record.started_at_ms)
                .push_bind(record.endpoint)
                .push_bind(&record.model)
                .push_bind(record.streamed)
                .push_bind(record.outcome.name())
                .push_bind(error)
                .push_bind(record.usage.prompt_tokens)
                .push_bind(record.usage.cached_tokens)
                .push_bind(record.usage.completion_tokens)
                .push_bind(record.first_token_ms)
                .push_bind(record.total_ms)
                .push_bind(record.recoveries)
                .push_bind(&record.labels.user)
                .push_bind(&record.labels.session)
                .push_bind(&record.labels.notes);
        });
        // Each number of records is a different statement, so caching it is useless.
        let insert = insert.build().persistent(false);
        insert.execute(&self.writer().await?).await.map_err(|error| self.failed(error))?;
        Ok(())
    }
}
