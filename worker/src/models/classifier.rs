//! The head of a cross-encoder: hidden states of a text pair → relevance score.

use mlx_rs::{Array, ops};

use crate::layers::Result;
use crate::layers::linear::Linear;
use crate::layers::mlp::Activation;
use crate::layers::norm::LayerNorm;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// Pooling of the hidden states for the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassifierPooling {
    /// Hidden state of the first token.
    First,
    /// Mean of all tokens.
    Mean,
}

/// The operation after the first linear layer.
#[derive(Debug)]
pub enum HeadActivation {
    /// tanh.
    Tanh,
    /// An activation, then a norm.
    Normed(Activation, LayerNorm),
}

/// `out(activation(dense(x)))`.
#[derive(Debug)]
pub struct Head {
    dense: Linear,
    activation: HeadActivation,
    out: Linear,
    /// Pooling of x, done by the caller.
    pub pooling: ClassifierPooling,
}

/// The fields of config.json about the number of labels.
#[derive(Debug, Default, serde::Deserialize)]
struct Labels {
    num_labels: Option<usize>,
    id2label: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Head {
    /// Loads the layers `dense` (with a bias if `biased`) and `out`, both of width `size`.
    ///
    /// # Errors
    /// Those of the loader, and if there is not exactly one label: a score is one number.
    pub fn load(
        loader: &Loader,
        [dense, out]: [&str; 2],
        size: i32,
        biased: bool,
        (activation, pooling): (HeadActivation, ClassifierPooling),
    ) -> Result<Self, LoadError> {
        let labels: Labels = loader.config().args()?;
        let count = labels.id2label.map(|labels| labels.len()).or(labels.num_labels).unwrap_or(2);
        if count != 1 {
            let text = format!("it classifies by {count} labels; only cross-encoders with one are supported");
            return Err(loader.config().problem(text));
        }
        Ok(Self {
            dense: Linear::load(loader, dense, size, size, biased)?,
            activation,
            out: Linear::load(loader, out, size, 1, true)?,
            pooling,
        })
    }

    /// `[N, D]` → `[N]`.
    pub fn score(&self, x: &Array) -> Result<Array> {
        let x = self.dense.forward(x)?;
        let activated = match &self.activation {
            HeadActivation::Tanh => ops::tanh(x)?,
            HeadActivation::Normed(activation, norm) => norm.forward(&activation.apply(&x)?)?,
        };
        self.out.forward(&activated)?.squeeze_axes(&[1])
    }
}
