//! Samples the next token of every row in one pass.
//!
//! Order: temperature, top-k, top-p over the tokens that top-k kept, min-p, then a draw from the rest. Parameters are columns
//! `[N, 1]`, so that rows with different settings share the pass.

use std::f32::consts::LOG2_E;

use mlx_rs::{Array, Dtype, ops};

use super::logit_rows;
use crate::engine::runner::{Batch, LogitAdjustment, NO_TOKEN, RowSampling, TokenMask};
use crate::kernels::exponential;

mod draw;
mod filter;

type Result<T> = mlx_rs::error::Result<T>;

/// All samples of a step.
#[derive(Debug)]
pub struct Samples<'a> {
    rows: Vec<RowSampling>,
    adjust: Vec<&'a [LogitAdjustment]>,
    masks: Vec<Option<&'a TokenMask>>,
    /// Rows of the step's logits to sample from; `None`: all.
    from: Option<Vec<u32>>,
}

impl<'a> Samples<'a> {
    /// The samples of `batch`; `masks` has one mask per masked row.
    pub fn new(batch: &'a Batch, masks: &'a [TokenMask]) -> Self {
        let (mut rows, mut adjust, mut row_masks, mut from) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut masks, mut before) = (masks.iter(), 0u32);
        for row in &batch.rows {
            let all = logit_rows(row).count() as u32;
            let first = before + all - row.samples.len() as u32;
            let mask = if row.masked { masks.next() } else { None };
            for (at, sampling) in (first..).zip(&row.samples) {
                from.push(at);
                rows.push(*sampling);
                adjust.push(&row.adjust[..]);
                row_masks.push(mask);
            }
            before += all;
        }
        let all = from.len() as u32 == before;
        Self { rows, adjust, masks: row_masks, from: (!all).then_some(from) }
    }

    /// Whether no row samples.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Samples tokens `[samples]` from the step's logits `[N, vocabulary]`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn draw(&self, logits: &Array) -> Result<Array> {
        let logits = match &self.from {
            None => logits.clone(),
            Some(from) => logits.take_axis(Array::from_slice(from, &[from.len() as i32]), 0)?,
        };
        let restricted = restrict(adjust(logits.clone(), &self.adjust)?, &self.masks)?;
        checked(&logits, &sample(&restricted, &self.rows)?)
    }
}

/// `chosen` `[N]`, with [`NO_TOKEN`] where the model's own logit of the token is NaN or infinite. Looks at one logit of each row:
/// a NaN anywhere in a model spreads to all of them.
fn checked(logits: &Array, chosen: &Array) -> Result<Array> {
    let own = ops::indexing::take_along_axis(logits, &chosen.reshape(&[-1, 1])?, -1)?;
    ops::select(own.reshape(&[-1])?.is_finite()?, chosen, Array::from_slice(&[NO_TOKEN], &[1]))
}

/// Sets the logits of masked-out tokens to -∞; logits `[N, vocabulary]`.
fn restrict(logits: Array, masks: &[Option<&TokenMask>]) -> Result<Array> {
    if masks.iter().all(Option::is_none) {
        return Ok(logits);
    }
    let vocabulary = logits.dim(1) as usize;
    let mut allowed = Vec::with_capacity(masks.len() * vocabulary);
    for mask in masks {
        match mask {
            None => allowed.resize(allowed.len() + vocabulary, true),
            Some(mask) => {
                let bits = mask.iter().flat_map(|word| (0..32).map(move |bit| word >> bit & 1 == 1));
                let end = allowed.len() + vocabulary;
                allowed.extend(bits.take(vocabulary));
                allowed.resize(end, false);
            }
        }
    }
    let allowed = Array::from_slice(&allowed, logits.shape());
    ops::select(allowed, &logits, Array::from_f32(f32::NEG_INFINITY))
}

/// Adjusts logits `[N, vocabulary]`, with one list per row. Ignores tokens beyond the vocabulary.
///
/// # Errors
/// When the device fails.
pub fn adjust(logits: Array, rows: &[&[LogitAdjustment]]) -> Result<Array> {
    if rows.iter().all(|row| row.is_empty()) {
        return Ok(logits);
    }
    let (count, vocabulary) = (logits.dim(0), logits.dim(1));
    let all = (0u32..).zip(rows).flat_map(|(row, list)| list.iter().map(move |adjust| (row, adjust)));
    let all: Vec<_> = all.filter(|(_, adjust)| adjust.token < vocabulary as u32).collect();
    let indices: Vec<u32> = all.iter().map(|(row, adjust)| row * vocabulary as u32 + adjust.token).collect();
    let indices = Array::from_slice(&indices, &[indices.len() as i32]);
    let column = |field: fn(&LogitAdjustment) -> f32| {
        let values: Vec<f32> = all.iter().map(|(_, adjust)| field(adjust)).collect();
        Array::from_slice(&values, &[values.len() as i32])
    };
    let flat = logits.reshape(&[count * vocabulary])?;
    let biased = flat.take_axis(&indices, 0)?.add(column(|adjust| adjust.bias))?;
    let repetition = column(|adjust| adjust.repetition);
    let positive = biased.gt(Array::from_f32(0.0))?;
    let scaled = ops::select(positive, biased.divide(&repetition)?, biased.multiply(&repetition)?)?;
    let changed = scaled.subtract(column(|adjust| adjust.penalty))?.reshape(&[all.len() as i32, 1])?;
    ops::indexing::scatter_single(&flat, &indices, changed, 0)?.reshape(&[count, vocabulary])
}

/// Logits `[N, vocabulary]` → tokens `[N]` (uint32), one per row.
///
/// # Errors
/// When the device fails.
pub fn sample(logits: &Array, rows: &[RowSampling]) -> Result<Array> {
    if rows.iter().all(|row| row.temperature == 0.0) {
        return ops::indexing::argmax_axis(logits, -1, false);
    }
    let temperature = column(rows, |row| if row.temperature == 0.0 { 1.0 } else { row.temperature });
    let scaled = logits.as_dtype(Dtype::Float32)?.divide(temperature)?;
    let likeliest = ops::indexing::argmax_axis(&scaled, -1, true)?;
    let top = ops::indexing::take_along_axis(&scaled, &likeliest, -1)?;

    let below = scaled.subtract(top)?;
    let weights = exponential::exp2(&below.multiply(Array::from_f32(LOG2_E))?)?;
    let kept = below.ge(filter::thresholds(&below, &weights, rows)?)?;
    let drawn = draw::draw(&ops::select(kept, weights, Array::from_f32(0.0))?, rows)?;

    let greedy = column(rows, |row| f32::from(u8::from(row.temperature == 0.0)));
    ops::select(greedy.gt(Array::from_f32(0.0))?, likeliest, drawn)?.reshape(&[rows.len() as i32])
}

/// One value per row, `[N, 1]`.
fn column(rows: &[RowSampling], value: impl Fn(&RowSampling) -> f32) -> Array {
    let values: Vec<f32> = rows.iter().map(value).collect();
    Array::from_slice(&values, &[rows.len() as i32, 1])
}

#[cfg(test)]
mod tests;
