//! Resizes pictures as torchvision resizes eight-bit tensors with antialiasing: first all rows to the new width, then all columns to
//! the new height, rounding to eight bits in between.
//!
//! One call of the resizer for both would begin with the columns and differ by up to 26 levels.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::error::ImageError;
use crate::picture::Picture;

/// A filter, by its number in Pillow and in `preprocessor_config.json`'s `resample`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filter {
    Lanczos,
    Bilinear,
    Bicubic,
}

impl Filter {
    pub(crate) fn numbered(number: u64) -> Option<Self> {
        match number {
            1 => Some(Self::Lanczos),
            2 => Some(Self::Bilinear),
            3 => Some(Self::Bicubic),
            _ => None,
        }
    }

    fn kernel(self) -> FilterType {
        match self {
            Self::Lanczos => FilterType::Lanczos3,
            Self::Bilinear => FilterType::Bilinear,
            Self::Bicubic => FilterType::CatmullRom,
        }
    }
}

impl Picture {
    /// The picture in another size.
    pub(crate) fn resized(&self, width: u32, height: u32, filter: Filter) -> Result<Self, ImageError> {
        let refused = || ImageError::Resize {
            width: self.width,
            height: self.height,
            to_width: width,
            to_height: height,
        };
        // The picture between the passes has the new width and the old height.
        let most = u64::from(width) * u64::from(height.max(self.height));
        if width == 0 || height == 0 || most > MOST_PIXELS {
            return Err(refused());
        }
        let wide =
            pass(&self.rgb, (self.width, self.height), (width, self.height), filter).ok_or_else(refused)?;
        let rows = wide.as_deref().unwrap_or(&self.rgb);
        let both = pass(rows, (width, self.height), (width, height), filter).ok_or_else(refused)?;
        Ok(Self { width, height, rgb: both.or(wide).unwrap_or_else(|| self.rgb.clone()) })
    }

    /// The part of the picture that begins at a point. Beyond the edges it is black.
    pub(crate) fn cut(&self, left: i64, top: i64, width: u32, height: u32) -> Self {
        let mut rgb = vec![0; 3 * width as usize * height as usize];
        let first = left.max(0);
        let end = (left + i64::from(width)).min(i64::from(self.width));
        for (row, out) in rgb.chunks_exact_mut(3 * width as usize).enumerate() {
            let y = top + row as i64;
            if (0..i64::from(self.height)).contains(&y) && first < end {
                let start = 3 * (y as usize * self.width as usize + first as usize);
                let count = 3 * (end - first) as usize;
                let at = 3 * (first - left) as usize;
                out[at..at + count].copy_from_slice(&self.rgb[start..start + count]);
            }
        }
        Self { width, height, rgb }
    }
}

/// Real settings make no larger pictures, but very long ones would become so on the way.
pub(crate) const MOST_PIXELS: u64 = 64 << 20;

/// One direction. `Some(None)` if the size stays the same.
fn pass(rgb: &[u8], from: (u32, u32), to: (u32, u32), filter: Filter) -> Option<Option<Vec<u8>>> {
    if from == to {
        return Some(None);
    }
    let source = ImageRef::new(from.0, from.1, rgb, PixelType::U8x3).ok()?;
    let mut target = Image::new(to.0, to.1, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter.kernel()));
    Resizer::new().resize(&source, &mut target, &options).ok()?;
    Some(Some(target.into_vec()))
}
