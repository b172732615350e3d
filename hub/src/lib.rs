//! Models on Hugging Face's hub and in its cache: search, download, removal.
//!
//! [`Hub`] speaks the hub's HTTP API, or that of a mirror. [`pull()`] downloads a model into the cache of huggingface_hub, so that
//! Python's programs find it and mlxd finds theirs. All state of a download lies on disk, so it continues after any end of the
//! process. [`Cache`] lists and removes. Nothing here links MLX or serves a socket.

mod backoff;
mod cache;
mod client;
mod error;
mod info;
mod pull;
mod search;
mod select;
mod settings;

pub use cache::{Cache, Removal};
pub use client::Hub;
pub use error::HubError;
pub use info::{ModelInfo, RemoteFile};
pub use pull::{Event, Progress, Pull, Pulled, pull};
pub use search::{Found, Query, Sort};
pub use select::{Selection, select};
pub use settings::{ModelName, Settings};
