//! The id of a client's request.

/// Appears in the client's response headers and in the logs of all processes.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);
