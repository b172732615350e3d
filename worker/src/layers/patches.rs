//! Patch embedding: a convolution whose steps are as wide as its filters, which is a product with each patch.
//!
//! Dosovitskiy et al. 2020 (<https://arxiv.org/abs/2010.11929>).

use mlx_rs::{Array, Dtype};

use super::Result;
use super::linear::Linear;
use crate::weights::LoadError;
use crate::weights::loader::Loader;
use crate::weights::matrix::Weight;

/// The sizes of a patch.
#[derive(Debug, Clone, Copy)]
pub struct PatchShape {
    /// Colours.
    pub channels: i32,
    /// Frames, for models that read videos.
    pub frames: Option<i32>,
    /// Rows and columns.
    pub side: i32,
}

/// A product with each patch.
#[derive(Debug)]
pub struct PatchEmbedding {
    linear: Linear,
    shape: PatchShape,
    dtype: Dtype,
}

impl PatchShape {
    /// Numbers in a patch.
    pub fn size(self) -> i32 {
        self.channels * self.frames.unwrap_or(1) * self.side * self.side
    }
}

impl PatchEmbedding {
    /// Loads `path.weight` with `width` filters, channels first (Hugging Face) or last (MLX), and `path.bias` if `biased`.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load(
        loader: &Loader,
        path: &str,
        shape: PatchShape,
        width: i32,
        biased: bool,
    ) -> Result<Self, LoadError> {
        let name = format!("{path}.weight");
        let inner = [shape.frames.as_slice(), &[shape.side, shape.side]].concat();
        let last = [&[width], &inner[..], &[shape.channels]].concat();
        let first = [&[width, shape.channels], &inner[..]].concat();
        let is_last = loader.has_shape(&name, &last);
        let stored = loader.tensor_as(&name, if is_last { &last } else { &first }, &last)?;
        let bias = biased.then(|| loader.tensor(&format!("{path}.bias"), &[width])).transpose()?;
        let dtype = stored.dtype();
        if loader.is_checking() {
            return Ok(Self { linear: Linear::new(Weight::Dense(stored), bias), shape, dtype });
        }
        let stored = if is_last {
            let end = last.len() as i32 - 1;
            let order: Vec<i32> = [0, end].into_iter().chain(1..end).collect();
            stored.transpose_axes(&order)?
        } else {
            stored
        };
        let weight = stored.reshape(&[width, shape.size()])?;
        weight.eval()?;
        Ok(Self { linear: Linear::new(Weight::Dense(weight), bias), shape, dtype })
    }

    /// Patches `[N, size]`, colours first → `[N, width]`.
    pub fn forward(&self, patches: &Array) -> Result<Array> {
        self.linear.forward(&patches.as_dtype(self.dtype)?)
    }

    /// Pictures `[B, channels, rows, columns]` → `[B * patches, width]`, row by row. What fills no patch is left out.
    pub fn forward_pictures(&self, pictures: &Array) -> Result<Array> {
        let PatchShape { channels, side, .. } = self.shape;
        let [count, rows, columns] = [pictures.dim(0), pictures.dim(2) / side, pictures.dim(3) / side];
        let pictures = cropped(&cropped(pictures, 2, rows * side)?, 3, columns * side)?;
        let patches = pictures.reshape(&[count, channels, rows, side, columns, side])?;
        let patches = patches.transpose_axes(&[0, 2, 4, 1, 3, 5])?;
        self.forward(&patches.reshape(&[count * rows * columns, self.shape.size()])?)
    }
}

/// The first `length` entries along `axis`.
fn cropped(x: &Array, axis: i32, length: i32) -> Result<Array> {
    if x.dim(axis) == length {
        return Ok(x.clone());
    }
    let indices: Vec<i32> = (0..length).collect();
    x.take_axis(Array::from_slice(&indices, &[length]), axis)
}
