//! Multi-head latent attention: the keys and values of all heads follow from one latent vector of a token, and only that is kept.
//!
//! DeepSeek-AI 2024 (<https://arxiv.org/abs/2405.04434>). Queries are mapped to the latent space and outputs back from it, so
//! attention has one key head, whose values are the first coordinates of its keys. Reference: `deepseek_v3.py` of mlx-lm 0.32.2,
//! which maps keys and values instead while it reads a prompt.

use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, ops};

use super::Result;
use super::linear::{Fused, Input, Linear};
use super::norm::rms_norm;
use super::rope::{self, Rotation};
use crate::kv::{AttentionParams, KvStep};
use crate::weights::LoadError;
use crate::weights::loader::Loader;
use crate::weights::matrix::{LinearWeights, Weight};

/// The sizes of a layer.
#[derive(Debug, Clone, Copy)]
pub struct LatentShape {
    /// Model width D.
    pub size: i32,
    /// Query heads H.
    pub heads: i32,
    /// Width of the vector from which the queries follow; `None` if they follow from the input.
    pub query_rank: Option<i32>,
    /// Width L of the latent vector.
    pub rank: i32,
    /// Coordinates of a query that are not rotated.
    pub plain: i32,
    /// Coordinates r of a query or key that are rotated.
    pub rotated: i32,
    /// Width of a value.
    pub value: i32,
    /// Factor of the scores.
    pub scale: f32,
    /// Whether the projections of the input and of the output have biases.
    pub bias: bool,
    /// Added to the mean square in norms.
    pub eps: f32,
}

impl LatentShape {
    /// Checks that the sizes can be computed: they come from a file.
    pub fn check(self) -> Result<(), String> {
        let Self { heads, rank, plain, rotated, value, .. } = self;
        for (name, size) in [
            ("num_attention_heads", heads),
            ("q_lora_rank", self.query_rank.unwrap_or(1)),
            ("kv_lora_rank", rank),
            ("qk_nope_head_dim", plain),
            ("qk_rope_head_dim", rotated),
            ("v_head_dim", value),
        ] {
            if !(1..=1 << 14).contains(&size) {
                return Err(format!("{name} is {size}: it must be between 1 and 16384"));
            }
        }
        if rotated % 2 != 0 {
            return Err(format!("qk_rope_head_dim is {rotated}: it must be even"));
        }
        Ok(())
    }

    /// Width of a head of queries.
    fn query(self) -> i32 {
        self.plain + self.rotated
    }

    /// The order of `heads` heads of `plain` coordinates and rotated ones, in which the files rotate neighbours together.
    fn order(self, heads: i32, plain: i32) -> Vec<i32> {
        let rotated = rope::halves_order(1, self.rotated, self.rotated);
        let width = plain + self.rotated;
        let head = |head: i32| {
            let all = (0..plain).chain(rotated.iter().map(move |at| plain + at));
            all.map(move |at| head * width + at)
        };
        (0..heads).flat_map(head).collect()
    }
}

/// Queries from the input, directly or through a narrower vector.
#[derive(Debug)]
enum Queries {
    Direct(Fused),
    Narrow { down: Linear, norm: Array, up: Fused },
}

/// A matrix for each head, `[H, outputs, inputs]`.
#[derive(Debug)]
struct HeadLinear(Weight);

impl HeadLinear {
    /// `[T, H, inputs]` → `[T, H, outputs]`.
    fn forward(&self, x: &Array) -> Result<Array> {
        self.0.product(&x.swap_axes(0, 1)?)?.swap_axes(0, 1)
    }
}

/// One layer.
#[derive(Debug)]
pub struct LatentAttention {
    queries: Queries,
    /// The latent vector and the rotated key.
    kv_a_proj: Fused,
    kv_a_layernorm: Array,
    /// From queries to the latent space.
    embed_q: HeadLinear,
    /// From the latent space to outputs.
    unembed_out: HeadLinear,
    o_proj: Linear,
    shape: LatentShape,
}

impl LatentAttention {
    /// Loads `path.{q_a_proj,q_a_layernorm,q_b_proj}` or `path.q_proj`, `path.{kv_a_proj_with_mqa,kv_a_layernorm,o_proj}`, and
    /// `path.{embed_q,unembed_out}` of mlx-lm or `path.kv_b_proj` of the original files.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load(loader: &Loader, path: &str, shape: LatentShape) -> Result<Self, LoadError> {
        let LatentShape { size, heads, rank, rotated, value, bias, .. } = shape;
        let linear = |name: &str, inputs: i32, outputs: i32, bias: bool| {
            Linear::load(loader, &format!("{path}.{name}"), inputs, outputs, bias)
        };
        let reordered = |linear: Linear, order: &[i32]| {
            let fused = Fused::new(vec![linear])?;
            if loader.is_checking() { Ok(fused) } else { fused.reordered(order) }
        };
        let order = shape.order(heads, shape.plain);
        let queries = match shape.query_rank {
            None => {
                Queries::Direct(reordered(linear("q_proj", size, heads * shape.query(), false)?, &order)?)
            }
            Some(narrow) => Queries::Narrow {
                down: linear("q_a_proj", size, narrow, bias)?,
                norm: loader.tensor(&format!("{path}.q_a_layernorm.weight"), &[narrow])?,
                up: reordered(linear("q_b_proj", narrow, heads * shape.query(), false)?, &order)?,
            },
        };
        let kv_a_proj = linear("kv_a_proj_with_mqa", size, rank + rotated, bias)?;
        let [embed_q, unembed_out] = load_maps(loader, path, shape)?;
        Ok(Self {
            queries,
            kv_a_proj: reordered(kv_a_proj, &shape.order(1, rank))?,
            kv_a_layernorm: loader.tensor(&format!("{path}.kv_a_layernorm.weight"), &[rank])?,
            embed_q,
            unembed_out,
            o_proj: linear("o_proj", heads * value, size, bias)?,
            shape,
        })
    }

    /// `residual` plus the output for `input`, `[T, D]`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn forward_residual(
        &self,
        residual: &Array,
        input: Input,
        layer: usize,
        rotation: &Rotation,
        kv: &mut KvStep,
    ) -> Result<Array> {
        let LatentShape { heads, rank, plain, rotated, value, scale, eps, .. } = self.shape;
        let input = input.to_array()?;
        let latent = self.kv_a_proj.forward(&input)?;
        let key = rotation.apply(&latent.try_index((.., rank..))?.reshape(&[-1, 1, rotated])?)?;
        let latent = rms_norm(&latent.try_index((.., ..rank))?, &self.kv_a_layernorm, eps)?;
        let keys = ops::concatenate(&[&latent.reshape(&[-1, 1, rank])?, &key], 2)?;
        kv.write_latent(layer, &keys)?;
        let queries = self.queries(&input)?.reshape(&[-1, heads, plain + rotated])?;
        let mapped = self.embed_q.forward(&queries.try_index((.., .., ..plain))?)?;
        let turned = rotation.apply(&queries.try_index((.., .., plain..))?)?;
        let queries = ops::concatenate(&[&mapped, &turned], 2)?;
        let params = AttentionParams { scale, window: None, softcap: None, sinks: None };
        let attended = kv.attend(layer, &queries, params)?.reshape(&[-1, heads, rank])?;
        let output = self.unembed_out.forward(&attended)?.reshape(&[-1, heads * value])?;
        self.o_proj.forward_residual(residual, Input::Plain(&output))
    }

    /// `[T, D]` → `[T, H * (plain + r)]`.
    fn queries(&self, input: &Array) -> Result<Array> {
        match &self.queries {
            Queries::Direct(projection) => projection.forward(input),
            Queries::Narrow { down, norm, up } => {
                up.forward(Input::Normed(&down.forward(input)?, norm, self.shape.eps))
            }
        }
    }
}

/// The maps to the latent space, `[H, L, plain]`, and from it, `[H, value, L]`.
fn load_maps(loader: &Loader, path: &str, shape: LatentShape) -> Result<[HeadLinear; 2], LoadError> {
    let LatentShape { heads, rank, plain, value, .. } = shape;
    let both = format!("{path}.kv_b_proj");
    if !loader.has(&format!("{both}.weight")) {
        let part =
            |name: &str, shape: [i32; 3]| loader.stacked(&format!("{path}.{name}"), shape).map(HeadLinear);
        return Ok([part("embed_q", [heads, rank, plain])?, part("unembed_out", [heads, value, rank])?]);
    }
    let LinearWeights { weight, low_rank, .. } =
        loader.linear(&both, rank, heads * (plain + value), false)?;
    if low_rank.is_some() {
        return Err(loader.config().problem("adapters of a packed kv_b_proj are not supported"));
    }
    if loader.is_checking() {
        return Ok([HeadLinear(weight.clone()), HeadLinear(weight)]);
    }
    let by_head = weight.to_dense()?.reshape(&[heads, plain + value, rank])?;
    let map = |rows: Array| {
        // A copy of its own: a view would keep the whole tensor alive.
        let copy = rows.multiply(Array::from_f32(1.0).as_dtype(rows.dtype())?)?;
        copy.eval()?;
        Ok::<_, LoadError>(HeadLinear(Weight::Dense(copy)))
    };
    Ok([map(by_head.try_index((.., ..plain))?.swap_axes(1, 2)?)?, map(by_head.try_index((.., plain..))?)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rotated_coordinates_are_reordered() {
        let shape = LatentShape {
            size: 8,
            heads: 2,
            query_rank: None,
            rank: 3,
            plain: 2,
            rotated: 4,
            value: 2,
            scale: 1.0,
            bias: false,
            eps: 1e-6,
        };
        assert_eq!(shape.order(2, 2), [0, 1, 2, 4, 3, 5, 6, 7, 8, 10, 9, 11]);
        assert_eq!(shape.order(1, 3), [0, 1, 2, 3, 5, 4, 6]);
    }
}
