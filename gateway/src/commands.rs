//! Commands of `mlxd-gateway` besides serving. The command line runs them, so that a request, a prompt, a key or a provider has one
//! meaning.

use std::io;

pub mod key;
pub mod login;
mod offline;
pub mod provider;
pub mod render;
pub mod requests;
pub mod route;
pub mod secrets;

/// Runs the command that the first argument names. Returns its exit status, or `None` if it names none.
///
/// # Errors
/// Standard input or output fails.
pub fn run() -> io::Result<Option<i32>> {
    match std::env::args().nth(1).as_deref() {
        Some(render::COMMAND) => render::run().map(Some),
        Some(key::COMMAND) => key::run().map(Some),
        Some(login::COMMAND) => login::run().map(Some),
        Some(provider::COMMAND) => provider::run().map(Some),
        Some(requests::COMMAND) => requests::run().map(Some),
        Some(route::COMMAND) => route::run().map(Some),
        Some(secrets::COMMAND) => secrets::run().map(Some),
        _ => Ok(None),
    }
}
