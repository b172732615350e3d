//! The towers of SigLIP's form, with a learned position for each patch.
//!
//! Zhai et al. 2023 (<https://arxiv.org/abs/2303.15343>); reference: `modeling_siglip.py` and, for pictures of other sizes than the
//! tower's, `modeling_idefics3.py` of Transformers 5.24.

use mlx_rs::Array;
use serde::Deserialize;

use super::TOWER;
use crate::layers::Result;
use crate::layers::full_attention::Groups;
use crate::layers::norm::LayerNorm;
use crate::layers::patches::{PatchEmbedding, PatchShape};
use crate::layers::tower_block::{BlockForm, BlockSizes, MlpForm, TowerActivation, TowerBlock};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The layers of SigLIP and CLIP.
pub(super) const FORM: BlockForm = BlockForm {
    norms: ["layer_norm1", "layer_norm2"],
    rms: false,
    qkv: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    output: "self_attn.out_proj",
    mlp: MlpForm::Plain(["mlp.fc1", "mlp.fc2"]),
    biased: true,
};

/// The fields of `vision_config`. Defaults are those of Transformers.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(super) struct Args {
    pub(super) hidden_size: i32,
    intermediate_size: i32,
    pub(super) num_hidden_layers: usize,
    num_attention_heads: i32,
    num_channels: i32,
    pub(super) image_size: i32,
    pub(super) patch_size: i32,
    layer_norm_eps: f32,
    hidden_act: String,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            hidden_size: 1152,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 16,
            num_channels: 3,
            image_size: 224,
            patch_size: 32,
            layer_norm_eps: 1e-6,
            hidden_act: "gelu_pytorch_tanh".into(),
        }
    }
}

impl Args {
    /// With another epsilon and activation.
    pub(super) fn with(self, layer_norm_eps: f32, hidden_act: String) -> Self {
        Self { layer_norm_eps, hidden_act, ..self }
    }

    /// The sizes of a layer.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn sizes(&self) -> Result<BlockSizes, String> {
        let (size, heads) = (self.hidden_size, self.num_attention_heads);
        if size < 1 || heads < 1 || size % heads != 0 {
            return Err(format!(
                "vision_config: hidden_size ({size}) must be a multiple of num_attention_heads ({heads})"
            ));
        }
        if self.patch_size < 1 || self.image_size < self.patch_size || self.image_size > 1 << 15 {
            let Self { image_size, patch_size, .. } = self;
            return Err(format!("vision_config: image_size is {image_size}, patch_size {patch_size}"));
        }
        let sizes = BlockSizes {
            size,
            hidden: self.intermediate_size,
            heads,
            head_dim: size / heads,
            eps: self.layer_norm_eps,
            activation: TowerActivation::from_name(&self.hidden_act)?,
        };
        sizes.check().map(|()| sizes)
    }

    /// The sizes of a patch.
    pub(super) fn patch(&self) -> PatchShape {
        PatchShape { channels: self.num_channels, frames: None, side: self.patch_size }
    }

    /// Of the norms.
    pub(super) fn eps(&self) -> f32 {
        self.layer_norm_eps
    }

    /// Patches in a row of a picture of the tower's size.
    pub(super) fn side(&self) -> i32 {
        self.image_size / self.patch_size
    }
}

/// The tower.
#[derive(Debug)]
pub(super) struct Tower {
    patch_embedding: PatchEmbedding,
    /// `[side * side, D]`.
    position_embedding: Array,
    layers: Vec<TowerBlock>,
    post_layernorm: LayerNorm,
    side: i32,
}

impl Tower {
    /// Loads the tower.
    ///
    /// # Errors
    /// Those of the loader.
    pub(super) fn load(loader: &Loader, args: &Args) -> Result<Self, LoadError> {
        let sizes = args.sizes().map_err(|problem| loader.config().problem(problem))?;
        let (size, side) = (args.hidden_size, args.side());
        let layers = (0..args.num_hidden_layers)
            .map(|layer| TowerBlock::load(loader, &format!("{TOWER}.encoder.layers.{layer}"), &FORM, &sizes));
        Ok(Self {
            patch_embedding: PatchEmbedding::load(
                loader,
                &format!("{TOWER}.embeddings.patch_embedding"),
                args.patch(),
                size,
                true,
            )?,
            position_embedding: loader
                .tensor(&format!("{TOWER}.embeddings.position_embedding.weight"), &[side * side, size])?,
            layers: layers.collect::<Result<_, _>>()?,
            post_layernorm: LayerNorm::load(
                loader,
                &format!("{TOWER}.post_layernorm"),
                size,
                true,
                args.layer_norm_eps,
            )?,
            side,
        })
    }

    /// Pictures `[B, 3, ..]` of `rows` × `columns` patches → `[B * rows * columns, D]`.
    pub(super) fn forward(&self, pictures: &Array, [rows, columns]: [u32; 2]) -> Result<Array> {
        let embedded = self.patch_embedding.forward_pictures(pictures)?;
        let count = pictures.dim(0);
        let ids = position_ids(self.side as u32, rows, columns);
        let length = ids.len() as i32;
        let positions = self.position_embedding.take_axis(Array::from_slice(&ids, &[length]), 0)?;
        let mut x = embedded.reshape(&[count, length, -1])?.add(positions)?.reshape(&[count * length, -1])?;
        let groups = Groups::Equal(count);
        for layer in &self.layers {
            x = layer.forward(&x, None, &groups)?;
        }
        self.post_layernorm.forward(&x)
    }
}

/// The position of each patch in the tower's square of `side` × `side`, for a picture of `rows` × `columns` patches.
fn position_ids(side: u32, rows: u32, columns: u32) -> Vec<u32> {
    let place = |index: u32, count: u32| if count == side { index } else { (index * side) / count.max(1) };
    let row = |row: u32| (0..columns).map(move |column| place(row, rows) * side + place(column, columns));
    (0..rows).flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smaller_pictures_spread_over_the_positions() {
        assert_eq!(position_ids(2, 2, 2), [0, 1, 2, 3]);
        assert_eq!(position_ids(4, 1, 2), [0, 2]);
        assert_eq!(position_ids(4, 2, 2), [0, 2, 8, 10]);
    }
}
