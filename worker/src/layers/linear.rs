//! Linear layers, dense or MLX-quantised, alone or several in one product.

use mlx_rs::{Array, Dtype, ops};

use super::Result;
use super::kernels::{self, After, Before};
use super::mlp::Activation;
use super::norm::rms_norm;
use crate::weights::config::Packing;

/// `y = x Wᵀ + b`, and where an adapter changes a packed weight, `+ x Dᵀ Uᵀ`.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Weight,
    bias: Option<Array>,
    low_rank: Option<LowRank>,
}

/// What a linear layer reads.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// `[T, inputs]`.
    Plain(&'a Array),
    /// The root-mean-square norm of it by this epsilon, times a weight `[inputs]`.
    Normed(&'a Array, &'a Array, f32),
    /// `[T, 2 inputs]`: the function of its first half, times the other half.
    Gated(&'a Array, Activation),
}

impl<'a> From<&'a Array> for Input<'a> {
    fn from(x: &'a Array) -> Self {
        Self::Plain(x)
    }
}

impl<'a> Input<'a> {
    /// `[T, inputs]`.
    pub fn read(self) -> Result<Array> {
        match self {
            Self::Plain(x) => Ok(x.clone()),
            Self::Normed(x, weight, eps) => rms_norm(x, weight, eps),
            Self::Gated(both, activation) => activation.of_halves(both),
        }
    }

    /// The same as kernels have it.
    fn before(self) -> Option<(&'a Array, Before<'a>)> {
        match self {
            Self::Plain(x) => Some((x, Before::Nothing)),
            Self::Normed(x, weight, eps) => Some((x, Before::Norm(weight, eps))),
            Self::Gated(both, activation) => Some((both, Before::Gate(activation.function()?))),
        }
    }
}

/// A change of a weight by a product of two narrow matrices (or stacks of them).
#[derive(Debug, Clone)]
pub struct LowRank {
    /// D, `[.., rank, inputs]`.
    pub down: Array,
    /// U, `[.., outputs, rank]`, with the adapter's scale in it.
    pub up: Array,
}

impl LowRank {
    /// `weight` with the change in it.
    pub fn merged(&self, weight: &Array) -> Result<Array> {
        let wide = |x: &Array| x.as_dtype(Dtype::Float32);
        let change = wide(&self.up)?.matmul(wide(&self.down)?)?;
        wide(weight)?.add(change)?.as_dtype(weight.dtype())
    }

    /// What the change gives, as the type of `x`: `[T, inputs]` → `[T, outputs]`.
    fn forward(&self, x: &Array) -> Result<Array> {
        x.matmul(self.down.t())?.matmul(self.up.t())?.as_dtype(x.dtype())
    }

    /// The rows `ids` of the change: `[T]` → `[T, inputs]`.
    fn rows(&self, ids: &Array) -> Result<Array> {
        self.up.take_axis(ids, 0)?.matmul(&self.down)
    }
}

/// A matrix `[outputs, inputs]`, or a stack of them `[experts, outputs, inputs]`.
#[derive(Debug, Clone)]
pub enum Weight {
    /// As it is.
    Dense(Array),
    /// Packed by MLX's affine quantisation.
    Quantized {
        /// Packed weight, scales and biases.
        parts: [Array; 3],
        /// How they are packed.
        packing: Packing,
    },
}

impl Weight {
    /// Matrices of one shape as a stack; `None` where they are not all packed in the same way, or there are none.
    pub fn stacked(weights: &[Self]) -> Result<Option<Self>> {
        let dense: Vec<&Array> = weights.iter().filter_map(Self::as_dense).collect();
        if dense.len() == weights.len() && !dense.is_empty() {
            return Ok(Some(Self::Dense(stack(&dense)?)));
        }
        let Some(Self::Quantized { packing, .. }) = weights.first() else { return Ok(None) };
        let parts: Vec<&[Array; 3]> =
            weights.iter().filter_map(|weight| weight.as_packed(*packing)).collect();
        if parts.len() != weights.len() {
            return Ok(None);
        }
        let part = |at: usize| stack(&parts.iter().map(|parts| &parts[at]).collect::<Vec<_>>());
        Ok(Some(Self::Quantized { parts: [part(0)?, part(1)?, part(2)?], packing: *packing }))
    }

    fn as_dense(&self) -> Option<&Array> {
        match self {
            Self::Dense(weight) => Some(weight),
            Self::Quantized { .. } => None,
        }
    }

    fn as_packed(&self, as_this: Packing) -> Option<&[Array; 3]> {
        match self {
            Self::Quantized { parts, packing } if *packing == as_this => Some(parts),
            _ => None,
        }
    }
}

/// Evaluated, so that the parts can be dropped.
fn stack(parts: &[&Array]) -> Result<Array> {
    let whole = ops::stack(parts, 0)?;
    whole.eval()?;
    Ok(whole)
}

impl Linear {
    /// From a weight `[outputs, inputs]` and a bias `[outputs]`.
    pub fn new(weight: Weight, bias: Option<Array>) -> Self {
        Self { weight, bias, low_rank: None }
    }

    /// The same with a change beside its weight.
    pub fn adapted(self, low_rank: Option<LowRank>) -> Self {
        Self { low_rank, ..self }
    }

    /// `[T, inputs]` → `[T, outputs]`.
    pub fn forward<'a>(&self, input: impl Into<Input<'a>>) -> Result<Array> {
        let input = input.into();
        self.at_once(input, After::default()).unwrap_or_else(|| self.plain(&input.read()?))
    }

    /// The same and what is added, `[T, outputs]`.
    pub fn added_to(&self, residual: &Array, input: Input) -> Result<Array> {
        let after = After { residual: Some(residual), ..After::default() };
        self.at_once(input, after).unwrap_or_else(|| residual.add(self.plain(&input.read()?)?))
    }

    /// `act(x Wᵀ + b)`.
    pub fn activated(&self, x: &Array, activation: Activation) -> Result<Array> {
        let whole = activation.function().and_then(|function| {
            self.at_once(Input::Plain(x), After { function: Some(function), ..After::default() })
        });
        whole.unwrap_or_else(|| activation.plain(&self.forward(x)?))
    }

    /// By a kernel, where there is one for it.
    fn at_once(&self, input: Input, after: After) -> Option<Result<Array>> {
        let Self { weight: Weight::Dense(weight), bias, low_rank: None } = self else { return None };
        let (x, before) = input.before()?;
        kernels::linear(x, before, weight, After { bias: bias.as_ref(), ..after })
    }

    fn plain(&self, x: &Array) -> Result<Array> {
        let product = match (&self.weight, &self.bias) {
            (Weight::Dense(weight), Some(bias)) => ops::addmm(bias, x, weight.t(), None, None)?,
            (Weight::Dense(weight), None) => x.matmul(weight.t())?,
            (Weight::Quantized { parts: [weight, scales, biases], packing }, bias) => {
                let (group, bits) = (packing.group_size, packing.bits);
                let product = ops::quantized_matmul(x, weight, scales, biases, true, group, bits)?;
                bias.as_ref().map_or_else(|| Ok(product.clone()), |bias| product.add(bias))?
            }
        };
        match &self.low_rank {
            Some(low_rank) => product.add(low_rank.forward(x)?),
            None => Ok(product),
        }
    }

    /// The rows `ids` of the weight, unpacked: `[T]` → `[T, inputs]`.
    pub(super) fn rows(&self, ids: &Array) -> Result<Array> {
        let rows = match &self.weight {
            Weight::Dense(weight) => weight.take_axis(ids, 0)?,
            Weight::Quantized { parts: [weight, scales, biases], packing } => {
                let rows = [weight.take_axis(ids, 0)?, scales.take_axis(ids, 0)?, biases.take_axis(ids, 0)?];
                ops::dequantize(&rows[0], &rows[1], &rows[2], packing.group_size, packing.bits)?
            }
        };
        match &self.low_rank {
            Some(low_rank) => rows.add(low_rank.rows(ids)?.as_dtype(rows.dtype())?),
            None => Ok(rows),
        }
    }
}

/// Several linear layers of one input. Where all are dense they become one product: fewer, larger reads of the weights.
#[derive(Debug)]
pub enum Fused {
    /// One product, whose columns belong to the layers in order.
    One(Linear),
    /// One product each.
    Each(Vec<Linear>),
}

impl Fused {
    /// Fuses `layers`.
    pub fn new(layers: Vec<Linear>) -> Result<Self> {
        let weights: Option<Vec<&Array>> = layers
            .iter()
            .map(|layer| match &layer.weight {
                Weight::Dense(weight) if weight.ndim() == 2 && layer.low_rank.is_none() => Some(weight),
                _ => None,
            })
            .collect();
        let biases: Vec<&Array> = layers.iter().filter_map(|layer| layer.bias.as_ref()).collect();
        let Some(weights) = weights.filter(|_| biases.is_empty() || biases.len() == layers.len()) else {
            return Ok(Self::Each(layers));
        };
        let weight = kernels::joined(&weights).unwrap_or_else(|| ops::concatenate(&weights, 0))?;
        let bias = if biases.is_empty() { None } else { Some(ops::concatenate(&biases, 0)?) };
        // Now, so that the parts can be dropped layer by layer while loading.
        weight.eval()?;
        Ok(Self::One(Linear::new(Weight::Dense(weight), bias)))
    }

    /// `[T, inputs]` → `[T, sum of outputs]`.
    pub fn forward<'a>(&self, input: impl Into<Input<'a>>) -> Result<Array> {
        match self {
            Self::One(linear) => linear.forward(input),
            Self::Each(layers) => {
                let x = &input.into().read()?;
                let products: Vec<Array> =
                    layers.iter().map(|layer| layer.forward(x)).collect::<Result<_>>()?;
                ops::concatenate(&products, -1)
            }
        }
    }
}
