//! The gated short convolution of LFM2: `out(c * conv(b * x))`, where b, c and x are projections of the input.

use mlx_rs::Array;
use mlx_rs::ops::indexing::TryIndexOp;

use super::Result;
use super::linear::{Input, Linear};
use crate::kv::KvStep;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// A layer that mixes each channel over the last tokens.
#[derive(Debug)]
pub struct ShortConvolution {
    in_proj: Linear,
    conv: CausalConvolution,
    out_proj: Linear,
    size: i32,
}

impl ShortConvolution {
    /// Loads `path.{in_proj,conv,out_proj}`: width `size`, over `kernel` tokens.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load(
        loader: &Loader,
        path: &str,
        (size, kernel): (i32, i32),
        biased: bool,
    ) -> Result<Self, LoadError> {
        Ok(Self {
            in_proj: Linear::load(loader, &format!("{path}.in_proj"), size, 3 * size, biased)?,
            conv: CausalConvolution::load(loader, &format!("{path}.conv"), (size, kernel), biased)?,
            out_proj: Linear::load(loader, &format!("{path}.out_proj"), size, size, biased)?,
            size,
        })
    }

    /// `residual` plus the output for `input`, `[T, D]`; `layer` counts the layers with convolutions.
    ///
    /// # Errors
    /// When the device fails.
    pub fn forward_residual(
        &self,
        residual: &Array,
        input: Input,
        layer: usize,
        kv: &mut KvStep,
    ) -> Result<Array> {
        let parts = self.in_proj.forward(input)?;
        let part = |at: i32| parts.try_index((.., at * self.size..(at + 1) * self.size));
        let mixed = self.conv.forward(&part(0)?.multiply(part(2)?)?, layer, kv)?;
        self.out_proj.forward_residual(residual, Input::Plain(&part(1)?.multiply(mixed)?))
    }
}

/// A convolution of each channel over the last tokens, the newest included.
#[derive(Debug)]
pub(super) struct CausalConvolution {
    /// `[D]` for each token of the kernel, the newest last.
    weights: Vec<Array>,
    /// `[D]`.
    bias: Option<Array>,
}

impl CausalConvolution {
    pub(super) fn load(
        loader: &Loader,
        path: &str,
        (size, kernel): (i32, i32),
        biased: bool,
    ) -> Result<Self, LoadError> {
        let name = format!("{path}.weight");
        // PyTorch has the kernel last, MLX the input channels. The numbers lie in the same order.
        let pytorch = [size, 1, kernel];
        let mlx = [size, kernel, 1];
        let shape = if loader.has_shape(&name, &pytorch) { pytorch } else { mlx };
        let weight = loader.tensor_as(&name, &shape, &mlx)?;
        let bias = biased.then(|| loader.tensor(&format!("{path}.bias"), &[size])).transpose()?;
        if loader.is_checking() {
            return Ok(Self { weights: Vec::new(), bias });
        }
        let by_token = weight.reshape(&[size, kernel])?.t();
        let weights = (0..kernel).map(|token| by_token.try_index(token)).collect::<Result<_>>()?;
        Ok(Self { weights, bias })
    }

    /// `[T, D]` → `[T, D]`.
    pub(super) fn forward(&self, x: &Array, layer: usize, kv: &mut KvStep) -> Result<Array> {
        let mixed = kv.convolve(layer, x, &self.weights)?;
        self.bias.as_ref().map_or(Ok(mixed.clone()), |bias| mixed.add(bias))
    }
}
