//! Log probabilities of the model itself, for the rows that request them.

use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, ops};

use super::logit_rows;
use crate::engine::runner::{Batch, NO_TOKEN, TokenScore};

type Result<T> = mlx_rs::error::Result<T>;

/// The tokens of a step to score.
#[derive(Debug)]
pub struct ScoredTokens {
    /// Rows of the step's logits.
    from: Vec<u32>,
    /// Greatest requested number of most likely tokens.
    top: usize,
}

impl ScoredTokens {
    /// `None` if no row requests scores.
    pub fn new(batch: &Batch) -> Option<Self> {
        let (mut from, mut top, mut before) = (Vec::new(), None, 0);
        for row in &batch.rows {
            let all = logit_rows(row).count() as u32;
            if let Some(score) = &row.score {
                from.extend(before..before + all);
                top = top.max(Some(score.top));
            }
            before += all;
        }
        top.map(|top| Self { from, top })
    }

    /// One list per requesting row, from the step's logits `[N, vocabulary]` and the sampled tokens.
    ///
    /// # Errors
    /// When the device fails.
    pub fn scores(&self, logits: &Array, batch: &Batch, chosen: &[u32]) -> Result<Vec<Vec<TokenScore>>> {
        let count = self.from.len() as i32;
        let tokens = self.tokens(batch, chosen);
        let selected = logits.take_axis(Array::from_slice(&self.from, &[count]), 0)?;
        let all = selected.subtract(selected.logsumexp_axis(-1, true)?)?;
        let indices = Array::from_slice(&tokens, &[count, 1]);
        let logprobs = ops::indexing::take_along_axis(&all, &indices, -1)?;
        let top = self.most_likely(&all)?;
        logprobs.eval()?;
        let all = tokens.iter().zip(logprobs.as_slice::<f32>()).zip(top);
        let mut all = all.map(|((token, logprob), top)| TokenScore { token: *token, logprob: *logprob, top });
        let requesting = batch.rows.iter().filter_map(|row| Some((row, row.score.as_ref()?)));
        let rows = requesting.map(|(row, score)| {
            let scores = all.by_ref().take(logit_rows(row).count());
            scores
                .map(|mut scored| {
                    scored.top.truncate(score.top);
                    scored
                })
                .collect()
        });
        Ok(rows.collect())
    }

    /// The token to score at each position: a prompt token or a sampled one.
    fn tokens(&self, batch: &Batch, mut chosen: &[u32]) -> Vec<u32> {
        let mut tokens = Vec::with_capacity(self.from.len());
        for row in &batch.rows {
            let (sampled, rest) = chosen.split_at(row.samples.len());
            chosen = rest;
            if let Some(score) = &row.score {
                tokens.extend_from_slice(&score.targets);
                // The request of a token that there is not fails without its score.
                tokens.extend(sampled.iter().map(|token| if *token == NO_TOKEN { 0 } else { *token }));
            }
        }
        tokens
    }

    /// The most likely tokens of each position, in descending order.
    fn most_likely(&self, logprobs: &Array) -> Result<Vec<Vec<(u32, f32)>>> {
        let (count, vocabulary) = (logprobs.dim(0) as usize, logprobs.dim(1));
        let top = self.top.min(vocabulary as usize);
        if top == 0 {
            return Ok(vec![Vec::new(); count]);
        }
        // The first k entries are the k smallest, unordered.
        let order = ops::argpartition_axis(logprobs.negative()?, top as i32 - 1, -1)?;
        let order = order.try_index((.., ..top as i32))?;
        let values = ops::indexing::take_along_axis(logprobs, &order, -1)?;
        // With k = 1 this is a strided column, and flattening does not copy it: make it contiguous.
        let order = order.flatten(None, None)?.contiguous()?;
        let values = values.flatten(None, None)?.contiguous()?;
        mlx_rs::transforms::eval([&order, &values])?;
        let pairs = order.as_slice::<u32>().chunks(top).zip(values.as_slice::<f32>().chunks(top));
        let sorted = pairs.map(|(tokens, values)| {
            let mut pairs: Vec<(u32, f32)> = tokens.iter().copied().zip(values.iter().copied()).collect();
            pairs.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            pairs
        });
        Ok(sorted.collect())
    }
}

#[cfg(test)]
mod tests;
