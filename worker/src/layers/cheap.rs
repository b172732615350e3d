//! Exponentials and Φ by sums and products, for CPUs.
//!
//! MLX's CPU backend computes exp, erf and tanh one number at a time: 12 to 26 ns each on an AMD EPYC, where a sum or product
//! of vectors takes 0.2 ns for each number. A text's GELUs and softmaxes then cost more than all its matrix products. Here both
//! are polynomials, as close as float32 rounding.

use mlx_rs::{Array, Device, DeviceType, Dtype, ops};

use super::Result;

/// Beyond ±5 Φ is 0 or 1 to seven digits.
const EDGE: f32 = 5.0;
/// Φ(x) - ½ ≈ x P(x²) / Q(x²) within ±[`EDGE`]: our own weighted least-squares fit. x Φ(x) is off by less than 4e-6.
const P: [f32; 4] = [0.398_966_15, 0.029_379_042, 0.004_320_400_4, 6.253_438e-5];
const Q: [f32; 5] = [1.0, 0.240_491_94, 0.025_722_01, 0.001_505_821, 3.816_694_4e-6];
/// 2^f for |f| ≤ ½, likewise: off by 3e-6 of its value.
const EXP2: [f32; 5] = [0.999_999_3, 0.693_121_8, 0.240_247_45, 0.055_917_79, 0.009_570_06];
/// Added to a float32 below 2²² it leaves no room for a fraction: what remains is the nearest whole number, in the lowest bits.
const ROUND: f32 = 12_582_912.0;
/// Below this 2^x is no normal float32.
const LEAST: f32 = -126.0;

/// Whether to compute so: float32 on a CPU.
///
/// # Errors
/// When the device cannot be asked.
pub fn pays(x: &Array) -> Result<bool> {
    Ok(x.dtype() == Dtype::Float32 && matches!(Device::try_default()?.get_type()?, DeviceType::Cpu))
}

fn number(value: f32) -> Array {
    Array::from_f32(value)
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

/// x Φ(x), of float32.
pub fn gelu(x: &Array) -> Result<Array> {
    let within = ops::minimum(ops::maximum(x, number(-EDGE))?, number(EDGE))?;
    let square = within.multiply(&within)?;
    let odd = within.multiply(polynomial(&square, &P)?)?.divide(polynomial(&square, &Q)?)?;
    odd.add(number(0.5))?.multiply(x)
}

/// 2 to the power of what is not above 0, of float32; 0 for what is below -126.
pub fn exp2(x: &Array) -> Result<Array> {
    let within = ops::maximum(x, number(LEAST))?;
    let rounded = within.add(number(ROUND))?;
    let fraction = within.subtract(rounded.subtract(number(ROUND))?)?;
    // The whole power of two, moved to where a float32 has its exponent; what is higher falls off.
    let exponent = rounded.view_dtype(Dtype::Uint32)?.multiply(Array::from_slice(&[1u32 << 23], &[]))?;
    polynomial(&fraction, &EXP2)?.view_dtype(Dtype::Uint32)?.add(exponent)?.view_dtype(Dtype::Float32)
}
