//! Linear layers, dense or MLX-quantised, alone or several in one product.

use mlx_rs::{Array, ops, transforms};

use super::Result;
use super::mlp::Activation;
use super::norm::rms_norm;
use crate::kernels::{self, Epilogue, Prologue};
use crate::weights::LoadError;
use crate::weights::loader::Loader;
use crate::weights::matrix::{LinearWeights, LowRank, Weight};

/// `y = x Wᵀ + b`; if an adapter changes a packed weight, also `+ x Dᵀ Uᵀ`.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Weight,
    bias: Option<Array>,
    low_rank: Option<LowRank>,
}

/// The input of a linear layer, with an operation that a kernel can fuse with the product.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// `[T, inputs]`.
    Plain(&'a Array),
    /// `[T, inputs]`, normalised by its root mean square: the weight is `[inputs]`, the number epsilon.
    Normed(&'a Array, &'a Array, f32),
    /// `[T, 2 inputs]`: the activation of its first half, times the other half.
    Gated(&'a Array, Activation),
}

impl<'a> From<&'a Array> for Input<'a> {
    fn from(x: &'a Array) -> Self {
        Self::Plain(x)
    }
}

impl<'a> Input<'a> {
    /// Applies the operation: `[T, inputs]`.
    pub fn to_array(self) -> Result<Array> {
        match self {
            Self::Plain(x) => Ok(x.clone()),
            Self::Normed(x, weight, eps) => rms_norm(x, weight, eps),
            Self::Gated(halves, activation) => activation.gate_halves(halves),
        }
    }

    /// The operation as a kernel's prologue; `None` if no kernel has it.
    fn prologue(self) -> Option<(&'a Array, Prologue<'a>)> {
        match self {
            Self::Plain(x) => Some((x, Prologue::None)),
            Self::Normed(x, weight, eps) => Some((x, Prologue::RmsNorm(weight, eps))),
            Self::Gated(halves, activation) => Some((halves, Prologue::Gate(activation.unary_op()?))),
        }
    }
}

impl From<LinearWeights> for Linear {
    fn from(LinearWeights { weight, bias, low_rank }: LinearWeights) -> Self {
        Self { weight, bias, low_rank }
    }
}

impl Linear {
    /// From a weight `[outputs, inputs]` and a bias `[outputs]`.
    pub fn new(weight: Weight, bias: Option<Array>) -> Self {
        Self { weight, bias, low_rank: None }
    }

    /// Loads `path.weight`, and `path.bias` if `biased`.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load(
        loader: &Loader,
        path: &str,
        inputs: i32,
        outputs: i32,
        biased: bool,
    ) -> Result<Self, LoadError> {
        loader.linear(path, inputs, outputs, biased).map(Self::from)
    }

    /// `[T, inputs]` → `[T, outputs]`.
    pub fn forward<'a>(&self, input: impl Into<Input<'a>>) -> Result<Array> {
        let input = input.into();
        self.fused(input, Epilogue::default()).unwrap_or_else(|| self.product(&input.to_array()?))
    }

    /// `residual + forward(input)`, `[T, outputs]`.
    pub fn forward_residual(&self, residual: &Array, input: Input) -> Result<Array> {
        let epilogue = Epilogue { residual: Some(residual), ..Epilogue::default() };
        self.fused(input, epilogue).unwrap_or_else(|| residual.add(self.product(&input.to_array()?)?))
    }

    /// `act(x Wᵀ + b)`.
    pub fn forward_activated(&self, x: &Array, activation: Activation) -> Result<Array> {
        if let Some(op) = activation.unary_op() {
            let epilogue = Epilogue { activation: Some(op), ..Epilogue::default() };
            if let Some(output) = self.fused(Input::Plain(x), epilogue) {
                return output;
            }
        }
        activation.apply(&self.forward(x)?)
    }

    /// Input operation, product and epilogue in one kernel; `None` if no kernel applies.
    fn fused(&self, input: Input, epilogue: Epilogue) -> Option<Result<Array>> {
        let Self { weight: Weight::Dense(weight), bias, low_rank: None } = self else { return None };
        let (x, prologue) = input.prologue()?;
        kernels::linear(x, prologue, weight, Epilogue { bias: bias.as_ref(), ..epilogue })
    }

    /// The layer by MLX operations.
    fn product(&self, x: &Array) -> Result<Array> {
        let product = match (&self.weight, &self.bias) {
            (Weight::Dense(weight), Some(bias)) => ops::addmm(bias, x, weight.t(), None, None)?,
            (weight, None) => weight.product(x)?,
            (weight, Some(bias)) => weight.product(x)?.add(bias)?,
        };
        let Some(LowRank { down, up }) = &self.low_rank else { return Ok(product) };
        product.add(x.matmul(down.t())?.matmul(up.t())?.as_dtype(x.dtype())?)
    }

    /// With the outputs in another order: output `order[i]` becomes output i.
    fn reordered(&self, order: &[i32]) -> Result<Self> {
        let order = &Array::from_slice(order, &[order.len() as i32]);
        let take = |x: &Array| x.take_axis(order, 0);
        let weight = match &self.weight {
            Weight::Dense(weight) => Weight::Dense(evaluated(take(weight)?)?),
            Weight::Quantized { parts: [weight, scales, biases], packing } => {
                let parts = [take(weight)?, take(scales)?, take(biases)?];
                transforms::eval(&parts)?;
                Weight::Quantized { parts, packing: *packing }
            }
        };
        let low_rank = match &self.low_rank {
            Some(LowRank { down, up }) => Some(LowRank { down: down.clone(), up: take(up)? }),
            None => None,
        };
        Ok(Self { weight, bias: self.bias.as_ref().map(take).transpose()?, low_rank })
    }

    /// Number of outputs.
    fn outputs(&self) -> usize {
        let (Weight::Dense(weight) | Weight::Quantized { parts: [weight, ..], .. }) = &self.weight;
        weight.dim(0).unsigned_abs() as usize
    }

    /// Rows `ids` of the weight, unpacked: `[T]` → `[T, inputs]`.
    pub(super) fn rows(&self, ids: &Array) -> Result<Array> {
        let rows = match &self.weight {
            Weight::Dense(weight) => weight.take_axis(ids, 0)?,
            Weight::Quantized { parts: [weight, scales, biases], packing } => {
                let rows = [weight.take_axis(ids, 0)?, scales.take_axis(ids, 0)?, biases.take_axis(ids, 0)?];
                ops::dequantize(&rows[0], &rows[1], &rows[2], packing.group_size, packing.bits)?
            }
        };
        let Some(LowRank { down, up }) = &self.low_rank else { return Ok(rows) };
        rows.add(up.take_axis(ids, 0)?.matmul(down)?.as_dtype(rows.dtype())?)
    }
}

/// Evaluates a computed weight, aligned for the kernels' products.
fn evaluated(weight: Array) -> Result<Array> {
    kernels::concatenate_rows(&[&weight]).unwrap_or_else(|| weight.eval().map(|()| weight))
}

/// Several linear layers with one input. If all are dense, they become one product: fewer, larger reads of weights.
#[derive(Debug)]
pub enum Fused {
    /// One product; its columns belong to the layers in order.
    One(Linear),
    /// One product per layer.
    Each(Vec<Linear>),
}

impl Fused {
    /// Fuses `layers` if possible.
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
        let weight = kernels::concatenate_rows(&weights).unwrap_or_else(|| ops::concatenate(&weights, 0))?;
        let bias = if biases.is_empty() { None } else { Some(ops::concatenate(&biases, 0)?) };
        // Evaluate now, so that the parts can be dropped layer by layer while loading.
        weight.eval()?;
        Ok(Self::One(Linear::new(Weight::Dense(weight), bias)))
    }

    /// With the outputs of all layers in another order, in which no output leaves its layer: output `order[i]` becomes output i.
    pub fn reordered(self, order: &[i32]) -> Result<Self> {
        let layers = match self {
            Self::One(linear) => return linear.reordered(order).map(Self::One),
            Self::Each(layers) => layers,
        };
        let mut first = 0;
        let reordered = layers.into_iter().map(|layer| {
            let own = first..first + layer.outputs();
            let order = order[own.clone()].iter().map(|output| output - own.start as i32);
            first = own.end;
            layer.reordered(&order.collect::<Vec<_>>())
        });
        reordered.collect::<Result<_>>().map(Self::Each)
    }

    /// `[T, inputs]` → `[T, sum of outputs]`.
    pub fn forward<'a>(&self, input: impl Into<Input<'a>>) -> Result<Array> {
        match self {
            Self::One(linear) => linear.forward(input),
            Self::Each(layers) => {
                let x = &input.into().to_array()?;
                let products: Vec<Array> =
                    layers.iter().map(|layer| layer.forward(x)).collect::<Result<_>>()?;
                ops::concatenate(&products, -1)
            }
        }
    }
}
