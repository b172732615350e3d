//! Models on Hugging Face's hub and in its cache: search, download, removal.
//!
//! [`Hub`] speaks the hub's HTTP API, or that of a mirror. [`pull()`] downloads a model into the cache of huggingface_hub, so that
//! Python's programs find it and mlxd finds theirs. All state of a download lies on disk, so it continues after any end of the
//! process. [`Cache`] lists and removes. [`service`] keeps a queue of downloads for the server: it is the hub process, `mlxd-hub`.
//! Nothing here links MLX or serves a public socket.

pub mod appraisal;
mod backoff;
mod cache;
mod client;
mod error;
mod info;
mod pull;
mod queue;
pub mod remote;
mod removable;
mod search;
mod select;
pub mod service;
mod settings;

pub use cache::{Cache, Removal};
pub use client::Hub;
pub use error::HubError;
pub use info::{ModelInfo, RemoteFile};
pub use pull::{CONNECTIONS, Event, Limiter, Progress, Pull, Pulled, pull};
pub use removable::Removable;
pub use search::{Found, MLX, Query};
pub use select::{Selection, select};
pub use settings::{ModelName, PRIVATE_VARIABLES, Settings};
