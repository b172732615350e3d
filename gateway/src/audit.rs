//! Records how every request ended, without delaying the request.

pub mod bus;
pub mod record;
pub mod sink;
pub mod totals;
