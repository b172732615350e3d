//! How unlikely a token may be to stay. Tokens are told by how far their scaled logits are below the likeliest's.

use std::f32::consts::LOG2_E;

use mlx_rs::{Array, ops};

use super::{Result, column};
use crate::engine::runner::RowSampling;
use crate::layers::exponential;

/// What is further below has so little of the weight, e⁻⁸⁰, that it never comes up; nor do impossible tokens.
const DEEPEST: f32 = -80.0;
/// Halvings of that depth by which a nucleus's border is found: to 1e-4 of a logit.
const HALVINGS: u32 = 20;

/// The least of `below` that each row keeps, `[N, 1]`. `below` are scaled logits `[N, vocabulary]` less their greatest,
/// `weights` their exponentials.
///
/// # Errors
/// When the device fails.
pub(super) fn least(below: &Array, weights: &Array, rows: &[RowSampling]) -> Result<Array> {
    let least = column(rows, |row| row.min_p.ln().max(DEEPEST));
    let draws = |row: &RowSampling| row.temperature > 0.0;
    let some = |row: &RowSampling| draws(row) && row.top_k > 0;
    let least = raise(least, rows, some, |at, rows| first(&pick(below, at)?, rows))?;
    let nucleus_only = |row: &RowSampling| draws(row) && row.top_k == 0 && row.top_p < 1.0;
    raise(least, rows, nucleus_only, |at, rows| nucleus(&pick(below, at)?, &pick(weights, at)?, rows))
}

/// Raises `least` to what `by` says of those `rows` that are `concerned`; others take no part, since it is dear.
fn raise(
    least: Array,
    rows: &[RowSampling],
    concerned: impl Fn(&RowSampling) -> bool,
    by: impl Fn(&[u32], &[RowSampling]) -> Result<Array>,
) -> Result<Array> {
    let at: Vec<u32> = (0..).zip(rows).filter(|(_, row)| concerned(row)).map(|(at, _)| at).collect();
    if at.is_empty() {
        return Ok(least);
    }
    let of: Vec<RowSampling> = at.iter().map(|at| rows[*at as usize]).collect();
    let none = Array::from_slice(&[DEEPEST], &[1, 1]);
    let borders = ops::concatenate(&[by(&at, &of)?, none], 0)?;
    let place = |row| at.iter().position(|at| *at == row).unwrap_or(at.len()) as u32;
    let places: Vec<u32> = (0..rows.len() as u32).map(place).collect();
    ops::maximum(least, pick(&borders, &places)?)
}

/// Rows `at` of `of`.
fn pick(of: &Array, at: &[u32]) -> Result<Array> {
    of.take_axis(Array::from_slice(at, &[at.len() as i32]), 0)
}

/// The least of the top-k, and of the top-p over those.
fn first(below: &Array, rows: &[RowSampling]) -> Result<Array> {
    let vocabulary = below.dim(1);
    let top_k = |row: &RowSampling| row.top_k.min(vocabulary as u32) as i32;
    let most = rows.iter().map(top_k).max().unwrap_or(vocabulary);
    let best = match most < vocabulary {
        true => ops::indexing::topk_axis(below, most, -1)?,
        false => below.clone(),
    };
    let sorted = ops::sort_axis(best.negative()?, -1)?.negative()?;
    let weights = exponential::exp2(&sorted.multiply(Array::from_f32(LOG2_E))?)?;
    let rank = ops::arange::<_, f32>(None, most, None)?.reshape(&[1, most])?;
    let inside = rank.lt(column(rows, |row| top_k(row) as f32))?;
    let kept = ops::select(&inside, weights, Array::from_f32(0.0))?;
    // A token stays while those before it have not reached top_p: the first always does.
    let before = ops::cumsum(&kept, -1, None, false)?;
    let reached = kept.sum_axis(-1, true)?.multiply(column(rows, |row| row.top_p))?;
    let inside = inside.logical_and(before.lt(reached)?)?;
    ops::select(inside, sorted, Array::from_f32(0.0))?.min_axis(-1, true)
}

/// The least of the top-p of all tokens, by halving: to sort a whole vocabulary takes a CPU as long as computing a row.
fn nucleus(below: &Array, weights: &Array, rows: &[RowSampling]) -> Result<Array> {
    let reached = weights.sum_axis(-1, true)?.multiply(column(rows, |row| row.top_p))?;
    // What is not below `low` has reached top_p, what is not below `high` has not.
    let (mut low, mut high) = (column(rows, |_| DEEPEST), column(rows, |_| 0.0));
    for _ in 0..HALVINGS {
        let middle = low.add(&high)?.multiply(Array::from_f32(0.5))?;
        let weight = ops::select(below.ge(&middle)?, weights, Array::from_f32(0.0))?.sum_axis(-1, true)?;
        let enough = weight.ge(&reached)?;
        low = ops::select(&enough, &middle, &low)?;
        high = ops::select(&enough, &high, &middle)?;
    }
    Ok(low)
}
