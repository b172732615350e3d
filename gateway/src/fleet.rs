//! The supervisor, as the gateway sees it.

pub mod catalogue;
pub mod client;
pub mod facts;
pub mod watch;

pub use catalogue::Catalogue;
pub use client::FleetClient;
