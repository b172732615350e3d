//! Exponentials, and what is made of them, as fast as the device gives them.
//!
//! MLX's CPU code computes `exp`, `erf` and `tanh` number by number, `exp` with a call of libm's `fmaf` for each term: 12 to
//! 31 ns each on an AMD EPYC. Softmax and SiLU were half of the time of a prompt by that, GELU most of a text's that is
//! embedded. Two other ways: libm's `powf`, which MLX takes for `power`, needs 5 ns; and sums and products of vectors, which
//! take 0.2 ns for each number, but a dozen calls. So polynomials where numbers are many, powers where they are few, and MLX's
//! own functions on a GPU.

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E, PI};
use std::sync::OnceLock;

use mlx_rs::{Array, Device, DeviceType, Dtype, ops};

use super::Result;

/// Numbers from which on a dozen calls cost less than a `powf` for each.
const MANY: usize = 1 << 14;
/// Beyond ±5 Φ is 0 or 1 to seven digits.
const EDGE: f32 = 5.0;
/// Φ(x) - ½ ≈ x P(x²) / Q(x²) within ±[`EDGE`]: our own weighted least-squares fit. x Φ(x) is off by less than 4e-6.
const P: [f32; 4] = [0.398_966_15, 0.029_379_042, 0.004_320_400_4, 6.253_438e-5];
const Q: [f32; 5] = [1.0, 0.240_491_94, 0.025_722_01, 0.001_505_821, 3.816_694_4e-6];
/// 2^f for |f| ≤ ½, likewise: off by 3e-6 of its value.
const EXP2: [f32; 5] = [0.999_999_3, 0.693_121_8, 0.240_247_45, 0.055_917_79, 0.009_570_06];
/// Added to a float32 below 2²² it leaves no room for a fraction: what remains is the nearest whole number, in the lowest bits.
const ROUND: f32 = 12_582_912.0;
/// Below this 2^x is no normal float32, and above its opposite 1 + 2^x is 2^x.
const LEAST: f32 = -126.0;

/// What an exponential is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// MLX's own functions.
    Device,
    /// A power of each number.
    Power,
    /// Sums and products of them all.
    Polynomial,
}

fn way(x: &Array) -> Way {
    match dear(x) {
        false => Way::Device,
        true if x.size() < MANY => Way::Power,
        true => Way::Polynomial,
    }
}

/// Whether MLX's own exponentials of `x` are slow: float32 on a CPU.
pub fn dear(x: &Array) -> bool {
    static CPU: OnceLock<bool> = OnceLock::new();
    let cpu = || Device::try_default().and_then(|device| device.get_type());
    x.dtype() == Dtype::Float32 && *CPU.get_or_init(|| matches!(cpu(), Ok(DeviceType::Cpu)))
}

/// 2ˣ of what is not above 0; next to nothing, instead of nothing, for what is below -126.
///
/// # Errors
/// When the device fails.
pub fn exp2(x: &Array) -> Result<Array> {
    exp2_below(x, 0.0)
}

/// x · σ(x).
///
/// # Errors
/// When the device fails.
pub fn silu(x: &Array) -> Result<Array> {
    if !dear(x) {
        return x.multiply(ops::sigmoid(x)?);
    }
    over_one_and_exp2(x, &x.multiply(number(-LOG2_E))?)
}

/// Softmax along the last axis, in float32 whatever `x` is.
///
/// # Errors
/// When the device fails.
pub fn softmax(x: &Array) -> Result<Array> {
    if !dear(x) {
        return ops::softmax_axis(x, -1, true);
    }
    let weights = exp2(&x.subtract(ops::max_axis(x, -1, true)?)?.multiply(number(LOG2_E))?)?;
    weights.divide(ops::sum_axis(&weights, -1, true)?)
}

/// x Φ(x), which is x/2 (1 + erf(x / √2)).
///
/// # Errors
/// When the device fails.
pub fn gelu(x: &Array) -> Result<Array> {
    if !dear(x) {
        let own = |value: f32| number(value).as_dtype(x.dtype());
        let erf = ops::erf(x.multiply(own(FRAC_1_SQRT_2)?)?)?;
        return x.multiply(own(0.5)?)?.multiply(erf.add(own(1.0)?)?);
    }
    let within = ops::minimum(ops::maximum(x, number(-EDGE))?, number(EDGE))?;
    let square = within.multiply(&within)?;
    let odd = within.multiply(polynomial(&square, &P)?)?.divide(polynomial(&square, &Q)?)?;
    odd.add(number(0.5))?.multiply(x)
}

/// x/2 (1 + tanh u) with u = √(2/π) (x + 0.044715 x³), which is x · σ(2u).
///
/// # Errors
/// When the device fails.
pub fn gelu_tanh(x: &Array) -> Result<Array> {
    let own = |value: f32| number(value).as_dtype(x.dtype());
    let cube = x.multiply(x)?.multiply(x)?.multiply(own(0.044_715)?)?;
    let sum = x.add(cube)?;
    let root = (2.0 / PI).sqrt();
    if !dear(x) {
        let tanh = ops::tanh(sum.multiply(own(root)?)?)?;
        return x.multiply(own(0.5)?)?.multiply(tanh.add(own(1.0)?)?);
    }
    over_one_and_exp2(x, &sum.multiply(number(-2.0 * root * LOG2_E))?)
}

/// x / (1 + 2^power), of float32.
fn over_one_and_exp2(x: &Array, power: &Array) -> Result<Array> {
    x.divide(exp2_below(power, f32::INFINITY)?.add(number(1.0))?)
}

/// 2ˣ of what is not above `most`.
fn exp2_below(x: &Array, most: f32) -> Result<Array> {
    match way(x) {
        Way::Device | Way::Power => ops::power(number(2.0).as_dtype(x.dtype())?, x),
        Way::Polynomial if most <= -LEAST => exp2_within(&ops::maximum(x, number(LEAST))?),
        Way::Polynomial => exp2_within(&ops::minimum(ops::maximum(x, number(LEAST))?, number(-LEAST))?),
    }
}

/// 2ˣ of float32 from [`LEAST`] to its opposite.
fn exp2_within(x: &Array) -> Result<Array> {
    let rounded = x.add(number(ROUND))?;
    let fraction = x.subtract(rounded.subtract(number(ROUND))?)?;
    // The whole power of two, moved to where a float32 has its exponent; what is higher falls off.
    let exponent = rounded.view_dtype(Dtype::Uint32)?.multiply(Array::from_slice(&[1u32 << 23], &[]))?;
    polynomial(&fraction, &EXP2)?.view_dtype(Dtype::Uint32)?.add(exponent)?.view_dtype(Dtype::Float32)
}

fn polynomial(x: &Array, coefficients: &[f32]) -> Result<Array> {
    let mut highest = coefficients.iter().rev();
    let mut sum = x.multiply(number(highest.next().copied().unwrap_or(0.0)))?;
    let Some((last, between)) = coefficients[..coefficients.len().saturating_sub(1)].split_first() else {
        return Ok(sum);
    };
    for coefficient in between.iter().rev() {
        sum = sum.add(number(*coefficient))?.multiply(x)?;
    }
    sum.add(number(*last))
}

fn number(value: f32) -> Array {
    Array::from_f32(value)
}

#[cfg(test)]
mod tests;
