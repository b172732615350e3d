//! Idefics 3 and SmolVLM: a large picture becomes tiles and, last, the whole picture in the size of a tile.

use crate::error::ImageError;
use crate::families::tiles::{self, Tiles};
use crate::fields::{Files, HALVES};
use crate::levels::Levels;
use crate::picture::Picture;
use crate::prepared::Prepared;
use crate::resample::Filter;

/// No picture is made larger than this, whatever the settings say.
const MOST_SIDE: u32 = 4096;
/// Smaller tiles would be too many.
const LEAST_TILE: u32 = 16;
const FAKE: &str = "<fake_token_around_image>";
const GLOBAL: &str = "<global-img>";

#[derive(Debug, Clone)]
pub(crate) struct Idefics3 {
    size: Size,
    tile: u32,
    split: bool,
    patch: u32,
    /// Image tokens of one tile.
    tokens: u32,
    filter: Filter,
    levels: Levels,
}

/// The size before tiles are cut.
#[derive(Debug, Clone, Copy)]
enum Size {
    Longest(u32),
    Fixed(u32, u32),
}

impl Idefics3 {
    pub(crate) fn new(files: Files<'_>) -> Result<Self, String> {
        let image = files.image;
        image.class(&["Idefics3", "SmolVLM"])?;
        let size = match image.get("size") {
            None => Size::Longest(4 * 364),
            Some(size) => match (image.part("size").count("longest_edge")?, image.sides("size")?) {
                (Some(longest), _) => Size::Longest(longest),
                (None, Some((height, width))) => Size::Fixed(height, width),
                (None, None) => {
                    return Err(format!("size is {size}; longest_edge or height and width are supported"));
                }
            },
        };
        let tile = match image.get("max_image_size") {
            None => 364,
            Some(value) => image
                .part("max_image_size")
                .count("longest_edge")?
                .ok_or_else(|| format!("max_image_size is {value}; longest_edge is supported"))?,
        };
        let patch = tiles::patch(files, 14)?;
        if tile < LEAST_TILE {
            return Err(format!("max_image_size.longest_edge is {tile}; at least {LEAST_TILE} is supported"));
        }
        let side = tile / patch;
        let scale = files.model.count("scale_factor")?.unwrap_or(2);
        let tokens = files.processor.count("image_seq_len")?.unwrap_or(side * side / (scale * scale));
        let split = image.flag("do_image_splitting", true);
        Ok(Self {
            size,
            tile,
            split,
            patch,
            tokens,
            filter: image.filter(Filter::Lanczos)?,
            levels: image.levels(HALVES)?,
        })
    }

    pub(crate) fn prepare(&self, picture: &Picture, token: &str) -> Result<Prepared, ImageError> {
        let (height, width) = match self.size {
            Size::Longest(longest) => longest_edge(picture, longest),
            Size::Fixed(height, width) => (height, width),
        };
        let resized = picture.resized(width, height, self.filter)?;
        let tile = self.tile;
        let mut pictures = Vec::new();
        let (mut rows, mut columns) = (0, 0);
        if self.split {
            let (height, width) = whole_tiles(&resized, tile);
            let resized = resized.resized(width, height, self.filter)?;
            if height > tile || width > tile {
                (rows, columns) = (height / tile, width / tile);
                for cell in 0..rows * columns {
                    let (row, column) = (cell / columns, cell % columns);
                    pictures.push(resized.cut(i64::from(column * tile), i64::from(row * tile), tile, tile));
                }
            }
            pictures.push(resized.resized(tile, tile, self.filter)?);
        } else {
            pictures.push(resized.resized(tile, tile, self.filter)?);
        }
        let text = self.text(rows, columns, token);
        let features = pictures.len() as u32 * self.tokens;
        Ok(Tiles { pictures: &pictures, patch: self.patch, features, text }.prepared(&self.levels))
    }

    fn text(&self, rows: u32, columns: u32, token: &str) -> String {
        let images = token.repeat(self.tokens as usize);
        let mut text = String::new();
        for row in 1..=rows {
            for column in 1..=columns {
                text += &format!("{FAKE}<row_{row}_col_{column}>{images}");
            }
            text.push('\n');
        }
        if rows > 0 {
            text.push('\n');
        }
        text + FAKE + GLOBAL + &images + FAKE
    }
}

/// Height and width with the longer side as asked and the other even, and neither above [`MOST_SIDE`].
fn longest_edge(picture: &Picture, longest: u32) -> (u32, u32) {
    let (height, width) = (f64::from(picture.height), f64::from(picture.width));
    let ratio = width / height;
    let even = |side: f64| side as u32 + side as u32 % 2;
    let edge = f64::from(longest);
    let (height, width) =
        if width >= height { (even(edge / ratio), longest) } else { (longest, even(edge * ratio)) };
    let (height, width) = (height.max(1), width.max(1));
    if height.max(width) <= MOST_SIDE {
        return (height, width);
    }
    let ratio = f64::from(width) / f64::from(height);
    let most = f64::from(MOST_SIDE);
    let (height, width) =
        if width >= height { ((most / ratio) as u32, MOST_SIDE) } else { (MOST_SIDE, (most * ratio) as u32) };
    (height.max(1), width.max(1))
}

/// Height and width that whole tiles fill.
fn whole_tiles(picture: &Picture, tile: u32) -> (u32, u32) {
    let ratio = f64::from(picture.width) / f64::from(picture.height);
    let up = |side: u32| side.div_ceil(tile).max(1) * tile;
    if picture.width >= picture.height {
        let width = up(picture.width);
        (up((f64::from(width) / ratio) as u32), width)
    } else {
        let height = up(picture.height);
        (height, up((f64::from(height) * ratio) as u32))
    }
}
