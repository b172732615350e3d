//! Operations that models consist of, computed in two ways: on the default device as the worker does, and by plain MLX on the CPU.

use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, Device, Dtype, fast, nn, ops, with_device};
use serde_json::{Value, json};

use crate::kernels::{self, Epilogue, Prologue, UnaryOp};

type Result<T> = mlx_rs::error::Result<T>;

/// One operation.
pub(super) struct Check {
    name: &'static str,
    /// The largest allowed difference, relative to the largest number of the result.
    tolerance: f32,
    /// As the worker computes it.
    ours: fn() -> Result<Array>,
    /// The reference. It is computed on the CPU.
    reference: fn() -> Result<Array>,
}

impl Check {
    /// A check of MLX's own operation: the device against the CPU.
    const fn of_device(name: &'static str, tolerance: f32, run: fn() -> Result<Array>) -> Self {
        Self { name, tolerance, ours: run, reference: run }
    }

    /// `{"name", "error", "tolerance", "ok"}`; after a failure `"failure"` instead of `"error"`.
    pub(super) fn report(&self) -> Value {
        match self.difference() {
            Ok(error) => {
                json!({ "name": self.name, "error": error, "tolerance": self.tolerance, "ok": error <= self.tolerance })
            }
            Err(failure) => json!({ "name": self.name, "failure": failure.to_string(), "ok": false }),
        }
    }

    fn difference(&self) -> Result<f32> {
        let ours = floats(&(self.ours)()?)?;
        let reference = with_device(Device::cpu(), || floats(&(self.reference)()?))?;
        if ours.iter().any(|x| !x.is_finite()) {
            return Ok(f32::INFINITY);
        }
        let scale = reference.iter().fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
        let difference = |(a, b): (&f32, &f32)| (a - b).abs() / scale;
        Ok(ours.iter().zip(&reference).map(difference).fold(0.0, f32::max))
    }
}

/// Evaluates on the device of the current scope.
fn floats(array: &Array) -> Result<Vec<f32>> {
    let array = array.as_dtype(Dtype::Float32)?.contiguous()?;
    array.eval()?;
    Ok(array.as_slice::<f32>().to_vec())
}

/// All checks. Shapes are those of a small model, and no multiple of any tile.
pub(super) const CHECKS: [Check; 11] = [
    Check::of_device("matmul, float32", 1e-4, || numbers(1, &[37, 576])?.matmul(numbers(2, &[576, 193])?)),
    Check::of_device("matmul, bfloat16", 2e-2, || {
        let half = |salt, shape: &[i32]| numbers(salt, shape)?.as_dtype(Dtype::Bfloat16);
        half(1, &[37, 576])?.matmul(half(2, &[576, 193])?)
    }),
    Check::of_device("quantized matmul, 4 bits, one row", 1e-3, || quantized(1, 4)),
    Check::of_device("quantized matmul, 4 bits, many rows", 1e-3, || quantized(65, 4)),
    Check::of_device("quantized matmul, 8 bits, many rows", 1e-3, || quantized(65, 8)),
    Check::of_device("attention, a prompt", 1e-3, || attention(33)),
    Check::of_device("attention, one token", 1e-3, || attention(1)),
    Check::of_device("rotary positions", 1e-4, || {
        fast::rope(numbers(1, &[1, 9, 7, 64])?, 64, false, 10_000.0, 1.0, 1000, None)
    }),
    Check::of_device("softmax", 1e-4, || ops::softmax_axis(numbers(1, &[3, 49_152])?, -1, true)),
    Check {
        name: "norm, linear layer and residual",
        tolerance: 1e-4,
        ours: || linear(true),
        reference: || linear(false),
    },
    Check { name: "gated activation", tolerance: 1e-4, ours: || gated(true), reference: || gated(false) },
];

/// Numbers within ±1 that repeat after 101.
fn numbers(salt: i32, shape: &[i32]) -> Result<Array> {
    let count: i32 = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|at| ((at * 37 + salt * 11) % 101) as f32 / 50.0 - 1.0).collect();
    Ok(Array::from_slice(&values, shape))
}

fn quantized(rows: i32, bits: i32) -> Result<Array> {
    let (weight, scales, biases) = ops::quantize(numbers(2, &[192, 576])?, 64, bits)?;
    ops::quantized_matmul(numbers(1, &[rows, 576])?, weight, scales, &biases, true, 64, bits)
}

/// Grouped queries, as most models have: nine heads on three.
fn attention(tokens: i32) -> Result<Array> {
    let (keys, values) = (numbers(2, &[1, 3, 33, 64])?, numbers(3, &[1, 3, 33, 64])?);
    let mask = fast::ScaledDotProductAttentionMask::Causal;
    fast::scaled_dot_product_attention(numbers(1, &[1, 9, tokens, 64])?, keys, values, 0.125, mask, None)
}

fn linear(may_fuse: bool) -> Result<Array> {
    let (x, weight, norm) = (numbers(1, &[37, 192])?, numbers(2, &[192, 192])?, numbers(3, &[192])?);
    let epilogue = Epilogue { residual: Some(&x), ..Epilogue::default() };
    let fused = || kernels::linear(&x, Prologue::RmsNorm(&norm, 1e-5), &weight, epilogue);
    if let Some(fused) = may_fuse.then(fused).flatten() {
        return fused;
    }
    fast::rms_norm(&x, Some(&norm), 1e-5)?.matmul(weight.t())?.add(&x)
}

fn gated(may_fuse: bool) -> Result<Array> {
    let (both, weight) = (numbers(1, &[37, 384])?, numbers(2, &[192, 192])?);
    let fused = || kernels::linear(&both, Prologue::Gate(UnaryOp::Silu), &weight, Epilogue::default());
    if let Some(fused) = may_fuse.then(fused).flatten() {
        return fused;
    }
    let (gate, up) = (both.try_index((.., ..192))?, both.try_index((.., 192..))?);
    nn::silu(gate)?.multiply(up)?.matmul(weight.t())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::device_lock::device;

    #[test]
    fn every_operation_is_right_on_this_machine() {
        let _device = device();
        for check in &CHECKS {
            let report = check.report();
            assert_eq!(report["ok"], true, "{report}");
        }
    }

    #[test]
    fn wrong_result_and_nan_are_reported() {
        let _device = device();
        let one = || Ok(Array::from_slice(&[1.0f32, 2.0], &[2]));
        let wrong = Check {
            name: "wrong",
            tolerance: 1e-3,
            ours: || Ok(Array::from_slice(&[1.0f32, 2.1], &[2])),
            reference: one,
        };
        assert_eq!(wrong.report()["ok"], false);
        let nan = Check { ours: || Ok(Array::from_slice(&[f32::NAN, 2.0], &[2])), ..wrong };
        assert_eq!(nan.report()["ok"], false);
        let failing = Check { ours: || numbers(1, &[2, 3])?.matmul(numbers(1, &[2, 3])?), ..nan };
        assert!(failing.report()["failure"].is_string(), "{}", failing.report());
    }
}
