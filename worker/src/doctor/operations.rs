//! MLX's operations that models consist of.

use mlx_rs::{Array, Dtype, fast, ops};

use super::check::{Check, Result, numbers};

/// Shapes are those of a small model, and no multiple of any tile.
pub(super) const CHECKS: [Check; 9] = [
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
];

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::device_lock::device;

    #[test]
    fn every_operation_of_mlx_is_right_on_this_machine() {
        let _device = device();
        for check in &CHECKS {
            let report = check.report();
            assert_eq!(report["ok"], true, "{report}");
        }
    }
}
