//! The neutral middle: what the protocols are translated into and out of. Imports nothing of the gateway.

pub mod labels;
pub mod output;
pub mod record;
pub mod request;
pub mod request_id;
