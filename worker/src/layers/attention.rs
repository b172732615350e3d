//! Self-attention with grouped queries, rotary embeddings and optional query/key norms, over the KV of a step.

use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, fast, ops};

use super::Result;
use super::linear::{Fused, Input, Linear};
use super::rope::{self, Rotation};
use crate::kernels::{HeadTransform, PagedAttentionParams};
use crate::kv::{AttentionParams, KvStep};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The sizes of an attention layer.
#[derive(Debug, Clone, Copy)]
pub struct AttentionShape {
    /// Model width D.
    pub size: i32,
    /// Query heads.
    pub heads: i32,
    /// Key and value heads.
    pub kv_heads: i32,
    /// Width d of a head.
    pub head_dim: i32,
    /// Factor of the scores.
    pub scale: f32,
    /// Window in tokens, the query included; `None` attends to all.
    pub window: Option<u32>,
    /// Scores s become cap · tanh(s / cap).
    pub softcap: Option<f32>,
    /// Each query head has an extra score without a value, which can absorb attention.
    pub sinks: bool,
}

impl AttentionShape {
    /// Checks that heads of this shape can be computed: the numbers come from a file.
    fn check(&self) -> Result<(), String> {
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

/// The projections with biases.
#[derive(Debug, Clone, Copy)]
pub struct Biases {
    /// Query, key and value.
    pub qkv: bool,
    /// Output.
    pub output: bool,
}

/// Root-mean-square norms of queries and keys.
#[derive(Debug)]
pub struct HeadNorms {
    /// `[d]`, or `[H * d]` for [`NormSpan::Projection`].
    pub q_norm: Array,
    /// `[d]`, or `[kv_heads * d]` for [`NormSpan::Projection`].
    pub k_norm: Array,
    /// Added to the mean square.
    pub eps: f32,
}

/// What the norms of queries and keys span, and their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NormSpan {
    /// Each head, before its rotation.
    #[default]
    Head,
    /// Each head, after its rotation.
    RotatedHead,
    /// All heads of a token together, before their rotation.
    Projection,
}

/// One attention layer.
#[derive(Debug)]
pub struct Attention {
    qkv_proj: Fused,
    o_proj: Linear,
    norms: Option<HeadNorms>,
    norm_span: NormSpan,
    /// `[H]`.
    sinks: Option<Array>,
    shape: AttentionShape,
}

impl Attention {
    /// Loads `path.{q,k,v,o}_proj`, `path.{q,k,v,out}_proj` or `path.{qkv,o}_proj`, and `path.sinks` if `shape` has sinks.
    ///
    /// # Errors
    /// Those of the loader, and for sizes that cannot be computed.
    pub fn load(
        loader: &Loader,
        path: &str,
        shape: AttentionShape,
        biases: Biases,
        norms: Option<HeadNorms>,
    ) -> Result<Self, LoadError> {
        shape.check().map_err(|problem| loader.config().problem(problem))?;
        let AttentionShape { size, heads, kv_heads, head_dim, .. } = shape;
        let part = |name: &str, heads: i32| {
            Linear::load(loader, &format!("{path}.{name}_proj"), size, heads * head_dim, biases.qkv)
        };
        let fused = format!("{path}.qkv_proj");
        let qkv_proj = if loader.has(&format!("{fused}.weight")) {
            let outputs = (heads + 2 * kv_heads) * head_dim;
            Fused::One(Linear::load(loader, &fused, size, outputs, biases.qkv)?)
        } else {
            Fused::new(vec![part("q", heads)?, part("k", kv_heads)?, part("v", kv_heads)?])?
        };
        let output = if loader.has(&format!("{path}.out_proj.weight")) { "out_proj" } else { "o_proj" };
        let output = format!("{path}.{output}");
        let o_proj = Linear::load(loader, &output, heads * head_dim, size, biases.output)?;
        let sinks = shape.sinks.then(|| loader.tensor(&format!("{path}.sinks"), &[heads])).transpose()?;
        Ok(Self { qkv_proj, o_proj, norms, norm_span: NormSpan::default(), sinks, shape })
    }

    /// With norms of another span.
    pub fn with_norm_span(self, norm_span: NormSpan) -> Self {
        Self { norm_span, ..self }
    }

    /// For rotary embeddings that rotate neighbouring coordinates together (GPT-J's layout), in the first `width` of a head.
    ///
    /// # Errors
    /// When the device fails.
    pub fn with_neighbours_rotated(self, loader: &Loader, width: i32) -> Result<Self, LoadError> {
        if loader.is_checking() {
            return Ok(self);
        }
        let AttentionShape { heads, kv_heads, head_dim, .. } = self.shape;
        let mut order = rope::halves_order(heads + kv_heads, head_dim, width);
        order.extend((heads + kv_heads) * head_dim..(heads + 2 * kv_heads) * head_dim);
        Ok(Self { qkv_proj: self.qkv_proj.reordered(&order)?, ..self })
    }

    /// `[T, D]` → `[T, D]`; writes the tokens' keys and values to `layer` of the KV. `None` for `rotation` applies no rotary
    /// embedding.
    pub fn forward<'a>(
        &self,
        input: impl Into<Input<'a>>,
        layer: usize,
        rotation: Option<&Rotation>,
        kv: &mut KvStep,
    ) -> Result<Array> {
        self.o_proj.forward(&self.attend(input.into(), layer, rotation, kv)?)
    }

    /// `residual + forward(input, ..)`, `[T, D]`.
    pub fn forward_residual(
        &self,
        residual: &Array,
        input: Input,
        layer: usize,
        rotation: Option<&Rotation>,
        kv: &mut KvStep,
    ) -> Result<Array> {
        let attended = self.attend(input, layer, rotation, kv)?;
        self.o_proj.forward_residual(residual, Input::Plain(&attended))
    }

    /// Everything before the output projection: `[T, D]` → `[T, H * d]`.
    fn attend(
        &self,
        input: Input,
        layer: usize,
        rotation: Option<&Rotation>,
        kv: &mut KvStep,
    ) -> Result<Array> {
        let AttentionShape { heads, kv_heads, head_dim, scale, window, softcap, .. } = self.shape;
        let qkv = self.prepare(self.qkv_proj.forward(input)?, rotation)?;
        let norms_first = self.head_norms().is_none() || self.norm_span == NormSpan::Head;
        if softcap.is_none() && self.sinks.is_none() && norms_first {
            let norms = self.head_norms().map(|norms| ([&norms.q_norm, &norms.k_norm], norms.eps));
            let transform = HeadTransform { norms, rotary: rotation.map(Rotation::cos_sin) };
            let params = PagedAttentionParams { heads, scale, window };
            if let Some(attended) = kv.write_and_attend(layer, &qkv, transform, params) {
                return attended;
            }
        }
        let qkv = qkv.reshape(&[-1, heads + 2 * kv_heads, head_dim])?;
        let values = qkv.try_index((.., heads + kv_heads..))?;
        let (queries, keys) = self.transform_heads(&qkv, rotation)?;
        kv.write(layer, &keys, &values)?;
        let params = AttentionParams { scale, window, softcap, sinks: self.sinks.as_ref() };
        kv.attend(layer, &queries, params)
    }

    /// The norms of heads; `None` if there are no norms, or those of whole projections.
    fn head_norms(&self) -> Option<&HeadNorms> {
        self.norms.as_ref().filter(|_| self.norm_span != NormSpan::Projection)
    }

    /// Applies norms of whole projections, and the factors of queries, to `[T, (H + 2 kv_heads) d]`.
    fn prepare(&self, qkv: Array, rotation: Option<&Rotation>) -> Result<Array> {
        let norms = self.norms.as_ref().filter(|_| self.norm_span == NormSpan::Projection);
        let factors = rotation.and_then(Rotation::query_factors);
        if norms.is_none() && factors.is_none() {
            return Ok(qkv);
        }
        let AttentionShape { heads, kv_heads, head_dim, .. } = self.shape;
        let (query_end, key_end) = (heads * head_dim, (heads + kv_heads) * head_dim);
        let mut queries = qkv.try_index((.., ..query_end))?;
        let mut keys = qkv.try_index((.., query_end..key_end))?;
        if let Some(HeadNorms { q_norm, k_norm, eps }) = norms {
            queries = fast::rms_norm(queries, Some(q_norm), *eps)?;
            keys = fast::rms_norm(keys, Some(k_norm), *eps)?;
        }
        if let Some(factors) = factors {
            queries = queries.multiply(factors)?;
        }
        ops::concatenate(&[queries, keys, qkv.try_index((.., key_end..))?], 1)
    }

    /// Norms and rotary embedding of the query and key heads in `[T, H + 2 kv_heads, d]`.
    fn transform_heads(&self, qkv: &Array, rotation: Option<&Rotation>) -> Result<(Array, Array)> {
        let AttentionShape { heads, kv_heads, .. } = self.shape;
        let rotate = |x: Array| rotation.map_or_else(|| Ok(x.clone()), |rotation| rotation.apply(&x));
        let Some(norms) = self.head_norms() else {
            // Without norms in between, queries and keys are rotated together.
            let rotated = rotate(qkv.try_index((.., ..heads + kv_heads))?)?;
            return Ok((rotated.try_index((.., ..heads))?, rotated.try_index((.., heads..))?));
        };
        let transform = |heads: Array, norm: &Array| match self.norm_span {
            NormSpan::RotatedHead => fast::rms_norm(rotate(heads)?, Some(norm), norms.eps),
            _ => rotate(fast::rms_norm(heads, Some(norm), norms.eps)?),
        };
        let keys = qkv.try_index((.., heads..heads + kv_heads))?;
        Ok((transform(qkv.try_index((.., ..heads))?, &norms.q_norm)?, transform(keys, &norms.k_norm)?))
    }
}
