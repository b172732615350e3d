//! Records how every request ended, off the hot path.

pub mod bus;
pub mod record;
pub mod sink;
pub mod totals;
