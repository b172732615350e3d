//! A sparse mixture of experts: a router sends each token to a few of many feed-forward blocks and weighs their answers.
//!
//! Shazeer et al. 2017 (<https://arxiv.org/abs/1701.06538>); reference: `switch_layers.py` of mlx-lm 0.32.2. Shapes: `E`
//! experts, `K` chosen for each token, and `N = T * K` rows, one for each pair of a token and an expert.

use std::ops::Range;

use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, Device, DeviceType, Dtype, ops};

use super::Result;
use super::exponential;
use super::linear::{Linear, LowRank, Weight};
use super::mlp::Activation;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// From so many rows on, they are sorted by expert, so that each expert's weights are read once.
const SORT_ROWS: i32 = 64;

/// How a router's scores become weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weighing {
    /// A softmax over the chosen experts.
    Chosen,
    /// A softmax over all experts, from which the chosen ones are taken.
    All {
        /// And made to sum to one again.
        normalized: bool,
    },
}

/// The sizes of a mixture.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Model width D.
    pub size: i32,
    /// Inner width of an expert.
    pub hidden: i32,
    /// Experts E.
    pub experts: i32,
    /// Experts K of a token.
    pub chosen: i32,
    /// What the router's scores become.
    pub weighing: Weighing,
    /// What the gate goes through.
    pub activation: Activation,
    /// Router and experts have biases.
    pub biases: bool,
}

impl Shape {
    /// Whether such a mixture can be computed; the numbers come from a file.
    fn check(&self) -> std::result::Result<(), String> {
        let Self { experts, chosen, .. } = *self;
        match experts > 0 && (1..=experts).contains(&chosen) {
            true => Ok(()),
            false => Err(format!("{chosen} of {experts} experts (num_experts_per_tok) cannot be chosen")),
        }
    }
}

/// What a family calls the parts of its mixture.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// The router.
    pub router: &'static str,
    /// All experts as one, in mlx-lm's form.
    pub stacked: &'static str,
    /// Gate, up and down projections of `experts.N` in Hugging Face's form.
    pub each: [&'static str; 3],
}

/// The linear layers of all experts.
#[derive(Debug, Clone)]
pub struct StackedLinear {
    weight: Weight,
    bias: Option<Array>,
    /// Where an adapter changes packed weights: two more products, each by its own stack.
    low_rank: Option<[Weight; 2]>,
}

impl StackedLinear {
    /// From weights `[E, outputs, inputs]` and biases `[E, outputs]`.
    pub fn new(weight: Weight, bias: Option<Array>) -> Self {
        Self { weight, bias, low_rank: None }
    }

    /// The same with a change beside its weights.
    pub fn adapted(self, low_rank: Option<LowRank>) -> Self {
        let low_rank = low_rank.map(|LowRank { down, up }| [Weight::Dense(down), Weight::Dense(up)]);
        Self { low_rank, ..self }
    }

    /// Each row through its expert: `[N, inputs]` → `[N, outputs]`.
    fn forward(&self, x: &Array, rows: &Rows) -> Result<Array> {
        let mut product = rows.product(x, &self.weight)?;
        if let Some([down, up]) = &self.low_rank {
            let change = rows.product(&rows.product(x, down)?, up)?;
            product = product.add(change.as_dtype(x.dtype())?)?;
        }
        match &self.bias {
            Some(bias) => product.add(bias.take_axis(&rows.experts, 0)?),
            None => Ok(product),
        }
    }
}

/// The pairs of tokens and experts of a step, as rows in an order that suits the device.
#[derive(Debug)]
struct Rows {
    /// Each row's token, `[N]`.
    tokens: Array,
    /// Each row's expert, `[N]`.
    experts: Array,
    /// Where the row of each pair is, `[N]`; `None`: in its place.
    places: Option<Array>,
    /// Which rows are whose, where that is known outside the device.
    groups: Option<Vec<(i32, Range<i32>)>>,
}

impl Rows {
    /// For the experts `[T, K]` chosen, without asking the device what they are.
    fn on_device(chosen: &Array) -> Result<Self> {
        let (count, each) = (chosen.dim(0) * chosen.dim(1), chosen.dim(1));
        let pairs = chosen.flatten(None, None)?;
        if count < SORT_ROWS {
            let tokens: Vec<i32> = (0..count).map(|pair| pair / each).collect();
            let tokens = Array::from_slice(&tokens, &[count]);
            return Ok(Self { tokens, experts: pairs, places: None, groups: None });
        }
        let order = ops::argsort_axis(&pairs, 0)?;
        let each = Array::from_int(each).as_dtype(order.dtype())?;
        Ok(Self {
            tokens: order.floor_divide(each)?,
            experts: pairs.take_axis(&order, 0)?,
            places: Some(ops::argsort_axis(&order, 0)?),
            groups: None,
        })
    }

    /// The same in groups of one expert each, for a CPU, where waiting for the router costs next to nothing. MLX's `gather_mm`
    /// there takes one row at a time and knows only float32. For 512 tokens groups were three times as fast; for 1 to 8 about
    /// the same, up to a quarter slower.
    fn in_groups(chosen: &Array) -> Result<Self> {
        let each = chosen.dim(1);
        let pairs = chosen.as_dtype(Dtype::Int32)?.flatten(None, None)?;
        pairs.eval()?;
        let expert_of = pairs.as_slice::<i32>();
        let count = pairs.dim(0);
        let mut order: Vec<i32> = (0..count).collect();
        order.sort_by_key(|pair| expert_of[*pair as usize]);
        let experts: Vec<i32> = order.iter().map(|pair| expert_of[*pair as usize]).collect();
        let tokens: Vec<i32> = order.iter().map(|pair| pair / each).collect();
        let mut places = vec![0; order.len()];
        for (row, pair) in (0..count).zip(&order) {
            places[*pair as usize] = row;
        }
        let mut groups = Vec::new();
        let mut start = 0;
        for group in experts.chunk_by(|a, b| a == b) {
            let end = start + group.len() as i32;
            groups.push((group[0], start..end));
            start = end;
        }
        let array = |numbers: &[i32]| Array::from_slice(numbers, &[count]);
        let (tokens, experts, places) = (array(&tokens), array(&experts), array(&places));
        Ok(Self { tokens, experts, places: Some(places), groups: Some(groups) })
    }

    /// Rows `[N, inputs]`, each by its expert's matrix of `weight` → `[N, outputs]`.
    fn product(&self, x: &Array, weight: &Weight) -> Result<Array> {
        let sorted = self.places.is_some();
        let product = match (weight, &self.groups) {
            (Weight::Dense(weight), Some(groups)) => return grouped(x, weight, groups),
            (Weight::Dense(weight), None) => {
                let transposed = weight.swap_axes(1, 2)?;
                ops::gather_mm(x.expand_dims(1)?, transposed, None, &self.experts, sorted)?
            }
            (Weight::Quantized { parts: [weight, scales, biases], packing }, _) => ops::gather_qmm(
                x.expand_dims(1)?,
                weight,
                scales,
                biases,
                None,
                &self.experts,
                true,
                packing.group_size,
                packing.bits,
                sorted,
            )?,
        };
        product.squeeze_axes(&[1])
    }

    /// Rows `[N, D]` back in the order of tokens: `[T, K, D]`.
    fn by_token(&self, x: &Array, each: i32) -> Result<Array> {
        let shape = [x.dim(0) / each, each, x.dim(1)];
        match &self.places {
            Some(places) => x.take_axis(places, 0)?.reshape(&shape),
            None => x.reshape(&shape),
        }
    }
}

/// Rows `[N, inputs]` by `[E, outputs, inputs]`, a product for each group → `[N, outputs]`.
fn grouped(x: &Array, weight: &Array, groups: &[(i32, Range<i32>)]) -> Result<Array> {
    let products = groups.iter().map(|(expert, rows)| {
        // A range is a view where a number would copy the matrix.
        let matrix = weight.try_index(*expert..*expert + 1)?.squeeze_axes(&[0])?;
        x.try_index(rows.clone())?.matmul(matrix.t())
    });
    ops::concatenate(&products.collect::<Result<Vec<_>>>()?, 0)
}

/// A router and its experts.
#[derive(Debug)]
pub struct SparseMoe {
    router: Linear,
    gate_proj: StackedLinear,
    up_proj: StackedLinear,
    down_proj: StackedLinear,
    shape: Shape,
    on_cpu: bool,
}

impl SparseMoe {
    /// From `path.<router>` and the experts under `path` by their names.
    ///
    /// # Errors
    /// As the loader's.
    pub fn load(
        loader: &Loader,
        path: &str,
        names: Names,
        shape: Shape,
    ) -> std::result::Result<Self, LoadError> {
        shape.check().map_err(|problem| loader.config().problem(problem))?;
        let Shape { size, hidden, experts, biases, .. } = shape;
        let Names { router, stacked, each: [gate, up, down] } = names;
        let part = |name: &str, each: &str, (inputs, outputs): (i32, i32)| {
            let path_of = |n: i32| format!("{path}.experts.{n}.{each}");
            loader.experts(&format!("{path}.{stacked}.{name}"), path_of, [experts, outputs, inputs], biases)
        };
        Ok(Self {
            router: loader.linear(&format!("{path}.{router}"), size, experts, biases)?,
            gate_proj: part("gate_proj", gate, (size, hidden))?,
            up_proj: part("up_proj", up, (size, hidden))?,
            down_proj: part("down_proj", down, (hidden, size))?,
            shape,
            on_cpu: matches!(Device::try_default()?.get_type()?, DeviceType::Cpu),
        })
    }

    /// `[T, D]` → `[T, D]`.
    pub fn forward(&self, x: &Array) -> Result<Array> {
        let (chosen, weights) = self.choose(&self.router.forward(x)?)?;
        let rows = if self.on_cpu { Rows::in_groups(&chosen)? } else { Rows::on_device(&chosen)? };
        let each_row = x.take_axis(&rows.tokens, 0)?;
        let gate = self.gate_proj.forward(&each_row, &rows)?;
        let up = self.up_proj.forward(&each_row, &rows)?;
        let answers = self.down_proj.forward(&self.shape.activation.gated(&gate, &up)?, &rows)?;
        let answers = rows.by_token(&answers, self.shape.chosen)?;
        answers.multiply(weights.expand_dims(-1)?)?.sum_axis(1, false)
    }

    /// Scores `[T, E]` → the experts of each token and their weights, `[T, K]` both.
    fn choose(&self, scores: &Array) -> Result<(Array, Array)> {
        let chosen = self.shape.chosen;
        let order = ops::argpartition_axis(scores.negative()?, chosen - 1, -1)?;
        let best = order.try_index((.., ..chosen))?;
        let weights = match self.shape.weighing {
            Weighing::Chosen => exponential::softmax(&scores.take_along_axis(&best, -1)?)?,
            Weighing::All { normalized } => {
                let weights = exponential::softmax(scores)?.take_along_axis(&best, -1)?;
                match normalized {
                    true => weights.divide(weights.sum_axis(-1, true)?)?,
                    false => weights,
                }
            }
        };
        Ok((best, weights))
    }
}

#[cfg(test)]
mod tests;
