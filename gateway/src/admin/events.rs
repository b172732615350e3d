//! `GET /admin/v1/events`: the state of every model, then each change, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream::{self, Stream};
use ipc_proto::supervisor::{Change, Subject};
use tokio::sync::broadcast::{Receiver, error::RecvError};

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
/// - `pressure` for each change of the system's memory pressure.
pub async fn events(
    State(services): State<Services>,
    State(watch): State<FleetWatch>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    // Subscribes before the first list, so that no change is lost between them.
    let subscriber = Subscriber { fleet: services.fleet, changes: watch.subscribe(), needs_models: true };
    let events = stream::unfold(subscriber, Subscriber::next);
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE_INTERVAL))
}

struct Subscriber {
    fleet: Arc<FleetClient>,
    changes: Receiver<FleetEvent>,
    /// The next event is the list of all models.
    needs_models: bool,
}

impl Subscriber {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if self.needs_models {
                let event = self.models().await;
                self.needs_models = false;
                return Some((Ok(event), self));
            }
            match self.changes.recv().await {
                Ok(FleetEvent::Change(change)) => return Some((Ok(change_event(change)), self)),
                Ok(FleetEvent::Missed) | Err(RecvError::Lagged(_)) => self.needs_models = true,
                Ok(FleetEvent::End) | Err(RecvError::Closed) => return None,
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
