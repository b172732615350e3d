//! The models on disk, also while the supervisor is silent.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipc_proto::supervisor::ModelEntry;
use ipc_proto::{Error, ErrorKind, Origin, Result};
use tokio::time::timeout;

use crate::fleet::FleetClient;

/// How long a listing waits for the supervisor.
const PATIENCE: Duration = Duration::from_secs(5);

/// The models of the supervisor. If it does not answer, those of its last answer.
#[derive(Clone)]
pub struct Catalogue {
    fleet: Arc<FleetClient>,
    last: Arc<Mutex<Option<Vec<ModelEntry>>>>,
}

impl Catalogue {
    /// The catalogue of this supervisor.
    pub fn new(fleet: Arc<FleetClient>) -> Self {
        Self { fleet, last: Arc::default() }
    }

    /// Asks for the models, so that there is a last answer before the first request lists them. Does not wait. Needs a runtime.
    pub fn fill(&self) {
        let this = self.clone();
        tokio::spawn(async move { this.models().await.map(drop) });
    }

    /// All models, loaded or not.
    ///
    /// # Errors
    /// The supervisor does not answer, and has not answered before.
    pub async fn models(&self) -> Result<Vec<ModelEntry>> {
        match within(self.fleet.models()).await {
            Ok(models) => {
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(models.clone());
                Ok(models)
            }
            Err(error) => self.last().ok_or(error),
        }
    }

    /// The model of this id or alias.
    ///
    /// # Errors
    /// Unknown model; or the supervisor does not answer, and its last answer has no such model.
    pub async fn model(&self, name: &str) -> Result<ModelEntry> {
        match within(self.fleet.model(name)).await {
            Err(error) if error.kind == ErrorKind::Unavailable => {
                let models = self.last().unwrap_or_default();
                models.into_iter().find(|model| is_named(model, name)).ok_or(error)
            }
            answered => answered,
        }
    }

    fn last(&self) -> Option<Vec<ModelEntry>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Waits for the supervisor's answer. A failed or late call is [`ErrorKind::Unavailable`].
///
/// # Errors
/// The supervisor's error, or that it does not answer.
pub async fn within<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| {
        let text = format!("the supervisor does not answer: it was asked {} s ago", PATIENCE.as_secs());
        Error::new(ErrorKind::Unavailable, Origin::Supervisor, text)
    };
    timeout(PATIENCE, call).await.map_err(late)?.map_err(|error| match error.kind {
        ErrorKind::Timeout => Error { kind: ErrorKind::Unavailable, ..error },
        _ => error,
    })
}

fn is_named(model: &ModelEntry, name: &str) -> bool {
    model.id == name || model.aliases.iter().any(|alias| alias == name)
}
