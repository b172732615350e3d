//! What a conversion writes: which layers it packs, and how. Pure.
//!
//! The rules are those of `quantize_model` of mlx-lm 0.32.2: linear layers, embeddings and stacks of experts are packed if
//! their inputs divide into groups. Some layers of some families have a packing of their own.

use std::collections::BTreeMap;

use safetensors::Dtype;
use serde_json::{Map, Value, json};

use super::layout::Tensor;
use crate::weights::config::{Packing, PackingMode};
use crate::weights::loader::{Request, Source};

/// The packing of layers that lose too much with fewer bits: `quant_predicate` of their models in mlx-lm.
const FINE: Packing = Packing { group_size: 64, bits: 8, mode: PackingMode::Affine };
/// Families, with the end of such a layer's path: routers, and layers of Granite.
const FINE_LAYERS: [(&str, &str); 17] = [
    ("qwen3_moe", ".mlp.gate"),
    ("qwen3_next", ".mlp.gate"),
    ("qwen3_next", ".shared_expert_gate"),
    ("qwen3_5_moe", ".mlp.gate"),
    ("qwen3_5_moe", ".shared_expert_gate"),
    ("qwen3_5_moe_text", ".mlp.gate"),
    ("qwen3_5_moe_text", ".shared_expert_gate"),
    ("lfm2_moe", ".feed_forward.gate"),
    ("gemma4", ".router.proj"),
    ("gemma4_text", ".router.proj"),
    ("gemma4_unified", ".router.proj"),
    ("gpt_oss", ".router"),
    ("minimax", ".block_sparse_moe.gate"),
    ("minimax_m2", ".block_sparse_moe.gate"),
    ("granite", ".self_attn.o_proj"),
    ("granite", ".mlp.down_proj"),
    ("granite", "lm_head"),
];
/// Families, with the end of the name of a tensor that keeps its type: `cast_predicate` of their models in mlx-lm.
const KEPT_TYPES: [(&str, &str); 12] = [
    ("deepseek_v3", ".e_score_correction_bias"),
    ("kimi_k2", ".e_score_correction_bias"),
    ("joyai_llm_flash", ".e_score_correction_bias"),
    ("glm4_moe_lite", ".e_score_correction_bias"),
    ("glm4_moe", ".e_score_correction_bias"),
    ("minimax", ".e_score_correction_bias"),
    ("minimax_m2", ".e_score_correction_bias"),
    ("lfm2_moe", ".expert_bias"),
    ("qwen3_5", ".A_log"),
    ("qwen3_5_text", ".A_log"),
    ("qwen3_5_moe", ".A_log"),
    ("qwen3_5_moe_text", ".A_log"),
];

/// The reason why a model is not converted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// Packing packed weights would lose more.
    #[error("it is already quantised ({0}): convert the original weights instead")]
    Quantized(String),
    /// Encoders and embedding models.
    #[error("only models that generate text are converted, and this one is {0}")]
    Task(String),
    /// MLX has no such packing.
    #[error("{bits} bits in groups of {group_size} is nothing that the mode {mode} has: {known}", known = known(.mode))]
    Packing {
        /// The mode.
        mode: PackingMode,
        /// The wanted bits per weight.
        bits: i32,
        /// The wanted weights per scale.
        group_size: i32,
    },
    /// A packing of the family's own does not fit.
    #[error(
        "{path} has {inputs} inputs, and groups of {group_size}, which its family wants there, do not divide them"
    )]
    Fine {
        /// The layer.
        path: String,
        /// Its width.
        inputs: i32,
        /// The family's.
        group_size: i32,
    },
    /// Nothing would change.
    #[error(
        "no layer can be quantised: groups of {group_size} do not divide the {inputs} inputs of {path}, nor those of any other"
    )]
    Nothing {
        /// The wanted weights per scale.
        group_size: i32,
        /// A layer.
        path: String,
        /// Its width.
        inputs: i32,
    },
    /// mlx-lm's format has other tensors in place of this one.
    #[error("the conversion of {0} to mlx-lm's format is not supported: use `mlx_lm.convert`")]
    Latent(String),
    /// Parts of one tensor differ.
    #[error("{path} has parts of different types: {found}")]
    Types {
        /// The layer.
        path: String,
        /// The types.
        found: String,
    },
}

fn known(mode: &PackingMode) -> &'static str {
    match mode {
        PackingMode::Affine => "it has 2, 3, 4, 5, 6 or 8 bits in groups of 32, 64 or 128",
        PackingMode::Mxfp4 => "it has 4 bits in groups of 32",
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The packing of all layers without one of their own.
    pub packing: Packing,
    /// The family.
    pub model_type: &'a str,
    /// The type that all numbers get but the biases of routers; `None` leaves each as it is.
    pub dtype: Option<Dtype>,
    /// What mlx-lm has before the names of a language model within another.
    pub prefix: &'a str,
}

/// A request of the model, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Name of the tensor, or of the packed weight.
    pub name: String,
    /// Its parts in the files. Several are the rows of one, in order.
    pub sources: Vec<Source>,
    /// Dimensions before packing.
    pub shape: Vec<usize>,
    /// Type before packing.
    pub dtype: Dtype,
    /// `None` if it is not packed.
    pub packing: Option<Packing>,
    /// Whether one is added to every number.
    pub plus_one: bool,
}

/// Everything that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In the model's order.
    pub items: Vec<Item>,
    /// Paths of the layers with a packing of their own, in the model's order.
    pub special: Vec<(String, Packing)>,
    /// Paths of matrices whose inputs do not divide into groups.
    pub kept: Vec<String>,
}

impl Plan {
    /// Plans the conversion of what a model asked for. `stored` has the types of the tensors in the files.
    ///
    /// # Errors
    /// The packing is none of MLX's, or does not fit.
    pub fn new(
        requests: &[Request],
        stored: &BTreeMap<String, Dtype>,
        wanted: &Wanted,
    ) -> Result<Self, Refusal> {
        let Packing { group_size, bits, mode } = wanted.packing;
        if !wanted.packing.is_supported() {
            return Err(Refusal::Packing { mode, bits, group_size });
        }
        let mut plan = Self { items: Vec::new(), special: Vec::new(), kept: Vec::new() };
        for request in requests {
            plan.add(request, stored, wanted)?;
        }
        let is_packed = plan.items.iter().any(|item| item.packing.is_some());
        match requests.iter().find_map(matrix) {
            Some((path, inputs)) if !is_packed => {
                Err(Refusal::Nothing { group_size, path: path.to_owned(), inputs })
            }
            _ => Ok(plan),
        }
    }

    fn add(
        &mut self,
        request: &Request,
        stored: &BTreeMap<String, Dtype>,
        wanted: &Wanted,
    ) -> Result<(), Refusal> {
        let prefix = wanted.prefix;
        let plus_one = matches!(request, Request::Tensor { plus_one: true, .. });
        let (name, sources, shape, packing) = match request {
            Request::Tensor { name, shape, .. } => {
                (format!("{prefix}{name}"), vec![Source::whole(name.clone())], shape, None)
            }
            Request::Matrix { path, shape, parts } => {
                let packing = packing(path, shape, wanted)?;
                let own = format!("{prefix}{path}");
                match packing {
                    None => self.kept.push(own.clone()),
                    Some(packing) if is_fine(path, wanted) => self.special.push((own.clone(), packing)),
                    Some(_) => {}
                }
                (format!("{own}.weight"), parts.clone(), shape, packing)
            }
        };
        let wanted_type = wanted.dtype.filter(|_| !is_listed(&KEPT_TYPES, &name, wanted));
        let dtype = wanted_type.map_or_else(|| common_type(&name, &sources, stored), Ok)?;
        let shape = shape.iter().map(|n| usize::try_from(*n).unwrap_or(0)).collect();
        self.items.push(Item { name, sources, shape, dtype, packing, plus_one });
        Ok(())
    }

    /// The value of `quantization` in config.json.
    pub fn quantization(&self, packing: Packing) -> Value {
        let Packing { group_size, bits, mode } = packing;
        let mut settings = Map::new();
        settings.insert("group_size".into(), group_size.into());
        settings.insert("bits".into(), bits.into());
        settings.insert("mode".into(), mode.name().into());
        for (path, Packing { group_size, bits, .. }) in &self.special {
            settings.insert(path.clone(), json!({"group_size": group_size, "bits": bits}));
        }
        settings.into()
    }

    /// The number of weights.
    pub fn parameters(&self) -> u64 {
        self.items.iter().map(|item| item.elements() as u64).sum()
    }
}

impl Item {
    /// Number of weights.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The tensors that it becomes: itself, or packed weights, scales and, in affine packing, biases.
    pub fn tensors(&self) -> Vec<Tensor> {
        let Some(packing) = self.packing else {
            return vec![Tensor { name: self.name.clone(), dtype: self.dtype, shape: self.shape.clone() }];
        };
        let (group, bits) =
            (packing.group_size.unsigned_abs() as usize, packing.bits.unsigned_abs() as usize);
        let (inputs, leading) = self.shape.split_last().unwrap_or((&0, &[]));
        let path = self.name.strip_suffix("weight").unwrap_or(&self.name);
        let tensor = |part: &str, dtype, width: usize| Tensor {
            name: format!("{path}{part}"),
            dtype,
            shape: [leading, &[width]].concat(),
        };
        let weight = tensor("weight", Dtype::U32, inputs * bits / 32);
        match packing.mode {
            PackingMode::Affine => vec![
                weight,
                tensor("scales", self.dtype, inputs / group),
                tensor("biases", self.dtype, inputs / group),
            ],
            PackingMode::Mxfp4 => vec![weight, tensor("scales", Dtype::U8, inputs / group)],
        }
    }
}

/// The projection of latent vectors that mlx-lm splits in two, of which it transposes one (except in DeepSeek V2).
pub fn latent_map(requests: &[Request]) -> Option<&str> {
    requests.iter().filter_map(matrix).map(|(path, _)| path).find(|path| path.ends_with(".kv_b_proj"))
}

fn matrix(request: &Request) -> Option<(&str, i32)> {
    match request {
        Request::Matrix { path, shape, .. } => Some((path, *shape.last()?)),
        Request::Tensor { .. } => None,
    }
}

/// The packing of a matrix; `None` if its inputs do not divide into groups.
fn packing(path: &str, shape: &[i32], wanted: &Wanted) -> Result<Option<Packing>, Refusal> {
    let inputs = shape.last().copied().unwrap_or(0);
    if inputs % wanted.packing.group_size != 0 {
        return Ok(None);
    }
    if !is_fine(path, wanted) {
        return Ok(Some(wanted.packing));
    }
    let group_size = FINE.group_size;
    if inputs % group_size != 0 {
        return Err(Refusal::Fine { path: path.to_owned(), inputs, group_size });
    }
    Ok(Some(FINE))
}

/// Whether a layer has its family's own packing.
fn is_fine(path: &str, wanted: &Wanted) -> bool {
    is_listed(&FINE_LAYERS, path, wanted)
}

fn is_listed(list: &[(&str, &str)], name: &str, wanted: &Wanted) -> bool {
    list.iter().any(|(family, end)| *family == wanted.model_type && name.ends_with(end))
}

/// The type of all `sources`.
fn common_type(name: &str, sources: &[Source], stored: &BTreeMap<String, Dtype>) -> Result<Dtype, Refusal> {
    let mut types = sources.iter().filter_map(|source| stored.get(&source.tensor)).copied();
    let first = types.next().unwrap_or(Dtype::F32);
    match types.find(|other| *other != first) {
        None => Ok(first),
        Some(other) => Err(Refusal::Types { path: name.to_owned(), found: format!("{first} and {other}") }),
    }
}

#[cfg(test)]
mod tests;
