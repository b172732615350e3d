//! The parts that architectures share. Shapes: `T` tokens of all rows, `D` model width, `H` heads, `d` head width.

pub mod attention;
pub mod embedding;
pub mod feed_forward;
pub mod full_attention;
mod gated_delta;
pub mod gated_delta_net;
pub mod latent_attention;
pub mod linear;
pub mod mlp;
pub mod moe;
pub mod norm;
pub mod patches;
pub mod rope;
pub mod short_convolution;
pub mod tower_block;

pub use crate::kernels::Result;
