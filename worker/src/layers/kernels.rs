//! Operations that are one pass over memory on a Linux CPU, where MLX's own are many, or go number by number.
//!
//! They are primitives of MLX in C++ (`xtask/native/kernels.cpp`), part of its graph like any other, for float32. Each function
//! here gives `None` where it does not apply, on other systems and devices always: the caller then has MLX's own.

use mlx_rs::Array;

use super::Result;

/// A function of each number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Function {
    /// x.
    Identity,
    /// x Φ(x).
    Gelu,
    /// x/2 (1 + tanh u) with u = √(2/π) (x + 0.044715 x³).
    GeluTanh,
    /// x · σ(x).
    Silu,
    /// 2ˣ; next to nothing, instead of nothing, for what is below -126.
    Exp2,
}

/// Rows of texts that attend, padded to one length.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Tokens of each.
    pub lengths: &'a [u32],
    /// How many tokens back a token sees.
    pub back: u32,
    /// How many ahead.
    pub ahead: u32,
}

/// Whether `x` is what there are kernels for.
pub fn apply(x: &Array) -> bool {
    imp::apply(&[x])
}

/// `function` of each number of `x`.
pub fn each(function: Function, x: &Array) -> Option<Result<Array>> {
    imp::each(function, x)
}

/// `function` of `x Wᵀ + b`: `[T, inputs]`, `[outputs, inputs]`, `[outputs]` → `[T, outputs]`.
pub fn linear(function: Function, x: &Array, weight: &Array, bias: &Array) -> Option<Result<Array>> {
    imp::linear(function, x, weight, bias)
}

/// Each token of `x`, or of the sum with what is `added`, brought to mean 0 and variance 1, scaled and shifted.
pub fn layer_norm(
    x: &Array,
    added: Option<&Array>,
    (weight, bias): (&Array, Option<&Array>),
    eps: f32,
) -> Option<Result<Array>> {
    imp::layer_norm(x, added, (weight, bias), eps)
}

/// Attention of queries `[R, H, L, d]` over keys and values `[R, kv_heads, L, d]`: `[R, L, H, d]`.
pub fn attention(
    queries: &Array,
    keys: &Array,
    values: &Array,
    rows: Rows,
    scale: f32,
) -> Option<Result<Array>> {
    imp::attention(queries, keys, values, rows, scale)
}

#[cfg(target_os = "linux")]
#[path = "kernels/linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "kernels/none.rs"]
mod imp;

#[cfg(all(test, target_os = "linux"))]
mod tests;
