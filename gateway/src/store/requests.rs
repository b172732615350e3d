//! The table of ended requests.

use schemars::JsonSchema;
use serde::Serialize;
use sqlx::QueryBuilder;
use sqlx::sqlite::Sqlite;

use crate::inference::course::BackendName;
use crate::inference::record::{Outcome, Record};
use crate::inference::routing::Decision;
use crate::store::{Db, DbError};

/// Names the columns: during an upgrade the old and the new gateway write at the same time.
const INSERT: &str = "INSERT INTO requests (id, started_at_ms, endpoint, model, streamed, outcome, error, prompt_tokens, \
                      cached_tokens, completion_tokens, first_token_ms, total_ms, recoveries, sender, session, notes, \
                      key_id, key_name, reasoning_tokens, attempts, backend, used_model, route, fallback_reason, trace, \
                      cost_nanousd, price_since) ";

/// The columns of a [`RequestRow`].
const SELECT: &str = "SELECT id, started_at_ms, endpoint, model, used_model, backend, route, fallback_reason, attempts, recoveries, \
                      streamed, outcome, error, prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens, first_token_ms, \
                      total_ms, key_id, key_name, sender, session, notes, cost_nanousd / 1e9 AS cost_usd, price_since FROM requests WHERE TRUE";

/// One ended request, as the admin API shows it.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Serialize, JsonSchema)]
#[schemars(rename = "RequestRecord")]
pub struct RequestRow {
    /// The `x-request-id` of its response, a slash, and a suffix that makes it unique.
    pub id: String,
    /// Milliseconds since the epoch.
    pub started_at_ms: i64,
    /// The path of the request.
    pub endpoint: String,
    /// The model's name as the client gave it.
    pub model: String,
    /// The model's id at the backend, where it differs.
    pub used_model: Option<String>,
    /// `local` or the name of a provider; null if none was asked.
    pub backend: Option<String>,
    /// The route that applied.
    pub route: Option<String>,
    /// Why the route's earlier models did not answer, in order.
    pub fallback_reason: Option<String>,
    /// Requests to servers, retries included.
    pub attempts: i64,
    /// Retries at another worker, after a worker was lost.
    pub recoveries: i64,
    /// Whether the answer was streamed.
    pub streamed: bool,
    /// `finished`, `failed` or `cancelled`.
    #[sqlx(rename = "outcome")]
    pub status: String,
    /// The kind of failure.
    pub error: Option<String>,
    /// Tokens of the prompt.
    pub prompt_tokens: i64,
    /// Tokens of the prompt that came from a cache.
    pub cached_tokens: i64,
    /// Generated tokens.
    pub completion_tokens: i64,
    /// Generated tokens of reasoning.
    pub reasoning_tokens: i64,
    /// Milliseconds from the start to the first token; null where none came.
    pub first_token_ms: Option<i64>,
    /// Milliseconds from the start to the end.
    pub total_ms: i64,
    /// The id of the sender's API key, if it is one of the database.
    pub key_id: Option<String>,
    /// The name of that key.
    pub key_name: Option<String>,
    /// The person or program behind the request, as the client says.
    pub sender: Option<String>,
    /// The conversation, as the client says.
    pub session: Option<String>,
    /// The client's metadata, as JSON.
    pub notes: Option<String>,
    /// The cost at the provider in US dollars; null without a known price.
    pub cost_usd: Option<f64>,
    /// The first day of the price; null if it has none.
    pub price_since: Option<String>,
}

#[cfg(test)]
impl RequestRow {
    /// A request that has finished.
    pub(crate) fn example() -> Self {
        Self {
            id: "req_1/a".into(),
            started_at_ms: 1,
            endpoint: "/v1/completions".into(),
            model: "m".into(),
            used_model: None,
            backend: None,
            route: None,
            fallback_reason: None,
            attempts: 1,
            recoveries: 0,
            streamed: false,
            status: "finished".into(),
            error: None,
            prompt_tokens: 3,
            cached_tokens: 1,
            completion_tokens: 2,
            reasoning_tokens: 0,
            first_token_ms: None,
            total_ms: 9,
            key_id: None,
            key_name: None,
            sender: None,
            session: None,
            notes: None,
            cost_usd: None,
            price_since: None,
        }
    }
}

/// One ended request with the trace of its route.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct TracedRequest {
    /// The request.
    #[sqlx(flatten)]
    pub row: RequestRow,
    /// The trace, as JSON; `None` without routes for the model's name.
    pub trace: Option<String>,
}

/// The trace of a record, as JSON.
fn trace(record: &Record) -> Option<String> {
    let decision = record.decision.as_ref()?;
    serde_json::to_string(&Trace { decision, reasons: &record.answerer.reasons }).ok()
}

/// The choice of a route, and the reasons why its earlier models did not answer.
#[derive(Serialize)]
struct Trace<'a> {
    #[serde(flatten)]
    decision: &'a Decision,
    reasons: &'a [&'static str],
}

/// One ended request with its number. Later records have greater numbers.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct NumberedRequest {
    /// The number of its row.
    pub number: i64,
    /// The request.
    #[sqlx(flatten)]
    pub row: RequestRow,
}

/// A filter for the list of requests. All conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct RequestFilter {
    /// The model's name as the client gave it, or its id at the backend.
    pub model: Option<String>,
    /// `local` or the name of a provider.
    pub backend: Option<String>,
    /// `finished`, `failed` or `cancelled`.
    pub status: Option<String>,
    /// The id or the name of the sender's API key.
    pub key: Option<String>,
    /// Requests that started at this time or later, in milliseconds since the epoch.
    pub since_ms: Option<i64>,
    /// Only requests that the list has after this one: its start and its id.
    pub after: Option<(i64, String)>,
}

impl RequestFilter {
    fn push_to(&self, query: &mut QueryBuilder<Sqlite>) {
        if let Some(model) = &self.model {
            query.push(" AND (model = ").push_bind(model.clone());
            query.push(" OR used_model = ").push_bind(model.clone()).push(")");
        }
        if let Some(backend) = &self.backend {
            query.push(" AND backend = ").push_bind(backend.clone());
        }
        if let Some(status) = &self.status {
            query.push(" AND outcome = ").push_bind(status.clone());
        }
        if let Some(key) = &self.key {
            query.push(" AND (key_id = ").push_bind(key.clone());
            query.push(" OR key_name = ").push_bind(key.clone()).push(")");
        }
        if let Some(since) = self.since_ms {
            query.push(" AND started_at_ms >= ").push_bind(since);
        }
        if let Some((start, id)) = &self.after {
            query
                .push(" AND (started_at_ms, id) < (")
                .push_bind(*start)
                .push(", ")
                .push_bind(id.clone())
                .push(")");
        }
    }
}

impl Db {
    /// The latest requests first, at most `limit`.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn requests(&self, filter: &RequestFilter, limit: u32) -> Result<Vec<RequestRow>, DbError> {
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        filter.push_to(&mut query);
        query.push(" ORDER BY started_at_ms DESC, id DESC LIMIT ").push_bind(limit);
        let rows = query.build_query_as().fetch_all(&self.reader().await?).await;
        rows.map_err(|error| self.failed(error))
    }

    /// The request of this id, or the latest one whose response had it as its `x-request-id`.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn request(&self, id: &str) -> Result<Option<TracedRequest>, DbError> {
        let mut query = QueryBuilder::<Sqlite>::new(SELECT.replacen(" FROM ", ", trace FROM ", 1));
        query.push(" AND (id = ").push_bind(id);
        // The character after the slash.
        query.push(" OR (id > ").push_bind(format!("{id}/")).push(" AND id < ").push_bind(format!("{id}0"));
        query.push(")) ORDER BY started_at_ms DESC, id DESC LIMIT 1");
        let row = query.build_query_as().fetch_optional(&self.reader().await?).await;
        row.map_err(|error| self.failed(error))
    }

    /// Requests with a greater number than `last`, in the order in which they were recorded, at most `limit`.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn requests_since(
        &self,
        last: i64,
        filter: &RequestFilter,
        limit: u32,
    ) -> Result<Vec<NumberedRequest>, DbError> {
        let mut query = QueryBuilder::<Sqlite>::new(SELECT.replacen(" FROM ", ", rowid AS number FROM ", 1));
        query.push(" AND rowid > ").push_bind(last);
        filter.push_to(&mut query);
        query.push(" ORDER BY rowid LIMIT ").push_bind(limit);
        let rows = query.build_query_as().fetch_all(&self.reader().await?).await;
        rows.map_err(|error| self.failed(error))
    }

    /// The greatest number of a request; 0 without requests.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn last_request(&self) -> Result<i64, DbError> {
        let query = sqlx::query_scalar("SELECT coalesce(max(rowid), 0) FROM requests");
        query.fetch_one(&self.reader().await?).await.map_err(|error| self.failed(error))
    }

    /// The cost of requests to a provider since a time in milliseconds since the epoch, in billionths of a US dollar.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn cost_of(&self, provider: &str, since_ms: i64) -> Result<u64, DbError> {
        let text = "SELECT coalesce(sum(cost_nanousd), 0) FROM requests
            WHERE cost_nanousd IS NOT NULL AND backend = ? AND started_at_ms >= ?";
        let query = sqlx::query_scalar::<_, i64>(text).bind(provider).bind(since_ms);
        let cost = query.fetch_one(&self.reader().await?).await.map_err(|error| self.failed(error))?;
        Ok(u64::try_from(cost).unwrap_or(0))
    }

    /// The start of the request that `rows` later ones follow, in milliseconds since the epoch.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn start_before(&self, rows: u32) -> Result<Option<i64>, DbError> {
        let text = "SELECT started_at_ms FROM requests ORDER BY started_at_ms DESC LIMIT 1 OFFSET ?";
        let query = sqlx::query_scalar(text).bind(rows);
        query.fetch_optional(&self.reader().await?).await.map_err(|error| self.failed(error))
    }

    /// Deletes requests that started at `latest_ms` or earlier, the earliest first, at most `limit`. Returns how many there were.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn delete_requests(&self, latest_ms: i64, limit: u32) -> Result<u64, DbError> {
        let text = "DELETE FROM requests WHERE rowid IN
            (SELECT rowid FROM requests WHERE started_at_ms <= ? ORDER BY started_at_ms LIMIT ?)";
        let delete = sqlx::query(text).bind(latest_ms).bind(limit);
        let done = delete.execute(&self.writer().await?).await.map_err(|error| self.failed(error))?;
        Ok(done.rows_affected())
    }

    /// Inserts `records`, at most 1,000, in one statement. A transaction of several would be wrong. sqlx does not
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
                .push_bind(&record.labels.notes)
                .push_bind(record.key.as_ref().map(|key| key.id.to_string()))
                .push_bind(record.key.as_ref().map(|key| key.name.to_string()))
                .push_bind(record.usage.reasoning_tokens)
                .push_bind(record.attempts)
                .push_bind(record.answerer.backend.as_ref().map(BackendName::as_str))
                .push_bind(record.answerer.model.as_deref())
                .push_bind(record.answerer.route.as_deref())
                .push_bind(record.answerer.fallback_reason())
                .push_bind(trace(record))
                .push_bind(record.cost.as_ref().map(|cost| i64::try_from(cost.nano_usd).unwrap_or(i64::MAX)))
                .push_bind(record.cost.as_ref().and_then(|cost| cost.price_since.as_deref()));
        });
        // Each number of records is a different statement, so caching it is useless.
        let insert = insert.build().persistent(false);
        insert.execute(&self.writer().await?).await.map_err(|error| self.failed(error))?;
        Ok(())
    }
}
