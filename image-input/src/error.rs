//! Why an image cannot be read, as sentences that a client may see.

/// Why an image cannot be read or prepared. `Display` is a plain sentence for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The bytes begin like no format that is read.
    #[error("this is no image: PNG, JPEG, WebP, GIF, BMP and TIFF are read")]
    Unknown,
    /// The file is longer than [`crate::Limits::bytes`].
    #[error("the image file has {bytes} bytes; at most {most} are read")]
    Bytes {
        /// The file's length.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// The image has more pixels than [`crate::Limits::pixels`].
    #[error("the image has {width} x {height} pixels; at most {most} are read")]
    Pixels {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
        /// The limit.
        most: u64,
    },
    /// A side has no pixels.
    #[error("the image has no pixels")]
    Empty,
    /// The file ends before the image does.
    #[error("the {format} image is cut off")]
    Truncated {
        /// The format's name.
        format: &'static str,
    },
    /// The decoder refuses the file.
    #[error("the {format} image cannot be read: {reason}")]
    Damaged {
        /// The format's name.
        format: &'static str,
        /// The decoder's words.
        reason: String,
    },
    /// The model takes no picture this long and narrow.
    #[error("an image of {width} x {height} pixels is too long and narrow for this model")]
    Narrow {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// A processor's configuration asks for a size that cannot be made.
    #[error("an image of {width} x {height} pixels cannot be resized to {to_width} x {to_height}")]
    Resize {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
        /// Pixels in a row afterwards.
        to_width: u32,
        /// Rows afterwards.
        to_height: u32,
    },
}
