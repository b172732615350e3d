//! The gated delta rule: linear attention whose state is a matrix for each head.
//!
//! Yang et al. 2024, "Gated Delta Networks" (<https://arxiv.org/abs/2412.06464>). With decay α, strength β, key k and value v a
//! token changes the state to S ← α S + β (v - α S k) kᵀ, and reads S q. Chunks are computed by products: the changes of a
//! chunk's tokens solve a triangular system.

use std::collections::BTreeMap;
use std::f32::consts::LOG2_E;

use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, Dtype, ops};

use super::Result;
use crate::kernels::exponential::exp2;

/// Tokens of a chunk.
const CHUNK: i32 = 32;

/// The inputs of T tokens, in float32.
#[derive(Debug)]
pub(super) struct DeltaInputs {
    /// `[T, H, d_k]`.
    pub(super) queries: Array,
    /// `[T, H, d_k]`.
    pub(super) keys: Array,
    /// `[T, H, d_v]`.
    pub(super) values: Array,
    /// ln α, `[T, H]`.
    pub(super) log_decays: Array,
    /// β, `[T, H]`.
    pub(super) strengths: Array,
}

/// Advances the states `[R, H, d_v, d_k]` of rows with these numbers of tokens. Returns the outputs `[T, H, d_v]` and the states
/// afterwards.
pub(super) fn advance(inputs: &DeltaInputs, lengths: &[u32], states: &Array) -> Result<(Array, Array)> {
    let groups = groups(lengths);
    let (mut outputs, mut after) = (Vec::new(), Vec::new());
    for group in &groups {
        let (rows, length) = (group.rows.len() as i32, group.length as i32);
        let tokens = (groups.len() > 1).then(|| index_array(&group.tokens));
        let pick = |x: &Array| {
            let picked = tokens.as_ref().map_or_else(|| Ok(x.clone()), |tokens| x.take_axis(tokens, 0))?;
            // [R, H, t, ..]
            let shape = [&[rows, length][..], &picked.shape()[1..]].concat();
            picked.reshape(&shape)?.swap_axes(1, 2)
        };
        let rows_of = (groups.len() > 1).then(|| index_array(&group.rows));
        let states = rows_of.map_or_else(|| Ok(states.clone()), |rows| states.take_axis(&rows, 0))?;
        let part = DeltaInputs {
            queries: pick(&inputs.queries)?,
            keys: pick(&inputs.keys)?,
            values: pick(&inputs.values)?,
            log_decays: pick(&inputs.log_decays)?,
            strengths: pick(&inputs.strengths)?,
        };
        let (output, state) = if length == 1 { single(&part, &states)? } else { chunks(&part, &states)? };
        let width = output.dim(3);
        outputs.push(output.swap_axes(1, 2)?.reshape(&[rows * length, -1, width])?);
        after.push(state);
    }
    let in_order = |parts: Vec<Array>, places: Vec<u32>| match &parts[..] {
        [only] => Ok(only.clone()),
        parts => ops::concatenate(parts, 0)?.take_axis(index_array(&inverse(&places)), 0),
    };
    let tokens = groups.iter().flat_map(|group| group.tokens.iter().copied()).collect();
    let rows = groups.iter().flat_map(|group| group.rows.iter().copied()).collect();
    Ok((in_order(outputs, tokens)?, in_order(after, rows)?))
}

/// Rows of one length.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    length: u32,
    rows: Vec<u32>,
    /// Their tokens among those of the step.
    tokens: Vec<u32>,
}

fn groups(lengths: &[u32]) -> Vec<Group> {
    let mut groups: BTreeMap<u32, Group> = BTreeMap::new();
    let mut first = 0;
    for (row, length) in (0..).zip(lengths) {
        let new = || Group { length: *length, rows: Vec::new(), tokens: Vec::new() };
        let group = groups.entry(*length).or_insert_with(new);
        group.rows.push(row);
        group.tokens.extend(first..first + length);
        first += length;
    }
    groups.into_values().collect()
}

/// Where 0, 1, … lie in `places`.
fn inverse(places: &[u32]) -> Vec<u32> {
    let mut index = vec![0; places.len()];
    for (at, place) in (0..).zip(places) {
        index[*place as usize] = at;
    }
    index
}

fn index_array(index: &[u32]) -> Array {
    Array::from_slice(index, &[index.len() as i32])
}

/// One token for each row: inputs `[R, H, 1, ..]`.
fn single(inputs: &DeltaInputs, states: &Array) -> Result<(Array, Array)> {
    let DeltaInputs { queries, keys, values, log_decays, strengths } = inputs;
    let states = states.multiply(log_decays.exp()?.expand_dims(-1)?)?;
    let known = states.matmul(keys.swap_axes(2, 3)?)?;
    let change = values.swap_axes(2, 3)?.subtract(known)?.multiply(strengths.expand_dims(-1)?)?;
    let states = states.add(change.matmul(keys)?)?;
    let output = states.matmul(queries.swap_axes(2, 3)?)?.swap_axes(2, 3)?;
    Ok((output, states))
}

/// Several tokens for each row: inputs `[R, H, t, ..]`.
///
/// Within a chunk the changes Δ of its tokens are given by (I + A) Δ = β (V - γ K S₀ᵀ), where γ is the product of decays from the
/// start of the chunk, and A the strictly lower part of β (K Kᵀ) times the decays in between.
fn chunks(inputs: &DeltaInputs, states: &Array) -> Result<(Array, Array)> {
    let length = inputs.queries.dim(2);
    let count = (length + CHUNK - 1) / CHUNK;
    // Padding has strength 0 and decay 1, so it changes nothing.
    let split = |x: &Array| chunked(x, count);
    let (queries, keys, values) = (split(&inputs.queries)?, split(&inputs.keys)?, split(&inputs.values)?);
    let strengths = split(&inputs.strengths)?.expand_dims(-1)?;
    let logs = split(&inputs.log_decays)?.cumsum(-1, None, None)?;
    let between = logs.expand_dims(-1)?.subtract(logs.expand_dims(-2)?)?;
    let between = exp2(&ops::minimum(&between, Array::from_f32(0.0))?.multiply(Array::from_f32(LOG2_E))?)?;
    let transposed_keys = keys.swap_axes(-1, -2)?;
    let system = keys.matmul(&transposed_keys)?.multiply(&between)?.multiply(&strengths)?;
    let inverse = inverse_of_unit_lower(&system)?;
    let from_start = logs.exp()?.expand_dims(-1)?;
    let values = inverse.matmul(values.multiply(&strengths)?)?;
    let known = inverse.matmul(keys.multiply(&strengths)?.multiply(&from_start)?)?;
    let scores =
        queries.matmul(&transposed_keys)?.multiply(&between)?.multiply(mask(|row, column| column <= row))?;
    let queries = queries.multiply(&from_start)?;
    let total = logs.try_index((.., .., .., CHUNK - 1..))?;
    let to_end = keys.multiply(total.subtract(&logs)?.exp()?.expand_dims(-1)?)?;
    let total = total.exp()?.expand_dims(-1)?;
    let mut states = states.clone();
    let mut outputs = Vec::new();
    for chunk in 0..count {
        let of = |x: &Array| x.try_index((.., .., chunk));
        let transposed = states.swap_axes(-1, -2)?;
        let changes = of(&values)?.subtract(of(&known)?.matmul(&transposed)?)?;
        outputs.push(of(&queries)?.matmul(&transposed)?.add(of(&scores)?.matmul(&changes)?)?);
        let added = changes.swap_axes(-1, -2)?.matmul(of(&to_end)?)?;
        states = states.multiply(of(&total)?)?.add(added)?;
    }
    let output = ops::concatenate(&outputs, 2)?.try_index((.., .., ..length))?;
    Ok((output, states))
}

/// `[R, H, t, ..]` → `[R, H, count, CHUNK, ..]`, padded with zeros.
fn chunked(x: &Array, count: i32) -> Result<Array> {
    let shape = x.shape();
    let (tokens, rest) = (shape[2], &shape[3..]);
    let padding = [&shape[..2], &[count * CHUNK - tokens], rest].concat();
    let padded = match padding[2] {
        0 => x.clone(),
        _ => ops::concatenate(&[x.clone(), ops::zeros_dtype(&padding, x.dtype())?], 2)?,
    };
    padded.reshape(&[&shape[..2], &[count, CHUNK], rest].concat())
}

/// The inverse of I + A, where A is the strictly lower part of `system` `[.., CHUNK, CHUNK]`.
///
/// Blocks along the diagonal are inverted, and joined in pairs: [[L, 0], [B, M]]⁻¹ = [[L⁻¹, 0], [-M⁻¹ B L⁻¹, M⁻¹]].
fn inverse_of_unit_lower(system: &Array) -> Result<Array> {
    let mut inverse = mask(|row, column| row == column);
    let mut size = 1;
    while size < CHUNK {
        let below = mask(|row, column| {
            row / (2 * size) == column / (2 * size) && row / size % 2 == 1 && column / size % 2 == 0
        });
        let joint = inverse.matmul(system.multiply(below)?)?.matmul(&inverse)?;
        inverse = inverse.subtract(joint)?;
        size *= 2;
    }
    Ok(inverse)
}

/// `[CHUNK, CHUNK]`: one where `holds`, else zero.
fn mask(holds: impl Fn(i32, i32) -> bool) -> Array {
    let numbers = (0..CHUNK).flat_map(|row| (0..CHUNK).map(move |column| (row, column)));
    let numbers: Vec<f32> = numbers.map(|(row, column)| f32::from(u8::from(holds(row, column)))).collect();
    Array::from_slice(&numbers, &[CHUNK, CHUNK])
}

/// Divides each vector by its length, times `scale`: `[.., d]`.
pub(super) fn normalized(x: &Array, scale: f32) -> Result<Array> {
    const EPSILON: f32 = 1e-6;
    let x = x.as_dtype(Dtype::Float32)?;
    let square = x.multiply(&x)?.sum_axis(-1, true)?.add(Array::from_f32(EPSILON))?;
    x.multiply(square.rsqrt()?)?.multiply(Array::from_f32(scale))
}

#[cfg(test)]
mod tests;
