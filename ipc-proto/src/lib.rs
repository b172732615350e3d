//! The contract between mlxd's processes.
//!
//! The processes communicate over Unix sockets. The gateway asks the supervisor for a worker of a model
//! ([`supervisor::Supervisor`]) and submits a generation to that worker ([`worker::Worker`]). The worker sends the output on a
//! second connection, one [`stream::StepFrame`] per engine step. The supervisor asks the hub process for downloads ([`hub::Hub`]).
//!
//! This crate holds types, traits, framing and socket helpers. It contains no routing, no scheduling and no vendor's field names.

pub mod codec;
pub mod core_files;
pub mod embed;
pub mod error;
pub mod families;
pub mod formats;
pub mod gateway;
pub mod generate;
pub mod hub;
pub mod lifeline;
pub mod prompt;
pub mod quantize;
pub mod socket;
pub mod stream;
pub mod supervisor;
pub mod wording;
pub mod worker;

/// The log filter of each process unless `MLXD_LOG` is set. tarpc reports every connection that ends before its answers, at each
/// stop. The callers report a loss that matters.
pub const DEFAULT_LOG: &str = "info,tarpc=off";

pub use error::{Disposition, Error, ErrorKind, Field, Origin, Resource, Result};
