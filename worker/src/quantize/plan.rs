//! What a conversion writes: which layers it packs, and how. Pure.
//!
//! The rules are those of `quantize_model` of mlx-lm 0.32.2: linear layers, embeddings and stacks of experts are packed if
//! their inputs divide into groups. Some layers of some families have a packing of their own.

use std::collections::BTreeMap;

use safetensors::Dtype;
use serde_json::{Map, Value, json};

use super::layout::Tensor;
use crate::weights::config::{Packing, PackingMode};
use crate::weights::loader::Request;

/// The packing of layers that lose too much with fewer bits: `quant_predicate` of their models in mlx-lm.
const FINE: Packing = Packing { group_size: 64, bits: 8, mode: PackingMode::Affine };
/// Families, with the end of such a layer's path: routers, and layers of Granite.
const FINE_LAYERS: [(&str, &str); 7] = [
    ("qwen3_moe", ".mlp.gate"),
    ("gpt_oss", ".router"),
    ("minimax", ".block_sparse_moe.gate"),
    ("minimax_m2", ".block_sparse_moe.gate"),
    ("granite", ".self_attn.o_proj"),
    ("granite", ".mlp.down_proj"),
    ("granite", "lm_head"),
];
/// Ends of the names of tensors that keep their type: `cast_predicate` of their models in mlx-lm.
const KEPT_TYPES: [&str; 1] = [".e_score_correction_bias"];

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
    /// The tensors in the files. Several are the rows of one, in order.
    pub sources: Vec<String>,
    /// Dimensions before packing.
    pub shape: Vec<usize>,
    /// Type before packing.
    pub dtype: Dtype,
    /// `None` if it is not packed.
    pub packing: Option<Packing>,
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
        let (name, sources, shape, packing) = match request {
            Request::Tensor { name, shape } => (format!("{prefix}{name}"), vec![name.clone()], shape, None),
            Request::Matrix { path, shape, parts } => {
                let packing = packing(path, shape, wanted)?;
                let own = format!("{prefix}{path}");
                match packing {
                    None => self.kept.push(own.clone()),
                    Some(packing) if is_fine(path, wanted) => self.special.push((own.clone(), packing)),
                    Some(_) => {}
                }
                let sources = parts.iter().map(|part| format!("{part}.weight")).collect();
                (format!("{own}.weight"), sources, shape, packing)
            }
        };
        let wanted_type = wanted.dtype.filter(|_| !KEPT_TYPES.iter().any(|end| name.ends_with(end)));
        let dtype = wanted_type.map_or_else(|| common_type(&name, &sources, stored), Ok)?;
        let shape = shape.iter().map(|n| usize::try_from(*n).unwrap_or(0)).collect();
        self.items.push(Item { name, sources, shape, dtype, packing });
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
    FINE_LAYERS.iter().any(|(family, end)| *family == wanted.model_type && path.ends_with(end))
}

/// The type of all `sources`.
fn common_type(name: &str, sources: &[String], stored: &BTreeMap<String, Dtype>) -> Result<Dtype, Refusal> {
    let mut types = sources.iter().filter_map(|source| stored.get(source)).copied();
    let first = types.next().unwrap_or(Dtype::F32);
    match types.find(|other| *other != first) {
        None => Ok(first),
        Some(other) => Err(Refusal::Types { path: name.to_owned(), found: format!("{first} and {other}") }),
    }
}

#[cfg(test)]
mod tests;
