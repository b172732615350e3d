//! Gemma 3: one square, always the same number of features.
//!
//! Pan and scan is off, whatever `preprocessor_config.json` says: Transformers' processor overrides that field.

use crate::error::ImageError;
use crate::families::tiles::{self, Tiles};
use crate::fields::{Files, HALVES};
use crate::levels::Levels;
use crate::picture::Picture;
use crate::prepared::Prepared;
use crate::resample::Filter;

#[derive(Debug, Clone)]
pub(crate) struct Gemma3 {
    height: u32,
    width: u32,
    patch: u32,
    tokens: u32,
    filter: Filter,
    levels: Levels,
}

impl Gemma3 {
    pub(crate) fn new(files: Files<'_>) -> Result<Self, String> {
        let image = files.image;
        image.class(&["Gemma3"])?;
        if files.processor.part("images_kwargs").flag("do_pan_and_scan", false) {
            return Err("do_pan_and_scan is true, which is not supported".into());
        }
        let (height, width) = tiles::fixed(files, 896)?;
        let asked =
            files.processor.count("image_seq_length")?.or(files.model.count("mm_tokens_per_image")?);
        Ok(Self {
            height,
            width,
            patch: tiles::patch(files, 14)?,
            tokens: asked.unwrap_or(256),
            filter: image.filter(Filter::Bilinear)?,
            levels: image.levels(HALVES)?,
        })
    }

    pub(crate) fn prepare(&self, picture: &Picture, token: &str) -> Result<Prepared, ImageError> {
        let resized = picture.resized(self.width, self.height, self.filter)?;
        let text = format!("\n\n<start_of_image>{}<end_of_image>\n\n", token.repeat(self.tokens as usize));
        Ok(Tiles { pictures: &[resized], patch: self.patch, features: self.tokens, text }
            .prepared(&self.levels))
    }
}
