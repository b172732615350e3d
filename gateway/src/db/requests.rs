//! The table of ended requests.

use super::{Db, DbError};
use crate::audit::record::{Outcome, Record};

/// Columns by name: the gateway before an upgrade writes beside the one after it.
const INSERT: &str = "INSERT INTO requests (id, started_at_ms, endpoint, model, streamed, outcome, error, prompt_tokens, \
                      cached_tokens, completion_tokens, first_token_ms, total_ms, recoveries, sender, \
                      session, notes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

impl Db {
    /// Adds `records` in one transaction.
    ///
    /// # Errors
    /// When the database refuses; nothing was added then.
    pub async fn insert_requests(&self, records: &[Record]) -> Result<(), DbError> {
        let mut transaction = self.pool.begin().await?;
        for record in records {
            let error = match record.outcome {
                Outcome::Failed(kind) => Some(format!("{kind:?}")),
                Outcome::Finished | Outcome::Cancelled => None,
            };
            let insert = sqlx::query(INSERT)
                .bind(&record.id)
                .bind(record.started_at_ms)
                .bind(record.endpoint)
                .bind(&record.model)
                .bind(record.streamed)
                .bind(record.outcome.name())
                .bind(error)
                .bind(record.usage.prompt_tokens)
                .bind(record.usage.cached_tokens)
                .bind(record.usage.completion_tokens)
                .bind(record.first_token_ms)
                .bind(record.total_ms)
                .bind(record.recoveries)
                .bind(&record.labels.user)
                .bind(&record.labels.session)
                .bind(&record.labels.notes);
            insert.execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }
}
