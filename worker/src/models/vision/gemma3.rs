//! The vision part of Gemma 3: SigLIP's tower, whose patches are averaged in squares, and a product.
//!
//! No family uses it yet: within an image, Gemma's language model attends in both directions, which the engine cannot.
//!
//! Gemma Team 2025 (<https://arxiv.org/abs/2503.19786>); reference: `modeling_gemma3.py` of Transformers 5.24.

use image_input::Prepared;
use mlx_rs::Array;
use serde::Deserialize;

use super::siglip::{self, Tower};
use super::{Features, VisionTower, pixels};
use crate::layers::Result;
use crate::layers::norm::rms_norm;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The fields of config.json.
#[derive(Debug, Clone, Deserialize)]
struct Args {
    vision_config: siglip::Args,
    #[serde(default = "default_tokens")]
    mm_tokens_per_image: u32,
    hidden_size: i32,
}

fn default_tokens() -> u32 {
    256
}

/// The vision part.
#[derive(Debug)]
pub(super) struct Gemma3 {
    tower: Tower,
    mm_soft_emb_norm: Array,
    /// `[vision width, D]`.
    mm_input_projection_weight: Array,
    eps: f32,
    /// Tokens in a side of an image.
    side: i32,
}

impl Gemma3 {
    /// Loads it.
    ///
    /// # Errors
    /// Those of the loader.
    pub(super) fn load(loader: &Loader) -> Result<Self, LoadError> {
        let Args { vision_config: args, mm_tokens_per_image: tokens, hidden_size } =
            loader.config().args()?;
        let tower = Tower::load(loader, &args)?;
        let side = tokens.isqrt() as i32;
        if side < 1 || args.side() % side != 0 {
            let text = format!("mm_tokens_per_image is {tokens}, for {} patches in a row", args.side());
            return Err(loader.config().problem(text));
        }
        let size = args.hidden_size;
        let projector = |name: &str| format!("multi_modal_projector.{name}");
        Ok(Self {
            tower,
            mm_soft_emb_norm: loader.tensor_plus_one(&projector("mm_soft_emb_norm.weight"), &[size])?,
            mm_input_projection_weight: loader
                .tensor(&projector("mm_input_projection_weight"), &[size, hidden_size])?,
            eps: args.eps(),
            side,
        })
    }
}

impl VisionTower for Gemma3 {
    fn encode(&self, image: &Prepared) -> Result<Features> {
        let [tiles, rows, columns] = image.grid;
        let x = self.tower.forward(&pixels(image), [rows, columns])?;
        let (side, size) = (self.side, x.dim(1));
        let squares = [tiles as i32, side, rows as i32 / side, side, columns as i32 / side, size];
        let pooled = x.reshape(&squares)?.mean_axes(&[2, 4], false)?.reshape(&[-1, size])?;
        let normed = rms_norm(&pooled, &self.mm_soft_emb_norm, self.eps)?;
        Ok(Features { rows: normed.matmul(&self.mm_input_projection_weight)?, deep: Vec::new() })
    }
}
