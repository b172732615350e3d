//! Reads image files: which format, how large, and the pixels as upright RGB on white.
//!
//! Grades of 16 bits become their high bytes, as Pillow reads them. Of animations the first frame is read. Colour profiles are ignored,
//! as Transformers ignores them.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};

use crate::error::ImageError;

/// How much of a stranger's image is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a file.
    pub bytes: usize,
    /// Most pixels of an image, by its header.
    pub pixels: u64,
}

impl Default for Limits {
    /// 20 MiB and 64 Mi pixels.
    fn default() -> Self {
        Self { bytes: 20 << 20, pixels: 64 << 20 }
    }
}

/// An image in memory: upright, without transparency, eight bits a channel.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Red, green and blue of each pixel, row by row from the top left: `3 * width * height` bytes.
    pub rgb: Vec<u8>,
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({} x {})", self.width, self.height)
    }
}

/// Width and height of an image as its header says, turned upright as [`decode`] does. Nothing is decoded.
///
/// # Errors
///
/// If the format is unknown or the header is damaged.
pub fn size(bytes: &[u8]) -> Result<(u32, u32), ImageError> {
    let (format, name) = format(bytes)?;
    let mut decoder = decoder(bytes, format, name, Limits::default())?;
    let (width, height) = decoder.dimensions();
    Ok(if turns(orientation(&mut decoder)) { (height, width) } else { (width, height) })
}

/// Reads an image file. Its content decides the format.
///
/// # Errors
///
/// If the format is unknown, the file is damaged or cut off, or a limit is passed; limits are checked before pixels are decoded.
pub fn decode(bytes: &[u8], limits: Limits) -> Result<Picture, ImageError> {
    if bytes.len() > limits.bytes {
        return Err(ImageError::Bytes { bytes: bytes.len(), most: limits.bytes });
    }
    let (format, name) = format(bytes)?;
    let mut decoder = decoder(bytes, format, name, limits)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(ImageError::Empty);
    }
    if u64::from(width) * u64::from(height) > limits.pixels {
        return Err(ImageError::Pixels { width, height, most: limits.pixels });
    }
    if format == ImageFormat::Jpeg && !jpeg_ends(bytes) {
        return Err(ImageError::Truncated { format: name });
    }
    let orientation = orientation(&mut decoder);
    let image = DynamicImage::from_decoder(decoder).map_err(|error| refused(name, &error))?;
    let mut upright = DynamicImage::ImageRgb8(on_white(image));
    upright.apply_orientation(orientation);
    let rgb = upright.into_rgb8();
    Ok(Picture { width: rgb.width(), height: rgb.height(), rgb: rgb.into_raw() })
}

/// The format, by the file's first bytes, and its name.
fn format(bytes: &[u8]) -> Result<(ImageFormat, &'static str), ImageError> {
    let format = image::guess_format(bytes).map_err(|_| ImageError::Unknown)?;
    let name = match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Tiff => "TIFF",
        _ => return Err(ImageError::Unknown),
    };
    Ok((format, name))
}

/// A decoder that has read the header.
fn decoder<'a>(
    bytes: &'a [u8],
    format: ImageFormat,
    name: &'static str,
    limits: Limits,
) -> Result<impl ImageDecoder + 'a, ImageError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut memory = image::Limits::default();
    // Four channels of 16 bits, and the decoder's own tables.
    memory.max_alloc = Some(limits.pixels.saturating_mul(8).saturating_add(64 << 20));
    reader.limits(memory);
    reader.into_decoder().map_err(|error| refused(name, &error))
}

/// How the camera was held; upright if the file does not say so, or says nonsense.
fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    decoder.orientation().unwrap_or(Orientation::NoTransforms)
}

/// Whether turning it upright exchanges width and height.
fn turns(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

fn refused(format: &'static str, error: &image::ImageError) -> ImageError {
    let cut = |error: &std::io::Error| error.kind() == std::io::ErrorKind::UnexpectedEof;
    match error {
        image::ImageError::IoError(error) if cut(error) => ImageError::Truncated { format },
        image::ImageError::Limits(_) => {
            ImageError::Damaged { format, reason: "it needs too much memory".into() }
        }
        error => ImageError::Damaged { format, reason: first_line(&error.to_string()) },
    }
}

/// Decoders' errors are for people, but may be long and hold line breaks.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}

/// Whether an end marker follows the last scan. The decoder would paint the missing rest grey.
fn jpeg_ends(bytes: &[u8]) -> bool {
    let last = |marker: u8| bytes.windows(2).rposition(|pair| pair == [0xff, marker]);
    last(0xd9) > last(0xda)
}

/// Eight bits a channel, transparency laid on white.
fn on_white(image: DynamicImage) -> RgbImage {
    let (width, height) = (image.width(), image.height());
    let rgb = match image {
        DynamicImage::ImageRgb8(image) => return image,
        DynamicImage::ImageLuma8(image) => image.into_raw().iter().flat_map(|&grey| [grey; 3]).collect(),
        DynamicImage::ImageLumaA8(image) => blended(&image, |[grey, alpha]: [u8; 2]| ([grey; 3], alpha)),
        DynamicImage::ImageRgba8(image) => blended(&image, |[r, g, b, alpha]: [u8; 4]| ([r, g, b], alpha)),
        DynamicImage::ImageLuma16(image) => image.iter().flat_map(|&grey| [high(grey); 3]).collect(),
        DynamicImage::ImageRgb16(image) => image.iter().map(|&value| high(value)).collect(),
        DynamicImage::ImageLumaA16(image) => {
            blended(&image, |[grey, alpha]: [u16; 2]| ([high(grey); 3], high(alpha)))
        }
        DynamicImage::ImageRgba16(image) => {
            blended(&image, |[r, g, b, alpha]: [u16; 4]| ([high(r), high(g), high(b)], high(alpha)))
        }
        image => blended(&image.into_rgba8(), |[r, g, b, alpha]: [u8; 4]| ([r, g, b], alpha)),
    };
    // The vector was made from an image of this size.
    RgbImage::from_raw(width, height, rgb).unwrap_or_default()
}

fn blended<T: Copy, const N: usize>(samples: &[T], split: impl Fn([T; N]) -> ([u8; 3], u8)) -> Vec<u8> {
    let (pixels, _) = samples.as_chunks::<N>();
    pixels
        .iter()
        .flat_map(|&pixel| {
            let (colours, alpha) = split(pixel);
            let alpha = u32::from(alpha);
            colours.map(|colour| ((u32::from(colour) * alpha + 255 * (255 - alpha) + 127) / 255) as u8)
        })
        .collect()
}

fn high(value: u16) -> u8 {
    (value >> 8) as u8
}

#[cfg(test)]
mod tests;
