//! Reads what a model is from the headers of its files, trusting none of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use chat_template::{Purpose, Templates};
use ipc_proto::families;
use ipc_proto::supervisor::{Capabilities, Details};
use ipc_proto::worker::ModelKind;
use serde::Deserialize;
use serde_json::Value;

/// A larger header belongs to no model of ours.
const MAX_HEADER: u64 = 64 << 20;
/// Nor does a larger text file.
const MAX_TEXT: u64 = 16 << 20;
/// On a CPU weights become fp32; on Apple Silicon they stay as they are.
const UNPACKED: bool = !cfg!(target_os = "macos");

/// Gemma 3's files leave out what is usual: the worker's defaults.
const GEMMA3: [(&str, u64); 4] = [
    ("num_attention_heads", 8),
    ("num_key_value_heads", 4),
    ("head_dim", 256),
    ("max_position_embeddings", 131_072),
];

/// A tensor as a safetensors header tells of it (<https://huggingface.co/docs/safetensors>).
#[derive(Debug, Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// What a folder's files say.
pub(super) fn inspect(folder: &Path) -> Details {
    let mut details = Details { folder: folder.to_owned(), ..Details::default() };
    let config = match json(&folder.join("config.json")) {
        Ok(config) => config,
        Err(problem) => {
            details.problem = Some(format!("config.json: {problem}"));
            return details;
        }
    };
    of_config(&mut details, &config);
    of_kind(&mut details, &config, folder);
    match details.kind {
        ModelKind::Generate => of_template(&mut details, folder),
        // Some have the template of the model that they were trained from; nothing writes with it.
        ModelKind::Embed | ModelKind::Rerank => {}
    }
    match tensors(folder) {
        Ok(tensors) => of_tensors(&mut details, &config, &tensors),
        Err(problem) => drop(details.problem.get_or_insert(problem)),
    }
    details
}

/// What the model does, as the worker would say, and whether there is code for it.
fn of_kind(details: &mut Details, config: &Value, folder: &Path) {
    let family = &details.architecture;
    let names = config.get("architectures").and_then(Value::as_array).into_iter().flatten();
    let classifies = families::classifies(names.filter_map(Value::as_str));
    details.kind = families::kind(family, folder.join("modules.json").is_file(), classifies);
    details.capabilities.embeddings = details.kind == ModelKind::Embed;
    // Without a name nobody knows: who asks for it is told what is wrong with the file.
    details.unserved = !family.is_empty() && !families::is_served(family);
    if details.unserved {
        let text = format!("\"{family}\" models are not supported; supported are {}", families::names());
        details.problem = Some(text);
    }
}

fn of_config(details: &mut Details, config: &Value) {
    let text = |name: &str| config.get(name).and_then(Value::as_str);
    details.architecture = text("model_type").unwrap_or_default().to_owned();
    if details.architecture.is_empty() {
        details.problem = Some("config.json: \"model_type\" is missing".into());
    }
    // A model that sees keeps its language model's fields in an object of their own.
    let inner = config.get("text_config").unwrap_or(config);
    let usual = |name: &str| {
        let defaults = GEMMA3.iter().filter(|_| details.architecture == "gemma3");
        defaults.filter(|(field, _)| *field == name).map(|(_, value)| *value).next()
    };
    let number = |name: &str| inner.get(name).and_then(Value::as_u64).or_else(|| usual(name));
    details.context = number("max_position_embeddings").and_then(|n| u32::try_from(n).ok());
    let heads = number("num_attention_heads").unwrap_or(0);
    let head = number("head_dim").or_else(|| number("hidden_size")?.checked_div(heads)).unwrap_or(0);
    let layers = number("num_hidden_layers").unwrap_or(0);
    let keys = number("num_key_value_heads").unwrap_or(heads);
    // Keys and values, in fp32 as the pool keeps them on a CPU.
    details.kv_bytes_per_token =
        [layers, keys, head].into_iter().fold(2 * 4, |product: u64, n| product.saturating_mul(n));
    details.capabilities.vision = config.get("vision_config").is_some();
}

fn of_template(details: &mut Details, folder: &Path) {
    let templates = match Templates::read(folder, &BTreeMap::new()) {
        Ok(templates) => templates,
        Err(problem) => return details.chat_problem = Some(problem),
    };
    let Capabilities { chat, tools, reasoning, .. } = &mut details.capabilities;
    *chat = templates.can_chat();
    details.chat_problem = templates.problem().map(str::to_owned);
    let text = |purpose| templates.text(purpose).unwrap_or_default();
    *tools = *chat && text(Purpose::Tools).contains("tools");
    let marks = ["<think>", "reasoning_content", "<|channel|>"];
    *reasoning = *chat && marks.iter().any(|mark| text(Purpose::Chat).contains(mark));
}

fn of_tensors(details: &mut Details, config: &Value, tensors: &BTreeMap<String, Tensor>) {
    let bits = config.get("quantization").or_else(|| config.get("quantization_config"));
    let bits_of = |path: &str| {
        let own = bits.and_then(|bits| bits.get(path)?.get("bits"));
        own.or_else(|| bits?.get("bits")).and_then(Value::as_u64).filter(|bits| (1..=32).contains(bits))
    };
    let mut stored = 0u64;
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    // Only the part about language is loaded.
    let part = families::is_part(&details.architecture);
    for (name, tensor) in tensors.iter().filter(|(name, _)| !(part && families::sees(name))) {
        let (begin, end) = tensor.data_offsets;
        stored = stored.saturating_add(end.saturating_sub(begin));
        let count = tensor.shape.iter().fold(1u64, |product, n| product.saturating_mul(*n));
        let path = name.rsplit_once('.').map_or(name.as_str(), |(path, _)| path);
        let packed = tensors.contains_key(&format!("{path}.scales"));
        let (kind, count) = match (packed, bits_of(path)) {
            (true, _) if !name.ends_with(".weight") => continue,
            (true, Some(bits)) if tensor.dtype == "U32" => {
                if tensors.get(&format!("{path}.scales")).is_some_and(|scales| scales.dtype == "U8") {
                    stored = stored.saturating_add(repacked(count.saturating_mul(8)));
                }
                (format!("{bits}-bit"), count.saturating_mul(32) / bits)
            }
            // OpenAI's own gpt-oss.
            _ if tensor.dtype == "U8" && name.ends_with("_scales") => continue,
            _ if tensor.dtype == "U8" && name.ends_with("_blocks") => {
                stored = stored.saturating_add(repacked(count.saturating_mul(2)));
                ("4-bit".to_owned(), count.saturating_mul(2))
            }
            _ => (tensor.dtype.to_lowercase(), count),
        };
        let so_far = kinds.entry(kind).or_default();
        *so_far = so_far.saturating_add(count);
    }
    details.parameters = kinds.values().copied().fold(0, u64::saturating_add);
    let most = kinds.into_iter().max_by_key(|(_, count)| *count);
    details.quantization = most.map_or_else(String::new, |(kind, _)| kind);
    details.weight_bytes = if UNPACKED { details.parameters.saturating_mul(4) } else { stored };
    if !UNPACKED && computes_in_half(tensors) {
        details.kv_bytes_per_token /= 2;
    }
}

/// What MXFP4 takes more in memory than in its file, of so many weights: the worker packs them in 6 bits instead of 4¼.
fn repacked(weights: u64) -> u64 {
    weights.saturating_mul(7) / 32
}

/// Whether keys and values have 16 bits where weights stay as stored: norms are never packed.
fn computes_in_half(tensors: &BTreeMap<String, Tensor>) -> bool {
    let mut norms = tensors.iter().filter(|(name, _)| name.ends_with("norm.weight")).peekable();
    norms.peek().is_some() && norms.all(|(_, norm)| norm.dtype == "BF16" || norm.dtype == "F16")
}

/// Every tensor of the folder's weight files.
fn tensors(folder: &Path) -> Result<BTreeMap<String, Tensor>, String> {
    let mut all = BTreeMap::new();
    let entries = folder.read_dir().map_err(|e| e.to_string())?;
    let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "safetensors"));
    // Adapters and consolidated copies lie beside some models.
    let ours =
        |file: &PathBuf| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("model"));
    if files.iter().any(ours) {
        files.retain(ours);
    }
    if files.is_empty() {
        return Err("there are no weights (*.safetensors)".into());
    }
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        all.extend(header(&file).map_err(|problem| format!("{name}: {problem}"))?);
    }
    Ok(all)
}

fn header(path: &Path) -> io::Result<BTreeMap<String, Tensor>> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let mut file = File::open(path)?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(invalid(format!("a header of {length} bytes is none")));
    }
    let mut text = Vec::new();
    file.take(length).read_to_end(&mut text)?;
    let mut entries: serde_json::Map<String, Value> =
        serde_json::from_slice(&text).map_err(|e| invalid(e.to_string()))?;
    entries.remove("__metadata__");
    let tensor =
        |(name, value)| Ok((name, serde_json::from_value(value).map_err(|e| invalid(e.to_string()))?));
    entries.into_iter().map(tensor).collect()
}

fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_TEXT).read_to_string(&mut text)?;
    Ok(text)
}

fn json(path: &Path) -> io::Result<Value> {
    serde_json::from_str(&text(path)?).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}
