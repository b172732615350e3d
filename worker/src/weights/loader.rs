//! Hands tensors to models by name.
//!
//! A model is built twice by the same code. The first pass checks: every tensor asked for is looked up and compared, all
//! problems are collected, and nothing is read. The second pass loads. So a model's constructor is the only place that
//! knows names and shapes, and a folder with ten wrong tensors says so at once instead of ten minutes into a load.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use half::{bf16, f16};
use mlx_rs::{Array, ops};

use super::LoadError;
use super::adapter::{self, Adapter, Kind};
use super::config::{Config, Mode, Packing};
use super::safetensors::{Dtype, Entry, Shards};
use crate::layers::embedding::Embedding;
use crate::layers::kernels::{self, Stored};
use crate::layers::linear::{Linear, LowRank, Weight};
use crate::layers::moe::StackedLinear;

mod mxfp4;

/// What weights become in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// As stored: packed weights stay packed, bf16 stays bf16. The fast path on a GPU.
    Native,
    /// Everything becomes fp32. The fast path on a CPU, whose half-precision and quantised products are many times slower.
    Float32,
}

/// In which form a layer's adapter comes.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// `[inputs, rank]` and `[rank, outputs]`.
    Linear,
    /// `[vocabulary, rank]` and `[rank, width]`.
    Embedding,
    /// `[experts, rank, inputs]` and `[experts, outputs, rank]`.
    Experts,
}

/// Told how many bytes of the files have been read, and of how many.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// One pass over a model's weights.
pub struct Loader<'a> {
    shards: &'a Shards,
    config: &'a Config,
    adapter: Option<&'a Adapter>,
    precision: Precision,
    /// Whether nothing will ask for the output layer.
    headless: bool,
    /// `None` while checking.
    progress: Option<RefCell<Progress<'a>>>,
    read: Cell<u64>,
    problems: RefCell<Vec<String>>,
    used: RefCell<BTreeSet<String>>,
}

/// Problems that the checking pass collects before it gives up.
const MAX_PROBLEMS: usize = 100;

type Result<T> = std::result::Result<T, LoadError>;

impl<'a> Loader<'a> {
    /// A pass that only checks.
    pub fn checking(shards: &'a Shards, config: &'a Config, precision: Precision) -> Self {
        let (problems, used) = (RefCell::default(), RefCell::default());
        Self {
            shards,
            config,
            adapter: None,
            precision,
            headless: false,
            progress: None,
            read: Cell::new(0),
            problems,
            used,
        }
    }

    /// A pass that loads.
    pub fn loading(
        shards: &'a Shards,
        config: &'a Config,
        precision: Precision,
        progress: Progress<'a>,
    ) -> Self {
        Self { progress: Some(RefCell::new(progress)), ..Self::checking(shards, config, precision) }
    }

    /// The same pass with an adapter over the base's weights.
    pub fn adapted(self, adapter: Option<&'a Adapter>) -> Self {
        Self { adapter, ..self }
    }

    /// The same pass for a model whose output layer nothing asks for, and whose files need not have it.
    pub fn headless(self) -> Self {
        Self { headless: true, ..self }
    }

    /// Whether nothing asks for the output layer.
    pub fn is_headless(&self) -> bool {
        self.headless
    }

    /// The configuration the model is built from.
    pub fn config(&self) -> &Config {
        self.config
    }

    /// Whether this pass only checks: tensors are stand-ins then, without shape.
    pub fn is_checking(&self) -> bool {
        self.progress.is_none()
    }

    /// Ends a checking pass.
    ///
    /// # Errors
    /// With every tensor that is missing or wrong.
    pub fn finish(self) -> Result<()> {
        let used = self.used.take();
        let of_adapter = self.adapter.into_iter().flat_map(|adapter| adapter.shards.names());
        for name in of_adapter.filter(|name| !used.contains(*name)) {
            self.problem(format!("the adapter has {name}, for which the model has no place"));
        }
        let problems = self.problems.into_inner();
        if !problems.is_empty() {
            return Err(LoadError::Tensors(problems));
        }
        let unused = self.shards.names().filter(|name| !used.contains(*name) && !harmless(name));
        let unused: Vec<&str> = unused.collect();
        if let Some(first) = unused.first() {
            tracing::warn!(count = unused.len(), first, "the folder has tensors that the model does not use");
        }
        Ok(())
    }

    fn problem(&self, text: String) {
        self.problems.borrow_mut().push(text);
    }

    /// Whether the files have `name`.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// A tensor and whose it is: the adapter's, where that has one of this name.
    fn find(&self, name: &str) -> Option<(&'a Shards, &'a Entry)> {
        let adapter = self.adapter.map(|adapter| &adapter.shards);
        let mut places = adapter.into_iter().chain([self.shards]);
        places.find_map(|shards| Some((shards, shards.get(name)?)))
    }

    /// A tensor of exactly this shape and one of the float types.
    ///
    /// # Errors
    /// When the device fails; what is wrong with the tensor is collected by the checking pass.
    pub fn tensor(&self, name: &str, shape: &[i32]) -> Result<Array> {
        self.stored(name, shape, &[Dtype::BF16, Dtype::F16, Dtype::F32])
    }

    /// `path.weight` (and `path.bias`) as a linear layer from `inputs` to `outputs`, packed or not.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    pub fn linear(&self, path: &str, inputs: i32, outputs: i32, bias: bool) -> Result<Linear> {
        let bias = bias.then(|| self.tensor(&format!("{path}.bias"), &[outputs])).transpose()?;
        let (weight, low_rank) = self.weight_with(path, Form::Linear, &[outputs, inputs])?;
        Ok(Linear::new(weight, bias).adapted(low_rank))
    }

    /// The linear layers of `experts` from `inputs` to `outputs`: one tensor `path.weight` `[experts, outputs, inputs]`, or,
    /// as Hugging Face writes them, `each(n).weight` `[outputs, inputs]` for each, or, as OpenAI does, gates and ups as one.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    pub fn experts(
        &self,
        path: &str,
        each: impl Fn(i32) -> String,
        [experts, outputs, inputs]: [i32; 3],
        bias: bool,
    ) -> Result<StackedLinear> {
        let shape = [experts, outputs, inputs];
        if let Some(fused) = mxfp4::Fused::of(path).filter(|fused| self.has(&fused.blocks())) {
            let (weight, low_rank) = self.changed(path, Form::Experts, &shape, self.fused(&fused, shape)?)?;
            let bias = bias.then(|| self.fused_bias(&fused, experts, outputs)).transpose()?;
            return Ok(StackedLinear::new(weight, bias).adapted(low_rank));
        }
        let weight = match self.has(&format!("{}.weight", each(0))) {
            false => self.weight(path, &shape)?,
            true => {
                let weights = (0..experts).map(|n| self.weight(&each(n), &[outputs, inputs]));
                let weights = weights.collect::<Result<Vec<_>>>()?;
                let problem = || LoadError::Tensors(vec![format!("{path}: experts are packed differently")]);
                Weight::stacked(&weights)?.ok_or_else(problem)?
            }
        };
        let bias = bias.then(|| self.tensor(&format!("{path}.bias"), &[experts, outputs])).transpose()?;
        let (weight, low_rank) = self.changed(path, Form::Experts, &shape, weight)?;
        Ok(StackedLinear::new(weight, bias).adapted(low_rank))
    }

    fn weight_with(&self, path: &str, form: Form, shape: &[i32]) -> Result<(Weight, Option<LowRank>)> {
        self.changed(path, form, shape, self.weight(path, shape)?)
    }

    /// `weight` as the adapter changes it, and what of that stays beside it: a dense weight takes all in, a packed one would
    /// lose it in packing again.
    fn changed(
        &self,
        path: &str,
        form: Form,
        shape: &[i32],
        weight: Weight,
    ) -> Result<(Weight, Option<LowRank>)> {
        let Some(adapter) = self.adapter.filter(|adapter| adapter.adapts(path)) else {
            return Ok((weight, None));
        };
        let change = self.low_rank(adapter, path, form, shape)?;
        let lengths = self.lengths(adapter, path, form, shape)?;
        if self.progress.is_none() {
            return Ok((weight, None));
        }
        let dense = match (weight, &lengths) {
            (Weight::Dense(weight), _) => weight,
            (Weight::Quantized { parts, packing }, Some(_)) => self.unpack(&parts, packing)?,
            (packed, None) => return Ok((packed, Some(change))),
        };
        let merged = change.merged(&dense)?;
        let merged = match lengths {
            Some(lengths) => adapter::with_lengths(&merged, &lengths)?,
            None => merged,
        };
        Ok((Weight::Dense(settled(merged)?), None))
    }

    /// The two matrices at `path`, as they stand beside a weight of `shape` `[.., outputs, inputs]`.
    fn low_rank(&self, adapter: &Adapter, path: &str, form: Form, shape: &[i32]) -> Result<LowRank> {
        let (rank, scale) = (adapter.rank, Array::from_f32(adapter.scale));
        let part = |name: &str, shape: &[i32]| self.tensor(&format!("{path}.{name}"), shape);
        let [.., outputs, inputs] = *shape else { return Err(LoadError::Tensors(vec![path.to_owned()])) };
        let (down, up) = match form {
            Form::Linear => (part("lora_a", &[inputs, rank])?.t(), part("lora_b", &[rank, outputs])?.t()),
            Form::Embedding => (part("lora_b", &[rank, inputs])?, part("lora_a", &[outputs, rank])?),
            Form::Experts => {
                (part("lora_a", &[shape[0], rank, inputs])?, part("lora_b", &[shape[0], outputs, rank])?)
            }
        };
        let up = up.multiply(scale.as_dtype(up.dtype())?)?;
        Ok(LowRank { down, up })
    }

    /// The lengths of a DoRA layer's rows.
    fn lengths(&self, adapter: &Adapter, path: &str, form: Form, shape: &[i32]) -> Result<Option<Array>> {
        match (adapter.kind, form, shape) {
            (Kind::Dora, Form::Experts, _) => {
                self.problem(format!("{path}: experts with DoRA are not supported"));
                Ok(None)
            }
            (Kind::Dora, _, [outputs, _]) => self.tensor(&format!("{path}.m"), &[*outputs]).map(Some),
            _ => Ok(None),
        }
    }

    /// `path.weight`, packed or not, of `shape` `[.., outputs, inputs]`.
    fn weight(&self, path: &str, shape: &[i32]) -> Result<Weight> {
        let Some(packing) = self.packing(path) else {
            return Ok(Weight::Dense(self.tensor(&format!("{path}.weight"), shape)?));
        };
        if packing.mode == Mode::Mxfp4 {
            return self.mxfp4(path, shape);
        }
        let parts = self.packed(path, shape, packing)?;
        match self.precision {
            Precision::Float32 => Ok(Weight::Dense(self.unpack(&parts, packing)?)),
            Precision::Native => Ok(Weight::Quantized { parts, packing }),
        }
    }

    /// `path.weight` as an embedding table.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    pub fn embedding(&self, path: &str, vocabulary: i32, width: i32) -> Result<Embedding> {
        let (weight, low_rank) = self.weight_with(path, Form::Embedding, &[vocabulary, width])?;
        Ok(Embedding::new(Linear::new(weight, None).adapted(low_rank)))
    }

    /// The packing of a layer: configured and really there (mlx-lm leaves layers unpacked that do not divide).
    fn packing(&self, path: &str) -> Option<Packing> {
        if !self.has(&format!("{path}.scales")) {
            return None;
        }
        let Some(quantization) = &self.config.quantization else {
            self.problem(format!("{path} is quantised, but config.json does not say how"));
            return None;
        };
        quantization.of(path).unwrap_or_else(|problem| {
            self.problem(format!("{path}: {problem}"));
            None
        })
    }

    fn packed(&self, path: &str, shape: &[i32], packing: Packing) -> Result<[Array; 3]> {
        let floats = [Dtype::BF16, Dtype::F16, Dtype::F32];
        let last = |of: &dyn Fn(i32) -> i32| {
            let (inputs, leading) = shape.split_last().unwrap_or((&0, &[]));
            [leading, &[of(*inputs)]].concat()
        };
        let words = last(&|inputs| inputs * packing.bits / 32);
        let groups = last(&|inputs| inputs / packing.group_size);
        Ok([
            self.stored(&format!("{path}.weight"), &words, &[Dtype::U32])?,
            self.stored(&format!("{path}.scales"), &groups, &floats)?,
            self.stored(&format!("{path}.biases"), &groups, &floats)?,
        ])
    }

    fn unpack(&self, [weight, scales, biases]: &[Array; 3], packing: Packing) -> Result<Array> {
        if self.progress.is_none() {
            return Ok(weight.clone());
        }
        let dense = ops::dequantize(weight, scales, biases, packing.group_size, packing.bits)?;
        Ok(settled(dense)?)
    }

    fn stored(&self, name: &str, shape: &[i32], dtypes: &[Dtype]) -> Result<Array> {
        match self.place(name, shape, dtypes)? {
            Some((shards, entry)) => self.read(shards, entry, shape),
            None => Ok(Array::from_f32(0.0)),
        }
    }

    /// Where a tensor lies; `None` in the checking pass, which says what is wrong with it.
    fn place(&self, name: &str, shape: &[i32], dtypes: &[Dtype]) -> Result<Option<(&'a Shards, &'a Entry)>> {
        if self.progress.is_none() {
            self.check(name, shape, dtypes);
            // A configuration of a million layers would take all memory to list.
            let problems = self.problems.borrow().len();
            return match problems {
                MAX_PROBLEMS.. => Err(LoadError::Tensors(self.problems.take())),
                _ => Ok(None),
            };
        }
        // The checking pass came first: only a model that asks differently the second time is told that.
        let missing = || LoadError::Tensors(vec![format!("{name} is missing")]);
        self.find(name).map(Some).ok_or_else(missing)
    }

    fn check(&self, name: &str, shape: &[i32], dtypes: &[Dtype]) {
        self.used.borrow_mut().insert(name.to_owned());
        let Some((_, entry)) = self.find(name) else {
            return self.problem(format!("{name} is missing"));
        };
        let expected: Vec<usize> = shape.iter().map(|n| usize::try_from(*n).unwrap_or(0)).collect();
        if entry.shape != expected {
            return self.problem(format!("{name} has shape {:?}, expected {expected:?}", entry.shape));
        }
        if !dtypes.contains(&entry.dtype) {
            self.problem(format!("{name} is {:?}, expected one of {dtypes:?}", entry.dtype));
        }
    }

    /// The bytes of a tensor.
    fn bytes<'b>(&self, shards: &'b Shards, entry: &Entry) -> &'b [u8] {
        let bytes = shards.bytes(entry);
        self.read.set(self.read.get() + bytes.len() as u64);
        if let Some(progress) = &self.progress {
            let adapter = self.adapter.map_or(0, |adapter| adapter.shards.total_bytes());
            let all = self.shards.total_bytes() + adapter;
            // What lies among others' rows is read once for each: it goes on behind what there is, and whoever watches sees that.
            (progress.borrow_mut())(self.read.get(), all.max(self.read.get()));
        }
        bytes
    }

    fn read(&self, shards: &Shards, entry: &Entry, shape: &[i32]) -> Result<Array> {
        let bytes = self.bytes(shards, entry);
        let array = match entry.dtype {
            Dtype::U32 => Array::from_slice(&numbers(bytes, u32::from_le_bytes), shape),
            dtype if self.precision == Precision::Float32 => widened(bytes, dtype, shape)?,
            Dtype::BF16 => Array::from_slice(&numbers(bytes, bf16::from_le_bytes), shape),
            Dtype::F16 => Array::from_slice(&numbers(bytes, f16::from_le_bytes), shape),
            _ => Array::from_slice(&numbers(bytes, f32::from_le_bytes), shape),
        };
        shards.let_go(entry);
        Ok(array)
    }
}

/// Numbers of a file as fp32, in the form that products like.
fn widened(bytes: &[u8], dtype: Dtype, shape: &[i32]) -> mlx_rs::error::Result<Array> {
    let plain = |numbers: Vec<f32>| Array::from_slice(&numbers, shape);
    match dtype {
        Dtype::BF16 => kernels::floats(bytes, Stored::Bf16, shape)
            .unwrap_or_else(|| Ok(plain(numbers(bytes, |b| bf16::from_le_bytes(b).to_f32())))),
        Dtype::F16 => settled(plain(numbers(bytes, |b| f16::from_le_bytes(b).to_f32()))),
        _ => kernels::floats(bytes, Stored::F32, shape)
            .unwrap_or_else(|| Ok(plain(numbers(bytes, f32::from_le_bytes)))),
    }
}

/// A weight that was computed, in the form that products like. At once, so that what it was computed from can go and one layer
/// at a time is held twice.
fn settled(weight: Array) -> mlx_rs::error::Result<Array> {
    kernels::joined(&[&weight]).unwrap_or_else(|| weight.eval().map(|()| weight))
}

/// Tensors that old checkpoints carry and nobody needs: rotary tables, and an output layer that is tied.
fn harmless(name: &str) -> bool {
    name.ends_with("rotary_emb.inv_freq") || name.starts_with("lm_head.")
}

/// Little-endian numbers of `N` bytes. A copy, since nothing aligns the mapped bytes.
fn numbers<const N: usize, T>(bytes: &[u8], of: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (whole, _) = bytes.as_chunks::<N>();
    whole.iter().map(|chunk| of(*chunk)).collect()
}
