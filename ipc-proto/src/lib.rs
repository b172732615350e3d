//! The contract between mlxd's processes.
//!
//! Three processes talk over Unix sockets: the gateway asks the supervisor which worker serves a model
//! ([`supervisor::Supervisor`]), asks that worker to generate ([`worker::Worker`]), and receives what was
//! generated as one [`stream::StepFrame`] per engine step on a second connection.
//!
//! This crate holds types, traits, framing and socket helpers. It decides nothing: no routing, no scheduling,
//! no vendor's field names.

pub mod codec;
pub mod embed;
pub mod error;
pub mod families;
pub mod gateway;
pub mod generate;
pub mod lifeline;
pub mod prompt;
pub mod socket;
pub mod stream;
pub mod supervisor;
pub mod worker;

pub use error::{Disposition, Error, ErrorKind, Field, Origin, Resource, Result};
