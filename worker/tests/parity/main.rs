//! Parity of decoders with mlx-lm, and of models that see with Transformers. `cargo xtask goldens` makes the golden files.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod adapters;
mod conversion;
mod driver;
mod experts;
mod folders;
mod images;
mod latent;
#[path = "../common/made.rs"]
mod made;
#[path = "../common/models.rs"]
mod models;
mod real;
mod recurrent;
mod toys;
mod transformers5;
mod vision;
