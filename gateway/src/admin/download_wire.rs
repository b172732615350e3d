//! The JSON types of downloads and of searches on the hub. Times are seconds since the epoch.

use ipc_proto::generate::Priority;
use ipc_proto::hub::{Download, FoundModel, HubSort};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::protocols::common::body::Body;

/// Every download.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DownloadList {
    /// The oldest first.
    pub downloads: Vec<Download>,
}

/// A model to download.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "DownloadOrder")]
#[serde(deny_unknown_fields)]
pub struct NewDownload {
    /// `organisation/name`, or `organisation/name@revision`.
    pub model: String,
    /// A branch, a tag or a commit; `main` by default.
    pub revision: Option<String>,
    /// Downloads of a higher class come first; `normal` by default.
    pub priority: Option<Priority>,
    /// Whether a model is downloaded that mlxd cannot serve.
    #[serde(default)]
    pub force: bool,
}

impl Body for NewDownload {}

/// A change of a download.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "DownloadChange")]
#[serde(deny_unknown_fields, default)]
pub struct ChangedDownload {
    /// Whether it is paused. False also lets a failed one go on.
    pub paused: Option<bool>,
    /// Its class.
    pub priority: Option<Priority>,
}

impl Body for ChangedDownload {}

/// The query of a download's end.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RemovalQuery {
    /// Whether what is on disk stays, for a later download.
    pub keep: bool,
}

/// A download in the event stream.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DownloadNews {
    /// The download.
    #[serde(flatten)]
    pub download: Download,
    /// Whether it is no longer in the list.
    pub removed: bool,
}

/// The query of a search.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SearchQuery {
    /// Words of the name.
    pub query: String,
    /// The organisation or user.
    pub author: Option<String>,
    /// The task, such as `text-generation`.
    pub task: Option<String>,
    /// The order.
    pub sort: HubSort,
    /// Results at most.
    pub limit: Option<u32>,
}

/// The results of a search, in order.
pub type FoundModels = Vec<FoundModel>;
