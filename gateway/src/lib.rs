//! The gateway: HTTP in front of the workers.
//!
//! A request passes the layers of [`server`], and a wing of [`protocols`] parses it into the neutral form of [`inference`].
//! [`dispatch`] gives it to one of the [`backends`], and the wing's writer turns the events that come back into the client's
//! protocol. Meanwhile [`audit`] records what happens. `tests/tidy.rs` guards the directions between these modules.

pub mod access;
pub mod admin;
pub mod audit;
pub mod backends;
pub mod commands;
pub mod config;
pub mod dispatch;
pub mod fleet;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
pub mod inference;
pub mod openapi;
pub mod protocols;
pub mod secrets;
pub mod server;
pub mod store;
pub mod telemetry;
