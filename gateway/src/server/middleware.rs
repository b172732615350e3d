//! Layers in front of the handlers.

pub mod auth;
pub mod cors;
pub mod error_shape;
pub mod host;
pub mod idempotency;
pub mod intake;
pub mod origin;
pub mod page;
pub mod path;
pub mod request_id;
pub mod upgrade;
