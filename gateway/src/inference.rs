//! The neutral form of requests and outputs, between the protocols and the backends. Imports no other module of the gateway.

pub mod labels;
pub mod names;
pub mod output;
pub mod record;
pub mod request;
pub mod request_id;
