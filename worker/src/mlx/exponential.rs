//! Exponentials, and what is made of them, as fast as the device gives them.
//!
//! MLX's CPU code computes `exp` number by number with a call of libm's `fmaf` for each term: 31 ns each on an EPYC, where
//! libm's `powf`, which MLX takes for `power`, needs 5. SiLU and softmax were half of the time of a prompt by that. Results
//! differ from `exp` by less than 1e-6 of their size.

use std::f32::consts::E;
use std::sync::OnceLock;

use mlx_rs::{Array, Device, DeviceType, Dtype, ops};

type Result<T> = mlx_rs::error::Result<T>;

/// eˣ.
///
/// # Errors
/// When the device fails.
pub fn exp(x: &Array) -> Result<Array> {
    if by_power(x) { ops::power(Array::from_f32(E), x) } else { ops::exp(x) }
}

/// x · σ(x).
///
/// # Errors
/// When the device fails.
pub fn silu(x: &Array) -> Result<Array> {
    if !by_power(x) {
        return x.multiply(ops::sigmoid(x)?);
    }
    let negative = ops::power(Array::from_f32(1.0 / E), x)?;
    x.divide(negative.add(Array::from_f32(1.0))?)
}

/// Softmax along the last axis, in float32 whatever `x` is.
///
/// # Errors
/// When the device fails.
pub fn softmax(x: &Array) -> Result<Array> {
    if !by_power(x) {
        return ops::softmax_axis(x, -1, true);
    }
    let weights = exp(&x.subtract(ops::max_axis(x, -1, true)?)?)?;
    weights.divide(ops::sum_axis(&weights, -1, true)?)
}

fn by_power(x: &Array) -> bool {
    static CPU: OnceLock<bool> = OnceLock::new();
    let cpu = || Device::try_default().and_then(|device| device.get_type());
    x.dtype() == Dtype::Float32 && *CPU.get_or_init(|| matches!(cpu(), Ok(DeviceType::Cpu)))
}

#[cfg(test)]
mod tests;
