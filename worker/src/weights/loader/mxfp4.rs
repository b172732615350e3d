//! OCP's MXFP4: 32 weights of a row, four bits each, share a power of two.
//!
//! mlx-rs supports only MLX's affine packing. So these weights become float32 or, if weights stay packed, affine weights of
//! five bits. Those represent every value exactly: all are multiples of half the group's power of two, from -12 to 12.
//! Spec: OCP Microscaling Formats (MX) v1.0, 2023; reference: `gpt_oss.py` of mlx-lm 0.32.2.

use half::bf16;
use mlx_rs::Array;
use mlx_rs::ops::indexing::TryIndexOp;

use super::{Loader, Precision, Result};
use crate::weights::config::{Packing, PackingMode};
use crate::weights::matrix::Weight;
use crate::weights::safetensors::Dtype;

/// Weights per group.
const GROUP: usize = 32;
/// Twice the value of each code: a sign, two bits of exponent, one of mantissa.
const HALVES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];
/// The greatest of them.
const MAX_HALVES: i8 = 12;
/// The affine packing that replaces MXFP4.
const PACKING: Packing = Packing { group_size: GROUP as i32, bits: 5, mode: PackingMode::Affine };

/// OpenAI's tensors. Rows of gate and up projections alternate in one tensor.
pub(super) struct InterleavedExperts {
    name: String,
    /// Distance between a layer's rows.
    stride: usize,
    /// Its first row.
    offset: usize,
}

impl InterleavedExperts {
    /// The tensors that contain the layers at `path`.
    pub(super) fn for_path(path: &str) -> Option<Self> {
        let (parent, layer) = path.rsplit_once('.')?;
        let (name, stride, offset) = match layer {
            "gate_proj" => ("gate_up_proj", 2, 0),
            "up_proj" => ("gate_up_proj", 2, 1),
            "down_proj" => ("down_proj", 1, 0),
            _ => return None,
        };
        Some(Self { name: format!("{parent}.{name}"), stride, offset })
    }

    pub(super) fn blocks(&self) -> String {
        format!("{}_blocks", self.name)
    }

    /// The layer's rows among all rows of `length` bytes.
    fn select_rows(&self, bytes: &[u8], length: usize) -> Vec<u8> {
        let rows = bytes.chunks_exact(length.max(1)).skip(self.offset).step_by(self.stride);
        rows.flatten().copied().collect()
    }
}

impl Loader<'_> {
    /// `path.weight` and `path.scales` in mlx-lm's format, of `shape` `[.., outputs, inputs]`.
    pub(super) fn mxfp4(&self, path: &str, shape: &[i32]) -> Result<Weight> {
        let (inputs, leading) = shape.split_last().unwrap_or((&0, &[]));
        let words = [leading, &[inputs / 8]].concat();
        let groups = [leading, &[inputs / GROUP as i32]].concat();
        let codes = self.locate(&format!("{path}.weight"), &words, &[Dtype::U32])?;
        let scales = self.locate(&format!("{path}.scales"), &groups, &[Dtype::U8])?;
        let (Some((code_shards, codes)), Some((scale_shards, scales))) = (codes, scales) else {
            return Ok(Weight::Dense(Array::from_f32(0.0)));
        };
        let weight = self.decode(self.bytes(code_shards, codes), self.bytes(scale_shards, scales), shape);
        code_shards.release(codes);
        weight
    }

    /// The layers `[experts, outputs, inputs]` in OpenAI's tensors.
    pub(super) fn interleaved(&self, tensors: &InterleavedExperts, shape: [i32; 3]) -> Result<Weight> {
        let [experts, outputs, inputs] = shape;
        let (rows, groups) = (outputs * tensors.stride as i32, inputs / GROUP as i32);
        let block_shape = [experts, rows, groups, GROUP as i32 / 2];
        let blocks = self.locate(&tensors.blocks(), &block_shape, &[Dtype::U8])?;
        let scales =
            self.locate(&format!("{}_scales", tensors.name), &[experts, rows, groups], &[Dtype::U8])?;
        let (Some((block_shards, blocks)), Some((scale_shards, scales))) = (blocks, scales) else {
            return Ok(Weight::Dense(Array::from_f32(0.0)));
        };
        let codes = tensors.select_rows(self.bytes(block_shards, blocks), inputs as usize / 2);
        let scales = tensors.select_rows(self.bytes(scale_shards, scales), groups as usize);
        block_shards.release(blocks);
        self.decode(&codes, &scales, &shape)
    }

    /// The biases of layers in OpenAI's tensors, `[experts, outputs]`.
    pub(super) fn interleaved_bias(
        &self,
        tensors: &InterleavedExperts,
        experts: i32,
        outputs: i32,
    ) -> Result<Array> {
        let stride = tensors.stride as i32;
        let all = self.tensor(&format!("{}_bias", tensors.name), &[experts, outputs * stride])?;
        if self.is_checking() {
            return Ok(all);
        }
        let bias = all.reshape(&[experts, outputs, stride])?.try_index((.., .., tensors.offset as i32))?;
        // Evaluate now, so that the whole tensor can be dropped.
        bias.eval()?;
        Ok(bias)
    }

    /// Decodes weights of `shape`: two codes per byte, the lower bits first, and one scale per group.
    fn decode(&self, codes: &[u8], scales: &[u8], shape: &[i32]) -> Result<Weight> {
        let (inputs, leading) = shape.split_last().unwrap_or((&0, &[]));
        if self.precision == Precision::Float32 {
            return Ok(Weight::Dense(Array::from_slice(&dense(codes, scales), shape)));
        }
        let words = Array::from_slice(&words(codes), &[leading, &[inputs * PACKING.bits / 32]].concat());
        let groups = [leading, &[inputs / PACKING.group_size]].concat();
        let halves: Vec<f32> = scales.iter().map(|scale| half(*scale)).collect();
        let multiples = |factor: f32| {
            let numbers: Vec<bf16> = halves.iter().map(|half| bf16::from_f32(half * factor)).collect();
            Array::from_slice(&numbers, &groups)
        };
        let parts = [words, multiples(1.0), multiples(-f32::from(MAX_HALVES))];
        Ok(Weight::Quantized { parts, packing: PACKING })
    }
}

/// Twice the value of each code, in order.
fn halves(codes: &[u8]) -> impl Iterator<Item = i8> {
    codes.iter().flat_map(|byte| [byte & 15, byte >> 4]).map(|code| HALVES[usize::from(code)])
}

/// Half of a scale. A scale is the exponent of a power of two; the last code is NaN.
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

/// Packs codes as five-bit numbers from 0, the first in the lowest bits of a word.
fn words(codes: &[u8]) -> Vec<u32> {
    let mut words = Vec::with_capacity(codes.len() * 2 * 5 / 32);
    let (mut bits, mut count) = (0u64, 0);
    for halves in halves(codes) {
        bits |= ((halves + MAX_HALVES) as u64) << count;
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
    fn codes_and_scales_decode_as_specified() {
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
    fn five_bit_packing_is_exact_for_every_code_and_scale() {
        let codes: Vec<u8> = (0..8).map(|pair| (2 * pair) | (2 * pair + 1) << 4).cycle().take(16).collect();
        let words = words(&codes);
        assert_eq!(words.len(), 5);
        let bit = |at: usize| words[at / 32] >> (at % 32) & 1;
        for (at, halves) in halves(&codes).enumerate() {
            let packed: u32 = (0..5).map(|n| bit(5 * at + n) << n).sum();
            assert_eq!(packed as i32 - i32::from(MAX_HALVES), i32::from(halves));
        }
        for scale in 0..255 {
            for times in [1.0, -f32::from(MAX_HALVES)] {
                let exact = half(scale) * times;
                assert_eq!(bf16::from_f32(exact).to_f32(), exact);
            }
        }
    }

    #[test]
    fn interleaved_rows_are_separated_by_layer() {
        let rows = [[0u8; 4], [1; 4], [2; 4], [3; 4]].concat();
        let select = |path: &str| InterleavedExperts::for_path(path).unwrap().select_rows(&rows, 4);
        assert_eq!(select("a.gate_proj"), [[0u8; 4], [2; 4]].concat());
        assert_eq!(select("a.up_proj"), [[1u8; 4], [3; 4]].concat());
        assert_eq!(select("a.down_proj"), rows);
        assert!(InterleavedExperts::for_path("a.router").is_none());
    }
}
