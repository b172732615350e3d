//! The images of a prompt: which of its tokens stand for them, and where these are in time and space. Pure.

use std::ops::Range;
use std::sync::Arc;

use image_input::Prepared;

#[cfg(doc)]
use super::runner::Batch;
use super::runner::RowImage;

/// An image in a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptImage {
    /// What the vision tower takes.
    pub image: Arc<Prepared>,
    /// The indices in the prompt of the tokens that stand for it, ascending: one for each of its features.
    pub tokens: Arc<[u32]>,
}

/// The images of a prompt, in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PromptImages {
    images: Vec<PromptImage>,
    /// Time, row and column of each token up to the end of the last image, for models that tell them apart.
    axes: Arc<[[u32; 3]]>,
    /// What a later token's axes are less than its index.
    saved: u32,
}

impl PromptImages {
    /// Images of a model that numbers tokens one after another.
    pub fn new(images: Vec<PromptImage>) -> Self {
        Self { images, ..Self::default() }
    }

    /// Images of a model with time, rows and columns. An image's tokens follow each other.
    ///
    /// Text counts up on all axes. The tokens of an image have one time, and the next text follows its longest side. (Reference:
    /// `get_rope_index` of `modeling_qwen2_vl.py` in Transformers 5.24.)
    pub fn with_axes(images: Vec<PromptImage>) -> Self {
        let mut axes: Vec<[u32; 3]> = Vec::new();
        let mut next = 0;
        for PromptImage { image, tokens } in &images {
            let first = tokens.first().copied().unwrap_or_default() as usize;
            while axes.len() < first {
                axes.push([next; 3]);
                next += 1;
            }
            let [times, rows, columns] = token_grid(image);
            for time in 0..times {
                for row in 0..rows {
                    axes.extend((0..columns).map(|column| [next + time, next + row, next + column]));
                }
            }
            next += times.max(rows).max(columns);
        }
        let saved = (axes.len() as u32).saturating_sub(next);
        Self { images, axes: axes.into(), saved }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Whether tokens have other axes than their index.
    pub fn has_axes(&self) -> bool {
        !self.axes.is_empty()
    }

    /// Time, row and column of the token with this index.
    pub fn axes(&self, index: usize) -> [u32; 3] {
        self.axes.get(index).copied().unwrap_or([(index as u32).saturating_sub(self.saved); 3])
    }

    /// The images of which tokens are in `range`, which begins at `start` in a [`Batch`].
    pub fn in_row(&self, range: &Range<usize>, start: usize) -> Vec<RowImage> {
        let part = |PromptImage { image, tokens }: &PromptImage| {
            let before = |end: usize| tokens.partition_point(|index| (*index as usize) < end);
            let features = before(range.start)..before(range.end);
            let in_batch = |index: &u32| (start + *index as usize - range.start) as u32;
            let tokens: Vec<u32> = tokens[features.clone()].iter().map(in_batch).collect();
            let features = features.start as u32..features.end as u32;
            (!tokens.is_empty()).then(|| RowImage { image: Arc::clone(image), tokens, features })
        };
        self.images.iter().filter_map(part).collect()
    }

    /// The end of a chunk of `range` that splits no image: before the last image that does not end in it, or after that image if the
    /// chunk begins with it.
    pub(super) fn whole_end(&self, range: Range<usize>) -> usize {
        let is_split = |own: &Range<usize>| own.start < range.end && range.end < own.end;
        match self.ranges().find(is_split) {
            Some(own) if range.start < own.start => own.start,
            Some(own) => own.end,
            None => range.end,
        }
    }

    /// From the first token of each image to its last.
    fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        let range =
            |image: &PromptImage| Some(*image.tokens.first()? as usize..*image.tokens.last()? as usize + 1);
        self.images.iter().filter_map(range)
    }

    /// Digests of the images of which tokens are in `range`.
    pub(super) fn digests(&self, range: Range<usize>) -> impl Iterator<Item = &[u8; 32]> {
        let touches = move |image: &&PromptImage| {
            let at = image.tokens.partition_point(|index| (*index as usize) < range.start);
            image.tokens.get(at).is_some_and(|index| (*index as usize) < range.end)
        };
        self.images.iter().filter(touches).map(|image| &image.image.digest)
    }
}

/// Times, rows and columns of an image's tokens. Each stands for a square of patches.
fn token_grid(image: &Prepared) -> [u32; 3] {
    let [times, rows, columns] = image.grid;
    let side = (times * rows * columns / image.features.max(1)).isqrt().max(1);
    [times, rows / side, columns / side]
}

#[cfg(test)]
mod tests;
