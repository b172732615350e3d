//! Computes which tokens the filters keep, as a threshold on the scaled logits minus the greatest one.

use std::f32::consts::LOG2_E;

use mlx_rs::{Array, ops};

use super::{Result, column};
use crate::engine::runner::RowSampling;
use crate::kernels::exponential;

/// Lowest threshold. Below it the weight is under e⁻⁸⁰, which is never drawn; this excludes impossible tokens too.
const MIN_THRESHOLD: f32 = -80.0;
/// Bisection steps that find a top-p threshold: to 1e-4 of a logit.
const BISECTION_STEPS: u32 = 20;

/// The threshold of each row, `[N, 1]`. `below` are scaled logits `[N, vocabulary]` minus their maximum, `weights` their
/// exponentials.
///
/// # Errors
/// When the device fails.
pub(super) fn thresholds(below: &Array, weights: &Array, rows: &[RowSampling]) -> Result<Array> {
    let thresholds = column(rows, |row| row.min_p.ln().max(MIN_THRESHOLD));
    let draws = |row: &RowSampling| row.temperature > 0.0;
    let top_k = |row: &RowSampling| draws(row) && row.top_k > 0;
    let thresholds = raise(thresholds, rows, top_k, |at, rows| top_k_threshold(&pick(below, at)?, rows))?;
    let top_p_only = |row: &RowSampling| draws(row) && row.top_k == 0 && row.top_p < 1.0;
    raise(thresholds, rows, top_p_only, |at, rows| {
        top_p_threshold(&pick(below, at)?, &pick(weights, at)?, rows)
    })
}

/// Raises the thresholds of the selected rows to those that `compute` returns. The other rows skip the costly computation.
fn raise(
    thresholds: Array,
    rows: &[RowSampling],
    selected: impl Fn(&RowSampling) -> bool,
    compute: impl Fn(&[u32], &[RowSampling]) -> Result<Array>,
) -> Result<Array> {
    let at: Vec<u32> = (0..).zip(rows).filter(|(_, row)| selected(row)).map(|(at, _)| at).collect();
    if at.is_empty() {
        return Ok(thresholds);
    }
    let subset: Vec<RowSampling> = at.iter().map(|at| rows[*at as usize]).collect();
    let none = Array::from_slice(&[MIN_THRESHOLD], &[1, 1]);
    let candidates = ops::concatenate(&[compute(&at, &subset)?, none], 0)?;
    let index = |row| at.iter().position(|at| *at == row).unwrap_or(at.len()) as u32;
    let indices: Vec<u32> = (0..rows.len() as u32).map(index).collect();
    ops::maximum(thresholds, pick(&candidates, &indices)?)
}

/// Rows `at` of `array`.
fn pick(array: &Array, at: &[u32]) -> Result<Array> {
    array.take_axis(Array::from_slice(at, &[at.len() as i32]), 0)
}

/// Thresholds of top-k, and of top-p within the top-k tokens.
fn top_k_threshold(below: &Array, rows: &[RowSampling]) -> Result<Array> {
    let vocabulary = below.dim(1);
    let top_k = |row: &RowSampling| row.top_k.min(vocabulary as u32) as i32;
    let max_k = rows.iter().map(top_k).max().unwrap_or(vocabulary);
    let best = if max_k < vocabulary { ops::indexing::topk_axis(below, max_k, -1)? } else { below.clone() };
    let sorted = ops::sort_axis(best.negative()?, -1)?.negative()?;
    let weights = exponential::exp2(&sorted.multiply(Array::from_f32(LOG2_E))?)?;
    let rank = ops::arange::<_, f32>(None, max_k, None)?.reshape(&[1, max_k])?;
    let inside = rank.lt(column(rows, |row| top_k(row) as f32))?;
    let kept = ops::select(&inside, weights, Array::from_f32(0.0))?;
    // A token stays if the weight before it is below top_p. The first always stays.
    let before = ops::cumsum(&kept, -1, None, false)?;
    let reached = kept.sum_axis(-1, true)?.multiply(column(rows, |row| row.top_p))?;
    let inside = inside.logical_and(before.lt(reached)?)?;
    ops::select(inside, sorted, Array::from_f32(0.0))?.min_axis(-1, true)
}

/// Thresholds of top-p over all tokens, by bisection: sorting the vocabulary takes a CPU as long as computing a row.
fn top_p_threshold(below: &Array, weights: &Array, rows: &[RowSampling]) -> Result<Array> {
    let reached = weights.sum_axis(-1, true)?.multiply(column(rows, |row| row.top_p))?;
    // The weight at or above `low` reaches top_p; that at or above `high` does not.
    let (mut low, mut high) = (column(rows, |_| MIN_THRESHOLD), column(rows, |_| 0.0));
    for _ in 0..BISECTION_STEPS {
        let middle = low.add(&high)?.multiply(Array::from_f32(0.5))?;
        let weight = ops::select(below.ge(&middle)?, weights, Array::from_f32(0.0))?.sum_axis(-1, true)?;
        let enough = weight.ge(&reached)?;
        low = ops::select(&enough, &middle, &low)?;
        high = ops::select(&enough, &high, &middle)?;
    }
    Ok(low)
}
