//! Chooses the model of a request that names none: the only one that can answer.

use ipc_proto::supervisor::ModelEntry;
use ipc_proto::worker::ModelKind;
use ipc_proto::{Error, Result};

use crate::fleet::Catalogue;

/// Maximum number of models that an error message lists.
const MAX_LISTED_MODELS: usize = 8;

/// A request that may name a model.
pub trait NamesModel {
    /// The task of a model that can answer the request.
    const KIND: ModelKind;

    /// The model's name as the client gave it.
    fn model_mut(&mut self) -> &mut Option<String>;
}

/// Sets the model of a request that names none, or an empty name. Borrows the request: a future that owned it would hold it twice
/// while the request waits, which takes kilobytes.
///
/// # Errors
/// Returns an error if not exactly one model can answer, or the supervisor does not answer.
pub async fn fill<T: NamesModel>(catalogue: &Catalogue, request: &mut T) -> Result<()> {
    let name = request.model_mut();
    if name.as_deref().is_none_or(str::is_empty) {
        *name = Some(only_model(T::KIND, &catalogue.models().await?)?);
    }
    Ok(())
}

/// Returns the id of the only model of `all` with this task.
///
/// # Errors
/// Returns an error that lists some of the models if there are several.
fn only_model(kind: ModelKind, all: &[ModelEntry]) -> Result<String> {
    let can_answer = |entry: &&ModelEntry| {
        let details = &entry.details;
        details.kind == kind && !details.unserved && details.problem.is_none()
    };
    let ids: Vec<&str> = all.iter().filter(can_answer).map(|entry| &*entry.id).collect();
    let task = match kind {
        ModelKind::Generate => "generates text",
        ModelKind::Embed => "embeds texts",
        ModelKind::Rerank => "ranks documents",
    };
    let text = match &ids[..] {
        [only] => return Ok((*only).to_owned()),
        [] => format!("model is missing, and no model that {task} is there"),
        several => {
            let listed = several[..several.len().min(MAX_LISTED_MODELS)].join(", ");
            let rest =
                if several.len() > MAX_LISTED_MODELS { ", … (GET /v1/models lists all)" } else { "" };
            format!("model is missing; name one of the models, as there are several: {listed}{rest}")
        }
    };
    Err(Error::invalid("model", text))
}

#[cfg(test)]
mod tests;
