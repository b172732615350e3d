//! The admin API.

pub mod browser;
pub mod chat_wire;
pub mod chats;
pub mod download_wire;
pub mod downloads;
pub mod events;
pub mod key_wire;
pub mod keys;
pub mod log_wire;
pub mod login;
pub mod login_wire;
pub mod logs;
pub mod metrics;
pub mod models;
pub mod pool;
pub mod provider_wire;
pub mod providers;
pub mod refusal;
pub mod requests;
pub mod routes;
pub mod settings;
pub mod shelf;
pub mod view;
pub mod wire;
