//! The gated feed-forward block: `down(act(gate(x)) * up(x))`.

use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, ops};

use super::Result;
use super::linear::{Fused, Input, Linear};
use crate::kernels::exponential;
use crate::kernels::{self, UnaryOp};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The activation of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x · σ(x).
    Silu,
    /// x · Φ(x).
    Gelu,
    /// x · Φ(x), approximated by tanh.
    GeluTanh,
    /// gpt-oss's: x · σ(1.702 x) times (up + 1), both clipped.
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
    /// Loads `path.{gate,up,down}_proj`, `path.{gate_up,down}_proj`, or Meta's `path.{w1,w3,w2}`: width `size`, inner width
    /// `hidden`.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load(
        loader: &Loader,
        path: &str,
        (size, hidden): (i32, i32),
        bias: bool,
        activation: Activation,
    ) -> Result<Self, LoadError> {
        let fused = format!("{path}.gate_up_proj");
        let metas = loader.has(&format!("{path}.w1.weight"));
        let [gate, up, down] = if metas { ["w1", "w3", "w2"] } else { ["gate_proj", "up_proj", "down_proj"] };
        let part = |name: &str| Linear::load(loader, &format!("{path}.{name}"), size, hidden, bias);
        let gate_up_proj = if loader.has(&format!("{fused}.weight")) {
            Fused::One(Linear::load(loader, &fused, size, 2 * hidden, bias)?)
        } else {
            Fused::new(vec![part(gate)?, part(up)?])?
        };
        let down_proj = Linear::load(loader, &format!("{path}.{down}"), hidden, size, bias)?;
        Ok(Self { gate_up_proj, down_proj, activation })
    }

    /// `[T, D]` → `[T, D]`.
    pub fn forward<'a>(&self, input: impl Into<Input<'a>>) -> Result<Array> {
        let gate_up = self.gate_up_proj.forward(input)?;
        self.down_proj.forward(Input::Gated(&gate_up, self.activation))
    }

    /// `residual + forward(input)`, `[T, D]`.
    pub fn forward_residual(&self, residual: &Array, input: Input) -> Result<Array> {
        let gate_up = self.gate_up_proj.forward(input)?;
        self.down_proj.forward_residual(residual, Input::Gated(&gate_up, self.activation))
    }
}

impl Activation {
    /// From its name in Hugging Face's configurations (`hidden_act` and similar fields).
    ///
    /// # Errors
    /// A sentence, for unsupported names.
    pub fn from_name(name: &str) -> Result<Self, String> {
        match name {
            "silu" | "swish" => Ok(Self::Silu),
            "gelu" => Ok(Self::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Self::GeluTanh),
            _ => Err(format!("the activation \"{name}\" is not supported")),
        }
    }

    /// The kernels' name for it; `None` for [`Self::Clipped`], which has two inputs.
    pub(super) fn unary_op(self) -> Option<UnaryOp> {
        match self {
            Self::Silu => Some(UnaryOp::Silu),
            Self::Gelu => Some(UnaryOp::Gelu),
            Self::GeluTanh => Some(UnaryOp::GeluTanh),
            Self::Clipped => None,
        }
    }

    /// `act(x)`.
    ///
    /// # Errors
    /// When the device fails, or for [`Self::Clipped`].
    pub fn apply(self, x: &Array) -> Result<Array> {
        match self {
            Self::Silu => exponential::silu(x),
            Self::Gelu => exponential::gelu(x),
            Self::GeluTanh => exponential::gelu_tanh(x),
            Self::Clipped => Err("the clipped activation has two inputs".into()),
        }
    }

    /// `act(gate) * up`, where gate and up are the halves of each row: `[T, 2N]` → `[T, N]`.
    pub(super) fn gate_halves(self, halves: &Array) -> Result<Array> {
        if let Some(gated) = self.unary_op().and_then(|op| kernels::gate(op, halves)) {
            return gated;
        }
        let width = halves.dim(1) / 2;
        self.gate(&halves.try_index((.., ..width))?, &halves.try_index((.., width..))?)
    }

    /// `act(gate) * up`.
    pub(crate) fn gate(self, gate: &Array, up: &Array) -> Result<Array> {
        match self {
            Self::Silu => exponential::silu(gate)?.multiply(up),
            Self::Gelu => exponential::gelu(gate)?.multiply(up),
            Self::GeluTanh => exponential::gelu_tanh(gate)?.multiply(up),
            Self::Clipped => clipped(gate, up),
        }
    }
}

/// Clips the gate from above and up from both sides. (Reference: `activations.swiglu_oai` of mlx-lm.)
fn clipped(gate: &Array, up: &Array) -> Result<Array> {
    const LIMIT: f32 = 7.0;
    const SLOPE: f32 = 1.702;
    let number = |value: f32| Array::from_f32(value).as_dtype(gate.dtype());
    let gate = ops::minimum(gate, number(LIMIT)?)?;
    let up = ops::maximum(ops::minimum(up, number(LIMIT)?)?, number(-LIMIT)?)?;
    let gate = exponential::silu(&gate.multiply(number(SLOPE)?)?)?.divide(number(SLOPE)?)?;
    gate.multiply(up.add(number(1.0)?)?)
}
