//! The worker: one process that serves one model.
//!
//! [`rpc`] receives requests, [`text`] turns them into tokens, and the [`engine`] schedules them. [`mlx`] runs one ragged
//! step at a time with the architectures in [`models`]. The engine never handles a tensor and a model never handles a
//! sequence: [`engine::runner`] is the interface between them.
//!
//! The modules [`kernels`], [`weights`], [`kv`], [`layers`], [`models`] and [`mlx`] handle tensors. Each imports only those
//! before it.

pub mod admission;
pub mod arguments;
pub mod doctor;
pub mod embed;
pub mod engine;
pub mod engine_thread;
#[cfg(feature = "test-doubles")]
pub mod fuzz;
pub mod images;
pub mod kernels;
pub mod kv;
pub mod layers;
pub mod memory;
pub mod mlx;
pub mod models;
pub mod priority;
pub mod prompts;
pub mod quantize;
pub mod rpc;
pub mod shutdown;
pub mod stacks;
#[cfg(feature = "test-doubles")]
pub mod test_doubles;
pub mod text;
pub mod weights;
