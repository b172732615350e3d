//! The models say what mlx-lm says. The golden files are made by `cargo xtask goldens`.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "parity/adapters.rs"]
mod adapters;
#[path = "parity/driver.rs"]
mod driver;
#[path = "parity/experts.rs"]
mod experts;
#[path = "common/models.rs"]
mod models;
#[path = "parity/newer.rs"]
mod newer;
#[path = "parity/real.rs"]
mod real;
#[path = "parity/toys.rs"]
mod toys;
