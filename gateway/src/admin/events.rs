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
use super::wire::{Files, Pressed};
use crate::dispatch::Services;
use crate::fleet::FleetClient;
use crate::fleet::watch::{FleetEvent, FleetWatch};

const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);
/// Pause between tries while the supervisor does not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// The stream begins with an event `models` that holds all of them. Then comes `change` for each change of a model's workers
/// (ten times while one loads), `files` for each change on disk, `pressure` for each change of the system's memory pressure, and
/// `models` again if changes were missed. It ends with the server.
pub async fn events(
    State(services): State<Services>,
    State(watch): State<FleetWatch>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    // Subscribed before the first list, so that no change falls between.
    let listener = Listener { fleet: services.fleet, changes: watch.subscribe(), behind: true };
    let events = stream::unfold(listener, Listener::next);
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE_EVERY))
}

struct Listener {
    fleet: Arc<FleetClient>,
    changes: Receiver<FleetEvent>,
    /// The client needs the whole list.
    behind: bool,
}

impl Listener {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if self.behind {
                let event = self.models().await;
                self.behind = false;
                return Some((Ok(event), self));
            }
            match self.changes.recv().await {
                Ok(FleetEvent::Change(change)) => return Some((Ok(change_event(change)), self)),
                Ok(FleetEvent::Missed) | Err(RecvError::Lagged(_)) => self.behind = true,
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
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn change_event(change: Change) -> Event {
    let Change { revision, at_ms, .. } = change;
    match change.subject {
        Subject::Workers => event("change", &view::change(change)),
        Subject::Files { there } => event("files", &Files { revision, at_ms, model: change.model, there }),
        Subject::Pressure(pressure) => {
            event("pressure", &Pressed { revision, at_ms, pressure: view::pressure(pressure) })
        }
    }
}

fn event(name: &str, data: &impl serde::Serialize) -> Event {
    // These types always have a JSON form.
    Event::default().event(name).json_data(data).unwrap_or_default()
}
