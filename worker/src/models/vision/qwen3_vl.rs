//! The vision parts of Qwen 3 VL and Qwen 3.5: as Qwen 2 VL's, with learned positions that stretch over the image. In Qwen 3 VL, what
//! some layers know of the image is added to the first layers of the language model (DeepStack).
//!
//! Bai et al. 2025 (<https://arxiv.org/abs/2511.21631>), Meng et al. 2024 (<https://arxiv.org/abs/2406.04334>); reference:
//! `modeling_qwen3_vl.py` of Transformers 5.24.

use image_input::Prepared;
use mlx_rs::Array;
use serde::Deserialize;

use super::patch_grid::{coordinates, interpolation};
use super::qwen2_vl::{Grid, Merger, MergerForm, Outer, rope, rotation};
use super::{Features, TOWER, VisionTower, pixels};
use crate::layers::Result;
use crate::layers::full_attention::Groups;
use crate::layers::patches::PatchEmbedding;
use crate::layers::rope::Rope;
use crate::layers::tower_block::{BlockForm, MlpForm, TowerBlock};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The layers.
const FORM: BlockForm = BlockForm {
    norms: ["norm1", "norm2"],
    rms: false,
    qkv: &["attn.qkv"],
    output: "attn.proj",
    mlp: MlpForm::Plain(["mlp.linear_fc1", "mlp.linear_fc2"]),
    biased: true,
};
/// What makes tokens of the last layer's patches.
const MERGER: MergerForm =
    MergerForm { norm: "norm", rms: false, mlp: ["linear_fc1", "linear_fc2"], joins_first: false };

/// The fields of `vision_config`.
#[derive(Debug, Clone, Deserialize)]
struct Args {
    #[serde(flatten)]
    grid: Grid,
    hidden_size: i32,
    intermediate_size: i32,
    num_position_embeddings: i32,
    #[serde(default)]
    deepstack_visual_indexes: Vec<usize>,
    #[serde(default = "default_hidden_act")]
    hidden_act: String,
}

fn default_hidden_act() -> String {
    "gelu_pytorch_tanh".into()
}

/// The vision part.
#[derive(Debug)]
pub(super) struct Qwen3Vl {
    patch_embed: PatchEmbedding,
    /// `[side * side, D]`.
    pos_embed: Array,
    side: u32,
    blocks: Vec<TowerBlock>,
    merger: Merger,
    /// The layers after which there are deep features, and what makes tokens of them.
    deepstack: Vec<(usize, Merger)>,
    rope: Rope,
    /// Patches in a side of a square that becomes one token.
    merge: u32,
}

impl Qwen3Vl {
    /// Loads it.
    ///
    /// # Errors
    /// Those of the loader.
    pub(super) fn load(loader: &Loader) -> Result<Self, LoadError> {
        let Outer { vision_config: args, hidden_size: output }: Outer<Args> = loader.config().args()?;
        let problem = |problem: String| loader.config().problem(problem);
        let sizes = args.grid.sizes(args.hidden_size, args.intermediate_size, &args.hidden_act);
        let sizes = sizes.map_err(problem)?;
        let side = args.num_position_embeddings.unsigned_abs().isqrt();
        if args.num_position_embeddings != (side * side) as i32 || !(1..=4096).contains(&side) {
            let text = format!("vision_config: {} positions are no square", args.num_position_embeddings);
            return Err(problem(text));
        }
        let size = sizes.size;
        let merge = args.grid.spatial_merge_size;
        let deepstack = args.deepstack_visual_indexes.iter().enumerate().map(|(at, layer)| {
            let form = MergerForm { joins_first: true, ..MERGER };
            let path = format!("{TOWER}.deepstack_merger_list.{at}");
            Ok((*layer, Merger::load(loader, &path, form, (size, merge, output))?))
        });
        let blocks = (0..args.grid.depth)
            .map(|block| TowerBlock::load(loader, &format!("{TOWER}.blocks.{block}"), &FORM, &sizes));
        let positions = format!("{TOWER}.pos_embed.weight");
        let patches = format!("{TOWER}.patch_embed.proj");
        Ok(Self {
            patch_embed: PatchEmbedding::load(loader, &patches, args.grid.patch(), size, true)?,
            pos_embed: loader.tensor(&positions, &[args.num_position_embeddings, size])?,
            side,
            blocks: blocks.collect::<Result<_, _>>()?,
            merger: Merger::load(loader, &format!("{TOWER}.merger"), MERGER, (size, merge, output))?,
            deepstack: deepstack.collect::<Result<_, LoadError>>()?,
            rope: rope(sizes.head_dim),
            merge: merge.unsigned_abs(),
        })
    }

    /// The learned position of each patch, `[N, D]`.
    fn positions(&self, places: &[[u32; 3]], [_, rows, columns]: [u32; 3]) -> Result<Array> {
        let parts: Vec<(u32, f32)> =
            places.iter().flat_map(|place| interpolation(*place, [rows, columns], self.side)).collect();
        let (indices, weights): (Vec<u32>, Vec<f32>) = parts.into_iter().unzip();
        let count = places.len() as i32;
        let corners = self.pos_embed.take_axis(Array::from_slice(&indices, &[4 * count]), 0)?;
        let corners = corners.reshape(&[count, 4, -1])?;
        let weights = Array::from_slice(&weights, &[count, 4, 1]);
        corners.multiply(weights)?.sum_axis(1, false)?.as_dtype(self.pos_embed.dtype())
    }
}

impl VisionTower for Qwen3Vl {
    fn encode(&self, image: &Prepared) -> Result<Features> {
        let places = coordinates(image.grid, self.merge);
        let embedded = self.patch_embed.forward(&pixels(image))?;
        let mut x = embedded.add(self.positions(&places, image.grid)?)?;
        let rotation = rotation(&self.rope, &places, &x)?;
        let frames = Groups::Equal(image.grid[0] as i32);
        let mut deep = Vec::new();
        for (layer, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x, Some(&rotation), &frames)?;
            for (_, merger) in self.deepstack.iter().filter(|(after, _)| *after == layer) {
                deep.push(merger.forward(&x)?);
            }
        }
        Ok(Features { rows: self.merger.forward(&x)?, deep })
    }
}
