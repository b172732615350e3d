//! Checks and tests providers that are not in force.

use ipc_proto::gateway::Provider;
use ipc_proto::{Error, ErrorKind, Origin, Result};

pub use crate::backends::Probe;
use crate::backends::providers::ProviderBackend;

/// Checks that requests can be sent to a provider, without sending one.
///
/// # Errors
/// The field that is wrong, and the problem: for example an address that is not allowed.
pub fn check(name: &str, provider: &Provider) -> Result<()> {
    let Err(problem) = ProviderBackend::new(name, provider) else { return Ok(()) };
    let text = format!("{problem:#}");
    let text = text.strip_prefix(&format!("providers.{name}.")).unwrap_or(&text);
    let field = text.split([' ', ':']).next().unwrap_or_default();
    Err(Error::invalid(field, text))
}

/// Asks a provider for its list of models.
///
/// # Errors
/// It cannot be reached, refuses the key, or has no such list.
pub async fn probe(name: &str, provider: &Provider) -> Result<Probe> {
    let unusable =
        |problem: anyhow::Error| Error::new(ErrorKind::Unavailable, Origin::Gateway, format!("{problem:#}"));
    ProviderBackend::new(name, provider).map_err(unusable)?.probe().await
}
