//! Pixtral and Mistral 3: any size in multiples of merged patches, with a token at the end of each row.

use crate::error::ImageError;
use crate::families::tiles::Tiles;
use crate::fields::{CLIP, Files};
use crate::levels::Levels;
use crate::picture::Picture;
use crate::prepared::Prepared;
use crate::resample::Filter;

#[derive(Debug, Clone)]
pub(crate) struct Pixtral {
    most_height: u32,
    most_width: u32,
    patch: u32,
    merge: u32,
    row_end: String,
    end: String,
    filter: Filter,
    levels: Levels,
}

impl Pixtral {
    pub(crate) fn new(files: Files<'_>) -> Result<Self, String> {
        let (image, processor) = (files.image, files.processor);
        image.class(&["Pixtral"])?;
        if image.flag("do_center_crop", false) {
            return Err("do_center_crop is true, which is not supported".into());
        }
        let (most_height, most_width) = match image.get("size") {
            None => (1024, 1024),
            Some(size) => {
                let longest = image.part("size").count("longest_edge")?.map(|edge| (edge, edge));
                let both = longest.map_or_else(|| image.sides("size"), |both| Ok(Some(both)))?;
                both.ok_or_else(|| format!("size is {size}; longest_edge or height and width are supported"))?
            }
        };
        let or = |name: &str, other: Option<u32>, default: u32| -> Result<u32, String> {
            Ok(processor.count(name)?.or(other).unwrap_or(default))
        };
        let patch = match files.vision.count("patch_size")? {
            None => image.sides("patch_size")?.map(|(side, _)| side),
            patch => patch,
        };
        Ok(Self {
            most_height,
            most_width,
            patch: or("patch_size", patch, 16)?,
            merge: or("spatial_merge_size", files.model.count("spatial_merge_size")?, 1)?,
            row_end: processor.text("image_break_token").unwrap_or("[IMG_BREAK]").into(),
            end: processor.text("image_end_token").unwrap_or("[IMG_END]").into(),
            filter: image.filter(Filter::Bicubic)?,
            levels: image.levels(CLIP)?,
        })
    }

    pub(crate) fn prepare(&self, picture: &Picture, token: &str) -> Result<Prepared, ImageError> {
        let step = self.patch * self.merge;
        let (mut height, mut width) = (f64::from(picture.height), f64::from(picture.width));
        let ratio = (height / f64::from(self.most_height)).max(width / f64::from(self.most_width));
        if ratio > 1.0 {
            (height, width) = ((height / ratio).floor(), (width / ratio).floor());
        }
        let (rows, columns) = ((height as u32).div_ceil(step), (width as u32).div_ceil(step));
        if rows == 0 || columns == 0 {
            return Err(ImageError::Narrow { width: picture.width, height: picture.height });
        }
        let resized = picture.resized(columns * step, rows * step, self.filter)?;
        let line = token.repeat(columns as usize);
        let lines = vec![line; rows as usize];
        let text = lines.join(&self.row_end) + &self.end;
        Ok(Tiles { pictures: &[resized], patch: self.patch, features: rows * columns, text }
            .prepared(&self.levels))
    }
}
