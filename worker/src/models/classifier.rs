//! The head of a cross-encoder: from a pair's hidden states to how well its texts fit each other.

use mlx_rs::{Array, ops};

use crate::layers::Result;
use crate::layers::linear::Linear;
use crate::layers::mlp::Activation;
use crate::layers::norm::LayerNorm;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// Which hidden states a head looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looks {
    /// The first token's.
    First,
    /// The mean of all.
    Mean,
}

/// What follows the first product.
#[derive(Debug)]
pub enum Bend {
    /// tanh.
    Tanh,
    /// An activation, then a norm.
    Normed(Activation, LayerNorm),
}

/// `out(bend(dense(x)))`.
#[derive(Debug)]
pub struct Head {
    dense: Linear,
    bend: Bend,
    out: Linear,
    /// What x is.
    pub looks: Looks,
}

/// The fields of config.json that say how many labels there are.
#[derive(Debug, Default, serde::Deserialize)]
struct Labels {
    num_labels: Option<usize>,
    id2label: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Head {
    /// From the layers `dense` (with a bias where `biased`) and `out`, both of width `size`.
    ///
    /// # Errors
    /// As the loader's, and where there is not exactly one label: a score is one number.
    pub fn load(
        loader: &Loader,
        [dense, out]: [&str; 2],
        size: i32,
        biased: bool,
        (bend, looks): (Bend, Looks),
    ) -> std::result::Result<Self, LoadError> {
        let labels: Labels = loader.config().args()?;
        let count = labels.id2label.map(|labels| labels.len()).or(labels.num_labels).unwrap_or(2);
        if count != 1 {
            let text = format!("it classifies by {count} labels; only cross-encoders with one are supported");
            return Err(loader.config().problem(text));
        }
        Ok(Self {
            dense: loader.linear(dense, size, size, biased)?,
            bend,
            out: loader.linear(out, size, 1, true)?,
            looks,
        })
    }

    /// `[N, D]` → `[N]`.
    pub fn score(&self, x: &Array) -> Result<Array> {
        let x = self.dense.forward(x)?;
        let bent = match &self.bend {
            Bend::Tanh => ops::tanh(x)?,
            Bend::Normed(activation, norm) => norm.forward(&activation.plain(&x)?)?,
        };
        self.out.forward(&bent)?.squeeze_axes(&[1])
    }
}
