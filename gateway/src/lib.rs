//! The gateway: HTTP in front of the workers.
//!
//! A request goes one way: [`middleware`] lets it in, [`handlers`] read an [`api`] type, [`validate`] checks it, the
//! result is a neutral request of `ipc_proto` that [`backend`] takes to a worker; [`translate`] turns the events that come
//! back into what the client's protocol expects, while [`audit`] watches.

pub mod api;
pub mod audit;
pub mod backend;
pub mod body;
pub mod closable_listener;
pub mod db;
pub mod error;
pub mod fuzz;
pub mod handlers;
pub mod instance;
pub mod listener;
pub mod middleware;
pub mod openapi;
pub mod render;
pub mod replay_buffer;
pub mod responses;
pub mod router;
pub mod shutdown;
pub mod state;
pub mod translate;
pub mod validate;
