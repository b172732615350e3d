//! The id of a client's request.

/// Part of the response headers, and of the log lines of all processes.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);
