//! Qwen2-VL and its successors up to Qwen3.5: any size in multiples of merged patches, within an area.
//!
//! A row of `pixel_values` is one patch: channel, frame, row, column. A picture is its own second frame. Patches that are merged into
//! one feature follow each other.

use crate::error::ImageError;
use crate::fields::{CLIP, Files};
use crate::levels::Levels;
use crate::picture::Picture;
use crate::prepared::Prepared;
use crate::resample::Filter;

/// Sides may differ by this factor at most.
const MOST_RATIO: f64 = 200.0;

#[derive(Debug, Clone)]
pub(crate) struct Qwen {
    patch: u32,
    merge: u32,
    frames: u32,
    least_area: f64,
    most_area: f64,
    filter: Filter,
    levels: Levels,
}

impl Qwen {
    pub(crate) fn new(files: Files<'_>) -> Result<Self, String> {
        let image = files.image;
        image.class(&["Qwen2VL", "Qwen2_5VL", "Qwen2_5_VL", "Qwen3VL", "Qwen3_VL", "Qwen3_5"])?;
        let or = |name: &str, other: &str, default: u32| -> Result<u32, String> {
            Ok(image.count(name)?.or(files.vision.count(other)?).unwrap_or(default))
        };
        // The old names of the limits come before `size`, whose edges are areas here.
        let size = image.part("size");
        let area = |old: &str, new: &str, default: u32| -> Result<f64, String> {
            let first = image.area(old)?.or(size.area(new)?).or(size.area(old)?);
            Ok(f64::from(first.unwrap_or(default)))
        };
        Ok(Self {
            patch: or("patch_size", "patch_size", 14)?,
            merge: or("merge_size", "spatial_merge_size", 2)?,
            frames: or("temporal_patch_size", "temporal_patch_size", 2)?,
            least_area: area("min_pixels", "shortest_edge", 56 * 56)?,
            most_area: area("max_pixels", "longest_edge", 28 * 28 * 1280)?,
            filter: image.filter(Filter::Bicubic)?,
            levels: image.levels(CLIP)?,
        })
    }

    pub(crate) fn prepare(&self, picture: &Picture, token: &str) -> Result<Prepared, ImageError> {
        let (height, width) = self.size(picture)?;
        let resized = picture.resized(width, height, self.filter)?;
        let (rows, columns) = (height / self.patch, width / self.patch);
        let patches = (rows * columns) as usize;
        let features = rows * columns / (self.merge * self.merge);
        let values = 3 * self.frames as usize * (self.patch * self.patch) as usize;
        let pixels = self.patches(&resized, rows, columns);
        let text = token.repeat(features as usize);
        Ok(Prepared::new(pixels, vec![patches, values], [1, rows, columns], features, text))
    }

    /// Height and width: multiples of a merged patch, of nearly the same shape, within the limits of area.
    fn size(&self, picture: &Picture) -> Result<(u32, u32), ImageError> {
        let narrow = ImageError::Narrow { width: picture.width, height: picture.height };
        let (height, width) = (f64::from(picture.height), f64::from(picture.width));
        if height.max(width) / height.min(width) > MOST_RATIO {
            return Err(narrow);
        }
        let factor = f64::from(self.patch * self.merge);
        let nearest = |side: f64| (side / factor).round_ties_even() * factor;
        let (mut tall, mut wide) = (nearest(height), nearest(width));
        if tall * wide > self.most_area {
            let beta = (height * width / self.most_area).sqrt();
            let below = |side: f64| ((side / beta / factor).floor() * factor).max(factor);
            (tall, wide) = (below(height), below(width));
        } else if tall * wide < self.least_area {
            let beta = (self.least_area / (height * width)).sqrt();
            let above = |side: f64| (side * beta / factor).ceil() * factor;
            (tall, wide) = (above(height), above(width));
        }
        if tall < factor || wide < factor { Err(narrow) } else { Ok((tall as u32, wide as u32)) }
    }

    fn patches(&self, picture: &Picture, rows: u32, columns: u32) -> Vec<f32> {
        let (patch, merge) = (self.patch as usize, self.merge as usize);
        let width = picture.width as usize;
        let mut out = Vec::with_capacity(picture.rgb.len() * self.frames as usize);
        for group in 0..(rows * columns) as usize / (merge * merge) {
            let groups = columns as usize / merge;
            let (top, left) = (group / groups * merge, group % groups * merge);
            for inner in 0..merge * merge {
                let (y, x) = ((top + inner / merge) * patch, (left + inner % merge) * patch);
                for channel in 0..3 {
                    let start = out.len();
                    for row in y..y + patch {
                        let line = 3 * (row * width + x) + channel;
                        let levels = picture.rgb[line..].iter().step_by(3).take(patch);
                        out.extend(levels.map(|&level| self.levels.of(channel, level)));
                    }
                    for _ in 1..self.frames {
                        out.extend_from_within(start..start + patch * patch);
                    }
                }
            }
        }
        out
    }
}
