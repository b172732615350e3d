//! A layer of a vision tower: norm, attention over whole groups, norm, feed-forward.
//!
//! Dosovitskiy et al. 2020 (<https://arxiv.org/abs/2010.11929>).

use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, ops};

use super::Result;
use super::full_attention::{Groups, attend};
use super::linear::{Fused, Linear};
use super::mlp::{Activation, GatedMlp};
use super::norm::{LayerNorm, rms_norm};
use super::rope::Rotation;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// How a family builds and names its layers.
#[derive(Debug, Clone, Copy)]
pub struct BlockForm {
    /// Before attention and feed-forward.
    pub norms: [&'static str; 2],
    /// Whether the norms are root-mean-square norms.
    pub rms: bool,
    /// Query, key and value: one matrix or three.
    pub qkv: &'static [&'static str],
    /// The output of attention.
    pub output: &'static str,
    /// The feed-forward part.
    pub mlp: MlpForm,
    /// Whether linear layers have biases.
    pub biased: bool,
}

/// How a family builds its feed-forward part.
#[derive(Debug, Clone, Copy)]
pub enum MlpForm {
    /// Two layers with these names.
    Plain([&'static str; 2]),
    /// Gated, under this name.
    Gated(&'static str),
}

/// The sizes of a tower.
#[derive(Debug, Clone)]
pub struct BlockSizes {
    /// Width.
    pub size: i32,
    /// Inner width of the feed-forward part.
    pub hidden: i32,
    /// Heads of attention.
    pub heads: i32,
    /// Width of a head.
    pub head_dim: i32,
    /// Of the norms.
    pub eps: f32,
    /// Of the feed-forward part.
    pub activation: TowerActivation,
}

/// The activation of a tower.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TowerActivation {
    /// One that language models have.
    Common(Activation),
    /// x · σ(1.702 x).
    QuickGelu,
}

/// A norm of either kind.
#[derive(Debug)]
pub enum TowerNorm {
    /// Mean and variance.
    Layer(LayerNorm),
    /// Root mean square: weight and epsilon.
    Rms(Array, f32),
}

/// Two linear layers with an activation between them.
#[derive(Debug)]
pub struct PlainMlp {
    up: Linear,
    down: Linear,
    activation: TowerActivation,
}

#[derive(Debug)]
enum Mlp {
    Plain(PlainMlp),
    Gated(GatedMlp),
}

/// A layer.
#[derive(Debug)]
pub struct TowerBlock {
    norms: [TowerNorm; 2],
    qkv: Fused,
    output: Linear,
    mlp: Mlp,
    heads: i32,
    head_dim: i32,
}

impl BlockSizes {
    /// Checks what comes from a file.
    ///
    /// # Errors
    /// A sentence.
    pub fn check(&self) -> Result<(), String> {
        let Self { size, hidden, heads, head_dim, .. } = *self;
        if size < 1 || hidden < 1 || heads < 1 || head_dim < 1 {
            return Err("vision_config: sizes must be positive".into());
        }
        Ok(())
    }
}

impl TowerActivation {
    /// From its name in Hugging Face's configurations.
    ///
    /// # Errors
    /// A sentence, for unsupported names.
    pub fn from_name(name: &str) -> Result<Self, String> {
        match name {
            "quick_gelu" => Ok(Self::QuickGelu),
            _ => Activation::from_name(name).map(Self::Common),
        }
    }

    fn apply(self, x: &Array) -> Result<Array> {
        match self {
            Self::Common(activation) => activation.apply(x),
            Self::QuickGelu => {
                let slope = Array::from_f32(1.702).as_dtype(x.dtype())?;
                x.multiply(ops::sigmoid(x.multiply(slope)?)?)
            }
        }
    }
}

impl TowerNorm {
    /// Loads `path.weight`, and `path.bias` unless it is a root-mean-square norm.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load(loader: &Loader, path: &str, size: i32, rms: bool, eps: f32) -> Result<Self, LoadError> {
        if rms {
            return Ok(Self::Rms(loader.tensor(&format!("{path}.weight"), &[size])?, eps));
        }
        LayerNorm::load(loader, path, size, true, eps).map(Self::Layer)
    }

    /// `[.., D]` → `[.., D]`.
    pub fn forward(&self, x: &Array) -> Result<Array> {
        match self {
            Self::Layer(norm) => norm.forward(x),
            Self::Rms(weight, eps) => rms_norm(x, weight, *eps),
        }
    }
}

impl PlainMlp {
    /// Loads two layers of these names with these widths: input, between and output.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load(
        loader: &Loader,
        [up, down]: [&str; 2],
        [input, hidden, output]: [i32; 3],
        biased: bool,
        activation: TowerActivation,
    ) -> Result<Self, LoadError> {
        Ok(Self {
            up: Linear::load(loader, up, input, hidden, biased)?,
            down: Linear::load(loader, down, hidden, output, biased)?,
            activation,
        })
    }

    /// `[N, input]` → `[N, output]`.
    pub fn forward(&self, x: &Array) -> Result<Array> {
        let wide = match self.activation {
            TowerActivation::Common(activation) => self.up.forward_activated(x, activation)?,
            other => other.apply(&self.up.forward(x)?)?,
        };
        self.down.forward(&wide)
    }
}

impl TowerBlock {
    /// Loads the layer at `path`.
    ///
    /// # Errors
    /// Those of the loader, and if config.json names an activation that is not supported.
    pub fn load(
        loader: &Loader,
        path: &str,
        form: &BlockForm,
        sizes: &BlockSizes,
    ) -> Result<Self, LoadError> {
        let BlockSizes { size, hidden, heads, head_dim, eps, activation } = *sizes;
        let named = |name: &str| format!("{path}.{name}");
        let norm = |name: &str| TowerNorm::load(loader, &named(name), size, form.rms, eps);
        let width = 3 * heads * head_dim / form.qkv.len().max(1) as i32;
        let part = |name: &&str| Linear::load(loader, &named(name), size, width, form.biased);
        let mlp = match (form.mlp, activation) {
            (MlpForm::Plain([up, down]), _) => {
                let names = [&named(up)[..], &named(down)];
                Mlp::Plain(PlainMlp::load(loader, names, [size, hidden, size], form.biased, activation)?)
            }
            (MlpForm::Gated(name), TowerActivation::Common(activation)) => {
                Mlp::Gated(GatedMlp::load(loader, &named(name), (size, hidden), form.biased, activation)?)
            }
            (MlpForm::Gated(_), other) => {
                let text = format!("vision_config: the activation {other:?} is not supported here");
                return Err(loader.config().problem(text));
            }
        };
        Ok(Self {
            norms: [norm(form.norms[0])?, norm(form.norms[1])?],
            qkv: Fused::new(form.qkv.iter().map(part).collect::<Result<_, _>>()?)?,
            output: Linear::load(loader, &named(form.output), heads * head_dim, size, form.biased)?,
            mlp,
            heads,
            head_dim,
        })
    }

    /// `[N, D]` → `[N, D]`.
    pub fn forward(&self, x: &Array, rotation: Option<&Rotation>, groups: &Groups) -> Result<Array> {
        let qkv = self.qkv.forward(&self.norms[0].forward(x)?)?;
        let qkv = qkv.reshape(&[-1, 3 * self.heads, self.head_dim])?;
        let part = |at: i32| qkv.try_index((.., at * self.heads..(at + 1) * self.heads));
        let turned = |x: Array| rotation.map_or(Ok(x.clone()), |rotation| rotation.apply(&x));
        let [q, k, v] = [turned(part(0)?)?, turned(part(1)?)?, part(2)?];
        let attended = attend([&q, &k, &v], (self.head_dim as f32).powf(-0.5), groups)?;
        let x = x.add(self.output.forward(&attended)?)?;
        let normed = self.norms[1].forward(&x)?;
        match &self.mlp {
            Mlp::Plain(mlp) => x.add(mlp.forward(&normed)?),
            Mlp::Gated(mlp) => x.add(mlp.forward(&normed)?),
        }
    }
}
