//! The HTTP server: routes, middleware, listening sockets and shutdown.

pub mod closable_listener;
pub mod connections;
pub mod health;
pub mod listener;
pub mod middleware;
pub mod router;
pub mod shutdown;
pub mod state;
pub mod ui;
mod unread;
