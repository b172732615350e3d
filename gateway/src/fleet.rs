//! The supervisor, as the gateway sees it.

pub mod client;
pub mod watch;

pub use client::FleetClient;
