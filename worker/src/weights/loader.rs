//! Loads tensors by name and shape.
//!
//! A model is built twice by the same code. The first pass checks: it looks up every requested tensor, collects all
//! problems, and reads nothing. The second pass loads. So only the constructors of layers and models know names and shapes.
//! A folder with ten wrong tensors reports all of them at once instead of one after ten minutes of loading.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use half::{bf16, f16};
use mlx_rs::{Array, ops};

use super::LoadError;
use super::adapter::{self, Adapter, FineTuneType};
use super::config::{Config, Packing, PackingMode};
use super::matrix::{LinearWeights, LowRank, Weight};
use super::safetensors::{Dtype, Entry, Shards};
use crate::kernels::{self, StoredFloat};

mod experts;
mod mxfp4;
mod request;

pub use experts::{ExpertNames, WholeExperts};
pub use request::{AlternateBlocks, Request, Source};

/// Precision of weights in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// As stored: packed weights stay packed, bf16 stays bf16. The fast path on a GPU.
    Native,
    /// Everything becomes fp32. The fast path on a CPU, whose half-precision and quantised products are many times slower.
    Float32,
}

/// Tensor layout of an adapter's matrices.
#[derive(Debug, Clone, Copy)]
enum AdapterLayout {
    /// `[inputs, rank]` and `[rank, outputs]`.
    Linear,
    /// `[vocabulary, rank]` and `[rank, width]`.
    Embedding,
    /// `[experts, rank, inputs]` and `[experts, outputs, rank]`.
    Experts,
}

/// Called with the bytes read so far and the total.
pub type OnProgress<'a> = &'a mut dyn FnMut(u64, u64);

/// One pass over a model's weights.
pub struct Loader<'a> {
    shards: &'a Shards,
    config: &'a Config,
    adapter: Option<&'a Adapter>,
    precision: Precision,
    headless: bool,
    /// `None` while checking.
    progress: Option<RefCell<OnProgress<'a>>>,
    bytes_read: Cell<u64>,
    problems: RefCell<Vec<String>>,
    used: RefCell<BTreeSet<String>>,
    /// Filled while checking.
    requests: RefCell<Vec<Request>>,
}

/// The types of weights that are not packed.
const FLOATS: [Dtype; 3] = [Dtype::BF16, Dtype::F16, Dtype::F32];
/// Problems after which the checking pass stops.
const MAX_PROBLEMS: usize = 100;

type Result<T> = std::result::Result<T, LoadError>;

impl<'a> Loader<'a> {
    /// A pass that only checks.
    pub fn checking(shards: &'a Shards, config: &'a Config, precision: Precision) -> Self {
        Self {
            shards,
            config,
            adapter: None,
            precision,
            headless: false,
            progress: None,
            bytes_read: Cell::new(0),
            problems: RefCell::default(),
            used: RefCell::default(),
            requests: RefCell::default(),
        }
    }

    /// A pass that loads.
    pub fn loading(
        shards: &'a Shards,
        config: &'a Config,
        precision: Precision,
        progress: OnProgress<'a>,
    ) -> Self {
        Self { progress: Some(RefCell::new(progress)), ..Self::checking(shards, config, precision) }
    }

    /// Applies an adapter to the base weights.
    pub fn with_adapter(self, adapter: Option<&'a Adapter>) -> Self {
        Self { adapter, ..self }
    }

    /// Skips the output layer, which the files may lack.
    pub fn headless(self) -> Self {
        Self { headless: true, ..self }
    }

    /// Whether models must not load the output layer.
    pub fn is_headless(&self) -> bool {
        self.headless
    }

    /// The model's configuration.
    pub fn config(&self) -> &Config {
        self.config
    }

    /// Whether this pass only checks. Tensors are placeholders without a shape then.
    pub fn is_checking(&self) -> bool {
        self.progress.is_none()
    }

    /// The weights that a checking pass was asked for, in order.
    pub fn take_requests(&self) -> Vec<Request> {
        self.requests.take()
    }

    fn request(&self, request: Request) {
        if self.is_checking() {
            self.requests.borrow_mut().push(request);
        }
    }

    fn request_matrix(&self, path: &str, shape: &[i32], parts: Vec<Source>) {
        self.request(Request::Matrix { path: path.to_owned(), shape: shape.to_vec(), parts });
    }

    /// Ends a checking pass.
    ///
    /// # Errors
    /// Names every tensor that is missing or wrong.
    pub fn finish(self) -> Result<()> {
        let used = self.used.take();
        let of_adapter = self.adapter.into_iter().flat_map(|adapter| adapter.shards.names());
        for name in of_adapter.filter(|name| !used.contains(*name)) {
            self.problem(format!("the adapter has {name}, for which the model has no place"));
        }
        if let Some(problem) = self.left_over_layers(&used) {
            self.problem(problem);
        }
        let problems = self.problems.into_inner();
        if !problems.is_empty() {
            return Err(LoadError::Tensors(problems));
        }
        let unused = self.shards.names().filter(|name| !used.contains(*name) && !is_expected_surplus(name));
        let unused: Vec<&str> = unused.collect();
        if let Some(first) = unused.first() {
            tracing::warn!(count = unused.len(), first, "the folder has tensors that the model does not use");
        }
        Ok(())
    }

    /// A model that leaves whole layers of the files out answers nonsense.
    fn left_over_layers(&self, used: &BTreeSet<String>) -> Option<String> {
        let layers = self.config.layers()?;
        let unused = self.shards.names().filter(|name| !used.contains(*name));
        let last = unused.filter_map(layer_of).max()?;
        (last >= layers + self.config.predicting_layers()).then(|| {
            format!("the files have {} layers, but num_hidden_layers of config.json is {layers}", last + 1)
        })
    }

    fn problem(&self, text: String) {
        self.problems.borrow_mut().push(text);
    }

    /// Whether the files have a tensor `name`.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Whether the files have a tensor `name` of this shape.
    pub fn has_shape(&self, name: &str, shape: &[i32]) -> bool {
        self.find(name).is_some_and(|(_, entry)| entry.shape == sizes(shape))
    }

    /// Finds a tensor. The adapter's takes precedence over the base's.
    fn find(&self, name: &str) -> Option<(&'a Shards, &'a Entry)> {
        let adapter = self.adapter.map(|adapter| &adapter.shards);
        let mut sources = adapter.into_iter().chain([self.shards]);
        sources.find_map(|shards| Some((shards, shards.get(name)?)))
    }

    /// A tensor of exactly this shape, in one of the float types.
    ///
    /// # Errors
    /// When the device fails. The checking pass collects problems with the tensor instead.
    pub fn tensor(&self, name: &str, shape: &[i32]) -> Result<Array> {
        self.tensor_as(name, shape, shape)
    }

    /// The same, whose shape in mlx-lm's format is `converted`.
    ///
    /// # Errors
    /// Those of [`Self::tensor`].
    pub fn tensor_as(&self, name: &str, shape: &[i32], converted: &[i32]) -> Result<Array> {
        self.request(Request::Tensor { name: name.to_owned(), shape: converted.to_vec(), plus_one: false });
        self.floats(name, shape)
    }

    /// A tensor plus one: the files have the difference from one, and mlx-lm's format has the sum.
    ///
    /// # Errors
    /// Those of [`Self::tensor`].
    pub fn tensor_plus_one(&self, name: &str, shape: &[i32]) -> Result<Array> {
        self.request(Request::Tensor { name: name.to_owned(), shape: shape.to_vec(), plus_one: true });
        let stored = self.floats(name, shape)?;
        Ok(stored.add(Array::from_f32(1.0).as_dtype(stored.dtype())?)?)
    }

    fn floats(&self, name: &str, shape: &[i32]) -> Result<Array> {
        self.tensor_of(name, shape, &FLOATS)
    }

    /// A linear layer: `path.weight` `[outputs, inputs]`, packed or not, and `path.bias` if `biased`.
    ///
    /// # Errors
    /// Those of [`Self::tensor`].
    pub fn linear(&self, path: &str, inputs: i32, outputs: i32, biased: bool) -> Result<LinearWeights> {
        let bias = biased.then(|| self.tensor(&format!("{path}.bias"), &[outputs])).transpose()?;
        let shape = [outputs, inputs];
        let weights = LinearWeights { weight: self.weight(path, &shape)?, bias, low_rank: None };
        self.apply_adapter(path, AdapterLayout::Linear, &shape, weights)
    }

    /// A matrix for each head, `[heads, outputs, inputs]`: `path.weight`, packed or not.
    ///
    /// # Errors
    /// Those of [`Self::tensor`].
    pub fn stacked(&self, path: &str, shape: [i32; 3]) -> Result<Weight> {
        self.weight(path, &shape)
    }

    /// An embedding table `path.weight`.
    ///
    /// # Errors
    /// Those of [`Self::tensor`].
    pub fn embedding(&self, path: &str, vocabulary: i32, width: i32) -> Result<LinearWeights> {
        let shape = [vocabulary, width];
        let weights = LinearWeights { weight: self.weight(path, &shape)?, bias: None, low_rank: None };
        self.apply_adapter(path, AdapterLayout::Embedding, &shape, weights)
    }

    /// Applies the adapter's change. A dense weight is merged with it. A packed weight keeps it separate, because packing
    /// the sum again would lose the change.
    fn apply_adapter(
        &self,
        path: &str,
        layout: AdapterLayout,
        shape: &[i32],
        weights: LinearWeights,
    ) -> Result<LinearWeights> {
        let Some(adapter) = self.adapter.filter(|adapter| adapter.adapts(path)) else {
            return Ok(weights);
        };
        let change = self.low_rank(adapter, path, layout, shape)?;
        let magnitudes = self.magnitudes(adapter, path, layout, shape)?;
        if self.is_checking() {
            return Ok(weights);
        }
        let LinearWeights { weight, bias, .. } = weights;
        let dense = match (weight, &magnitudes) {
            (Weight::Dense(weight), _) => weight,
            (Weight::Quantized { parts, packing }, Some(_)) => self.unpack(&parts, packing)?,
            (packed, None) => return Ok(LinearWeights { weight: packed, bias, low_rank: Some(change) }),
        };
        let mut merged = change.merge(&dense)?;
        if let Some(magnitudes) = magnitudes {
            merged = adapter::with_magnitudes(&merged, &magnitudes)?;
        }
        Ok(LinearWeights { weight: Weight::Dense(evaluated(merged)?), bias, low_rank: None })
    }

    /// The adapter's two matrices at `path`, for a weight of `shape` `[.., outputs, inputs]`.
    fn low_rank(
        &self,
        adapter: &Adapter,
        path: &str,
        layout: AdapterLayout,
        shape: &[i32],
    ) -> Result<LowRank> {
        let (rank, scale) = (adapter.rank, Array::from_f32(adapter.scale));
        let part = |name: &str, shape: &[i32]| self.tensor(&format!("{path}.{name}"), shape);
        let [.., outputs, inputs] = *shape else { return Err(LoadError::Tensors(vec![path.to_owned()])) };
        let (down, up) = match layout {
            AdapterLayout::Linear => {
                (part("lora_a", &[inputs, rank])?.t(), part("lora_b", &[rank, outputs])?.t())
            }
            AdapterLayout::Embedding => (part("lora_b", &[rank, inputs])?, part("lora_a", &[outputs, rank])?),
            AdapterLayout::Experts => {
                (part("lora_a", &[shape[0], rank, inputs])?, part("lora_b", &[shape[0], outputs, rank])?)
            }
        };
        let up = up.multiply(scale.as_dtype(up.dtype())?)?;
        Ok(LowRank { down, up })
    }

    /// The learned magnitudes of a DoRA layer's rows; `None` for other adapters.
    fn magnitudes(
        &self,
        adapter: &Adapter,
        path: &str,
        layout: AdapterLayout,
        shape: &[i32],
    ) -> Result<Option<Array>> {
        match (adapter.fine_tune_type, layout, shape) {
            (FineTuneType::Dora, AdapterLayout::Experts, _) => {
                self.problem(format!("{path}: experts with DoRA are not supported"));
                Ok(None)
            }
            (FineTuneType::Dora, _, [outputs, _]) => self.tensor(&format!("{path}.m"), &[*outputs]).map(Some),
            _ => Ok(None),
        }
    }

    /// `path.weight`, packed or not, of `shape` `[.., outputs, inputs]`.
    fn weight(&self, path: &str, shape: &[i32]) -> Result<Weight> {
        self.request_matrix(path, shape, vec![Source::whole(format!("{path}.weight"))]);
        self.part(path, shape)
    }

    /// The same, as a part of a matrix that is asked for.
    fn part(&self, path: &str, shape: &[i32]) -> Result<Weight> {
        let Some(packing) = self.packing(path, shape) else {
            return Ok(Weight::Dense(self.floats(&format!("{path}.weight"), shape)?));
        };
        if packing.mode == PackingMode::Mxfp4 {
            return self.mxfp4(path, shape);
        }
        let parts = self.packed(path, shape, packing)?;
        match self.precision {
            Precision::Float32 => Ok(Weight::Dense(self.unpack(&parts, packing)?)),
            Precision::Native => Ok(Weight::Quantized { parts, packing }),
        }
    }

    /// The packing of a layer whose weights have `shape` `[.., outputs, inputs]`; `None` if it is not packed. Even if config.json
    /// declares a packing, mlx-lm leaves layers unpacked whose sizes do not divide.
    ///
    /// The shapes decide: other tools write config.json without the layers that differ, or with names of their own.
    fn packing(&self, path: &str, shape: &[i32]) -> Option<Packing> {
        let (_, scales) = self.find(&format!("{path}.scales"))?;
        let weight = self.find(&format!("{path}.weight")).map(|(_, weight)| weight);
        if let Some(packing) = weight.and_then(|weight| packing_by_shapes(weight, scales, shape)) {
            return Some(packing);
        }
        let Some(quantization) = &self.config.quantization else {
            self.problem(format!("{path} is quantised, but config.json does not say how"));
            return None;
        };
        quantization.packing_of(path).unwrap_or_else(|problem| {
            self.problem(format!("{path}: {problem}"));
            None
        })
    }

    fn packed(&self, path: &str, shape: &[i32], packing: Packing) -> Result<[Array; 3]> {
        let (inputs, leading) = shape.split_last().unwrap_or((&0, &[]));
        let words = [leading, &[inputs * packing.bits / 32]].concat();
        let groups = [leading, &[inputs / packing.group_size]].concat();
        Ok([
            self.tensor_of(&format!("{path}.weight"), &words, &[Dtype::U32])?,
            self.tensor_of(&format!("{path}.scales"), &groups, &FLOATS)?,
            self.tensor_of(&format!("{path}.biases"), &groups, &FLOATS)?,
        ])
    }

    fn unpack(&self, [weight, scales, biases]: &[Array; 3], packing: Packing) -> Result<Array> {
        if self.is_checking() {
            return Ok(weight.clone());
        }
        let dense = ops::dequantize(weight, scales, biases, packing.group_size, packing.bits)?;
        Ok(evaluated(dense)?)
    }

    fn tensor_of(&self, name: &str, shape: &[i32], dtypes: &[Dtype]) -> Result<Array> {
        match self.locate(name, shape, dtypes)? {
            Some((shards, entry)) => self.read(shards, entry, shape),
            None => Ok(Array::from_f32(0.0)),
        }
    }

    /// Finds a tensor; in the checking pass, records its problems and returns `None`.
    fn locate(&self, name: &str, shape: &[i32], dtypes: &[Dtype]) -> Result<Option<(&'a Shards, &'a Entry)>> {
        if self.is_checking() {
            self.check(name, shape, dtypes);
            // Problems of a configuration with a million layers would fill the memory.
            let problems = self.problems.borrow().len();
            return match problems {
                MAX_PROBLEMS.. => Err(LoadError::Tensors(self.problems.take())),
                _ => Ok(None),
            };
        }
        // The checking pass found it, unless the model requests other tensors the second time.
        let missing = || LoadError::Tensors(vec![format!("{name} is missing")]);
        self.find(name).map(Some).ok_or_else(missing)
    }

    fn check(&self, name: &str, shape: &[i32], dtypes: &[Dtype]) {
        self.used.borrow_mut().insert(name.to_owned());
        let Some((_, entry)) = self.find(name) else {
            return self.problem(format!("{name} is missing"));
        };
        let expected = sizes(shape);
        if entry.shape != expected {
            return self.problem(format!("{name} has shape {:?}, expected {expected:?}", entry.shape));
        }
        if !dtypes.contains(&entry.dtype) {
            self.problem(format!("{name} is {:?}, expected one of {dtypes:?}", entry.dtype));
        }
    }

    /// The bytes of a tensor. Reports progress.
    fn bytes<'b>(&self, shards: &'b Shards, entry: &Entry) -> &'b [u8] {
        let bytes = shards.bytes(entry);
        self.bytes_read.set(self.bytes_read.get() + bytes.len() as u64);
        if let Some(progress) = &self.progress {
            let adapter = self.adapter.map_or(0, |adapter| adapter.shards.total_bytes());
            let total = self.shards.total_bytes() + adapter;
            // Interleaved rows are read once for each layer, so more can be read than the files have.
            (progress.borrow_mut())(self.bytes_read.get(), total.max(self.bytes_read.get()));
        }
        bytes
    }

    fn read(&self, shards: &Shards, entry: &Entry, shape: &[i32]) -> Result<Array> {
        let array = self.array(self.bytes(shards, entry), entry.dtype, shape)?;
        shards.release(entry);
        Ok(array)
    }

    fn array(&self, bytes: &[u8], dtype: Dtype, shape: &[i32]) -> Result<Array> {
        Ok(match dtype {
            Dtype::U32 => Array::from_slice(&numbers(bytes, u32::from_le_bytes), shape),
            dtype if self.precision == Precision::Float32 => to_float32(bytes, dtype, shape)?,
            dtype => as_stored(bytes, dtype, shape),
        })
    }
}

/// A shape as the files have it.
fn sizes(shape: &[i32]) -> Vec<usize> {
    shape.iter().map(|n| usize::try_from(*n).unwrap_or(0)).collect()
}

/// Numbers of a file in bf16, fp16 or fp32.
pub fn as_stored(bytes: &[u8], dtype: Dtype, shape: &[i32]) -> Array {
    match dtype {
        Dtype::BF16 => Array::from_slice(&numbers(bytes, bf16::from_le_bytes), shape),
        Dtype::F16 => Array::from_slice(&numbers(bytes, f16::from_le_bytes), shape),
        _ => Array::from_slice(&numbers(bytes, f32::from_le_bytes), shape),
    }
}

/// Numbers of a file as fp32, aligned for the kernels' products.
fn to_float32(bytes: &[u8], dtype: Dtype, shape: &[i32]) -> mlx_rs::error::Result<Array> {
    let plain = |numbers: Vec<f32>| Array::from_slice(&numbers, shape);
    match dtype {
        Dtype::BF16 => kernels::weight_from_bytes(bytes, StoredFloat::Bf16, shape)
            .unwrap_or_else(|| Ok(plain(numbers(bytes, |b| bf16::from_le_bytes(b).to_f32())))),
        Dtype::F16 => evaluated(plain(numbers(bytes, |b| f16::from_le_bytes(b).to_f32()))),
        _ => kernels::weight_from_bytes(bytes, StoredFloat::F32, shape)
            .unwrap_or_else(|| Ok(plain(numbers(bytes, f32::from_le_bytes)))),
    }
}

/// Evaluates a computed weight, aligned for the kernels' products. Its inputs can be dropped then, so that memory holds only
/// one layer twice.
fn evaluated(weight: Array) -> mlx_rs::error::Result<Array> {
    kernels::concatenate_rows(&[&weight]).unwrap_or_else(|| weight.eval().map(|()| weight))
}

/// The packing of a weight of `shape` `[.., outputs, inputs]`, if its tensors fit exactly one that is supported.
fn packing_by_shapes(weight: &Entry, scales: &Entry, shape: &[i32]) -> Option<Packing> {
    let inputs = usize::try_from(*shape.last()?).ok().filter(|inputs| *inputs > 0)?;
    let (words, groups) = (*weight.shape.last()?, *scales.shape.last()?);
    let bits = words.checked_mul(32)?;
    if groups == 0 || !bits.is_multiple_of(inputs) || !inputs.is_multiple_of(groups) {
        return None;
    }
    let mode = if scales.dtype == Dtype::U8 { PackingMode::Mxfp4 } else { PackingMode::Affine };
    let (group_size, bits) = (i32::try_from(inputs / groups).ok()?, i32::try_from(bits / inputs).ok()?);
    Some(Packing { group_size, bits, mode }).filter(Packing::is_supported)
}

/// The layer to which a tensor of a language model or encoder belongs.
fn layer_of(name: &str) -> Option<u32> {
    let places =
        ["model.layers.", "layers.", "encoder.layer.", "bert.encoder.layer.", "roberta.encoder.layer."];
    let rest = places.iter().find_map(|place| name.strip_prefix(place))?;
    rest.split_once('.')?.0.parse().ok()
}

/// Whether old checkpoints have this tensor although models do not use it: rotary tables, and a tied output layer.
fn is_expected_surplus(name: &str) -> bool {
    name.ends_with("rotary_emb.inv_freq") || name.starts_with("lm_head.")
}

/// Little-endian numbers of `N` bytes. Copies them, because the mapped bytes are not aligned.
fn numbers<const N: usize, T>(bytes: &[u8], convert: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|chunk| convert(*chunk)).collect()
}
