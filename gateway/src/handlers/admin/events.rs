//! `GET /admin/v1/events`: every model's state, then each change, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream::{self, Stream};
use ipc_proto::supervisor::{Change, Subject};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::api::admin::{Files, Pressed};
use crate::backend::local::News;
use crate::state::AppState;
use crate::translate::admin;

const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);
/// While the supervisor does not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// The stream. It begins with an event `models` that holds all of them; then comes `change` for each change of a model's workers
/// (while one loads, with its progress in tenths), `files` where a model's files came, changed or went, `pressure` where the
/// system's memory gets shorter or longer, and `models` again where some were missed. It ends when the server does.
pub async fn events(State(state): State<AppState>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    // From before the first list, so that nothing falls between.
    let news = state.local.listen();
    let told = stream::unfold(Listener { state, news, behind: true }, Listener::next);
    Sse::new(told).keep_alive(KeepAlive::new().interval(KEEP_ALIVE_EVERY))
}

struct Listener {
    state: AppState,
    news: Receiver<News>,
    /// The whole list is to be told.
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
            match self.news.recv().await {
                Ok(News::Change(change)) => return Some((Ok(changed(change)), self)),
                Ok(News::Missed) | Err(RecvError::Lagged(_)) => self.behind = true,
                Ok(News::End) | Err(RecvError::Closed) => return None,
            }
        }
    }

    async fn models(&self) -> Event {
        loop {
            if let Ok(models) = self.state.local.models().await {
                let models: Vec<_> = models.into_iter().map(admin::model).collect();
                return event("models", &models);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn changed(change: Change) -> Event {
    let Change { revision, at_ms, .. } = change;
    match change.subject {
        Subject::Workers => event("change", &admin::change(change)),
        Subject::Files { there } => event("files", &Files { revision, at_ms, model: change.model, there }),
        Subject::Pressure(pressure) => {
            event("pressure", &Pressed { revision, at_ms, pressure: admin::pressure(pressure) })
        }
    }
}

fn event(name: &str, data: &impl serde::Serialize) -> Event {
    // These types always have a JSON form.
    Event::default().event(name).json_data(data).unwrap_or_default()
}
