//! Pixtral's tower, whose patches rotate with their row and column, and the vision part of Mistral 3, which joins squares of them.
//!
//! Agrawal et al. 2024 (<https://arxiv.org/abs/2410.07073>); reference: `modeling_pixtral.py` and `modeling_mistral3.py` of
//! Transformers 5.24.

use image_input::Prepared;
use mlx_rs::Array;
use serde::Deserialize;

use super::patch_grid::coordinates;
use super::{Features, TOWER, VisionTower, feature_layers, llava, pixels, qwen2_vl};
use crate::layers::Result;
use crate::layers::full_attention::Groups;
use crate::layers::linear::Linear;
use crate::layers::patches::{PatchEmbedding, PatchShape};
use crate::layers::rope::Rope;
use crate::layers::tower_block::{
    BlockForm, BlockSizes, MlpForm, PlainMlp, TowerActivation, TowerBlock, TowerNorm,
};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// Of the tower's norms.
const EPS: f32 = 1e-5;
/// The layers.
const FORM: BlockForm = BlockForm {
    norms: ["attention_norm", "ffn_norm"],
    rms: true,
    qkv: &["attention.q_proj", "attention.k_proj", "attention.v_proj"],
    output: "attention.o_proj",
    mlp: MlpForm::Gated("feed_forward"),
    biased: false,
};

/// config.json around `vision_config`.
#[derive(Debug, Clone, Deserialize)]
struct Outer {
    vision_config: Args,
}

/// The fields of `vision_config`. Defaults are those of Transformers.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
struct Args {
    hidden_size: i32,
    intermediate_size: i32,
    num_hidden_layers: usize,
    num_attention_heads: i32,
    num_channels: i32,
    patch_size: i32,
    hidden_act: String,
    rope_theta: Option<f32>,
    rope_parameters: Option<RopeParameters>,
}

/// The newer place of the base.
#[derive(Debug, Clone, Default, Deserialize)]
struct RopeParameters {
    rope_theta: Option<f32>,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            hidden_size: 1024,
            intermediate_size: 4096,
            num_hidden_layers: 24,
            num_attention_heads: 16,
            num_channels: 3,
            patch_size: 16,
            hidden_act: "gelu".into(),
            rope_theta: None,
            rope_parameters: None,
        }
    }
}

impl Args {
    fn sizes(&self) -> Result<BlockSizes, String> {
        let (size, heads) = (self.hidden_size, self.num_attention_heads);
        if heads < 1 || size < 1 || size % (4 * heads) != 0 || !(1..=1024).contains(&self.patch_size) {
            return Err(format!(
                "vision_config: {heads} heads cannot rotate a width of {size} by rows and columns"
            ));
        }
        let sizes = BlockSizes {
            size,
            hidden: self.intermediate_size,
            heads,
            head_dim: size / heads,
            eps: EPS,
            activation: TowerActivation::from_name(&self.hidden_act)?,
        };
        sizes.check().map(|()| sizes)
    }

    /// Waves turn with the row and with the column in turns.
    fn rope(&self, head_dim: i32) -> Rope {
        let theta =
            self.rope_theta.or(self.rope_parameters.as_ref().and_then(|p| p.rope_theta)).unwrap_or(10_000.0);
        let waves = |first: i32| -> Vec<f32> {
            let wave = |i: i32| theta.powf(-2.0 * (2 * i + first) as f32 / head_dim as f32);
            (0..head_dim / 4).map(wave).collect()
        };
        Rope::on_grid(&waves(0), &waves(1))
    }
}

/// The tower.
#[derive(Debug)]
pub(super) struct Pixtral {
    patch_conv: PatchEmbedding,
    ln_pre: TowerNorm,
    layers: Vec<TowerBlock>,
    rope: Rope,
    size: i32,
}

impl Pixtral {
    /// Loads the tower up to the layer after which it is read.
    ///
    /// # Errors
    /// Those of the loader.
    pub(super) fn load(loader: &Loader, feature_layer: i64) -> Result<Self, LoadError> {
        let Outer { vision_config: args } = loader.config().args()?;
        let problem = |problem: String| loader.config().problem(problem);
        let sizes = args.sizes().map_err(problem)?;
        let layers = feature_layers(feature_layer, args.num_hidden_layers).map_err(problem)?;
        let layers = (0..layers).map(|layer| {
            TowerBlock::load(loader, &format!("{TOWER}.transformer.layers.{layer}"), &FORM, &sizes)
        });
        let patch = PatchShape { channels: args.num_channels, frames: None, side: args.patch_size };
        let size = sizes.size;
        Ok(Self {
            patch_conv: PatchEmbedding::load(loader, &format!("{TOWER}.patch_conv"), patch, size, false)?,
            ln_pre: TowerNorm::load(loader, &format!("{TOWER}.ln_pre"), size, true, EPS)?,
            layers: layers.collect::<Result<_, _>>()?,
            rope: args.rope(sizes.head_dim),
            size,
        })
    }

    /// The width.
    pub(super) fn size(&self) -> i32 {
        self.size
    }

    /// An image → `[patches, D]`, row by row.
    pub(super) fn forward(&self, image: &Prepared) -> Result<Array> {
        let embedded = self.patch_conv.forward_pictures(&pixels(image))?;
        let mut x = self.ln_pre.forward(&embedded)?;
        let rotation = qwen2_vl::rotation(&self.rope, &coordinates(image.grid, 1), &x)?;
        let groups = Groups::Equal(image.grid[0] as i32);
        for layer in &self.layers {
            x = layer.forward(&x, Some(&rotation), &groups)?;
        }
        Ok(x)
    }
}

/// The fields of Mistral 3's config.json.
#[derive(Debug, Clone, Deserialize)]
struct Mistral3Args {
    rms_norm_eps: f32,
    #[serde(default = "default_merge")]
    spatial_merge_size: i32,
}

fn default_merge() -> i32 {
    2
}

/// The vision part of Mistral 3.
#[derive(Debug)]
pub(super) struct Mistral3 {
    tower: Pixtral,
    norm: TowerNorm,
    merging_layer: Linear,
    projector: PlainMlp,
    /// Patches in a side of a square that becomes one token.
    merge: i32,
}

impl Mistral3 {
    /// Loads it.
    ///
    /// # Errors
    /// Those of the loader.
    pub(super) fn load(loader: &Loader) -> Result<Self, LoadError> {
        let args: llava::Args = loader.config().args()?;
        let Mistral3Args { rms_norm_eps, spatial_merge_size: merge } = loader.config().args()?;
        if !(1..=16).contains(&merge) {
            return Err(loader.config().problem(format!("spatial_merge_size is {merge}")));
        }
        let tower = Pixtral::load(loader, args.vision_feature_layer.unwrap_or(-1))?;
        let size = tower.size();
        let merging = "multi_modal_projector.patch_merger.merging_layer";
        let biased = args.multimodal_projector_bias.unwrap_or(false);
        let args = llava::Args { multimodal_projector_bias: Some(biased), ..args };
        Ok(Self {
            tower,
            norm: TowerNorm::load(loader, "multi_modal_projector.norm", size, true, rms_norm_eps)?,
            merging_layer: Linear::load(loader, merging, size * merge * merge, size, false)?,
            projector: args.projector(loader, size)?,
            merge,
        })
    }
}

impl VisionTower for Mistral3 {
    fn encode(&self, image: &Prepared) -> Result<Features> {
        let x = self.norm.forward(&self.tower.forward(image)?)?;
        let [_, rows, columns] = image.grid.map(|size| size as i32 / self.merge);
        let (merge, size) = (self.merge, x.dim(1));
        // A square lies colour by colour, as a convolution's filter.
        let squares = x.reshape(&[-1, rows, merge, columns, merge, size])?;
        let squares = squares.transpose_axes(&[0, 1, 3, 5, 2, 4])?;
        let joined = self.merging_layer.forward(&squares.reshape(&[-1, size * merge * merge])?)?;
        Ok(Features { rows: self.projector.forward(&joined)?, deep: Vec::new() })
    }
}
