//! The C++ code by its C interface, against plain Rust in double precision.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod arrays;
mod attention;
mod level;
mod levels;
mod pool;
mod products;
mod rows;
