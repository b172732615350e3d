//! `GET /admin/v1/events`: the state of every model, then each change, as server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream::{self, Stream};
use ipc_proto::hub::Download;
use ipc_proto::supervisor::{Change, Subject};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::watch;

use super::download_wire::DownloadNews;
use super::view;
use super::wire::{FilesChange, PressureChange};
use crate::dispatch::Services;
use crate::fleet::FleetClient;
use crate::fleet::watch::{FleetEvent, FleetWatch};

const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Pause between tries while the supervisor does not answer.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Streams these events until the server ends:
/// - `models` with all models, at the beginning and after missed changes,
/// - `change` for each change of a model's workers (ten while a worker loads),
/// - `files` for each change of a model's files,
/// - `pressure` for each change of the system's memory pressure,
/// - `download` for each download at the beginning, and for each one that changes or is removed, twice a second at most.
pub async fn events(
    State(services): State<Services>,
    State(watch): State<FleetWatch>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    // Subscribes before the first list, so that no change is lost between them.
    let mut downloads = watch.downloads();
    downloads.mark_changed();
    let subscriber = Subscriber {
        fleet: services.fleet,
        changes: watch.subscribe(),
        needs_models: true,
        downloads,
        sent: Arc::new([]),
        pending: VecDeque::new(),
    };
    let events = stream::unfold(subscriber, Subscriber::next);
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE_INTERVAL))
}

struct Subscriber {
    fleet: Arc<FleetClient>,
    changes: Receiver<FleetEvent>,
    /// The next event is the list of all models.
    needs_models: bool,
    downloads: watch::Receiver<Arc<[Download]>>,
    /// The downloads as the client knows them.
    sent: Arc<[Download]>,
    /// Events of downloads that come next.
    pending: VecDeque<Event>,
}

impl Subscriber {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if self.needs_models {
                let event = self.models().await;
                self.needs_models = false;
                return Some((Ok(event), self));
            }
            if let Some(event) = self.pending.pop_front() {
                return Some((Ok(event), self));
            }
            tokio::select! {
                change = self.changes.recv() => match change {
                    Ok(FleetEvent::Change(change)) => return Some((Ok(change_event(change)), self)),
                    Ok(FleetEvent::Missed) | Err(RecvError::Lagged(_)) => self.needs_models = true,
                    Ok(FleetEvent::End) | Err(RecvError::Closed) => return None,
                },
                Ok(()) = self.downloads.changed() => {
                    let now = Arc::clone(&self.downloads.borrow_and_update());
                    self.pending.extend(news(&self.sent, &now).iter().map(|news| event("download", news)));
                    self.sent = now;
                }
            }
        }
    }

    async fn models(&self) -> Event {
        loop {
            if let Ok(models) = self.fleet.models().await {
                let models: Vec<_> = models.into_iter().map(view::model).collect();
                return event("models", &models);
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

/// What differs between two lists of downloads.
fn news(before: &[Download], now: &[Download]) -> Vec<DownloadNews> {
    let find = |list: &[Download], id: &str| list.iter().find(|other| other.id == id).cloned();
    let gone = before.iter().filter(|old| find(now, &old.id).is_none());
    let changed = now.iter().filter(|new| find(before, &new.id).as_ref() != Some(*new));
    let gone = gone.map(|old| DownloadNews { download: old.clone(), removed: true });
    gone.chain(changed.map(|new| DownloadNews { download: new.clone(), removed: false })).collect()
}

fn change_event(change: Change) -> Event {
    let Change { revision, at_ms, .. } = change;
    match change.subject {
        Subject::Workers => event("change", &view::change(change)),
        Subject::Files { there } => {
            event("files", &FilesChange { revision, at_ms, model: change.model, there })
        }
        Subject::Pressure(pressure) => {
            event("pressure", &PressureChange { revision, at_ms, pressure: view::pressure(pressure) })
        }
    }
}

fn event(name: &str, data: &impl serde::Serialize) -> Event {
    // These types always serialise.
    Event::default().event(name).json_data(data).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_the_downloads_that_differ() {
        let one = |id: &str, bytes_done| Download { id: id.into(), bytes_done, ..Download::default() };
        let news = news(&[one("a", 1), one("b", 1), one("c", 1)], &[one("b", 1), one("c", 2), one("d", 0)]);
        let shown: Vec<_> = news.iter().map(|news| (&*news.download.id, news.removed)).collect();
        assert_eq!(shown, [("a", true), ("c", false), ("d", false)]);
    }
}
