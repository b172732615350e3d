//! The end-to-end harness: starts the real `mlxd serve` in a private home and talks HTTP to it.
//!
//! Nothing is faked here. The binaries are those in `MLXD_BIN_DIR`, the models those in `MLXD_TEST_MODELS`, the
//! Python with the official SDKs is `MLXD_TEST_PYTHON`, the JavaScript ones are in `MLXD_TEST_NODE`; `cargo xtask test` sets
//! all, and without them the places where it puts things are used.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a harness fails by panicking")]

pub mod figures;
pub mod http;
pub mod places;
pub mod process;
pub mod scripts;
pub mod server;
pub mod thinker;

pub use server::Server;
