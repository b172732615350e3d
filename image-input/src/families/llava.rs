//! LLaVA: the shorter edge to a length, then the middle; or, with another image processor, one square.

use crate::error::ImageError;
use crate::families::tiles::{self, Tiles};
use crate::fields::{CLIP, Files, HALVES, plain};
use crate::levels::Levels;
use crate::picture::Picture;
use crate::prepared::Prepared;
use crate::resample::{Filter, MOST_PIXELS};

#[derive(Debug, Clone)]
pub(crate) struct Llava {
    /// The colour of margins that make a picture square, if they are made.
    margin: Option<[u8; 3]>,
    size: Size,
    crop: Option<(u32, u32)>,
    patch: u32,
    /// Features besides those of the patches; below zero if the tower's first is left out.
    extra: i64,
    filter: Filter,
    levels: Levels,
}

#[derive(Debug, Clone, Copy)]
enum Size {
    Shortest(u32),
    Fixed(u32, u32),
}

impl Llava {
    pub(crate) fn new(files: Files<'_>) -> Result<Self, String> {
        let image = files.image;
        image.class(&["CLIP", "Llava", "Siglip"])?;
        let siglip = image.text("image_processor_type").map(plain) == Some("Siglip");
        let size = size(files, siglip)?;
        let crop = match image.flag("do_center_crop", !siglip) {
            true if image.get("crop_size").is_some() => {
                Some(image.sides("crop_size")?.ok_or("crop_size has no height and width")?)
            }
            true => Some((224, 224)),
            false => None,
        };
        if crop.is_none() && matches!(size, Size::Shortest(_)) {
            return Err("do_center_crop is false with size.shortest_edge, which is not supported".into());
        }
        let patch = files.processor.count("patch_size")?;
        Ok(Self {
            margin: margin(files)?,
            size,
            crop,
            patch: patch.map_or_else(|| tiles::patch(files, 14), Ok)?,
            extra: extra(files)?,
            filter: image.filter(Filter::Bicubic)?,
            levels: image.levels(if siglip { HALVES } else { CLIP })?,
        })
    }

    pub(crate) fn prepare(&self, picture: &Picture, token: &str) -> Result<Prepared, ImageError> {
        let square = self.margin.map(|colour| squared(picture, colour)).transpose()?;
        let picture = square.as_ref().unwrap_or(picture);
        let (height, width) = match self.size {
            Size::Fixed(height, width) => (height, width),
            Size::Shortest(shortest) => {
                let (short, long) =
                    (picture.width.min(picture.height), u64::from(picture.width.max(picture.height)));
                let long = u32::try_from(u64::from(shortest) * long / u64::from(short)).unwrap_or(u32::MAX);
                if picture.width <= picture.height { (long, shortest) } else { (shortest, long) }
            }
        };
        let mut resized = picture.resized(width, height, self.filter)?;
        if let Some((rows, columns)) = self.crop {
            resized = resized.cut(edge(width, columns), edge(height, rows), columns, rows);
        }
        let patches = i64::from(resized.height / self.patch) * i64::from(resized.width / self.patch);
        let features = u32::try_from(patches + self.extra).unwrap_or(0);
        let text = token.repeat(features as usize);
        Ok(Tiles { pictures: &[resized], patch: self.patch, features, text }.prepared(&self.levels))
    }
}

fn size(files: Files<'_>, siglip: bool) -> Result<Size, String> {
    let image = files.image;
    match image.get("size") {
        None if siglip => tiles::fixed(files, 224).map(|(height, width)| Size::Fixed(height, width)),
        None => Ok(Size::Shortest(224)),
        Some(value) => {
            let part = image.part("size");
            let edges = (part.count("shortest_edge")?, part.get("longest_edge"), image.sides("size")?);
            match edges {
                (Some(shortest), None, _) => Ok(Size::Shortest(shortest)),
                // A bare number is the shortest edge.
                (None, None, Some((side, _))) if !value.is_object() => Ok(Size::Shortest(side)),
                (None, None, Some((height, width))) => Ok(Size::Fixed(height, width)),
                _ => Err(format!("size is {value}; shortest_edge or height and width are supported")),
            }
        }
    }
}

/// The tower of CLIP has a class token before its patches; "default" leaves it out.
fn extra(files: Files<'_>) -> Result<i64, String> {
    let strategy = files
        .processor
        .text("vision_feature_select_strategy")
        .or_else(|| files.model.text("vision_feature_select_strategy"))
        .unwrap_or("default");
    let before = match files.processor.get("num_additional_image_tokens") {
        Some(number) => {
            number.as_u64().and_then(|number| i64::try_from(number).ok()).filter(|&number| number < 1 << 20)
        }
        None => Some(i64::from(files.vision.text("model_type").is_none_or(|kind| kind.starts_with("clip")))),
    };
    let before = before.ok_or("num_additional_image_tokens is no number that can be used")?;
    match strategy {
        "default" => Ok(before - 1),
        "full" => Ok(before),
        other => Err(format!("vision_feature_select_strategy is {other}; default and full are supported")),
    }
}

/// The mean colour, if margins make pictures square.
fn margin(files: Files<'_>) -> Result<Option<[u8; 3]>, String> {
    if !files.image.flag("do_pad", false) {
        return Ok(None);
    }
    if files.image.text("image_processor_type").map(plain) != Some("Llava") {
        return Err("do_pad is true, which is not supported with this image_processor_type".into());
    }
    let mean = files.image.channels("image_mean")?.unwrap_or(CLIP.mean);
    Ok(Some(mean.map(|value| (value * 255.0) as u8)))
}

/// A square with the picture in its middle.
fn squared(picture: &Picture, colour: [u8; 3]) -> Result<Picture, ImageError> {
    let side = picture.width.max(picture.height);
    if picture.width == picture.height {
        return Ok(picture.clone());
    }
    if u64::from(side) * u64::from(side) > MOST_PIXELS {
        return Err(ImageError::Narrow { width: picture.width, height: picture.height });
    }
    let mut rgb = colour.repeat(side as usize * side as usize);
    let (left, top) = ((side - picture.width) as usize / 2, (side - picture.height) as usize / 2);
    let line = 3 * picture.width as usize;
    for (row, source) in picture.rgb.chunks_exact(line).enumerate() {
        let at = 3 * ((top + row) * side as usize + left);
        rgb[at..at + line].copy_from_slice(source);
    }
    Ok(Picture { width: side, height: side, rgb })
}

/// Where a crop begins. A picture that is smaller gets a black margin, whose odd pixel comes last.
fn edge(side: u32, crop: u32) -> i64 {
    let (side, crop) = (i64::from(side), i64::from(crop));
    if crop > side { -((crop - side) / 2) } else { (side - crop) / 2 }
}
