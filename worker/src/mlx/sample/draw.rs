//! Draws tokens in proportion to their weights.
//!
//! An exponential race: the token with the smallest E / w wins, where E is exponentially distributed. Its probability is
//! proportional to w (the Gumbel trick without logarithms). Inverting the cumulative distribution would need only one random
//! number. But its result depends on the last digits of all weights, which vary with the other rows of the batch. With
//! thousands of likely tokens it drew a different one once in a hundred tokens. In a race, the runner-up is within ε of the
//! winner only with probability ε.
//!
//! A random number per token would be expensive, so there are two races: between groups of tokens, then within the winning
//! group.

use mlx_rs::{Array, ops};

use super::Result;
use crate::engine::rng;
use crate::engine::runner::RowSampling;

/// Tokens per group: near the square root of a vocabulary, which minimises the random numbers of both races.
const GROUP: i32 = 256;

/// Weights `[N, vocabulary]` → tokens `[N, 1]` (uint32), drawn with each row's noise.
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

/// The winning index in each row of `weights`, `[N, 1]`. Uses the row's random numbers from index `first` on.
fn race(weights: &Array, rows: &[RowSampling], first: u64) -> Result<Array> {
    let runners = first..first + weights.dim(1) as u64;
    let times =
        |row: &RowSampling| runners.clone().map(|at| rng::exponential(row.noise, at)).collect::<Vec<f32>>();
    let times: Vec<f32> = rows.iter().flat_map(times).collect();
    ops::indexing::argmax_axis(weights.divide(Array::from_slice(&times, weights.shape()))?, -1, true)
}
