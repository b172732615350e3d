//! The models on disk, and whether they fit, for commands that run without a server.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use ipc_proto::supervisor::{Details, ModelSettings};
use serde_json::{Map, Value};

use crate::child::Programs;
use crate::registry::{self, Store};
use crate::{Config, estimate, machine, serve};

/// A model on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskModel {
    /// Its name in the API.
    pub id: String,
    /// From the headers of its files.
    pub details: Details,
    /// Bytes of its weight files.
    pub bytes: u64,
    /// Modification time of its config.json, seconds since the epoch.
    pub created: u64,
    /// The program whose folder holds it.
    pub owner: Owner,
}

/// The program whose folder holds a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A folder of models.
    Folder(PathBuf),
    /// Hugging Face's cache.
    HubCache,
    /// Another program.
    Foreign(PathBuf),
}

/// The models of all stores that a server with this configuration would serve, sorted by id. Reads only headers, and those only of
/// models that have changed since the last call.
///
/// Folders that do not answer are left out, each after two seconds.
pub fn models_on_disk(config: &Config) -> Vec<DiskModel> {
    let mut all = BTreeMap::new();
    for (store, catalogue) in registry::scan_at_once(serve::model_stores(config), &config.home) {
        for (id, model) in catalogue {
            all.entry(id.clone()).or_insert_with(|| to_disk_model(id, &model, &store));
        }
    }
    all.into_values().collect()
}

fn to_disk_model(id: String, model: &Arc<registry::Model>, store: &Store) -> DiskModel {
    let owner = match store {
        Store::Folder(path) => Owner::Folder(path.clone()),
        Store::Hub(_) => Owner::HubCache,
        Store::Foreign(path) => Owner::Foreign(path.clone()),
    };
    let (bytes, created) = (model.folder.bytes, model.folder.created);
    DiskModel { id, details: model.details.clone(), bytes, created, owner }
}

/// The details of a model that is not on disk: its config.json, and its number of weights by their types in safetensors files.
pub fn remote_details<'a>(config: &Value, elements: impl IntoIterator<Item = (&'a str, u64)>) -> Details {
    registry::remote_details(config, elements)
}

/// The details of a model that is not on disk: its config.json, and the headers of its safetensors files together.
///
/// # Errors
/// A header's entry is no tensor.
pub fn header_details(config: &Value, tensors: Map<String, Value>) -> Result<Details, serde_json::Error> {
    registry::header_details(config, tensors)
}

/// Bytes of memory that a worker needs at least to serve a model with default settings.
pub fn memory_needed(details: &Details) -> u64 {
    // The system is asked once: a list has hundreds of models.
    static TOTAL: OnceLock<u64> = OnceLock::new();
    let total = *TOTAL.get_or_init(|| machine::memory().total);
    estimate::estimate_need(details, &ModelSettings::default(), total).minimum()
}

/// Bytes of memory that models may have together on this machine. On macOS the worker beside this program is asked.
///
/// # Errors
/// The worker is missing.
pub async fn memory_budget(config: &Config) -> std::io::Result<u64> {
    if let Some(bytes) = config.policy.memory {
        return Ok(bytes);
    }
    let worker = Programs::beside_this().map_err(std::io::Error::other)?.worker;
    Ok(machine::default_budget(&worker).await)
}
