//! The linear layers of all experts of a mixture, which files have in four formats.

use super::mxfp4::InterleavedExperts;
use super::{AdapterLayout, AlternateBlocks, FLOATS, LoadError, Loader, Result, Source};
use crate::weights::matrix::{LinearWeights, Weight};

/// Where the files may have a layer of all experts, `[experts, outputs, inputs]`.
pub struct ExpertNames<'n> {
    /// Path in mlx-lm's format: one tensor `stacked.weight`.
    pub stacked: String,
    /// Path of the n-th expert's layer in Hugging Face's format: tensors `each(n).weight`, `[outputs, inputs]`.
    pub each: &'n dyn Fn(i32) -> String,
    /// One tensor of all experts, as Transformers 5 has it.
    pub whole: Option<WholeExperts>,
}

/// A tensor of all experts. That of gate and up projections has, of each expert, the rows of one before those of the other.
#[derive(Debug)]
pub struct WholeExperts {
    tensor: String,
    /// 0 for gates, 1 for ups; `None` if all rows count.
    half: Option<usize>,
}

impl WholeExperts {
    /// The tensor below `path` that has `layer`: `gate_proj`, `up_proj` or `down_proj`.
    pub fn new(path: &str, layer: &str) -> Option<Self> {
        let (name, half) = match layer {
            "gate_proj" => ("gate_up_proj", Some(0)),
            "up_proj" => ("gate_up_proj", Some(1)),
            "down_proj" => ("down_proj", None),
            _ => return None,
        };
        Some(Self { tensor: format!("{path}.{name}"), half })
    }

    /// The layer's rows in the tensor.
    fn source(&self, experts: i32) -> Source {
        let count = 2 * experts.unsigned_abs() as usize;
        Source {
            tensor: self.tensor.clone(),
            blocks: self.half.map(|first| AlternateBlocks { count, first }),
        }
    }
}

impl Loader<'_> {
    /// A linear layer of all experts. OpenAI's format is a fourth one.
    ///
    /// # Errors
    /// Those of [`Self::tensor`].
    pub fn experts(&self, names: &ExpertNames, shape: [i32; 3], biased: bool) -> Result<LinearWeights> {
        let [experts, outputs, _] = shape;
        let path = names.stacked.as_str();
        let interleaved = InterleavedExperts::for_path(path);
        if let Some(tensors) = interleaved.filter(|tensors| self.has(&tensors.blocks())) {
            let weight = self.interleaved(&tensors, shape)?;
            let bias = biased.then(|| self.interleaved_bias(&tensors, experts, outputs)).transpose()?;
            let weights = LinearWeights { weight, bias, low_rank: None };
            return self.apply_adapter(path, AdapterLayout::Experts, &shape, weights);
        }
        let weight = match names.whole.as_ref().filter(|whole| self.has(&whole.tensor)) {
            Some(whole) => self.whole_experts(path, whole, shape)?,
            None if self.has(&format!("{}.weight", (names.each)(0))) => self.each_expert(names, shape)?,
            None => self.weight(path, &shape)?,
        };
        let bias = biased.then(|| self.tensor(&format!("{path}.bias"), &[experts, outputs])).transpose()?;
        let weights = LinearWeights { weight, bias, low_rank: None };
        self.apply_adapter(path, AdapterLayout::Experts, &shape, weights)
    }

    fn each_expert(&self, names: &ExpertNames, [experts, outputs, inputs]: [i32; 3]) -> Result<Weight> {
        // Ends at the first error: the number of experts comes from a file.
        let (mut parts, mut weights) = (Vec::new(), Vec::new());
        for n in 0..experts {
            let path = (names.each)(n);
            weights.push(self.part(&path, &[outputs, inputs])?);
            parts.push(Source::whole(format!("{path}.weight")));
        }
        self.request_matrix(&names.stacked, &[experts, outputs, inputs], parts);
        let problem =
            || LoadError::Tensors(vec![format!("{}: experts are packed differently", names.stacked)]);
        Weight::stack(&weights)?.ok_or_else(problem)
    }

    fn whole_experts(&self, path: &str, whole: &WholeExperts, shape: [i32; 3]) -> Result<Weight> {
        let [experts, outputs, inputs] = shape;
        let source = whole.source(experts);
        self.request_matrix(path, &shape, vec![source.clone()]);
        if whole.half.is_none() {
            return self.floats(&whole.tensor, &shape).map(Weight::Dense);
        }
        let both = [experts, outputs.saturating_mul(2), inputs];
        let Some((shards, entry)) = self.locate(&whole.tensor, &both, &FLOATS)? else {
            return Ok(Weight::Dense(mlx_rs::Array::from_f32(0.0)));
        };
        let selected = source.select(self.bytes(shards, entry)).collect::<Vec<_>>().concat();
        shards.release(entry);
        self.array(&selected, entry.dtype, &shape).map(Weight::Dense)
    }
}
