//! A sparse mixture of experts: a router sends each token to a few of many feed-forward blocks and weights their outputs.
//!
//! Shazeer et al. 2017 (<https://arxiv.org/abs/1701.06538>); reference: `switch_layers.py` of mlx-lm 0.32.2. Shapes: `E`
//! experts, `K` chosen per token, and `N = T * K` rows, one per pair of token and expert.

use std::ops::Range;

use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, Device, DeviceType, Dtype, ops};

use super::Result;
use super::linear::Linear;
use super::mlp::Activation;
use crate::kernels::exponential;
use crate::weights::LoadError;
use crate::weights::loader::{ExpertNames, Loader, WholeExperts};
use crate::weights::matrix::{LinearWeights, LowRank, Weight};

/// Minimum number of rows to sort by expert, so that each expert's weights are read once.
const MIN_SORTED_ROWS: i32 = 64;

/// Turns a router's scores into weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weighting {
    /// Softmax over the chosen experts.
    Chosen,
    /// The same, times a learned factor of each expert.
    ChosenScaled {
        /// Name of the factors' tensor below the mixture, `[E]`.
        factors: &'static str,
    },
    /// Softmax over all experts.
    All {
        /// Whether the weights of the chosen ones are scaled to sum to one.
        normalized: bool,
        /// Factor of the weights after that.
        factor: f32,
    },
    /// Sigmoid of each score.
    Sigmoid(SigmoidRouting),
}

/// DeepSeek V3's routing (<https://arxiv.org/abs/2412.19437>): the weight is the sigmoid of the score. A bias of each expert,
/// which balances their load, may count for the choice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SigmoidRouting {
    /// Name of the biases' tensor below the mixture, `[E]`.
    pub bias: Option<&'static str>,
    /// Whether the weights of the chosen experts are scaled to sum to one.
    pub normalized: bool,
    /// Added to the sum by which they are divided then.
    pub added: f32,
    /// Factor of the weights after that.
    pub factor: f32,
    /// The groups of experts, if the choice is between groups first.
    pub groups: Option<ExpertGroups>,
}

/// Consecutive experts form groups, of which each token may use some: those whose two best experts have the highest scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExpertGroups {
    /// Number of groups G.
    pub count: i32,
    /// Groups of a token.
    pub chosen: i32,
}

/// The sizes of a mixture.
#[derive(Debug, Clone, Copy)]
pub struct MoeShape {
    /// Model width D.
    pub size: i32,
    /// Inner width of an expert.
    pub hidden: i32,
    /// Experts E.
    pub experts: i32,
    /// Experts K of a token.
    pub chosen: i32,
    /// Softmax over all experts or the chosen ones.
    pub weighting: Weighting,
    /// Activation of the gate.
    pub activation: Activation,
    /// Whether router and experts have biases.
    pub biases: bool,
}

impl MoeShape {
    /// Checks that the mixture can be computed: the numbers come from a file.
    fn check(&self) -> Result<(), String> {
        let Self { experts, chosen, .. } = *self;
        if experts < 1 || !(1..=experts).contains(&chosen) {
            return Err(format!("{chosen} of {experts} experts (num_experts_per_tok) cannot be chosen"));
        }
        let Weighting::Sigmoid(SigmoidRouting { groups: Some(groups), .. }) = self.weighting else {
            return Ok(());
        };
        let ExpertGroups { count, chosen: of_groups } = groups;
        let fits = count > 0 && experts % count == 0 && (1..=count).contains(&of_groups);
        if fits && chosen <= experts / count * of_groups {
            return Ok(());
        }
        Err(format!(
            "{chosen} of {experts} experts in {of_groups} of {count} groups (n_group, topk_group) cannot be chosen"
        ))
    }
}

/// A family's tensor names.
#[derive(Debug, Clone, Copy)]
pub struct MoeNames {
    /// The router.
    pub router: &'static str,
    /// Whether mlx-lm's conversions never pack it.
    pub plain_router: bool,
    /// All experts in one tensor, in mlx-lm's format.
    pub stacked: &'static str,
    /// Gate, up and down projections of `experts.N` in Hugging Face's format.
    pub each: [&'static str; 3],
    /// Path of the tensors `gate_up_proj` and `down_proj` of all experts, in the format of models that came with Transformers 5.
    pub whole: Option<&'static str>,
}

impl MoeNames {
    /// mlx-lm's in most families, with Hugging Face's of each expert.
    pub const SWITCH_MLP: Self = Self {
        router: "gate",
        plain_router: false,
        stacked: "switch_mlp",
        each: ["gate_proj", "up_proj", "down_proj"],
        whole: None,
    };
}

/// The linear layers of all experts.
#[derive(Debug, Clone)]
pub struct StackedLinear {
    weight: Weight,
    bias: Option<Array>,
    /// An adapter's change of packed weights: down and up projections.
    low_rank: Option<[Weight; 2]>,
}

impl From<LinearWeights> for StackedLinear {
    fn from(LinearWeights { weight, bias, low_rank }: LinearWeights) -> Self {
        let low_rank = low_rank.map(|LowRank { down, up }| [Weight::Dense(down), Weight::Dense(up)]);
        Self { weight, bias, low_rank }
    }
}

impl StackedLinear {
    /// Multiplies each row by its expert's matrix: `[N, inputs]` → `[N, outputs]`.
    fn forward(&self, x: &Array, rows: &ExpertRows) -> Result<Array> {
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

/// Pairs of tokens and experts as rows, in an order that suits the device.
#[derive(Debug)]
struct ExpertRows {
    /// Token of each row, `[N]`.
    tokens: Array,
    /// Expert of each row, `[N]`.
    experts: Array,
    /// Row of each pair, `[N]`; `None` if rows are in the order of pairs.
    row_of_pair: Option<Array>,
    /// The rows of each expert, if known on the host.
    groups: Option<Vec<(i32, Range<i32>)>>,
}

impl ExpertRows {
    /// For chosen experts `[T, K]`, without waiting for the device.
    fn on_device(chosen: &Array) -> Result<Self> {
        let (count, each) = (chosen.dim(0) * chosen.dim(1), chosen.dim(1));
        let pairs = chosen.flatten(None, None)?;
        if count < MIN_SORTED_ROWS {
            let tokens: Vec<i32> = (0..count).map(|pair| pair / each).collect();
            let tokens = Array::from_slice(&tokens, &[count]);
            return Ok(Self { tokens, experts: pairs, row_of_pair: None, groups: None });
        }
        let order = ops::argsort_axis(&pairs, 0)?;
        let each = Array::from_int(each).as_dtype(order.dtype())?;
        Ok(Self {
            tokens: order.floor_divide(each)?,
            experts: pairs.take_axis(&order, 0)?,
            row_of_pair: Some(ops::argsort_axis(&order, 0)?),
            groups: None,
        })
    }

    /// For chosen experts `[T, K]`, grouped by expert. For a CPU, where waiting for the router costs next to nothing and MLX's
    /// `gather_mm` takes one row at a time, in float32 only. For 512 tokens groups were three times as fast; for 1 to 8 tokens
    /// about the same, at most a quarter slower.
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
        let mut row_of_pair = vec![0; order.len()];
        for (row, pair) in (0..count).zip(&order) {
            row_of_pair[*pair as usize] = row;
        }
        let mut groups = Vec::new();
        let mut start = 0;
        for group in experts.chunk_by(|a, b| a == b) {
            let end = start + group.len() as i32;
            groups.push((group[0], start..end));
            start = end;
        }
        let array = |numbers: &[i32]| Array::from_slice(numbers, &[count]);
        let (tokens, experts, row_of_pair) = (array(&tokens), array(&experts), array(&row_of_pair));
        Ok(Self { tokens, experts, row_of_pair: Some(row_of_pair), groups: Some(groups) })
    }

    /// Multiplies rows `[N, inputs]` by their experts' matrices in `weight`: `[N, outputs]`.
    fn product(&self, x: &Array, weight: &Weight) -> Result<Array> {
        let sorted = self.row_of_pair.is_some();
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

    /// Restores the order of tokens: `[N, D]` → `[T, K, D]`.
    fn by_token(&self, x: &Array, each: i32) -> Result<Array> {
        let shape = [x.dim(0) / each, each, x.dim(1)];
        match &self.row_of_pair {
            Some(row_of_pair) => x.take_axis(row_of_pair, 0)?.reshape(&shape),
            None => x.reshape(&shape),
        }
    }
}

/// One product per group: rows `[N, inputs]` by `[E, outputs, inputs]` → `[N, outputs]`.
fn grouped(x: &Array, weight: &Array, groups: &[(i32, Range<i32>)]) -> Result<Array> {
    let products = groups.iter().map(|(expert, rows)| {
        // Indexing by a range makes a view; a number would copy the matrix.
        let matrix = weight.try_index(*expert..*expert + 1)?.squeeze_axes(&[0])?;
        x.try_index(rows.clone())?.matmul(matrix.t())
    });
    ops::concatenate(&products.collect::<Result<Vec<_>>>()?, 0)
}

/// A router and its experts.
#[derive(Debug)]
pub struct SparseMoe {
    router: Linear,
    /// Biases of the choice or factors of the weights, `[E]`, float32.
    by_expert: Option<Array>,
    gate_proj: StackedLinear,
    up_proj: StackedLinear,
    down_proj: StackedLinear,
    shape: MoeShape,
    on_cpu: bool,
}

impl SparseMoe {
    /// Loads the router and the experts below `path`.
    ///
    /// # Errors
    /// Those of the loader, and for sizes that cannot be computed.
    pub fn load(loader: &Loader, path: &str, names: MoeNames, shape: MoeShape) -> Result<Self, LoadError> {
        shape.check().map_err(|problem| loader.config().problem(problem))?;
        let MoeShape { size, hidden, experts, biases, .. } = shape;
        let MoeNames { stacked, each: [gate, up, down], whole, .. } = names;
        let part = |name: &str, each: &str, (inputs, outputs): (i32, i32)| {
            let names = ExpertNames {
                stacked: format!("{path}.{stacked}.{name}"),
                each: &|n: i32| format!("{path}.experts.{n}.{each}"),
                whole: whole.and_then(|whole| WholeExperts::new(&format!("{path}.{whole}"), name)),
            };
            loader.experts(&names, [experts, outputs, inputs], biases).map(StackedLinear::from)
        };
        Ok(Self {
            router: load_router(loader, path, names, &shape)?,
            by_expert: load_by_expert(loader, path, &shape)?,
            gate_proj: part("gate_proj", gate, (size, hidden))?,
            up_proj: part("up_proj", up, (size, hidden))?,
            down_proj: part("down_proj", down, (hidden, size))?,
            shape,
            on_cpu: matches!(Device::try_default()?.get_type()?, DeviceType::Cpu),
        })
    }

    /// `[T, D]` → `[T, D]`.
    pub fn forward(&self, x: &Array) -> Result<Array> {
        self.forward_routed(x, x)
    }

    /// [`Self::forward`] of `x` by the experts that the router chooses for `routed`: `[T, D]` each.
    pub fn forward_routed(&self, routed: &Array, x: &Array) -> Result<Array> {
        let (chosen, weights) = match self.shape.weighting {
            // In float32, because biases and scores are close to one another.
            Weighting::Sigmoid(_) => self.choose(&self.router.forward(&routed.as_dtype(Dtype::Float32)?)?)?,
            _ => self.choose(&self.router.forward(routed)?)?,
        };
        let rows =
            if self.on_cpu { ExpertRows::in_groups(&chosen)? } else { ExpertRows::on_device(&chosen)? };
        let inputs = x.take_axis(&rows.tokens, 0)?;
        let gate = self.gate_proj.forward(&inputs, &rows)?;
        let up = self.up_proj.forward(&inputs, &rows)?;
        let outputs = self.down_proj.forward(&self.shape.activation.gate(&gate, &up)?, &rows)?;
        let outputs = rows.by_token(&outputs, self.shape.chosen)?;
        outputs.multiply(weights.expand_dims(-1)?)?.sum_axis(1, false)?.as_dtype(x.dtype())
    }

    /// Scores `[T, E]` → experts of each token and their weights, `[T, K]` each.
    fn choose(&self, scores: &Array) -> Result<(Array, Array)> {
        let chosen = self.shape.chosen;
        if let Weighting::Sigmoid(routing) = self.shape.weighting {
            return choose_by_sigmoid(scores, chosen, routing, self.by_expert.as_ref());
        }
        let best = best_of(scores, chosen)?;
        if let Weighting::All { normalized: is_normalized, factor } = self.shape.weighting {
            let weights = exponential::softmax(scores)?.take_along_axis(&best, -1)?;
            let weights = if is_normalized { normalized(&weights, 0.0)? } else { weights };
            return Ok((best, scaled(weights, factor)?));
        }
        let weights = exponential::softmax(&scores.take_along_axis(&best, -1)?)?;
        let weights = match &self.by_expert {
            Some(factors) => weights.multiply(factors.take_axis(&best, 0)?)?,
            None => weights,
        };
        Ok((best, weights))
    }
}

fn load_router(loader: &Loader, path: &str, names: MoeNames, shape: &MoeShape) -> Result<Linear, LoadError> {
    let MoeShape { size, experts, biases, .. } = *shape;
    let path = format!("{path}.{}", names.router);
    if names.plain_router && !loader.has(&format!("{path}.scales")) {
        let weight = loader.tensor(&format!("{path}.weight"), &[experts, size])?;
        return Ok(Linear::new(Weight::Dense(weight), None));
    }
    Linear::load(loader, &path, size, experts, biases)
}

fn load_by_expert(loader: &Loader, path: &str, shape: &MoeShape) -> Result<Option<Array>, LoadError> {
    let name = match shape.weighting {
        Weighting::Sigmoid(SigmoidRouting { bias, .. }) => bias,
        Weighting::ChosenScaled { factors } => Some(factors),
        Weighting::Chosen | Weighting::All { .. } => None,
    };
    let Some(name) = name else { return Ok(None) };
    let numbers = loader.tensor(&format!("{path}.{name}"), &[shape.experts])?;
    Ok(Some(numbers.as_dtype(Dtype::Float32)?))
}

/// Scores `[T, E]` and biases `[E]` of the choice → experts of each token and their weights, `[T, K]` each.
fn choose_by_sigmoid(
    scores: &Array,
    chosen: i32,
    routing: SigmoidRouting,
    bias: Option<&Array>,
) -> Result<(Array, Array)> {
    let scores = ops::sigmoid(scores)?;
    let biased = match bias {
        Some(bias) => scores.add(bias)?,
        None => scores.clone(),
    };
    let best = match routing.groups {
        Some(groups) => best_of(&of_best_groups(&biased, groups)?, chosen)?,
        None => best_of(&biased, chosen)?,
    };
    let weights = scores.take_along_axis(&best, -1)?;
    let weights = if routing.normalized { normalized(&weights, routing.added)? } else { weights };
    Ok((best, scaled(weights, routing.factor)?))
}

/// The scores of each token's best groups, and zeros of the others: `[T, E]` → `[T, E]`.
fn of_best_groups(scores: &Array, ExpertGroups { count, chosen }: ExpertGroups) -> Result<Array> {
    let by_group = scores.reshape(&[scores.dim(0), count, -1])?;
    let size = by_group.dim(2);
    let best_two =
        ops::sort_axis(&by_group, -1)?.try_index((.., .., (size - 2).max(0)..))?.sum_axis(-1, false)?;
    let rank = ops::argsort_axis(ops::argsort_axis(&best_two, -1)?, -1)?;
    let is_chosen = rank.ge(Array::from_int(count - chosen).as_dtype(rank.dtype())?)?.expand_dims(-1)?;
    ops::select(is_chosen, &by_group, Array::from_f32(0.0).as_dtype(scores.dtype())?)?.reshape(scores.shape())
}

fn scaled(weights: Array, factor: f32) -> Result<Array> {
    if factor == 1.0 {
        Ok(weights)
    } else {
        weights.multiply(Array::from_f32(factor).as_dtype(weights.dtype())?)
    }
}

/// The `chosen` experts of each token with the highest scores: `[T, E]` → `[T, K]`.
fn best_of(scores: &Array, chosen: i32) -> Result<Array> {
    let order = ops::argpartition_axis(scores.negative()?, chosen - 1, -1)?;
    order.try_index((.., ..chosen))
}

/// Weights of each token, divided by their sum plus `added`.
fn normalized(weights: &Array, added: f32) -> Result<Array> {
    let sum = weights.sum_axis(-1, true)?;
    if added == 0.0 {
        return weights.divide(sum);
    }
    weights.divide(sum.add(Array::from_f32(added).as_dtype(weights.dtype())?)?)
}

#[cfg(test)]
mod tests;
