//! The service of the hub process on its socket, for the supervisor, and its settings.
//!
//! The hub process searches Hugging Face's hub and downloads models. The supervisor passes the gateway's calls on to it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

use crate::Result;
use crate::generate::Priority;

/// The control interface of the hub process. A call takes eight seconds at most, a search twenty-five, a removal sixty.
#[tarpc::service]
pub trait Hub {
    /// All downloads, the oldest first.
    async fn downloads() -> Vec<Download>;

    /// Queues a download. If the model has one already at this revision, that one is returned: paused or ended, it goes on.
    async fn add(order: DownloadOrder) -> Result<Download>;

    /// Pauses or resumes a download, or changes its class.
    async fn change(id: String, change: DownloadChange) -> Result<Download>;

    /// Takes a download off the list, and ends it. The room that it took is given back, unless `keep`. A complete model stays.
    async fn remove(id: String, keep: bool) -> Result<Download>;

    /// Searches the hub for MLX models.
    async fn search(query: HubQuery) -> Result<Vec<FoundModel>>;

    /// Waits until the downloads differ from those of `revision`. Without changes it answers after about 20 s. A caller begins with
    /// 0: the call answers at once.
    async fn watch(revision: u64) -> Downloads;

    /// Says what the removal of a model takes away whose files are in this folder. Fails for a model that mlxd does not manage.
    async fn removal(model: String, folder: PathBuf) -> Result<RemovedModel>;

    /// Removes such a model.
    async fn remove_model(model: String, folder: PathBuf) -> Result<RemovedModel>;
}

/// The settings of the hub process: one JSON document, which it reads from a pipe.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HubConfig {
    /// Bytes a second that all downloads may have together.
    pub download_limit: Option<u64>,
    /// Variables of huggingface_hub that children do not inherit, among them the token.
    #[serde(serialize_with = "exposed")]
    pub variables: BTreeMap<String, SecretString>,
}

/// In clear text, for the document.
fn exposed<S: Serializer>(variables: &BTreeMap<String, SecretString>, target: S) -> Result<S::Ok, S::Error> {
    target.collect_map(variables.iter().map(|(name, value)| (name, value.expose_secret())))
}

/// A download to queue.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DownloadOrder {
    /// `organisation/name`, or `organisation/name@revision`.
    pub model: String,
    /// A branch, a tag or a commit, unless the name has it.
    pub revision: Option<String>,
    /// The class. `None`: that of the model's present download, or the default.
    pub priority: Option<Priority>,
    /// Whether a model is downloaded that no worker supports.
    pub force: bool,
    /// A request for the model asks for it, and no person. The hub must then know the model, a paused download stays paused, and one
    /// that has just failed stays failed.
    pub automatic: bool,
}

/// A change of a download. `None` changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DownloadChange {
    /// Whether it is paused. `false` also lets one that has failed go on.
    pub paused: Option<bool>,
    /// Its class.
    pub priority: Option<Priority>,
}

/// The answer of [`Hub::watch`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Downloads {
    /// The revision for the next call.
    pub revision: u64,
    /// All downloads, the oldest first.
    pub downloads: Vec<Download>,
}

/// A download.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Download {
    /// Its id.
    pub id: String,
    /// The model's name on the hub.
    pub model: String,
    /// A branch, a tag or a commit.
    pub revision: String,
    /// Its state.
    pub state: DownloadState,
    /// Bytes that are on disk.
    pub bytes_done: u64,
    /// Bytes of all files; null until the hub has named them.
    pub bytes_total: Option<u64>,
    /// The rate of the last seconds.
    pub bytes_per_second: u64,
    /// Seconds until it is complete at this rate; null if nothing comes.
    pub seconds_left: Option<u64>,
    /// Its class: those of a higher class come first.
    pub priority: Priority,
    /// Why it failed.
    pub error: Option<String>,
    /// What it waits for, such as another program that downloads the same model.
    pub note: Option<String>,
    /// Time of the order, seconds since the epoch.
    pub created_at: u64,
}

/// The state of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum DownloadState {
    /// Others come first.
    #[default]
    Queued,
    /// Bytes come.
    Running,
    /// It waits for an order.
    Paused,
    /// The model is on disk.
    Done,
    /// It has ended without the model.
    Failed,
}

/// What the removal of a model takes away.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct RemovedModel {
    /// The model's name.
    pub model: String,
    /// The folder that goes.
    pub folder: String,
    /// Bytes that are free afterwards.
    pub freed_bytes: u64,
    /// Bytes that stay because other models share them.
    pub shared_bytes: u64,
    /// Whether the folder is a link. Then only the link goes.
    pub is_link: bool,
}

/// A search for MLX models.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HubQuery {
    /// Words of the name.
    pub text: String,
    /// The organisation or user.
    pub author: Option<String>,
    /// The task, such as `text-generation`.
    pub task: Option<String>,
    /// The order.
    pub sort: HubSort,
    /// Results at most.
    pub limit: u32,
}

/// The order of results, greatest or newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HubSort {
    /// Downloads of the last month.
    #[default]
    Downloads,
    /// Likes.
    Likes,
    /// The last change.
    Modified,
    /// The creation.
    Created,
    /// What is popular now.
    Trending,
}

/// A model that a search has found, with what this machine makes of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct FoundModel {
    /// `organisation/name`.
    pub id: String,
    /// Its architecture, if it is known.
    pub family: Option<String>,
    /// Bytes of its weights.
    pub weight_bytes: Option<u64>,
    /// Memory that a worker needs at least.
    pub memory_bytes: Option<u64>,
    /// fits, too_large, not_served or unknown.
    pub verdict: String,
    /// Why it is not served.
    pub reason: Option<String>,
    /// Whether users have to accept conditions.
    pub gated: bool,
    /// Its licence.
    pub license: Option<String>,
    /// Its task.
    pub task: Option<String>,
    /// Downloads of the last month.
    pub downloads: u64,
    /// Likes.
    pub likes: u64,
    /// The last change, in RFC 3339.
    pub last_modified: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_restores_the_settings_and_debug_hides_the_token() {
        let variables = BTreeMap::from([("HF_TOKEN".to_owned(), SecretString::from("hf_hidden"))]);
        let config = HubConfig { download_limit: Some(7), variables };
        let text = serde_json::to_string(&config).unwrap();
        let parsed: HubConfig = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed.download_limit, Some(7));
        assert_eq!(parsed.variables["HF_TOKEN"].expose_secret(), "hf_hidden");
        assert!(!format!("{parsed:?}").contains("hidden"));
        assert!(serde_json::from_str::<HubConfig>(r#"{"limit": 1}"#).is_err());
    }
}
