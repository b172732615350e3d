//! The feed-forward block of a layer: an MLP, or a mixture of experts beside which an MLP may serve every token.

use mlx_rs::{Array, ops};

use super::Result;
use super::linear::{Input, Linear};
use super::mlp::{Activation, GatedMlp};
use super::moe::{MoeNames, MoeShape, SparseMoe};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The MLP of layers without experts.
#[derive(Debug, Clone, Copy)]
pub struct Dense {
    /// Path within a layer.
    pub path: &'static str,
    /// Model width D.
    pub size: i32,
    /// Inner width.
    pub hidden: i32,
    /// Whether its projections have biases.
    pub bias: bool,
    /// Activation of the gate.
    pub activation: Activation,
}

/// Mixture of experts in place of MLPs.
#[derive(Debug, Clone)]
pub struct Sparse {
    /// Path of the mixture within a layer.
    pub path: &'static str,
    /// Tensor names below `path`.
    pub names: MoeNames,
    /// Sizes and activation.
    pub shape: MoeShape,
    /// Every `step`-th layer is sparse.
    pub step: usize,
    /// Layers that are dense nevertheless.
    pub dense_layers: Vec<usize>,
    /// An MLP that every token passes in addition.
    pub shared: Option<SharedExpert>,
}

/// An MLP beside a mixture. Its names are below that of the mixture.
#[derive(Debug, Clone, Copy)]
pub struct SharedExpert {
    /// Path.
    pub path: &'static str,
    /// Inner width.
    pub hidden: i32,
    /// Path of a layer with one output, whose sigmoid scales the MLP's output.
    pub gate: Option<&'static str>,
}

impl Sparse {
    fn applies_to(&self, layer: usize) -> bool {
        (layer + 1).is_multiple_of(self.step) && !self.dense_layers.contains(&layer)
    }
}

/// One block.
#[derive(Debug)]
pub enum FeedForward {
    /// An MLP.
    Dense(GatedMlp),
    /// A mixture.
    Sparse(Box<SparseMoe>, Option<Shared>),
}

/// A loaded [`SharedExpert`].
#[derive(Debug)]
pub struct Shared {
    mlp: GatedMlp,
    gate: Option<Linear>,
}

impl Shared {
    fn load(loader: &Loader, path: &str, expert: SharedExpert, dense: Dense) -> Result<Self, LoadError> {
        let SharedExpert { path: name, hidden, gate } = expert;
        let sizes = (dense.size, hidden);
        let gate = gate.map(|gate| Linear::load(loader, &format!("{path}.{gate}"), dense.size, 1, false));
        Ok(Self {
            mlp: GatedMlp::load(loader, &format!("{path}.{name}"), sizes, dense.bias, dense.activation)?,
            gate: gate.transpose()?,
        })
    }

    /// `[T, D]` → `[T, D]`.
    fn forward(&self, x: &Array) -> Result<Array> {
        let output = self.mlp.forward(x)?;
        match &self.gate {
            Some(gate) => ops::sigmoid(gate.forward(x)?)?.multiply(output),
            None => Ok(output),
        }
    }
}

impl FeedForward {
    /// Loads the block of `layer`, whose tensors are below `model.layers.N`.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load(
        loader: &Loader,
        layer: usize,
        dense: Dense,
        sparse: Option<&Sparse>,
    ) -> Result<Self, LoadError> {
        let below = |path: &str| format!("model.layers.{layer}.{path}");
        let Some(sparse) = sparse.filter(|sparse| sparse.applies_to(layer)) else {
            let Dense { path, size, hidden, bias, activation } = dense;
            return GatedMlp::load(loader, &below(path), (size, hidden), bias, activation).map(Self::Dense);
        };
        let path = below(sparse.path);
        let moe = SparseMoe::load(loader, &path, sparse.names, sparse.shape)?;
        let shared = sparse.shared.map(|expert| Shared::load(loader, &path, expert, dense));
        Ok(Self::Sparse(Box::new(moe), shared.transpose()?))
    }

    /// `[T, D]` → `[T, D]`.
    pub fn forward(&self, input: Input) -> Result<Array> {
        match self {
            Self::Dense(mlp) => mlp.forward(input),
            Self::Sparse(moe, shared) => {
                let input = input.to_array()?;
                let mixed = moe.forward(&input)?;
                shared.as_ref().map_or(Ok(mixed.clone()), |shared| mixed.add(shared.forward(&input)?))
            }
        }
    }

    /// `residual` plus the output for `input`: `[T, D]`.
    pub fn forward_residual(&self, residual: &Array, input: Input) -> Result<Array> {
        match self {
            Self::Dense(mlp) => mlp.forward_residual(residual, input),
            Self::Sparse(..) => residual.add(self.forward(input)?),
        }
    }
}
