//! Model folders as people have them.
//!
//! The supervisor lists a folder, and the worker loads it. Both ask this crate, so that a list promises only models
//! that load. [`files`] opens regular files only, [`json`] parses those of Python programs, and [`weights`] selects the weight
//! files. [`complete`] names missing files. [`hub_cache`] knows where Hugging Face's programs keep models.
//! [`config`] refuses impossible values, and [`quantization`] other libraries' formats.

pub mod complete;
pub mod config;
pub mod files;
pub mod hub_cache;
pub mod json;
pub mod quantization;
pub mod weights;
