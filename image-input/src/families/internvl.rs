//! InternVL as Transformers has it: tiles in the grid whose shape is nearest to the picture's, and the whole picture last.

use crate::error::ImageError;
use crate::families::tiles::{self, Tiles};
use crate::fields::{CLIP, Files};
use crate::levels::Levels;
use crate::picture::Picture;
use crate::prepared::Prepared;
use crate::resample::Filter;

/// More tiles than any model takes.
const MOST_TILES: u32 = 256;

#[derive(Debug, Clone)]
pub(crate) struct InternVl {
    height: u32,
    width: u32,
    patch: u32,
    tokens: u32,
    /// Columns and rows of tiles, fewest tiles first.
    grids: Vec<(u32, u32)>,
    filter: Filter,
    levels: Levels,
}

impl InternVl {
    pub(crate) fn new(files: Files<'_>) -> Result<Self, String> {
        let image = files.image;
        image.class(&["GotOcr2", "InternVL"])?;
        let (height, width) = tiles::fixed(files, 448)?;
        let least = image.count("min_patches")?.unwrap_or(1);
        let most = image.count("max_patches")?.unwrap_or(12);
        if most > MOST_TILES {
            return Err(format!("max_patches is {most}; at most {MOST_TILES} are supported"));
        }
        let asked = files.processor.count("image_seq_length")?.or(files.model.count("image_seq_length")?);
        Ok(Self {
            height,
            width,
            patch: tiles::patch(files, 14)?,
            tokens: asked.unwrap_or(256),
            grids: grids(least, most),
            filter: image.filter(Filter::Bicubic)?,
            levels: image.levels(CLIP)?,
        })
    }

    pub(crate) fn prepare(&self, picture: &Picture, token: &str) -> Result<Prepared, ImageError> {
        let (columns, rows) = self.grid(picture);
        let resized = picture.resized(self.width * columns, self.height * rows, self.filter)?;
        let cell = |cell: u32| {
            let (row, column) = (cell / columns, cell % columns);
            resized.cut(i64::from(column * self.width), i64::from(row * self.height), self.width, self.height)
        };
        let mut pictures: Vec<Picture> = (0..columns * rows).map(cell).collect();
        if pictures.len() > 1 {
            pictures.push(picture.resized(self.width, self.height, self.filter)?);
        }
        let features = pictures.len() as u32 * self.tokens;
        let text = format!("<img>{}</img>", token.repeat(features as usize));
        Ok(Tiles { pictures: &pictures, patch: self.patch, features, text }.prepared(&self.levels))
    }

    /// Columns and rows. Of grids that fit equally, the later one counts while the picture fills half of it.
    fn grid(&self, picture: &Picture) -> (u32, u32) {
        let ratio = f64::from(picture.width) / f64::from(picture.height);
        let area = f64::from(picture.width) * f64::from(picture.height);
        let tile = 0.5 * f64::from(self.height) * f64::from(self.width);
        let mut best = (1, 1);
        let mut least = f64::INFINITY;
        for &(columns, rows) in &self.grids {
            let difference = (ratio - f64::from(columns) / f64::from(rows)).abs();
            let filled = area > tile * f64::from(columns) * f64::from(rows);
            if difference < least || difference == least && filled {
                (best, least) = ((columns, rows), difference);
            }
        }
        best
    }
}

fn grids(least: u32, most: u32) -> Vec<(u32, u32)> {
    let of = |columns: u32| (1..=most / columns).map(move |rows| (columns, rows));
    let mut grids: Vec<_> =
        (1..=most).flat_map(of).filter(|(columns, rows)| columns * rows >= least).collect();
    grids.sort_by_key(|(columns, rows)| columns * rows);
    grids
}
