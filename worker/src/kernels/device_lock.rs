//! Serialises tests that use MLX.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Serialises tests: MLX's CPU stream is shared by the process.
pub(crate) fn device() -> MutexGuard<'static, ()> {
    static DEVICE: Mutex<()> = Mutex::new(());
    DEVICE.lock().unwrap_or_else(PoisonError::into_inner)
}
