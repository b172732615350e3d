//! OCP's MXFP4: 32 weights of a row, four bits each, share a power of two.
//!
//! mlx-rs computes with MLX's affine packing only. So these weights become float32, or, where weights stay packed, affine
//! ones of five bits, which hold every value exactly: all are multiples of half the group's power of two, from -12 to 12.
//! Spec: OCP Microscaling Formats (MX) v1.0, 2023; reference: `gpt_oss.py` of mlx-lm 0.32.2.

use half::bf16;
use mlx_rs::Array;
use mlx_rs::ops::indexing::TryIndexOp;

use super::{Loader, Precision, Result};
use crate::layers::linear::Weight;
use crate::weights::config::{Mode, Packing};
use crate::weights::safetensors::Dtype;

/// Weights of a group.
const GROUP: usize = 32;
/// Twice what each code says: a sign, two bits of exponent, one of mantissa.
const HALVES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];
/// The most of them.
const MOST: i8 = 12;
/// What a group becomes where it stays packed.
const PACKING: Packing = Packing { group_size: GROUP as i32, bits: 5, mode: Mode::Affine };

/// OpenAI's tensors: gates and ups in one, row by row in turn.
pub(super) struct Fused {
    name: String,
    /// A layer's rows are every so many,
    every: usize,
    /// from this one on.
    from: usize,
}

impl Fused {
    /// Those that hold the layers at `path`.
    pub(super) fn of(path: &str) -> Option<Self> {
        let (before, last) = path.rsplit_once('.')?;
        let of = |name: &str, every, from| Some(Self { name: format!("{before}.{name}"), every, from });
        match last {
            "gate_proj" => of("gate_up_proj", 2, 0),
            "up_proj" => of("gate_up_proj", 2, 1),
            "down_proj" => of("down_proj", 1, 0),
            _ => None,
        }
    }

    pub(super) fn blocks(&self) -> String {
        format!("{}_blocks", self.name)
    }

    /// Of rows of `length` bytes those that are its own.
    fn own(&self, bytes: &[u8], length: usize) -> Vec<u8> {
        let rows = bytes.chunks_exact(length.max(1)).skip(self.from).step_by(self.every);
        rows.flatten().copied().collect()
    }
}

impl Loader<'_> {
    /// `path.weight` and `path.scales`, as mlx-lm writes them, of `shape` `[.., outputs, inputs]`.
    pub(super) fn mxfp4(&self, path: &str, shape: &[i32]) -> Result<Weight> {
        let (inputs, leading) = shape.split_last().unwrap_or((&0, &[]));
        let words = [leading, &[inputs / 8]].concat();
        let groups = [leading, &[inputs / GROUP as i32]].concat();
        let weight = self.place(&format!("{path}.weight"), &words, &[Dtype::U32])?;
        let scales = self.place(&format!("{path}.scales"), &groups, &[Dtype::U8])?;
        match (weight, scales) {
            (Some((weights, weight)), Some((of_scales, scale))) => {
                let made = self.of_codes(self.bytes(weights, weight), self.bytes(of_scales, scale), shape);
                weights.let_go(weight);
                made
            }
            _ => Ok(Weight::Dense(Array::from_f32(0.0))),
        }
    }

    /// A stack of layers of `[experts, outputs, inputs]` in OpenAI's tensors.
    pub(super) fn fused(&self, fused: &Fused, shape: [i32; 3]) -> Result<Weight> {
        let [experts, outputs, inputs] = shape;
        let (rows, groups) = (outputs * fused.every as i32, inputs / GROUP as i32);
        let blocks = self.place(&fused.blocks(), &[experts, rows, groups, GROUP as i32 / 2], &[Dtype::U8])?;
        let scales = self.place(&format!("{}_scales", fused.name), &[experts, rows, groups], &[Dtype::U8])?;
        match (blocks, scales) {
            (Some((of_blocks, block)), Some((of_scales, scale))) => {
                let codes = fused.own(self.bytes(of_blocks, block), inputs as usize / 2);
                let scales = fused.own(self.bytes(of_scales, scale), groups as usize);
                of_blocks.let_go(block);
                self.of_codes(&codes, &scales, &shape)
            }
            _ => Ok(Weight::Dense(Array::from_f32(0.0))),
        }
    }

    /// Their biases, `[experts, outputs]`.
    pub(super) fn fused_bias(&self, fused: &Fused, experts: i32, outputs: i32) -> Result<Array> {
        let every = fused.every as i32;
        let all = self.tensor(&format!("{}_bias", fused.name), &[experts, outputs * every])?;
        if self.is_checking() {
            return Ok(all);
        }
        let own = all.reshape(&[experts, outputs, every])?.try_index((.., .., fused.from as i32))?;
        // Now, so that the others' can go.
        own.eval()?;
        Ok(own)
    }

    /// Two codes in each byte, the lower bits first, and a scale for each group.
    fn of_codes(&self, codes: &[u8], scales: &[u8], shape: &[i32]) -> Result<Weight> {
        let (inputs, leading) = shape.split_last().unwrap_or((&0, &[]));
        if self.precision == Precision::Float32 {
            return Ok(Weight::Dense(Array::from_slice(&dense(codes, scales), shape)));
        }
        let words = Array::from_slice(&words(codes), &[leading, &[inputs * PACKING.bits / 32]].concat());
        let groups = [leading, &[inputs / PACKING.group_size]].concat();
        let halves: Vec<f32> = scales.iter().map(|scale| half(*scale)).collect();
        let of_halves = |times: f32| {
            let numbers: Vec<bf16> = halves.iter().map(|half| bf16::from_f32(half * times)).collect();
            Array::from_slice(&numbers, &groups)
        };
        let parts = [words, of_halves(1.0), of_halves(-f32::from(MOST))];
        Ok(Weight::Quantized { parts, packing: PACKING })
    }
}

/// The halves of every code, in order.
fn halves(codes: &[u8]) -> impl Iterator<Item = i8> {
    codes.iter().flat_map(|byte| [byte & 15, byte >> 4]).map(|code| HALVES[usize::from(code)])
}

/// Half of a scale, which is a power of two by its exponent alone. The last code is no number.
fn half(scale: u8) -> f32 {
    f32::from_bits(match scale {
        0 => 1 << 21,
        1 => 1 << 22,
        255 => return f32::NAN,
        exponent => (u32::from(exponent) - 1) << 23,
    })
}

fn dense(codes: &[u8], scales: &[u8]) -> Vec<f32> {
    let groups = codes.chunks_exact(GROUP / 2).zip(scales);
    groups.flat_map(|(codes, scale)| halves(codes).map(|halves| f32::from(halves) * half(*scale))).collect()
}

/// Every code as a number from 0 on, in five bits, the first in the lowest of a word.
fn words(codes: &[u8]) -> Vec<u32> {
    let mut words = Vec::with_capacity(codes.len() * 2 * 5 / 32);
    let (mut bits, mut count) = (0u64, 0);
    for halves in halves(codes) {
        bits |= ((halves + MOST) as u64) << count;
        count += 5;
        if count >= 32 {
            words.push(bits as u32);
            bits >>= 32;
            count -= 32;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_scales_are_what_the_specification_says() {
        // All sixteen codes, twice, with a scale of 2 and one of 2^-127.
        let codes: Vec<u8> = (0..8).map(|pair| (2 * pair) | (2 * pair + 1) << 4).cycle().take(32).collect();
        let numbers = dense(&codes, &[128, 0]);
        let expected =
            [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 0.0, -1.0, -2.0, -3.0, -4.0, -6.0, -8.0, -12.0];
        assert_eq!(numbers[..16], expected);
        assert_eq!(numbers[16..32], expected);
        assert_eq!(numbers[32 + 7], 6.0 * 2f32.powi(-126) / 2.0);
        assert!(half(255).is_nan());
        assert_eq!((half(127), half(2), half(254)), (0.5, 2f32.powi(-126), 2f32.powi(126)));
    }

    #[test]
    fn five_bits_hold_every_value_in_every_type_of_scale() {
        let codes: Vec<u8> = (0..8).map(|pair| (2 * pair) | (2 * pair + 1) << 4).cycle().take(16).collect();
        let words = words(&codes);
        assert_eq!(words.len(), 5);
        let bit = |at: usize| words[at / 32] >> (at % 32) & 1;
        for (at, halves) in halves(&codes).enumerate() {
            let packed: u32 = (0..5).map(|n| bit(5 * at + n) << n).sum();
            assert_eq!(packed as i32 - i32::from(MOST), i32::from(halves));
        }
        for scale in 0..255 {
            for times in [1.0, -f32::from(MOST)] {
                let exact = half(scale) * times;
                assert_eq!(bf16::from_f32(exact).to_f32(), exact);
            }
        }
    }

    #[test]
    fn rows_that_take_turns_are_told_apart() {
        let rows = [[0u8; 4], [1; 4], [2; 4], [3; 4]].concat();
        let own = |path: &str| Fused::of(path).unwrap().own(&rows, 4);
        assert_eq!(own("a.gate_proj"), [[0u8; 4], [2; 4]].concat());
        assert_eq!(own("a.up_proj"), [[1u8; 4], [3; 4]].concat());
        assert_eq!(own("a.down_proj"), rows);
        assert!(Fused::of("a.router").is_none());
    }
}
