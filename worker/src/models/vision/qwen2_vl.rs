//! The vision parts of Qwen 2 VL and Qwen 2.5 VL: patches that rotate with their row and column; four become one token. In 2.5, most
//! layers attend within windows.
//!
//! Wang et al. 2024 (<https://arxiv.org/abs/2409.12191>), Bai et al. 2025 (<https://arxiv.org/abs/2502.13923>); reference:
//! `modeling_qwen2_vl.py` and `modeling_qwen2_5_vl.py` of Transformers 5.24.

use image_input::Prepared;
use mlx_rs::Array;
use serde::Deserialize;

use super::patch_grid::{coordinates, windows};
use super::{Features, TOWER, VisionTower, pixels};
use crate::layers::Result;
use crate::layers::full_attention::{Groups, ListedGroups};
use crate::layers::mlp::Activation;
use crate::layers::patches::{PatchEmbedding, PatchShape};
use crate::layers::rope::{Positions, Rope, Rotation};
use crate::layers::tower_block::{
    BlockForm, BlockSizes, MlpForm, PlainMlp, TowerActivation, TowerBlock, TowerNorm,
};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The base of the rotation of patches.
const THETA: f32 = 10_000.0;
/// Of all norms.
const EPS: f32 = 1e-6;
/// The layers of Qwen 2 VL.
const FORM: BlockForm = BlockForm {
    norms: ["norm1", "norm2"],
    rms: false,
    qkv: &["attn.qkv"],
    output: "attn.proj",
    mlp: MlpForm::Plain(["mlp.fc1", "mlp.fc2"]),
    biased: true,
};
/// The layers of Qwen 2.5 VL.
const FORM_2_5: BlockForm = BlockForm { rms: true, mlp: MlpForm::Gated("mlp"), ..FORM };

/// The fields that Qwen's towers share.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Grid {
    pub(super) depth: usize,
    num_heads: i32,
    #[serde(alias = "in_chans", default = "default_in_channels")]
    in_channels: i32,
    patch_size: i32,
    #[serde(default = "two")]
    pub(super) spatial_merge_size: i32,
    #[serde(default = "two")]
    temporal_patch_size: i32,
}

fn default_in_channels() -> i32 {
    3
}

fn two() -> i32 {
    2
}

impl Grid {
    /// The sizes of a layer with these widths.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn sizes(&self, size: i32, hidden: i32, activation: &str) -> Result<BlockSizes, String> {
        let heads = self.num_heads;
        if heads < 1 || size < 1 || size % (4 * heads) != 0 {
            return Err(format!(
                "vision_config: {heads} heads cannot rotate a width of {size} by rows and columns"
            ));
        }
        let sides = [self.patch_size, self.spatial_merge_size, self.temporal_patch_size, self.in_channels];
        if !sides.iter().all(|side| (1..=1024).contains(side)) {
            return Err(format!("vision_config: sides of patches and squares are {sides:?}"));
        }
        let activation = TowerActivation::from_name(activation)?;
        let sizes = BlockSizes { size, hidden, heads, head_dim: size / heads, eps: EPS, activation };
        sizes.check().map(|()| sizes)
    }

    /// The sizes of a patch.
    pub(super) fn patch(&self) -> PatchShape {
        PatchShape {
            channels: self.in_channels,
            frames: Some(self.temporal_patch_size),
            side: self.patch_size,
        }
    }
}

/// The fields of `vision_config` in Qwen 2 VL.
#[derive(Debug, Clone, Deserialize)]
struct Args2 {
    #[serde(flatten)]
    grid: Grid,
    embed_dim: i32,
    #[serde(default = "default_mlp_ratio")]
    mlp_ratio: f32,
    #[serde(default = "default_hidden_act")]
    hidden_act: String,
}

fn default_mlp_ratio() -> f32 {
    4.0
}

fn default_hidden_act() -> String {
    "quick_gelu".into()
}

/// The fields of `vision_config` in Qwen 2.5 VL.
#[derive(Debug, Clone, Deserialize)]
struct Args25 {
    #[serde(flatten)]
    grid: Grid,
    hidden_size: i32,
    intermediate_size: i32,
    #[serde(default = "default_window_size")]
    window_size: i32,
    fullatt_block_indexes: Vec<usize>,
    #[serde(default = "default_hidden_act_2_5")]
    hidden_act: String,
}

fn default_window_size() -> i32 {
    112
}

fn default_hidden_act_2_5() -> String {
    "silu".into()
}

/// config.json around `vision_config`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Outer<T> {
    pub(super) vision_config: T,
    /// The width of the language model.
    pub(super) hidden_size: i32,
}

/// Makes one token of a square of patches.
#[derive(Debug)]
pub(super) struct Merger {
    norm: TowerNorm,
    mlp: PlainMlp,
    /// Numbers in a square.
    width: i32,
    /// Whether the norm is of squares and not of patches.
    joins_first: bool,
}

/// How a merger is named and built.
#[derive(Debug, Clone, Copy)]
pub(super) struct MergerForm {
    pub(super) norm: &'static str,
    pub(super) rms: bool,
    pub(super) mlp: [&'static str; 2],
    pub(super) joins_first: bool,
}

impl Merger {
    /// Loads the merger at `path`, from patches of width `size` to tokens of width `output`.
    ///
    /// # Errors
    /// Those of the loader.
    pub(super) fn load(
        loader: &Loader,
        path: &str,
        form: MergerForm,
        (size, merge, output): (i32, i32, i32),
    ) -> Result<Self, LoadError> {
        let width = size * merge * merge;
        let normed = if form.joins_first { width } else { size };
        let names = form.mlp.map(|name| format!("{path}.{name}"));
        let names = [&names[0][..], &names[1]];
        let activation = TowerActivation::Common(Activation::Gelu);
        Ok(Self {
            norm: TowerNorm::load(loader, &format!("{path}.{}", form.norm), normed, form.rms, EPS)?,
            mlp: PlainMlp::load(loader, names, [width, width, output], true, activation)?,
            width,
            joins_first: form.joins_first,
        })
    }

    /// `[patches, size]` → `[tokens, output]`.
    pub(super) fn forward(&self, x: &Array) -> Result<Array> {
        let squares = if self.joins_first {
            self.norm.forward(&x.reshape(&[-1, self.width])?)?
        } else {
            self.norm.forward(x)?.reshape(&[-1, self.width])?
        };
        self.mlp.forward(&squares)
    }
}

/// The rotation of patches by their rows and columns; `like` has the type.
pub(super) fn rotation(rope: &Rope, coordinates: &[[u32; 3]], like: &Array) -> Result<Rotation> {
    let positions = Positions::new(&vec![0.0; coordinates.len()]).with_axes(coordinates);
    rope.rotation(&positions, like)
}

/// The rope of heads of this width: half of the waves turn with the row, the others with the column.
pub(super) fn rope(head_dim: i32) -> Rope {
    let waves: Vec<f32> = (0..head_dim / 4).map(|i| THETA.powf(-4.0 * i as f32 / head_dim as f32)).collect();
    Rope::on_grid(&waves, &waves)
}

/// The vision part of Qwen 2 VL or 2.5 VL.
#[derive(Debug)]
pub(super) struct Qwen2Vl {
    patch_embed: PatchEmbedding,
    blocks: Vec<TowerBlock>,
    merger: Merger,
    rope: Rope,
    /// Patches in a side of a square that becomes one token.
    merge: u32,
    windows: Option<Windows>,
}

/// Which layers attend within windows.
#[derive(Debug)]
struct Windows {
    /// Patches in a side.
    side: u32,
    /// The layers that attend to the whole image.
    full: Vec<usize>,
}

impl Qwen2Vl {
    /// Loads that of Qwen 2 VL.
    ///
    /// # Errors
    /// Those of the loader.
    pub(super) fn load(loader: &Loader) -> Result<Self, LoadError> {
        let Outer { vision_config: args, hidden_size }: Outer<Args2> = loader.config().args()?;
        let hidden = (args.embed_dim as f32 * args.mlp_ratio) as i32;
        let sizes = args.grid.sizes(args.embed_dim, hidden, &args.hidden_act);
        let sizes = sizes.map_err(|problem| loader.config().problem(problem))?;
        Self::build(loader, &args.grid, (&FORM, &sizes), hidden_size, None)
    }

    /// Loads that of Qwen 2.5 VL.
    ///
    /// # Errors
    /// Those of the loader.
    pub(super) fn load_2_5(loader: &Loader) -> Result<Self, LoadError> {
        let Outer { vision_config: args, hidden_size }: Outer<Args25> = loader.config().args()?;
        let sizes = args.grid.sizes(args.hidden_size, args.intermediate_size, &args.hidden_act);
        let sizes = sizes.map_err(|problem| loader.config().problem(problem))?;
        let merge = args.grid.spatial_merge_size;
        let side = (args.window_size / merge / args.grid.patch_size * merge).max(merge) as u32;
        let windows = Windows { side, full: args.fullatt_block_indexes };
        Self::build(loader, &args.grid, (&FORM_2_5, &sizes), hidden_size, Some(windows))
    }

    fn build(
        loader: &Loader,
        grid: &Grid,
        (form, sizes): (&BlockForm, &BlockSizes),
        output: i32,
        windows: Option<Windows>,
    ) -> Result<Self, LoadError> {
        let blocks = (0..grid.depth)
            .map(|block| TowerBlock::load(loader, &format!("{TOWER}.blocks.{block}"), form, sizes));
        let merge = grid.spatial_merge_size;
        let merger = MergerForm { norm: "ln_q", rms: form.rms, mlp: ["mlp.0", "mlp.2"], joins_first: false };
        Ok(Self {
            patch_embed: PatchEmbedding::load(
                loader,
                &format!("{TOWER}.patch_embed.proj"),
                grid.patch(),
                sizes.size,
                false,
            )?,
            blocks: blocks.collect::<Result<_, _>>()?,
            merger: Merger::load(loader, &format!("{TOWER}.merger"), merger, (sizes.size, merge, output))?,
            rope: rope(sizes.head_dim),
            merge: merge.unsigned_abs(),
            windows,
        })
    }
}

impl VisionTower for Qwen2Vl {
    fn encode(&self, image: &Prepared) -> Result<Features> {
        let places = coordinates(image.grid, self.merge);
        let mut x = self.patch_embed.forward(&pixels(image))?;
        let rotation = rotation(&self.rope, &places, &x)?;
        let frames = Groups::Equal(image.grid[0] as i32);
        let listed = self.windows.as_ref().map(|all| {
            let groups = windows(&places, all.side);
            (&all.full, Groups::Listed(ListedGroups::new(&groups)))
        });
        for (layer, block) in self.blocks.iter().enumerate() {
            let groups = match &listed {
                Some((full, windows)) if !full.contains(&layer) => windows,
                _ => &frames,
            };
            x = block.forward(&x, Some(&rotation), groups)?;
        }
        Ok(Features { rows: self.merger.forward(&x)?, deep: Vec::new() })
    }
}
