//! The table of ended requests.

use sqlx::QueryBuilder;

use crate::inference::record::{Outcome, Record};
use crate::store::{Db, DbError};

/// Columns by name: the gateway before an upgrade writes beside the one after it.
const INSERT: &str = "INSERT INTO requests (id, started_at_ms, endpoint, model, streamed, outcome, error, prompt_tokens, \
                      cached_tokens, completion_tokens, first_token_ms, total_ms, recoveries, sender, session, notes) ";

impl Db {
    /// Adds `records`, 2,000 at most, in one statement: sqlx does not notice when a full disk ends a transaction of several, and
    /// what came next on that connection would never be committed.
    ///
    /// # Errors
    /// When the database refuses; nothing was added then.
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
        // Each number of records is another statement: they need not be remembered.
        insert.build().persistent(false).execute(self.pool().await?).await?;
        Ok(())
    }
}
