//! CLIP's tower: a learned token before the patches, and learned positions.
//!
//! Radford et al. 2021 (<https://arxiv.org/abs/2103.00020>); reference: `modeling_clip.py` of Transformers 5.24.

use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, ops};

use super::TOWER;
use super::siglip::{Args, FORM};
use crate::layers::Result;
use crate::layers::full_attention::Groups;
use crate::layers::norm::LayerNorm;
use crate::layers::patches::PatchEmbedding;
use crate::layers::tower_block::TowerBlock;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The tower.
#[derive(Debug)]
pub(super) struct Clip {
    /// `[D]`.
    class_embedding: Array,
    patch_embedding: PatchEmbedding,
    /// `[1 + patches, D]`.
    position_embedding: Array,
    /// The checkpoints spell it so.
    pre_layrnorm: LayerNorm,
    layers: Vec<TowerBlock>,
}

impl Clip {
    /// Loads the tower up to the layer after which it is read.
    ///
    /// # Errors
    /// Those of the loader.
    pub(super) fn load(loader: &Loader, args: &Args, layers: usize) -> Result<Self, LoadError> {
        let sizes = args.sizes().map_err(|problem| loader.config().problem(problem))?;
        let (size, positions) = (args.hidden_size, args.side() * args.side() + 1);
        let embeddings = format!("{TOWER}.embeddings");
        let patches = format!("{embeddings}.patch_embedding");
        let norm = format!("{TOWER}.pre_layrnorm");
        let layers = (0..layers)
            .map(|layer| TowerBlock::load(loader, &format!("{TOWER}.encoder.layers.{layer}"), &FORM, &sizes));
        Ok(Self {
            class_embedding: loader.tensor(&format!("{embeddings}.class_embedding"), &[size])?,
            patch_embedding: PatchEmbedding::load(loader, &patches, args.patch(), size, false)?,
            position_embedding: loader
                .tensor(&format!("{embeddings}.position_embedding.weight"), &[positions, size])?,
            pre_layrnorm: LayerNorm::load(loader, &norm, size, true, sizes.eps)?,
            layers: layers.collect::<Result<_, _>>()?,
        })
    }

    /// Pictures `[B, 3, ..]` of the tower's size → `[B * patches, D]`, or with the learned token before each if `whole`.
    pub(super) fn forward(&self, pictures: &Array, whole: bool) -> Result<Array> {
        let (count, size) = (pictures.dim(0), self.class_embedding.dim(0));
        let patches = self.patch_embedding.forward_pictures(pictures)?.reshape(&[count, -1, size])?;
        let class = ops::broadcast_to(&self.class_embedding, &[count, 1, size])?;
        let x = ops::concatenate(&[class, patches], 1)?.add(&self.position_embedding)?;
        let mut x = self.pre_layrnorm.forward(&x.reshape(&[-1, size])?)?;
        let groups = Groups::Equal(count);
        for layer in &self.layers {
            x = layer.forward(&x, None, &groups)?;
        }
        if whole {
            return Ok(x);
        }
        x.reshape(&[count, -1, size])?.try_index((.., 1..))?.reshape(&[-1, size])
    }
}
