//! Runs a program of the user's that serves one model over HTTP, in the place of a worker.
//!
//! The supervisor starts the runner and calls it as it calls a worker: so memory, eviction, idle times, crashes and logs are the same.
//! The runner starts the program on a free port of this machine, and passes the gateway's connections on to it. It reads no HTTP but
//! the status of a health check. It computes nothing: a generation that comes as a call is refused.

pub mod arguments;
pub mod group;
pub mod health;
pub mod program;
pub mod proxy;
pub mod run;
pub mod service;
