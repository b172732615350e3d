//! Parity of decoders with mlx-lm. `cargo xtask goldens` makes the golden files.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "parity/adapters.rs"]
mod adapters;
#[path = "parity/driver.rs"]
mod driver;
#[path = "parity/experts.rs"]
mod experts;
#[path = "parity/folders.rs"]
mod folders;
#[path = "common/models.rs"]
mod models;
#[path = "parity/real.rs"]
mod real;
#[path = "parity/toys.rs"]
mod toys;
#[path = "parity/transformers5.rs"]
mod transformers5;
