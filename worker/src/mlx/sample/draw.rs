//! Draws tokens in proportion to their weights.
//!
//! A race of exponential numbers: the token with the least E / w wins, each with a probability in proportion to its w ("Gumbel's
//! trick", told without logarithms). The inverse of the cumulative distribution would take a single random number, but what it
//! draws depends on the last digits of all weights, which differ by the company in the batch: where thousands of tokens are
//! likely, it drew another one once in a hundred tokens. In a race the second is as near as ε with probability ε only.
//!
//! A random number for each token would be dear, so there are two races: of groups of tokens, and within the one that won.

use mlx_rs::{Array, ops};

use super::Result;
use crate::engine::rng;
use crate::engine::runner::RowSampling;

/// Tokens of a group: near the square root of a vocabulary, where the numbers of both races are fewest.
const GROUP: i32 = 256;

/// Weights `[N, vocabulary]` → tokens `[N, 1]` (uint32), by each row's noise.
///
/// # Errors
/// When the device fails.
pub(super) fn draw(weights: &Array, rows: &[RowSampling]) -> Result<Array> {
    let (count, vocabulary) = (weights.dim(0), weights.dim(1));
    let groups = (vocabulary + GROUP - 1) / GROUP;
    let missing = groups * GROUP - vocabulary;
    let grouped = match missing {
        0 => weights.clone(),
        _ => ops::pad(weights, &[(0, 0), (0, missing)][..], Array::from_f32(0.0), None)?,
    };
    let grouped = grouped.reshape(&[count, groups, GROUP])?;
    let group = race(&grouped.sum_axis(-1, false)?, rows, 0)?;
    let at = ops::broadcast_to(group.reshape(&[count, 1, 1])?, &[count, 1, GROUP])?;
    let members = ops::indexing::take_along_axis(&grouped, at, 1)?.reshape(&[count, GROUP])?;
    let member = race(&members, rows, groups as u64)?;
    group.multiply(Array::from_slice(&[GROUP as u32], &[]))?.add(member)
}

/// Who of each row of `weights` wins, `[N, 1]`. Numbers from the `first` of the row's noise are used.
fn race(weights: &Array, rows: &[RowSampling], first: u64) -> Result<Array> {
    let runners = first..first + weights.dim(1) as u64;
    let times =
        |row: &RowSampling| runners.clone().map(|at| rng::exponential(row.noise, at)).collect::<Vec<f32>>();
    let times: Vec<f32> = rows.iter().flat_map(times).collect();
    ops::indexing::argmax_axis(weights.divide(Array::from_slice(&times, weights.shape()))?, -1, true)
}
