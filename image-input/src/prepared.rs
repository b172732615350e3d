//! What comes out: numbers for the vision tower, and text for the prompt.

use sha2::{Digest, Sha256};

/// One image, ready for a vision tower and its place in a prompt.
#[derive(Clone, PartialEq, Default)]
pub struct Prepared {
    /// What the processor calls `pixel_values`, of this image alone, row-major.
    pub pixels: Vec<f32>,
    /// The shape of `pixels`. Qwen and Gemma 4: [patches, values of a patch]; others: [tiles, 3, height, width].
    pub shape: Vec<usize>,
    /// Qwen: frames, rows and columns of patches. Others: tiles, and rows and columns of patches in a tile.
    pub grid: [u32; 3],
    /// How many image tokens are in `text`.
    pub features: u32,
    /// What replaces [`crate::Processor::placeholder`] in the prompt.
    pub text: String,
    /// SHA-256 of `pixels`, `shape` and `text`: equal images in equal settings have equal digests.
    pub digest: [u8; 32],
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { shape, grid, features, .. } = self;
        write!(f, "Prepared(shape {shape:?}, grid {grid:?}, {features} features)")
    }
}

impl Prepared {
    pub(crate) fn new(
        pixels: Vec<f32>,
        shape: Vec<usize>,
        grid: [u32; 3],
        features: u32,
        text: String,
    ) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), pixels.len());
        let mut hash = Sha256::new();
        hash.update((shape.len() as u64).to_le_bytes());
        for &side in &shape {
            hash.update((side as u64).to_le_bytes());
        }
        let mut bytes = Vec::with_capacity(4 * CHUNK);
        for chunk in pixels.chunks(CHUNK) {
            bytes.clear();
            bytes.extend(chunk.iter().flat_map(|value| value.to_le_bytes()));
            hash.update(&bytes);
        }
        hash.update(text.as_bytes());
        Self { pixels, shape, grid, features, text, digest: hash.finalize().into() }
    }
}

/// Values that are hashed at once.
const CHUNK: usize = 4096;
