//! The worker's own operations: each kernel of `crate::kernels` against plain MLX. Where no kernel applies, as on Metal, the
//! worker's other way is checked.

use mlx_rs::fast::ScaledDotProductAttentionMask::Causal;
use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, Dtype, fast, nn, ops};

use super::check::{Check, Result, numbers};
use crate::engine::runner::{Batch, Row};
use crate::kernels::exponential::{exp2, gelu, gelu_tanh, silu};
use crate::kernels::{self, Epilogue, HeadTransform, PagedAttentionParams, Prologue, StoredFloat, UnaryOp};
use crate::kv::{self, AttentionDirection, AttentionParams, ContiguousStep, KvPool, KvShape, KvStep};
use crate::layers::rope::{Positions, Rope};

/// Heads of queries, and of keys and values.
const HEADS: [i32; 2] = [9, 3];
/// Width of a head.
const WIDTH: i32 = 64;
const SCALE: f32 = 0.125;
const EPS: f32 = 1e-5;

/// One for each kernel, with the sizes of a small model.
pub(super) const CHECKS: [Check; 15] = [
    Check::of_worker("weight from a file, bfloat16", || stored_weight(true), || stored_weight(false)),
    Check::of_worker("joined weights", || joined_weights(true), || joined_weights(false)),
    Check::of_worker("linear layer, bias, activation, residual", || linear(true), || linear(false)),
    Check::of_worker("norm, linear layer, residual", || normed_linear(true), || normed_linear(false)),
    Check::of_worker("gate, linear layer", || gated_linear(true), || gated_linear(false)),
    Check::of_worker("gate", || gate(true), || gate(false)),
    Check::of_worker("SiLU", || silu(&plane()?), || nn::silu(plane()?)),
    Check::of_worker("GELU", || gelu(&plane()?), || nn::gelu(plane()?)),
    Check::of_worker("GELU with tanh", || gelu_tanh(&plane()?), || nn::gelu_approximate(plane()?)),
    Check::of_worker("power of two", || exp2(&plane()?), || Array::from_f32(2.0).power(plane()?)),
    Check::of_worker("root-mean-square norm", || normed(true), || normed(false)),
    Check::of_worker("layer norm of a sum", || layer_norm(true), || layer_norm(false)),
    Check::of_worker("rotated heads", rotated, plain_rotated),
    Check::of_worker("attention, padded texts", padded_attention, plain_padded_attention),
    Check::of_worker("attention, paged KV cache", paged_attention, || {
        plain_attention(&heads(TOKENS as i32)?)
    }),
];

fn plane() -> Result<Array> {
    numbers(1, &[37, 192])
}

/// `kernel` if it may be used and applies, else `plain`.
fn first_of(
    may_use_kernel: bool,
    kernel: impl FnOnce() -> Option<Result<Array>>,
    plain: impl FnOnce() -> Result<Array>,
) -> Result<Array> {
    if may_use_kernel && let Some(result) = kernel() {
        return result;
    }
    plain()
}

fn stored_weight(may_use_kernel: bool) -> Result<Array> {
    let numbers: Vec<half::bf16> =
        (0..37 * 192).map(|at| half::bf16::from_f32((at % 101) as f32 / 50.0 - 1.0)).collect();
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let shape = [37, 192];
    first_of(
        may_use_kernel,
        || kernels::weight_from_bytes(&bytes, StoredFloat::Bf16, &shape),
        || {
            let floats: Vec<f32> = numbers.iter().map(|number| number.to_f32()).collect();
            Ok(Array::from_slice(&floats, &shape))
        },
    )
}

fn joined_weights(may_use_kernel: bool) -> Result<Array> {
    let (one, other) = (numbers(1, &[37, 192])?, numbers(2, &[5, 192])?);
    let parts = [&one, &other];
    first_of(may_use_kernel, || kernels::concatenate_rows(&parts), || ops::concatenate(&parts, 0))
}

fn linear(may_use_kernel: bool) -> Result<Array> {
    let (x, weight) = (numbers(1, &[37, 192])?, numbers(2, &[193, 192])?);
    let (bias, residual) = (numbers(3, &[193])?, numbers(4, &[37, 193])?);
    let epilogue = Epilogue { bias: Some(&bias), activation: Some(UnaryOp::Silu), residual: Some(&residual) };
    first_of(
        may_use_kernel,
        || kernels::linear(&x, Prologue::None, &weight, epilogue),
        || nn::silu(x.matmul(weight.t())?.add(&bias)?)?.add(&residual),
    )
}

fn normed_linear(may_use_kernel: bool) -> Result<Array> {
    let (x, weight, norm) = (numbers(1, &[37, 192])?, numbers(2, &[192, 192])?, numbers(3, &[192])?);
    let epilogue = Epilogue { residual: Some(&x), ..Epilogue::default() };
    first_of(
        may_use_kernel,
        || kernels::linear(&x, Prologue::RmsNorm(&norm, EPS), &weight, epilogue),
        || fast::rms_norm(&x, Some(&norm), EPS)?.matmul(weight.t())?.add(&x),
    )
}

fn gated_linear(may_use_kernel: bool) -> Result<Array> {
    let (both, weight) = (numbers(1, &[37, 384])?, numbers(2, &[192, 192])?);
    first_of(
        may_use_kernel,
        || kernels::linear(&both, Prologue::Gate(UnaryOp::Silu), &weight, Epilogue::default()),
        || gate(false)?.matmul(weight.t()),
    )
}

fn gate(may_use_kernel: bool) -> Result<Array> {
    let both = numbers(1, &[37, 384])?;
    first_of(
        may_use_kernel,
        || kernels::gate(UnaryOp::Silu, &both),
        || nn::silu(both.try_index((.., ..192))?)?.multiply(both.try_index((.., 192..))?),
    )
}

fn normed(may_use_kernel: bool) -> Result<Array> {
    let (x, weight) = (plane()?, numbers(2, &[192])?);
    first_of(
        may_use_kernel,
        || kernels::rms_norm(&x, &weight, EPS),
        || fast::rms_norm(&x, Some(&weight), EPS),
    )
}

fn layer_norm(may_use_kernel: bool) -> Result<Array> {
    let (x, added) = (numbers(1, &[37, 192])?, numbers(2, &[37, 192])?);
    let (weight, bias) = (numbers(3, &[192])?, numbers(4, &[192])?);
    first_of(
        may_use_kernel,
        || kernels::layer_norm(&x, Some(&added), (&weight, Some(&bias)), EPS),
        || fast::layer_norm(x.add(&added)?, &weight, &bias, EPS),
    )
}

/// `[T, H, d]` of a step: heads of queries, of keys, of values.
fn heads(tokens: i32) -> Result<Array> {
    numbers(1, &[tokens, HEADS[0] + 2 * HEADS[1], WIDTH])
}

/// Queries, keys and values among heads `[T, H, d]`.
fn split(heads: &Array) -> Result<[Array; 3]> {
    let [queries, keys] = [HEADS[0], HEADS[0] + HEADS[1]];
    Ok([
        heads.try_index((.., ..queries))?,
        heads.try_index((.., queries..keys))?,
        heads.try_index((.., keys..))?,
    ])
}

/// Causal attention of one text by MLX, from heads `[T, H, d]`: `[T, H * d]`.
fn plain_attention(heads: &Array) -> Result<Array> {
    let [queries, keys, values] = split(heads)?.map(|part| part.expand_dims(0)?.swap_axes(1, 2));
    let attended = fast::scaled_dot_product_attention(queries?, keys?, values?, SCALE, Causal, None)?;
    attended.swap_axes(1, 2)?.reshape(&[-1, HEADS[0] * WIDTH])
}

/// The first position of the rotated heads.
const FIRST: i32 = 20;

fn rotated() -> Result<Array> {
    let x = heads(9)?;
    let positions: Vec<f32> = (FIRST..FIRST + 9).map(|position| position as f32).collect();
    Rope::plain(WIDTH, 10_000.0).rotation(&Positions::new(&positions), &x)?.apply(&x)
}

fn plain_rotated() -> Result<Array> {
    let x = heads(9)?.swap_axes(0, 1)?.expand_dims(0)?;
    fast::rope(x, WIDTH, false, 10_000.0, 1.0, FIRST, None)?.try_index(0)?.swap_axes(0, 1)
}

/// Tokens of two texts that are padded to the first one's length.
const LENGTHS: [i32; 2] = [19, 5];

fn padded_attention() -> Result<Array> {
    let lengths = LENGTHS.map(|length| length as u32).to_vec();
    let mut step = KvStep::contiguous(ContiguousStep::new(lengths, AttentionDirection::Causal)?);
    let [queries, keys, values] = split(&heads(2 * LENGTHS[0])?)?;
    step.write(0, &keys, &values)?;
    step.attend(0, &queries, PARAMS)?.try_index(..LENGTHS[0] + LENGTHS[1])
}

fn plain_padded_attention() -> Result<Array> {
    let all = heads(2 * LENGTHS[0])?;
    let text = |first: i32, length: i32| plain_attention(&all.try_index(first..first + length)?);
    ops::concatenate(&[text(0, LENGTHS[0])?, text(LENGTHS[0], LENGTHS[1])?], 0)
}

const PARAMS: AttentionParams = AttentionParams { scale: SCALE, window: None, softcap: None, sinks: None };
/// Tokens of a prompt in two blocks, and of an answer.
const PROMPT: u32 = 40;
const TOKENS: u32 = 42;
/// The blocks of the text. They do not follow each other.
const BLOCKS: [u32; 2] = [5, 2];

/// A step with the prompt, then one with each further token.
fn paged_attention() -> Result<Array> {
    let shape =
        KvShape { layers: 1, kv_heads: HEADS[1], head_dim: WIDTH, value_dim: None, dtype: Dtype::Float32 };
    let mut pool = KvPool::new(shape, kv::BLOCK_SIZE * 8, None)?;
    let all = heads(TOKENS as i32)?;
    let mut outputs = Vec::new();
    for positions in std::iter::once(0..PROMPT).chain((PROMPT..TOKENS).map(|at| at..at + 1)) {
        let heads = all.try_index(positions.start as i32..positions.end as i32)?;
        let slot = |at: u32| BLOCKS[(at / kv::BLOCK_SIZE) as usize] * kv::BLOCK_SIZE + at % kv::BLOCK_SIZE;
        let batch = Batch {
            tokens: vec![0; positions.len()],
            positions: positions.clone().collect(),
            slots: positions.clone().map(slot).collect(),
            rows: vec![Row { tokens: 0..positions.len(), blocks: BLOCKS.to_vec(), ..Row::default() }],
            ..Batch::default()
        };
        let output = attend_paged(KvStep::new(&mut pool, &batch)?, &heads)?;
        output.eval()?;
        outputs.push(output);
    }
    ops::concatenate(&outputs, 0)
}

/// As `layers/attention.rs` does it.
fn attend_paged(mut step: KvStep, heads: &Array) -> Result<Array> {
    let flat = heads.reshape(&[heads.dim(0), -1])?;
    let transform = HeadTransform { norms: None, rotary: None };
    let params = PagedAttentionParams { heads: HEADS[0], scale: SCALE, window: None };
    if let Some(attended) = step.write_and_attend(0, &flat, transform, params) {
        return attended;
    }
    let [queries, keys, values] = split(heads)?;
    step.write(0, &keys, &values)?;
    step.attend(0, &queries, PARAMS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::device_lock::device;

    #[test]
    fn every_operation_of_the_worker_is_right_on_this_machine() {
        let _device = device();
        for check in &CHECKS {
            let report = check.report();
            assert_eq!(report["ok"], true, "{report}");
        }
    }
}
