//! PaliGemma: one square of SigLIP patches, each of them a feature.

use crate::error::ImageError;
use crate::families::tiles::{self, Tiles};
use crate::fields::{Files, HALVES};
use crate::levels::Levels;
use crate::picture::Picture;
use crate::prepared::Prepared;
use crate::resample::Filter;

#[derive(Debug, Clone)]
pub(crate) struct PaliGemma {
    height: u32,
    width: u32,
    patch: u32,
    tokens: u32,
    filter: Filter,
    levels: Levels,
}

impl PaliGemma {
    pub(crate) fn new(files: Files<'_>) -> Result<Self, String> {
        let image = files.image;
        image.class(&["Siglip"])?;
        let (height, width) = tiles::fixed(files, 224)?;
        let patch = tiles::patch(files, 14)?;
        let tokens = image.count("image_seq_length")?.unwrap_or((height / patch) * (width / patch));
        let filter = image.filter(Filter::Bicubic)?;
        Ok(Self { height, width, patch, tokens, filter, levels: image.levels(HALVES)? })
    }

    pub(crate) fn prepare(&self, picture: &Picture, token: &str) -> Result<Prepared, ImageError> {
        let resized = picture.resized(self.width, self.height, self.filter)?;
        let text = token.repeat(self.tokens as usize);
        Ok(Tiles { pictures: &[resized], patch: self.patch, features: self.tokens, text }
            .prepared(&self.levels))
    }
}
