//! Additions to MLX's CPU backend on Linux, in C++. They are matrix products by OpenBLAS and by our own
//! kernels, a thread pool for both, and primitives for MLX's graph. `README.md` explains the parts.
//!
//! This crate holds only the C interface's declarations. bindgen makes them from `include/mlxd/*.h`, so
//! that layouts are defined once. The worker's `kernels` module is the safe interface. On macOS the crate is
//! empty.

#[cfg(target_os = "linux")]
mod declarations {
    #![expect(unsafe_code, missing_docs, reason = "declarations of C functions, which the headers document")]

    use mlx_sys::{mlx_array, mlx_stream};

    include!(env!("MLXD_KERNEL_DECLARATIONS"));
}

#[cfg(target_os = "linux")]
pub use declarations::*;
