//! What families with square tiles share.

use crate::fields::Files;
use crate::levels::Levels;
use crate::picture::Picture;
use crate::prepared::Prepared;

/// Tiles of one size, their numbers of patches and the text.
pub(super) struct Tiles<'a> {
    pub(super) pictures: &'a [Picture],
    pub(super) patch: u32,
    pub(super) features: u32,
    pub(super) text: String,
}

impl Tiles<'_> {
    /// [tiles, 3, height, width].
    pub(super) fn prepared(self, levels: &Levels) -> Prepared {
        let (height, width) = self.pictures.first().map_or((0, 0), |tile| (tile.height, tile.width));
        let mut pixels = Vec::with_capacity(self.pictures.iter().map(|tile| tile.rgb.len()).sum());
        for tile in self.pictures {
            levels.planes(tile, &mut pixels);
        }
        let shape = vec![self.pictures.len(), 3, height as usize, width as usize];
        let grid = [self.pictures.len() as u32, height / self.patch, width / self.patch];
        Prepared::new(pixels, shape, grid, self.features, self.text)
    }
}

/// The side of a patch, from the model's `vision_config`.
pub(super) fn patch(files: Files<'_>, default: u32) -> Result<u32, String> {
    Ok(files.vision.count("patch_size")?.unwrap_or(default))
}

/// A width and height that a size of `{"height", "width"}` or `vision_config`'s `image_size` fixes.
pub(super) fn fixed(files: Files<'_>, default: u32) -> Result<(u32, u32), String> {
    if files.image.get("size").is_some() {
        return files.image.sides("size")?.ok_or_else(|| "size has no height and width".into());
    }
    Ok(files.vision.sides("image_size")?.unwrap_or((default, default)))
}
