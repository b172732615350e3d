//! What a model gets for one step: tokens, positions, and the features of images.

use mlx_rs::ops::indexing::{scatter_add_single, scatter_single};
use mlx_rs::{Array, Dtype};

use crate::layers::Result;
use crate::layers::rope::Positions;

/// T tokens of a step.
#[derive(Debug)]
pub struct StepInput {
    /// Token ids, `[T]`.
    pub ids: Array,
    /// The position of each.
    pub positions: Positions,
    /// The features of tokens that stand for images, if there are any.
    pub images: Option<ImageRows>,
}

/// The features of M tokens of a step that stand for images.
#[derive(Debug)]
pub struct ImageRows {
    /// The index of each token in the step, `[M]`, uint32.
    pub rows: Array,
    /// In the place of their embeddings, `[M, D]`.
    pub features: Array,
    /// Added to the hidden states after the first layers, one for each layer, `[M, D]` each.
    pub deep: Vec<Array>,
}

impl StepInput {
    /// Embeddings `[T, D]`, with the features of images in their places.
    ///
    /// # Errors
    /// When the device fails.
    pub fn with_images(&self, embedded: Array) -> Result<Array> {
        let Some(ImageRows { rows, features, .. }) = &self.images else { return Ok(embedded) };
        scatter_single(&embedded, rows, updates(features, embedded.dtype())?, 0)
    }

    /// The hidden states `[T, D]` after `layer`, with the deep features of images added.
    ///
    /// # Errors
    /// When the device fails.
    pub fn with_deep_features(&self, hidden: Array, layer: usize) -> Result<Array> {
        let Some((rows, features)) =
            self.images.as_ref().and_then(|all| Some((&all.rows, all.deep.get(layer)?)))
        else {
            return Ok(hidden);
        };
        scatter_add_single(&hidden, rows, updates(features, hidden.dtype())?, 0)
    }
}

/// `[M, D]` → `[M, 1, D]`, the form that scattering takes, in the type of the target.
fn updates(features: &Array, dtype: Dtype) -> Result<Array> {
    features.as_dtype(dtype)?.expand_dims(1)
}
