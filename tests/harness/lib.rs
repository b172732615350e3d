//! The end-to-end harness: starts the real `mlxd serve` in a private home and talks HTTP to it.
//!
//! Nothing is faked but the hub for models (`fake_hub`). The binaries are in `MLXD_BIN_DIR`, the models in `MLXD_TEST_MODELS`.
//! `MLXD_TEST_PYTHON` is the Python with the official SDKs; `MLXD_TEST_NODE` has the JavaScript ones. `cargo xtask test` sets these variables. Without them, the
//! tests use the folders that `cargo xtask test` fills.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a harness fails by panicking")]

pub mod bounded;
pub mod broken;
pub mod caller;
pub mod derived;
pub mod fake_hub;
pub mod figures;
pub mod files;
pub mod http;
pub mod hub_user;
pub mod induction;
pub mod locked;
pub mod outside;
pub mod pictures;
pub mod places;
pub mod process;
pub mod random;
pub mod recorder;
pub mod scripts;
pub mod server;
pub mod slow;
pub mod thinker;

pub use server::Server;
