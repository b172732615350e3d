//! `mlxd-worker quantize`: converts a model's weights to packed ones, in mlx-lm's format.
//!
//! The model's own code says what is written: [`crate::models`] is built once by a checking loader, which lists every weight that it
//! asks for. [`plan`] says which of them are packed, [`layout`] where each lies. The writer reads, packs and writes a few rows at a
//! time, and [`folder`] keeps the result hidden until it is whole. It serves nothing.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use ipc_proto::families;
use ipc_proto::quantize::QuantizeEvent;
use model_folder::{files, json, weights};
use serde_json::Value;

use crate::models;
use crate::weights::LoadError;
use crate::weights::config::{Config, Packing, language};
use crate::weights::loader::{Loader, Precision, Request, Source};
use crate::weights::safetensors::{Dtype, Shards};

pub mod command;
pub mod folder;
pub mod layout;
mod pack;
pub mod plan;
pub mod settings;
mod write;

use folder::Partial;
use layout::{Layout, Tensor};
use plan::{Item, Plan, Refusal, Wanted};

/// The reason why a conversion failed. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// The model cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The model cannot be converted.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The place of the result is taken.
    #[error("{} exists: --force replaces it", .0.display())]
    Exists(PathBuf),
    /// The place of the result is taken by something else.
    #[error("{} is no model's folder: it is not replaced", .0.display())]
    NoModel(PathBuf),
    /// Another process writes to this place.
    #[error("another conversion to {} is running", .0.display())]
    Busy(PathBuf),
    /// The disk is too full.
    #[error("the conversion needs {needed} bytes, and {} has {free} free", folder.display())]
    Room {
        /// A folder on the disk.
        folder: PathBuf,
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
    },
    /// A file cannot be read or written.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        cause: std::io::Error,
    },
    /// The device failed.
    #[error("MLX failed: {0}")]
    Device(#[from] mlx_rs::error::Exception),
    /// A signal ended it.
    #[error("stopped; nothing is left of it")]
    Stopped,
}

/// A conversion.
#[derive(Debug, Clone)]
pub struct Job {
    /// Folder of the original model.
    pub model: PathBuf,
    /// Folder of the result.
    pub output: PathBuf,
    /// The packing of layers.
    pub packing: Packing,
    /// Replaces a model at `output`.
    pub replace: bool,
}

/// A model's files, and what it asks them for.
struct Original {
    config: Value,
    model_type: String,
    shards: Shards,
    requests: Vec<Request>,
}

/// Converts. `event` gets the plan, the progress and the result.
///
/// # Errors
/// The model cannot be read or converted, or the result cannot be written. Nothing is left of it then.
pub fn run(job: &Job, stop: &AtomicBool, event: &mut dyn FnMut(QuantizeEvent)) -> Result<(), QuantizeError> {
    let original = Original::open(&job.model)?;
    let plan = original.plan(job.packing)?;
    let tensors: Vec<Tensor> = plan.items.iter().flat_map(Item::tensors).collect();
    let layout = Layout::new(&tensors, layout::MAX_FILE_BYTES);
    let copies = folder::copied_files(&job.model)?;
    let written = layout.bytes() + copies.iter().map(|(_, bytes)| bytes).sum::<u64>();
    let partial = Partial::begin(&job.output, job.replace)?;
    partial.require_room(written)?;
    event(original.planned(&plan, written));
    let mut progress = |read| event(QuantizeEvent::Progress { read });
    write::Writer::new(&original.shards, &layout, partial.path(), stop, &mut progress)?
        .run(&plan, &layout)?;
    partial.copy(&job.model, &copies)?;
    let index = layout.index(&tensors, plan.parameters());
    let text = |value: &Value| settings::pretty(value).map_err(folder::at(partial.path()));
    partial.write(weights::INDEX, &text(&index)?)?;
    let config = original.converted_config(&job.model, &plan.quantization(job.packing));
    partial.write("config.json", &text(&config)?)?;
    let bits = tensors.iter().map(Tensor::bytes).sum::<u64>() * 8;
    let bits_per_weight = bits as f64 / plan.parameters().max(1) as f64;
    let folder = partial.finish()?;
    event(QuantizeEvent::Done { folder, bytes: written, bits_per_weight });
    Ok(())
}

impl Original {
    /// Reads configuration and headers, and lists what the model asks for.
    fn open(folder: &Path) -> Result<Self, QuantizeError> {
        let config = read_json(&folder.join("config.json"))?;
        let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or_default().to_owned();
        settings::check(&config, &model_type, folder.join("modules.json").is_file())?;
        let own = Config::read(folder)?;
        let build = models::find(&own.model_type)?;
        let mut shards = Shards::open(folder)?;
        if families::is_part(&own.model_type) {
            shards.rename(|name| {
                (!families::is_vision_tensor(name)).then(|| language::language_model_name(name))
            });
        }
        if let Some(name) =
            shards.names().find(|name| shards.get(name).is_some_and(|entry| is_packed(entry.dtype)))
        {
            return Err(Refusal::Quantized(format!("see {name}")).into());
        }
        let check = Loader::checking(&shards, &own, Precision::Native);
        build(&check)?;
        let requests = check.take_requests();
        check.finish()?;
        if let Some(path) = plan::latent_map(&requests).filter(|_| own.model_type != "deepseek_v2") {
            return Err(Refusal::Latent(path.to_owned()).into());
        }
        Ok(Self { config, model_type: own.model_type, shards, requests })
    }

    fn plan(&self, packing: Packing) -> Result<Plan, Refusal> {
        let types =
            self.shards.names().filter_map(|name| Some((name.to_owned(), self.shards.get(name)?.dtype)));
        let wanted = Wanted {
            packing,
            model_type: &self.model_type,
            dtype: settings::dtype(&self.config),
            prefix: settings::prefix(&self.model_type),
        };
        Plan::new(&self.requests, &types.collect(), &wanted)
    }

    fn planned(&self, plan: &Plan, write: u64) -> QuantizeEvent {
        let sources = plan.items.iter().flat_map(|item| &item.sources);
        let bytes = |source: &Source| {
            let all = self.shards.get(&source.tensor).map_or(&[][..], |entry| self.shards.bytes(entry));
            source.select(all).map(|block| block.len() as u64).sum::<u64>()
        };
        QuantizeEvent::Planned {
            packed: plan.items.iter().filter(|item| item.packing.is_some()).count(),
            kept: plan.kept.clone(),
            read: sources.map(bytes).sum(),
            write,
        }
    }

    fn converted_config(&self, folder: &Path, quantization: &Value) -> Value {
        // mlx-lm ignores a generation_config.json that is no JSON.
        let generation = read_json(&folder.join("generation_config.json")).ok();
        let fields = self.config.as_object().cloned().unwrap_or_default();
        settings::converted(fields, generation.as_ref(), quantization)
    }
}

/// Whether a file's numbers of this type are packed weights or their scales.
fn is_packed(dtype: Dtype) -> bool {
    use Dtype::{F4, F8_E4M3, F8_E5M2, F8_E8M0, I8, U8, U32};
    matches!(dtype, F4 | F8_E4M3 | F8_E5M2 | F8_E8M0 | I8 | U8 | U32)
}

fn read_json(path: &Path) -> Result<Value, LoadError> {
    let text = files::read_text(path, files::MAX_TEXT)
        .map_err(|cause| LoadError::Io { path: path.to_owned(), cause })?;
    json::parse(&text).map_err(|e| LoadError::File { path: path.to_owned(), problem: e.to_string() })
}
