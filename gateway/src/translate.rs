//! Between neutral events and the client protocols' answers. Pure.

pub mod openai;
pub mod sse;
pub mod whole;
pub mod wire;
