//! What every request passes.

pub mod auth;
pub mod cors;
pub mod host;
pub mod idempotency;
pub mod protocol;
pub mod request_id;
