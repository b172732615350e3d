//! Linear attention by the gated delta rule, with a short convolution before it and a gate after it.

use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, Dtype, ops};

use super::Result;
use super::gated_delta::{self, DeltaInputs};
use super::linear::{Fused, Input, Linear};
use super::norm::rms_norm;
use super::short_convolution::CausalConvolution;
use crate::kernels::exponential::silu;
use crate::kv::{KvStep, StateShape};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The sizes of a layer.
#[derive(Debug, Clone, Copy)]
pub struct DeltaNetShape {
    /// Model width D.
    pub size: i32,
    /// Heads of queries and keys.
    pub key_heads: i32,
    /// Heads of values and states H; a multiple of `key_heads`.
    pub value_heads: i32,
    /// Width of a query or key.
    pub key_dim: i32,
    /// Width of a value.
    pub value_dim: i32,
    /// Tokens of the convolution.
    pub kernel: i32,
    /// Added to the mean square in the norm of outputs.
    pub eps: f32,
}

impl DeltaNetShape {
    /// Width of all queries or keys.
    fn keys(self) -> i32 {
        self.key_heads * self.key_dim
    }

    /// Width of all values.
    fn values(self) -> i32 {
        self.value_heads * self.value_dim
    }

    /// Channels of the convolution.
    pub fn channels(self) -> i32 {
        2 * self.keys() + self.values()
    }

    /// The order that Qwen3-Next's rows have to get: its files have, of each key head, queries, keys, values and gates, and then
    /// strengths and decays, each with those of its value heads.
    fn order_of_key_heads(self) -> Vec<i32> {
        let Self { key_heads, value_heads, key_dim, value_dim, .. } = self;
        let group = value_heads / key_heads;
        let parts = |first: i32, widths: &[i32]| -> Vec<i32> {
            let stride: i32 = widths.iter().sum();
            let part = |at: usize| {
                let before: i32 = widths[..at].iter().sum();
                let rows = move |head: i32| {
                    let start = first + head * stride + before;
                    start..start + widths[at]
                };
                (0..key_heads).flat_map(rows)
            };
            (0..widths.len()).flat_map(part).collect()
        };
        let values = group * value_dim;
        let mut order = parts(0, &[key_dim, key_dim, values, values]);
        order.extend(parts(self.channels() + self.values(), &[group, group]));
        order
    }

    /// The states of `layers` such layers.
    pub fn states(self, layers: usize) -> StateShape {
        StateShape { layers, heads: self.value_heads, matrix: [self.value_dim, self.key_dim] }
    }

    /// Checks that the sizes can be computed: they come from a file.
    pub fn check(self) -> Result<(), String> {
        let Self { key_heads, value_heads, key_dim, value_dim, kernel, .. } = self;
        if key_heads < 1 || value_heads < 1 || value_heads % key_heads != 0 {
            return Err(format!(
                "linear_num_value_heads ({value_heads}) must be a multiple of linear_num_key_heads ({key_heads})"
            ));
        }
        for (name, value, most) in [
            ("linear_num_value_heads", value_heads, 1024),
            ("linear_key_head_dim", key_dim, 1024),
            ("linear_value_head_dim", value_dim, 1024),
        ] {
            if !(1..=most).contains(&value) {
                return Err(format!("{name} is {value}: it must be between 1 and {most}"));
            }
        }
        if !(2..=16).contains(&kernel) {
            return Err(format!("linear_conv_kernel_dim is {kernel}: it must be between 2 and 16"));
        }
        Ok(())
    }
}

/// One layer.
#[derive(Debug)]
pub struct GatedDeltaNet {
    /// Queries, keys and values; the gate; strengths; decays.
    in_proj: Fused,
    conv1d: CausalConvolution,
    /// ln of the decay's rate, `[H]`.
    a_log: Array,
    /// `[H]`.
    dt_bias: Array,
    norm: Array,
    out_proj: Linear,
    shape: DeltaNetShape,
}

impl GatedDeltaNet {
    /// Loads `path.{in_proj_qkv,in_proj_z,in_proj_b,in_proj_a,conv1d,A_log,dt_bias,norm,out_proj}`, or Qwen3-Next's
    /// `path.{in_proj_qkvz,in_proj_ba}` in place of the first four.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load(loader: &Loader, path: &str, shape: DeltaNetShape) -> Result<Self, LoadError> {
        let DeltaNetShape { size, value_heads, value_dim, kernel, .. } = shape;
        let tensor = |name: &str, size: i32| loader.tensor(&format!("{path}.{name}"), &[size]);
        Ok(Self {
            in_proj: load_in_proj(loader, path, shape)?,
            conv1d: CausalConvolution::load(
                loader,
                &format!("{path}.conv1d"),
                (shape.channels(), kernel),
                false,
            )?,
            a_log: tensor("A_log", value_heads)?,
            dt_bias: tensor("dt_bias", value_heads)?,
            norm: tensor("norm.weight", value_dim)?,
            out_proj: Linear::load(loader, &format!("{path}.out_proj"), shape.values(), size, false)?,
            shape,
        })
    }

    /// `residual` plus the output for `input`, `[T, D]`; `layer` counts the layers of this kind.
    ///
    /// # Errors
    /// When the device fails.
    pub fn forward_residual(
        &self,
        residual: &Array,
        input: Input,
        layer: usize,
        kv: &mut KvStep,
    ) -> Result<Array> {
        let DeltaNetShape { value_heads, value_dim, eps, .. } = self.shape;
        let (channels, values) = (self.shape.channels(), self.shape.values());
        let parts = self.in_proj.forward(input)?;
        let part = |from: i32, width: i32| parts.try_index((.., from..from + width));
        let mixed = silu(&self.conv1d.forward(&part(0, channels)?, layer, kv)?)?;
        let gates = part(channels, values)?.as_dtype(Dtype::Float32)?;
        let strengths = ops::sigmoid(part(channels + values, value_heads)?.as_dtype(Dtype::Float32)?)?;
        let decays = part(channels + values + value_heads, value_heads)?;
        let inputs = self.delta_inputs(&mixed, strengths, &decays)?;
        let states = self.shape.states(0);
        let read = kv.recur(states, |lengths, states| gated_delta::advance(&inputs, lengths, states))?;
        let read = read.reshape(&[-1, value_dim])?.as_dtype(mixed.dtype())?;
        let normed = rms_norm(&read, &self.norm, eps)?.as_dtype(Dtype::Float32)?.reshape(&[-1, values])?;
        let output = silu(&gates)?.multiply(normed)?.as_dtype(mixed.dtype())?;
        self.out_proj.forward_residual(residual, Input::Plain(&output))
    }

    /// From the convolved queries, keys and values `[T, channels]`, strengths `[T, H]`, and the inputs of decays `[T, H]`.
    fn delta_inputs(&self, mixed: &Array, strengths: Array, decays: &Array) -> Result<DeltaInputs> {
        let DeltaNetShape { key_heads, value_heads, key_dim, value_dim, .. } = self.shape;
        let (keys, values) = (self.shape.keys(), self.shape.values());
        let heads = |from: i32, scale: f32| {
            let heads = mixed.try_index((.., from..from + keys))?.reshape(&[-1, key_heads, key_dim])?;
            let heads = gated_delta::normalized(&heads, scale)?;
            match value_heads / key_heads {
                1 => Ok(heads),
                copies => ops::repeat_axis::<f32>(heads, copies, 1),
            }
        };
        let float = |x: &Array| x.as_dtype(Dtype::Float32);
        let values =
            mixed.try_index((.., 2 * keys..2 * keys + values))?.reshape(&[-1, value_heads, value_dim])?;
        // Softplus.
        let times = ops::logaddexp(float(decays)?.add(float(&self.dt_bias)?)?, Array::from_f32(0.0))?;
        Ok(DeltaInputs {
            queries: heads(0, (key_dim as f32).powf(-0.5))?,
            keys: heads(keys, 1.0)?,
            values: float(&values)?,
            log_decays: float(&self.a_log)?.exp()?.negative()?.multiply(times)?,
            strengths,
        })
    }
}

fn load_in_proj(loader: &Loader, path: &str, shape: DeltaNetShape) -> Result<Fused, LoadError> {
    let part = |name: &str, outputs: i32| {
        Linear::load(loader, &format!("{path}.in_proj_{name}"), shape.size, outputs, false)
    };
    let (channels, values, heads) = (shape.channels(), shape.values(), shape.value_heads);
    if !loader.has(&format!("{path}.in_proj_qkvz.weight")) {
        let parts = [("qkv", channels), ("z", values), ("b", heads), ("a", heads)];
        return Ok(Fused::new(
            parts.map(|(name, outputs)| part(name, outputs)).into_iter().collect::<Result<_, _>>()?,
        )?);
    }
    let by_key_head = Fused::new(vec![part("qkvz", channels + values)?, part("ba", 2 * heads)?])?;
    if loader.is_checking() {
        return Ok(by_key_head);
    }
    Ok(by_key_head.reordered(&shape.order_of_key_heads())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_key_heads_are_ordered_by_kind() {
        let shape = DeltaNetShape {
            size: 8,
            key_heads: 2,
            value_heads: 4,
            key_dim: 1,
            value_dim: 2,
            kernel: 4,
            eps: 1e-6,
        };
        // Of each key head: a query, a key, two values and two gates of two numbers each; then two strengths and two decays.
        let [query, key] = [[0, 10], [1, 11]];
        let [values, gates] = [[2, 3, 4, 5, 12, 13, 14, 15], [6, 7, 8, 9, 16, 17, 18, 19]];
        let [strengths, decays] = [[20, 21, 24, 25], [22, 23, 26, 27]];
        let expected = [&query[..], &key, &values, &gates, &strengths, &decays].concat();
        assert_eq!(shape.order_of_key_heads(), expected);
    }
}
