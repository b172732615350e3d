//! Norms. Layer normalisation with mean and variance (Ba et al. 2016, <https://arxiv.org/abs/1607.06450>).

use mlx_rs::{Array, fast};

use super::Result;
use crate::kernels;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// Root-mean-square norm of each token of `x`, times `weight` (Zhang and Sennrich 2019, <https://arxiv.org/abs/1910.07467>).
///
/// # Errors
/// When the device fails.
pub fn rms_norm(x: &Array, weight: &Array, eps: f32) -> Result<Array> {
    kernels::rms_norm(x, weight, eps).unwrap_or_else(|| fast::rms_norm(x, Some(weight), eps))
}

/// Normalises each token to mean 0 and variance 1, then scales and shifts its coordinates.
#[derive(Debug)]
pub struct LayerNorm {
    /// `[D]`.
    weight: Array,
    /// `[D]`.
    bias: Option<Array>,
    eps: f32,
}

impl LayerNorm {
    /// Loads `path.weight`, and `path.bias` if `biased`.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load(loader: &Loader, path: &str, size: i32, biased: bool, eps: f32) -> Result<Self, LoadError> {
        let weight = loader.tensor(&format!("{path}.weight"), &[size])?;
        let bias = biased.then(|| loader.tensor(&format!("{path}.bias"), &[size])).transpose()?;
        Ok(Self { weight, bias, eps })
    }

    /// `[.., D]` → `[.., D]`.
    pub fn forward(&self, x: &Array) -> Result<Array> {
        kernels::layer_norm(x, None, (&self.weight, self.bias.as_ref()), self.eps)
            .unwrap_or_else(|| fast::layer_norm(x, &self.weight, self.bias.as_ref(), self.eps))
    }

    /// `forward(x + added)`.
    pub fn forward_sum(&self, x: &Array, added: &Array) -> Result<Array> {
        kernels::layer_norm(x, Some(added), (&self.weight, self.bias.as_ref()), self.eps)
            .unwrap_or_else(|| self.forward(&x.add(added)?))
    }
}
