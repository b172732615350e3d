//! The parts that architectures share. Shapes: `T` tokens of all rows, `D` model width, `H` heads, `d` head width.

pub mod attention;
pub mod embedding;
pub mod linear;
pub mod mlp;
pub mod moe;
pub mod norm;
pub mod rope;

pub use crate::kernels::Result;
