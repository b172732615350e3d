//! The log of ended requests in the admin API.

pub mod export;
pub mod tail;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use chrono::DateTime;
use ipc_proto::{Error, ErrorKind, Origin, Resource, Result};

use super::wire::{RequestDetail, RequestQuery, Requests};
use crate::access::Tenant;
use crate::protocols::error::ApiError;
use crate::store::requests::{RequestFilter, RequestRow, TracedRequest};
use crate::store::{Db, DbError};

/// Rows of a page, unless the client says otherwise.
const DEFAULT_PAGE: u32 = 50;
const MAX_PAGE: u32 = 500;
const STATUSES: [&str; 3] = ["finished", "failed", "cancelled"];

/// `GET /admin/v1/requests`: the latest first.
///
/// # Errors
/// An invalid filter; the database refuses.
pub async fn list(
    State(db): State<Db>,
    query: Result<Query<RequestQuery>, QueryRejection>,
) -> Result<Json<Requests>, ApiError> {
    let Query(query) = query.map_err(|e| Error::invalid("limit", e.body_text()))?;
    Ok(Json(page(&db, query).await?))
}

/// A page of the log.
///
/// # Errors
/// As [`list`].
pub async fn page(db: &Db, query: RequestQuery) -> Result<Requests> {
    let limit = query.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Error::invalid("limit", format!("limit must be between 1 and {MAX_PAGE}")));
    }
    // One more row shows whether there is another page.
    let mut requests = db.requests(&filter(query)?, limit + 1).await.map_err(|error| refused(&error))?;
    let has_more = requests.len() > limit as usize;
    requests.truncate(limit as usize);
    let next = requests.last().filter(|_| has_more).map(cursor);
    Ok(Requests { requests, next })
}

/// `GET /admin/v1/requests/{id}`. Only administrators see a stored prompt and its outputs.
///
/// # Errors
/// There is no such request; the database refuses.
pub async fn get(
    State(db): State<Db>,
    Extension(tenant): Extension<Tenant>,
    Path(id): Path<String>,
) -> Result<Json<RequestDetail>, ApiError> {
    let mut detail = detail(&db, &id).await?;
    if !tenant.is_admin() {
        detail.content = None;
    }
    Ok(Json(detail))
}

/// All that is known of a request.
///
/// # Errors
/// As [`get`].
pub async fn detail(db: &Db, id: &str) -> Result<RequestDetail> {
    let found = db.request(id).await.map_err(|error| refused(&error))?;
    let missing = || Error::not_found(Resource::Record, format!("there is no record of a request \"{id}\""));
    let TracedRequest { row, trace } = found.ok_or_else(missing)?;
    let trace = trace.and_then(|trace| serde_json::from_str(&trace).ok());
    let content = db.contents(&[&row.id]).await.map_err(|error| refused(&error))?.remove(&row.id);
    Ok(RequestDetail { row, trace, content })
}

fn filter(query: RequestQuery) -> Result<RequestFilter> {
    let RequestQuery { model, backend, status, key, since, after, limit: _ } = query;
    if let Some(status) = status.as_deref().filter(|status| !STATUSES.contains(status)) {
        let text = format!("status: \"{status}\" is none of {}", STATUSES.join(", "));
        return Err(Error::invalid("status", text));
    }
    let since_ms = since.map(|since| {
        let time = DateTime::parse_from_rfc3339(&since).map_err(|_| {
            let text = format!("since: \"{since}\" is no time such as 2026-11-29T08:00:00Z");
            Error::invalid("since", text)
        })?;
        Ok::<_, Error>(time.timestamp_millis())
    });
    let after = after.map(|after| {
        let parts = after.split_once('.').and_then(|(start, id)| Some((start.parse().ok()?, id.to_owned())));
        parts.ok_or_else(|| Error::invalid("after", "after must be the next of an earlier page"))
    });
    Ok(RequestFilter {
        model,
        backend,
        status,
        key,
        since_ms: since_ms.transpose()?,
        after: after.transpose()?,
    })
}

/// The place of a row in the list.
fn cursor(row: &RequestRow) -> String {
    format!("{}.{}", row.started_at_ms, row.id)
}

fn refused(error: &DbError) -> Error {
    tracing::warn!(%error, "the log of requests cannot be read");
    Error::new(ErrorKind::Unavailable, Origin::Gateway, "the log of requests cannot be read at present")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<RequestFilter> {
        let uri = format!("/?{text}").parse().unwrap();
        filter(Query::try_from_uri(&uri).unwrap().0)
    }

    #[test]
    fn filter_reads_time_and_cursor() {
        let filter = query("since=2026-11-29T08:00:00%2B01:00&after=7.req.a/1").unwrap();
        assert_eq!(filter.since_ms, Some(1_795_935_600_000));
        assert_eq!(filter.after, Some((7, "req.a/1".into())));
    }

    #[test]
    fn wrong_values_are_refused_by_name() {
        for (text, field) in [("since=yesterday", "since"), ("after=x", "after"), ("status=done", "status")] {
            let error = query(text).unwrap_err();
            assert!(error.message.contains(field), "{error}");
        }
    }
}
