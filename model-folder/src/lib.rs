//! Model folders as people have them.
//!
//! The supervisor lists a folder, and the worker loads it. Both ask this crate, so that a list promises only what loads:
//! [`files`] opens regular files only, [`json`] parses those of Python programs, [`weights`] selects the weight files,
//! [`complete`] names missing ones, and [`quantization`] refuses other libraries' formats.

pub mod complete;
pub mod files;
pub mod json;
pub mod quantization;
pub mod weights;
