//! Gemma 4: any size in multiples of pooled patches, within a number of features.
//!
//! A row of `pixel_values` is one patch: row, column, channel. Patches stand row by row and are not filled up to the largest number.

use crate::error::ImageError;
use crate::families::tiles;
use crate::fields::{Files, PLAIN};
use crate::levels::Levels;
use crate::picture::Picture;
use crate::prepared::Prepared;
use crate::resample::Filter;

#[derive(Debug, Clone)]
pub(crate) struct Gemma4 {
    patch: u32,
    pool: u32,
    /// Most features of a picture.
    most: u32,
    filter: Filter,
    levels: Levels,
}

impl Gemma4 {
    pub(crate) fn new(files: Files<'_>) -> Result<Self, String> {
        let image = files.image;
        image.class(&["Gemma4"])?;
        let patch = image.count("patch_size")?;
        let most = image.count("max_soft_tokens")?.unwrap_or(280);
        if ![70, 140, 280, 560, 1120].contains(&most) {
            return Err(format!("max_soft_tokens is {most}; 70, 140, 280, 560 and 1120 are supported"));
        }
        let pool =
            image.count("pooling_kernel_size")?.or(files.vision.count("pooling_kernel_size")?).unwrap_or(3);
        if pool > 64 {
            return Err(format!("pooling_kernel_size is {pool}; at most 64 are supported"));
        }
        Ok(Self {
            patch: patch.map_or_else(|| tiles::patch(files, 16), Ok)?,
            pool,
            most,
            filter: image.filter(Filter::Bicubic)?,
            levels: image.levels(PLAIN)?,
        })
    }

    pub(crate) fn prepare(&self, picture: &Picture, token: &str) -> Result<Prepared, ImageError> {
        let (height, width) = self.size(picture)?;
        let resized = picture.resized(width, height, self.filter)?;
        let (rows, columns) = (height / self.patch, width / self.patch);
        let patch = self.patch as usize;
        let mut pixels = Vec::with_capacity(resized.rgb.len());
        for cell in 0..(rows * columns) as usize {
            let (y, x) = (cell / columns as usize * patch, cell % columns as usize * patch);
            for row in y..y + patch {
                let start = 3 * (row * width as usize + x);
                let line = resized.rgb[start..start + 3 * patch].iter().enumerate();
                pixels.extend(line.map(|(at, &level)| self.levels.of(at % 3, level)));
            }
        }
        let features = rows * columns / (self.pool * self.pool);
        let text = format!("<|image>{}<image|>", token.repeat(features as usize));
        let shape = vec![(rows * columns) as usize, 3 * patch * patch];
        Ok(Prepared::new(pixels, shape, [1, rows, columns], features, text))
    }

    /// Height and width: the largest of nearly the same shape whose patches are few enough.
    fn size(&self, picture: &Picture) -> Result<(u32, u32), ImageError> {
        let narrow = ImageError::Narrow { width: picture.width, height: picture.height };
        let (height, width) = (f64::from(picture.height), f64::from(picture.width));
        let most_patches = f64::from(self.most) * f64::from(self.pool * self.pool);
        let most_area = most_patches * f64::from(self.patch) * f64::from(self.patch);
        let factor = (most_area / (height * width)).sqrt();
        let step = f64::from(self.pool * self.patch);
        let (mut tall, mut wide) =
            ((factor * height / step).floor() * step, (factor * width / step).floor() * step);
        let longest = f64::from(self.most) * step;
        match (tall == 0.0, wide == 0.0) {
            (true, true) => return Err(narrow),
            (true, false) => (tall, wide) = (step, ((width / height).floor() * step).min(longest)),
            (false, true) => (tall, wide) = (((height / width).floor() * step).min(longest), step),
            (false, false) => {}
        }
        if tall * wide > most_area { Err(narrow) } else { Ok((tall as u32, wide as u32)) }
    }
}
