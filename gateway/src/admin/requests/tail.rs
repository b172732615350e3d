//! `GET /admin/v1/requests/tail`: ended requests as they are recorded, as server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream::{self, Stream, StreamExt};
use ipc_proto::{Error, Result};

use super::{filter, refused};
use crate::admin::wire::{RequestQuery, TailQuery};
use crate::fleet::watch::FleetWatch;
use crate::protocols::error::ApiError;
use crate::store::Db;
use crate::store::requests::{NumberedRequest, RequestFilter};

/// Pause between two looks at the database, where another gateway may write too.
const INTERVAL: Duration = Duration::from_millis(500);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Rows that are read at once.
const BATCH: u32 = 500;

/// Streams an event `request` for each request that is recorded from now on, or after the one of `Last-Event-ID`, until the server
/// ends. The stream begins with an id alone, which is no event: a client whose connection breaks before the first event misses none.
///
/// # Errors
/// An invalid filter; the database refuses.
pub async fn tail(
    State(db): State<Db>,
    State(watch): State<FleetWatch>,
    headers: HeaderMap,
    query: Result<Query<TailQuery>, QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let Query(TailQuery { model, backend, status, key }) =
        query.map_err(|e| Error::invalid("model", e.body_text()))?;
    let filter = filter(RequestQuery { model, backend, status, key, ..RequestQuery::default() })?;
    let end = watch.subscribe();
    let last = match last_event(&headers) {
        Some(number) => number,
        None => db.last_request().await.map_err(|error| refused(&error))?,
    };
    let begin = stream::iter([Ok(Event::default().id(last.to_string()))]);
    let follower = Follower { db, filter, last, pending: VecDeque::new() };
    let events = stream::unfold(follower, Follower::advance).take_until(FleetWatch::ended(end));
    let events = begin.chain(events);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE_INTERVAL)))
}

/// The number of the last request that a client had before its connection broke.
fn last_event(headers: &HeaderMap) -> Option<i64> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}

struct Follower {
    db: Db,
    filter: RequestFilter,
    /// The number of the last request that was read.
    last: i64,
    pending: VecDeque<NumberedRequest>,
}

impl Follower {
    async fn advance(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        Some((Ok(self.next().await), self))
    }

    async fn next(&mut self) -> Event {
        loop {
            if let Some(NumberedRequest { number, row }) = self.pending.pop_front() {
                // A row always serialises.
                return Event::default()
                    .event("request")
                    .id(number.to_string())
                    .json_data(row)
                    .unwrap_or_default();
            }
            tokio::time::sleep(INTERVAL).await;
            match self.db.requests_since(self.last, &self.filter, BATCH).await {
                Ok(rows) => {
                    self.last = rows.last().map_or(self.last, |row| row.number);
                    self.pending = rows.into();
                }
                Err(error) => tracing::debug!(%error, "the log of requests cannot be read"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::record::Record;

    #[tokio::test]
    async fn follower_has_each_later_request_that_fits_once() {
        let home = tempfile::tempdir().unwrap();
        let db = Db::new(home.path());
        db.insert_requests(&[Record::example("a", 9)]).await.unwrap();
        let filter = RequestFilter { model: Some("m".into()), ..RequestFilter::default() };
        let last = db.last_request().await.unwrap();
        let mut follower = Follower { db: db.clone(), filter, last, pending: VecDeque::new() };
        // Records come in the order of their ends.
        let other = Record { model: "other".into(), ..Record::example("c", 2) };
        db.insert_requests(&[Record::example("b", 3), other, Record::example("d", 1)]).await.unwrap();
        for id in ["b", "d"] {
            let event = format!("{:?}", follower.next().await);
            assert!(event.contains(&format!("\\\"id\\\":\\\"{id}\\\"")), "{event}");
        }
        assert_eq!(follower.last, last + 3);
    }

    #[test]
    fn last_event_is_a_number() {
        let headers =
            |text: &str| [("last-event-id", text)].map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap()));
        let read = |text| last_event(&headers(text).into_iter().collect());
        assert_eq!((read("7"), read("x"), last_event(&HeaderMap::new())), (Some(7), None, None));
    }
}
