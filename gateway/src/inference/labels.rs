//! Names of a request's sender, purpose or conversation. They have no effect on the answer.

/// The labels of one request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels {
    /// The person or program behind the request.
    pub user: Option<String>,
    /// The conversation that it belongs to.
    pub session: Option<String>,
    /// The client's metadata, as a JSON object.
    pub notes: Option<String>,
}

impl Labels {
    /// These labels, completed by `others`.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            user: self.user.or(others.user),
            session: self.session.or(others.session),
            notes: self.notes.or(others.notes),
        }
    }
}
