//! Lists of models, in each protocol.

pub mod details;
pub mod handler;
pub mod write;
