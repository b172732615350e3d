//! The key of a request's sender, for the audit log.

use std::sync::Arc;

/// The names of a key in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyIdentity {
    /// The id.
    pub id: Arc<str>,
    /// The name that its maker gave it.
    pub name: Arc<str>,
}
