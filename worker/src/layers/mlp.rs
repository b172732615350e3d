//! The gated feed-forward block: `down(act(gate(x)) * up(x))`.

use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, ops};

use super::Result;
use super::exponential;
use super::kernels::{self, Function};
use super::linear::{Fused, Input, Linear};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// What the gate goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x · σ(x).
    Silu,
    /// x · Φ(x).
    Gelu,
    /// The same by its tanh approximation.
    GeluTanh,
    /// gpt-oss's: x · σ(1.702 x) times one more than the other part, both kept within bounds.
    Clipped,
}

/// Gate, up and down projections.
#[derive(Debug)]
pub struct GatedMlp {
    gate_up_proj: Fused,
    down_proj: Linear,
    activation: Activation,
}

impl GatedMlp {
    /// From `path.{gate,up,down}_proj`, or `path.{gate_up,down}_proj`: width `size`, inner width `hidden`.
    ///
    /// # Errors
    /// As the loader's.
    pub fn load(
        loader: &Loader,
        path: &str,
        (size, hidden): (i32, i32),
        bias: bool,
        activation: Activation,
    ) -> std::result::Result<Self, LoadError> {
        let fused = format!("{path}.gate_up_proj");
        let part = |name: &str| loader.linear(&format!("{path}.{name}_proj"), size, hidden, bias);
        let gate_up_proj = match loader.has(&format!("{fused}.weight")) {
            true => Fused::One(loader.linear(&fused, size, 2 * hidden, bias)?),
            false => Fused::new(vec![part("gate")?, part("up")?])?,
        };
        let down_proj = loader.linear(&format!("{path}.down_proj"), hidden, size, bias)?;
        Ok(Self { gate_up_proj, down_proj, activation })
    }

    /// `[T, D]` → `[T, D]`.
    pub fn forward<'a>(&self, input: impl Into<Input<'a>>) -> Result<Array> {
        let both = self.gate_up_proj.forward(input)?;
        self.down_proj.forward(Input::Gated(&both, self.activation))
    }

    /// The same and what is added, `[T, D]`.
    pub fn added_to(&self, residual: &Array, input: Input) -> Result<Array> {
        let both = self.gate_up_proj.forward(input)?;
        self.down_proj.added_to(residual, Input::Gated(&both, self.activation))
    }
}

impl Activation {
    /// By the name that Hugging Face's configurations give it (`hidden_act` and the like).
    ///
    /// # Errors
    /// A sentence, for one that we do not have.
    pub fn named(name: &str) -> std::result::Result<Self, String> {
        match name {
            "silu" | "swish" => Ok(Self::Silu),
            "gelu" => Ok(Self::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Self::GeluTanh),
            _ => Err(format!("the activation \"{name}\" is not supported")),
        }
    }

    /// The same for kernels; none for [`Self::Clipped`], which has two inputs.
    pub(super) fn function(self) -> Option<Function> {
        match self {
            Self::Silu => Some(Function::Silu),
            Self::Gelu => Some(Function::Gelu),
            Self::GeluTanh => Some(Function::GeluTanh),
            Self::Clipped => None,
        }
    }

    /// `act(x)`, of those that are functions of one input.
    ///
    /// # Errors
    /// When the device fails, or for [`Self::Clipped`].
    pub fn plain(self, x: &Array) -> Result<Array> {
        match self {
            Self::Silu => exponential::silu(x),
            Self::Gelu => exponential::gelu(x),
            Self::GeluTanh => exponential::gelu_tanh(x),
            Self::Clipped => Err("the clipped activation has two inputs".into()),
        }
    }

    /// `act(gate) * up`, which are the halves of each row: `[T, 2N]` → `[T, N]`.
    pub(super) fn of_halves(self, both: &Array) -> Result<Array> {
        if let Some(gated) = self.function().and_then(|function| kernels::gated(function, both)) {
            return gated;
        }
        let half = both.dim(1) / 2;
        self.gated(&both.try_index((.., ..half))?, &both.try_index((.., half..))?)
    }

    /// `act(gate) * up`.
    pub(crate) fn gated(self, gate: &Array, up: &Array) -> Result<Array> {
        match self {
            Self::Silu => exponential::silu(gate)?.multiply(up),
            Self::Gelu => exponential::gelu(gate)?.multiply(up),
            Self::GeluTanh => exponential::gelu_tanh(gate)?.multiply(up),
            Self::Clipped => clipped(gate, up),
        }
    }
}

/// The gate is cut from above, the other part from both sides. (Reference: `activations.swiglu_oai` of mlx-lm.)
fn clipped(gate: &Array, up: &Array) -> Result<Array> {
    const LIMIT: f32 = 7.0;
    const SLOPE: f32 = 1.702;
    let number = |value: f32| Array::from_f32(value).as_dtype(gate.dtype());
    let gate = ops::minimum(gate, number(LIMIT)?)?;
    let up = ops::maximum(ops::minimum(up, number(LIMIT)?)?, number(-LIMIT)?)?;
    let gate = exponential::silu(&gate.multiply(number(SLOPE)?)?)?.divide(number(SLOPE)?)?;
    gate.multiply(up.add(number(1.0)?)?)
}
