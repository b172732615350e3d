//! The worker: one process, one model.
//!
//! [`rpc`] takes requests, [`adapters`] turn them into tokens, the [`engine`] schedules them, and [`mlx`] runs one
//! ragged step at a time with the architectures in [`models`]. The engine never sees a tensor, a model never sees a
//! sequence: [`engine::runner`] is the border.

pub mod adapters;
pub mod admission;
pub mod arguments;
pub mod embed;
pub mod engine;
pub mod engine_thread;
pub mod fuzz;
pub mod layers;
pub mod memory;
pub mod mlx;
pub mod models;
pub mod prompts;
pub mod rpc;
pub mod shutdown;
pub mod stacks;
pub mod weights;
