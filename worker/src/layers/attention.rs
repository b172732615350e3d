//! Self-attention with grouped queries, rotary positions and optional query/key norms, over the paged KV.

use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, fast};

use super::Result;
use super::kernels::{Scores, Turn};
use super::linear::{Fused, Input, Linear};
use super::rope::Rotation;
use crate::mlx::kv::{Attend, KvStep};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The sizes of an attention layer.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Model width D.
    pub size: i32,
    /// Query heads.
    pub heads: i32,
    /// Key and value heads.
    pub kv_heads: i32,
    /// Width d of a head.
    pub head_dim: i32,
    /// Multiplies the scores.
    pub scale: f32,
    /// How many tokens back a token sees, itself included; `None`: all.
    pub window: Option<u32>,
    /// Scores s become cap · tanh(s / cap).
    pub softcap: Option<f32>,
    /// Each query head has a score to which attention may go instead of to a token.
    pub sinks: bool,
}

impl Shape {
    /// Whether heads of this shape can be computed; the numbers come from a file.
    fn check(&self) -> std::result::Result<(), String> {
        let Self { heads, kv_heads, head_dim, .. } = *self;
        if heads < 1 || kv_heads < 1 || heads % kv_heads != 0 {
            return Err(format!(
                "num_attention_heads ({heads}) must be a multiple of num_key_value_heads ({kv_heads})"
            ));
        }
        if head_dim < 2 || head_dim % 2 != 0 || heads.checked_mul(head_dim).is_none() {
            return Err(format!("{heads} heads of width {head_dim} (head_dim) cannot be"));
        }
        Ok(())
    }
}

/// Which projections have biases.
#[derive(Debug, Clone, Copy)]
pub struct Biases {
    /// Query, key and value.
    pub qkv: bool,
    /// Output.
    pub output: bool,
}

/// Root-mean-square norms over each query and key head.
#[derive(Debug)]
pub struct HeadNorms {
    /// `[d]`.
    pub q_norm: Array,
    /// `[d]`.
    pub k_norm: Array,
    /// Added to the mean square.
    pub eps: f32,
}

/// One attention layer.
#[derive(Debug)]
pub struct Attention {
    qkv_proj: Fused,
    o_proj: Linear,
    norms: Option<HeadNorms>,
    /// `[H]`.
    sinks: Option<Array>,
    shape: Shape,
}

impl Attention {
    /// From `path.{q,k,v,o}_proj`, or `path.{qkv,o}_proj`, and `path.sinks` where there are any.
    ///
    /// # Errors
    /// As the loader's.
    pub fn load(
        loader: &Loader,
        path: &str,
        shape: Shape,
        biases: Biases,
        norms: Option<HeadNorms>,
    ) -> std::result::Result<Self, LoadError> {
        shape.check().map_err(|problem| loader.config().problem(problem))?;
        let Shape { size, heads, kv_heads, head_dim, .. } = shape;
        let part = |name: &str, heads: i32| {
            loader.linear(&format!("{path}.{name}_proj"), size, heads * head_dim, biases.qkv)
        };
        let fused = format!("{path}.qkv_proj");
        let qkv_proj = match loader.has(&format!("{fused}.weight")) {
            true => Fused::One(loader.linear(&fused, size, (heads + 2 * kv_heads) * head_dim, biases.qkv)?),
            false => Fused::new(vec![part("q", heads)?, part("k", kv_heads)?, part("v", kv_heads)?])?,
        };
        let o_proj = loader.linear(&format!("{path}.o_proj"), heads * head_dim, size, biases.output)?;
        let sinks = shape.sinks.then(|| loader.tensor(&format!("{path}.sinks"), &[heads])).transpose()?;
        Ok(Self { qkv_proj, o_proj, norms, sinks, shape })
    }

    /// `[T, D]` → `[T, D]`; writes the tokens' keys and values to `layer` of the KV. Without `rotation` positions play no part.
    pub fn forward<'a>(
        &self,
        input: impl Into<Input<'a>>,
        layer: usize,
        rotation: Option<&Rotation>,
        kv: &mut KvStep,
    ) -> Result<Array> {
        self.o_proj.forward(&self.attended(input.into(), layer, rotation, kv)?)
    }

    /// The same and what is added, `[T, D]`.
    pub fn added_to(
        &self,
        residual: &Array,
        input: Input,
        layer: usize,
        rotation: Option<&Rotation>,
        kv: &mut KvStep,
    ) -> Result<Array> {
        let attended = self.attended(input, layer, rotation, kv)?;
        self.o_proj.added_to(residual, Input::Plain(&attended))
    }

    /// `[T, D]` → `[T, H * d]`.
    fn attended(
        &self,
        input: Input,
        layer: usize,
        rotation: Option<&Rotation>,
        kv: &mut KvStep,
    ) -> Result<Array> {
        let Shape { heads, kv_heads, head_dim, scale, window, softcap, .. } = self.shape;
        let qkv = self.qkv_proj.forward(input)?;
        if softcap.is_none() && self.sinks.is_none() {
            let norms = self.norms.as_ref().map(|norms| ([&norms.q_norm, &norms.k_norm], norms.eps));
            let turn = Turn { angles: rotation.map(Rotation::angles), norms };
            if let Some(whole) = kv.write_and_attend(layer, &qkv, turn, Scores { heads, scale, window }) {
                return whole;
            }
        }
        let qkv = qkv.reshape(&[-1, heads + 2 * kv_heads, head_dim])?;
        let values = qkv.try_index((.., heads + kv_heads..))?;
        let turned = |x: Array| rotation.map_or_else(|| Ok(x.clone()), |rotation| rotation.apply(&x));
        let (queries, keys) = match &self.norms {
            // One turn for both where nothing comes between.
            None => {
                let both = turned(qkv.try_index((.., ..heads + kv_heads))?)?;
                (both.try_index((.., ..heads))?, both.try_index((.., heads..))?)
            }
            Some(norms) => {
                let queries = fast::rms_norm(qkv.try_index((.., ..heads))?, Some(&norms.q_norm), norms.eps)?;
                let keys = qkv.try_index((.., heads..heads + kv_heads))?;
                let keys = fast::rms_norm(keys, Some(&norms.k_norm), norms.eps)?;
                (turned(queries)?, turned(keys)?)
            }
        };
        kv.write(layer, &keys, &values)?;
        kv.attend(layer, &queries, Attend { scale, window, softcap, sinks: self.sinks.as_ref() })
    }
}
