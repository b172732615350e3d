//! The admin API.

pub mod events;
pub mod metrics;
pub mod models;
pub mod pool;
pub mod view;
pub mod wire;
