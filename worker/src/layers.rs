//! The parts that architectures share. Shapes: `T` tokens of all rows, `D` model width, `H` heads, `d` head width.

pub mod attention;
pub mod embedding;
pub mod exponential;
pub mod kernels;
pub mod linear;
pub mod mlp;
pub mod moe;
pub mod norm;
pub mod rope;

/// What MLX operations give.
pub type Result<T> = mlx_rs::error::Result<T>;
