//! Runs the vision tower for the images of a step, and keeps what it made of the last ones.

use std::sync::Arc;

use image_input::Prepared;
use mlx_rs::{Array, ops, transforms};

use crate::engine::runner::{Batch, RowImage};
use crate::layers::Result;
use crate::models::step_input::ImageRows;
use crate::models::vision::{Features, VisionTower};

/// Most bytes of features that are kept. An image of 4096 tokens in a width of 4096 has 64 MiB in float32.
const KEPT_BYTES: usize = 256 << 20;

/// A vision tower with the features of the last images.
#[derive(Debug)]
pub struct ImageEncoder {
    tower: Box<dyn VisionTower>,
    /// By digest; the last one used is last.
    kept: Vec<([u8; 32], Features)>,
}

impl ImageEncoder {
    /// An encoder that keeps nothing yet.
    pub fn new(tower: Box<dyn VisionTower>) -> Self {
        Self { tower, kept: Vec::new() }
    }

    /// The features of the tokens of a step that stand for images; `None` if there are no such tokens.
    ///
    /// # Errors
    /// When the device fails.
    pub fn rows(&mut self, batch: &Batch) -> Result<Option<ImageRows>> {
        let mut tokens: Vec<u32> = Vec::new();
        let mut parts: Vec<Features> = Vec::new();
        for RowImage { image, tokens: own, features } in batch.rows.iter().flat_map(|row| &row.images) {
            tokens.extend(own);
            let all = self.features(image)?;
            parts.push(if features.len() == image.features as usize {
                all
            } else {
                let indices: Vec<u32> = features.clone().collect();
                let indices = Array::from_slice(&indices, &[indices.len() as i32]);
                let part = |array: &Array| array.take_axis(&indices, 0);
                Features { rows: part(&all.rows)?, deep: all.deep.iter().map(part).collect::<Result<_>>()? }
            });
        }
        let Some(first) = parts.first() else { return Ok(None) };
        let joined = |each: &dyn Fn(&Features) -> Array| {
            ops::concatenate(&parts.iter().map(each).collect::<Vec<_>>(), 0)
        };
        let deep = (0..first.deep.len()).map(|layer| joined(&|part| part.deep[layer].clone()));
        Ok(Some(ImageRows {
            rows: Array::from_slice(&tokens, &[tokens.len() as i32]),
            features: joined(&|part| part.rows.clone())?,
            deep: deep.collect::<Result<_>>()?,
        }))
    }

    /// The features of one image, from the tower or kept.
    fn features(&mut self, image: &Arc<Prepared>) -> Result<Features> {
        if let Some(at) = self.kept.iter().position(|(digest, _)| *digest == image.digest) {
            self.kept[at..].rotate_left(1);
        } else {
            let features = self.tower.encode(image)?;
            transforms::eval([&features.rows].into_iter().chain(&features.deep))?;
            self.kept.push((image.digest, features));
            self.forget_oldest();
        }
        let (_, features) = &self.kept[self.kept.len() - 1];
        Ok(features.clone())
    }

    /// Drops what was not used for longest, except the last.
    fn forget_oldest(&mut self) {
        let bytes = |(_, features): &([u8; 32], Features)| {
            features.rows.nbytes() + features.deep.iter().map(Array::nbytes).sum::<usize>()
        };
        let mut total: usize = self.kept.iter().map(bytes).sum();
        while total > KEPT_BYTES && self.kept.len() > 1 {
            total -= bytes(&self.kept.remove(0));
        }
    }
}
