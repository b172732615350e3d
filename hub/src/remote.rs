//! Reads the needs of a model before its download: from its config.json and the headers of its weights.

use futures::{StreamExt, TryStreamExt};
use ipc_proto::supervisor::Details;
use serde_json::{Map, Value};

use crate::client::Hub;
use crate::error::HubError;
use crate::select::{Selection, select};
use crate::settings::ModelName;

/// Bytes of a config.json at most.
const MAX_CONFIG: usize = 16 << 20;
/// Headers that are read at once.
const AT_ONCE: usize = 8;

/// Reads a model's config.json. `None` if it has none, or none in JSON.
///
/// # Errors
/// The hub cannot be reached, or refuses.
pub async fn config(hub: &Hub, id: &str, commit: &str) -> Result<Option<Value>, HubError> {
    match hub.read(id, commit, "config.json", MAX_CONFIG).await {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(HubError::File { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The details as a worker will have them, from the headers of all weight files.
///
/// # Errors
/// The hub cannot be reached, or refuses.
pub async fn exact_details(hub: &Hub, name: &ModelName, config: &Value) -> Result<Details, HubError> {
    let info = hub.model(name).await?;
    let files = hub.files(&info.id, &info.commit).await?;
    let chosen = match select(&files, &[]) {
        Selection::Files(chosen) => chosen,
        Selection::NoWeights(_) => Vec::new(),
    };
    let weights =
        chosen.into_iter().map(|file| file.path.as_str()).filter(|path| path.ends_with(".safetensors"));
    let headers: Vec<_> = weights.map(|path| hub.tensors(&info.id, &info.commit, path)).collect();
    let headers: Vec<Map<String, Value>> =
        futures::stream::iter(headers).buffer_unordered(AT_ONCE).try_collect().await?;
    let tensors: Map<String, Value> = headers.into_iter().flatten().collect();
    Ok(supervisor::header_details(config, tensors).unwrap_or_else(|_| supervisor::remote_details(config, [])))
}
