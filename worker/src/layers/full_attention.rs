//! Attention in which each token of a group attends to all of its group, without a KV pool.

use mlx_rs::fast::{ScaledDotProductAttentionMask, scaled_dot_product_attention};
use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, ops};

use super::Result;

/// Most scores that are held at once. Devices without a fused kernel store them.
const MAX_SCORES: usize = 32 << 20;

/// Which tokens attend to each other.
#[derive(Debug, Clone)]
pub enum Groups {
    /// This many runs of equal length.
    Equal(i32),
    /// Any.
    Listed(ListedGroups),
}

/// Groups of tokens that need not lie beside each other.
#[derive(Debug, Clone)]
pub struct ListedGroups {
    groups: i32,
    /// The tokens of each group, padded to the length of the longest, `[groups * longest]`.
    tokens: Array,
    /// Whether each of these is no padding, `[groups, 1, 1, longest]`. `None` if all groups have one length.
    mask: Option<Array>,
    /// Where each token is in `tokens`, `[N]`.
    places: Array,
}

impl ListedGroups {
    /// From the tokens of each group. Each token is in exactly one.
    pub fn new(groups: &[Vec<u32>]) -> Self {
        let longest = groups.iter().map(Vec::len).max().unwrap_or(0);
        let count: usize = groups.iter().map(Vec::len).sum();
        let mut places = vec![0u32; count];
        let mut tokens = vec![0u32; groups.len() * longest];
        let mut mask = vec![false; tokens.len()];
        for (group, own) in groups.iter().enumerate() {
            for (at, token) in own.iter().enumerate() {
                let place = group * longest + at;
                tokens[place] = *token;
                mask[place] = true;
                places[*token as usize] = place as u32;
            }
        }
        let is_padded = tokens.len() > count;
        let (groups, longest) = (groups.len() as i32, longest as i32);
        Self {
            groups,
            tokens: Array::from_slice(&tokens, &[groups * longest]),
            mask: is_padded.then(|| Array::from_slice(&mask, &[groups, 1, 1, longest])),
            places: Array::from_slice(&places, &[count as i32]),
        }
    }
}

/// Attention of queries over keys and values, `[N, H, d]` each: `[N, H * d]`.
///
/// # Errors
/// When the device fails.
pub fn attend([q, k, v]: [&Array; 3], scale: f32, groups: &Groups) -> Result<Array> {
    match groups {
        Groups::Equal(groups) => attend_groups([q, k, v], scale, *groups, None),
        Groups::Listed(ListedGroups { groups, tokens, mask, places }) => {
            let [q, k, v] = [q.take_axis(tokens, 0)?, k.take_axis(tokens, 0)?, v.take_axis(tokens, 0)?];
            attend_groups([&q, &k, &v], scale, *groups, mask.as_ref())?.take_axis(places, 0)
        }
    }
}

/// The same for `groups` runs of equal length.
fn attend_groups([q, k, v]: [&Array; 3], scale: f32, groups: i32, mask: Option<&Array>) -> Result<Array> {
    let (tokens, heads, width) = (q.dim(0), q.dim(1), q.dim(2));
    let length = tokens / groups.max(1);
    let by_head = |x: &Array| x.reshape(&[groups, length, heads, width])?.transpose_axes(&[0, 2, 1, 3]);
    let [q, k, v] = [by_head(q)?, by_head(k)?, by_head(v)?];
    let mask = || mask.map(ScaledDotProductAttentionMask::Array);
    let step = queries_at_once(groups * heads, length);
    let attended = if step >= length {
        scaled_dot_product_attention(&q, &k, &v, scale, mask(), None)?
    } else {
        let part = |first: i32| {
            let q = q.try_index((.., .., first..(first + step).min(length)))?;
            let part = scaled_dot_product_attention(&q, &k, &v, scale, mask(), None)?;
            // Evaluated now, so that the scores of the next part can take the memory of this one.
            part.eval().map(|()| part)
        };
        let parts: Vec<Array> = (0..length).step_by(step as usize).map(part).collect::<Result<_>>()?;
        ops::concatenate(&parts, 2)?
    };
    attended.transpose_axes(&[0, 2, 1, 3])?.reshape(&[tokens, heads * width])
}

/// How many queries of each of `heads` attend at once over `length` keys.
fn queries_at_once(heads: i32, length: i32) -> i32 {
    let scores = heads.max(1) as usize * length.max(1) as usize;
    (MAX_SCORES / scores).clamp(1, length.max(1) as usize) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_pictures_attend_in_parts() {
        assert_eq!(queries_at_once(16, 1024), 1024);
        assert_eq!(queries_at_once(16, 16384), 128);
        assert_eq!(queries_at_once(1 << 20, 1 << 20), 1);
        assert_eq!(queries_at_once(0, 0), 1);
    }
}
