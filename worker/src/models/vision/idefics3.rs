//! The vision part of Idefics 3 and SmolVLM: a tower of SigLIP's form, and a product with squares of its patches.
//!
//! Laurençon et al. 2024 (<https://arxiv.org/abs/2408.12637>), Marafioti et al. 2025 (<https://arxiv.org/abs/2504.05299>); reference:
//! `modeling_idefics3.py` of Transformers 5.24.

use image_input::Prepared;
use mlx_rs::Array;
use serde::Deserialize;

use super::siglip::{self, Tower};
use super::{Features, VisionTower, pixels};
use crate::layers::Result;
use crate::layers::linear::Linear;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The fields of config.json.
#[derive(Debug, Clone, Deserialize)]
struct Args {
    vision_config: siglip::Args,
    #[serde(default = "default_scale_factor")]
    scale_factor: i32,
    hidden_size: i32,
}

fn default_scale_factor() -> i32 {
    2
}

/// The vision part.
#[derive(Debug)]
pub(super) struct Idefics3 {
    tower: Tower,
    proj: Linear,
    /// The side of a square of patches that becomes one token.
    scale: i32,
}

impl Idefics3 {
    /// Loads it.
    ///
    /// # Errors
    /// Those of the loader.
    pub(super) fn load(loader: &Loader) -> Result<Self, LoadError> {
        let Args { vision_config, scale_factor: scale, hidden_size } = loader.config().args()?;
        if !(1..=16).contains(&scale) {
            return Err(loader.config().problem(format!("scale_factor is {scale}")));
        }
        let tower = Tower::load(loader, &vision_config)?;
        let inputs = vision_config.hidden_size * scale * scale;
        let proj = Linear::load(loader, "connector.modality_projection.proj", inputs, hidden_size, false)?;
        Ok(Self { tower, proj, scale })
    }
}

impl VisionTower for Idefics3 {
    fn encode(&self, image: &Prepared) -> Result<Features> {
        let [tiles, rows, columns] = image.grid;
        let x = self.tower.forward(&pixels(image), [rows, columns])?;
        let [tiles, rows, columns] = [tiles, rows, columns].map(|size| size as i32);
        let (scale, width) = (self.scale, x.dim(1));
        let squares = x.reshape(&[tiles, rows / scale, scale, columns / scale, scale, width])?;
        let squares = squares.transpose_axes(&[0, 1, 3, 2, 4, 5])?;
        let squares: Array = squares.reshape(&[-1, scale * scale * width])?;
        Ok(Features { rows: self.proj.forward(&squares)?, deep: Vec::new() })
    }
}
