//! Determines a model's properties from the headers of its files, and trusts none of them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use chat_template::{Purpose, Templates};
use ipc_proto::families;
use ipc_proto::supervisor::{Capabilities, Details, ReasoningControl};
use ipc_proto::worker::ModelKind;
use model_folder::files::{MAX_TEXT, open_regular, read_text};
use model_folder::{complete, config, json, quantization, weights};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::fields::Fields;

/// The settings of a sentence-transformers model.
pub(super) const SENTENCE_CONFIG: &str = "sentence_bert_config.json";
/// Bytes. No supported model has a larger safetensors header.
const MAX_HEADER: u64 = 64 << 20;
/// The entry of a safetensors header that is no tensor.
const METADATA: &str = "__metadata__";
/// Bytes of a safetensors file before the header: its length.
const LENGTH_BYTES: u64 = 8;
/// On a CPU the worker unpacks weights to fp32. On Apple Silicon they stay as stored.
const UNPACKED: bool = !cfg!(target_os = "macos");

/// A tensor's entry in a safetensors header (<https://huggingface.co/docs/safetensors>).
#[derive(Debug, Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// A safetensors header without its metadata. Models have thousands of tensors, so the entries are read without a document between.
struct Header(BTreeMap<String, Tensor>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Header, A::Error> {
        let mut tensors = BTreeMap::new();
        while let Some(name) = entries.next_key::<String>()? {
            if name == METADATA {
                entries.next_value::<IgnoredAny>()?;
            } else {
                tensors.insert(name, entries.next_value()?);
            }
        }
        Ok(Header(tensors))
    }
}

/// Reads the headers of a folder's files. Problems become fields of the result.
pub(super) fn inspect(folder: &Path) -> Details {
    let mut details = Details { folder: folder.to_owned(), ..Details::default() };
    let config = match read_json(&folder.join("config.json")) {
        Ok(config) => config,
        Err(problem) => {
            details.problem = Some(format!("config.json: {problem}"));
            return details;
        }
    };
    apply_config(&mut details, &config);
    apply_kind(&mut details, &config, folder.join("modules.json").is_file());
    // Some encoders still carry the template of their base model. It has no use there.
    if details.kind == ModelKind::Generate {
        apply_templates(&mut details, folder);
    }
    if details.kind == ModelKind::Embed {
        apply_text_length(&mut details, folder);
    }
    if let Some(problem) = find_problem(folder, &config) {
        details.problem.get_or_insert(problem);
    }
    match read_tensors(folder) {
        Ok(tensors) => apply_tensors(&mut details, &config, &tensors),
        Err(problem) => drop(details.problem.get_or_insert(problem)),
    }
    let tokenizer = match fs::metadata(folder.join("tokenizer.json")) {
        Ok(meta) if meta.is_file() => None,
        Ok(_) => Some("tokenizer.json: it is not a regular file".to_owned()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Some("tokenizer.json: is missing".into()),
        Err(e) => Some(format!("tokenizer.json: {e}")),
    };
    details.problem = details.problem.or(tokenizer);
    details
}

/// The details of a model that is not here, from its config.json and its number of weights by their types.
pub(crate) fn remote_details<'a>(
    config: &Value,
    elements: impl IntoIterator<Item = (&'a str, u64)>,
) -> Details {
    let mut details = Details::default();
    apply_config(&mut details, config);
    apply_kind(&mut details, config, false);
    let problem = config::impossible(config).or_else(|| quantization::refusal(config));
    details.problem = details.problem.take().or(problem);
    let bits = quantization::settings(config).and_then(|settings| settings.get("bits")?.as_u64());
    let bits = bits.filter(|bits| (1..=32).contains(bits));
    let mut stored = 0u64;
    for (kind, count) in elements {
        stored = stored.saturating_add(count.saturating_mul(element_bits(kind)) / 8);
        let packed = bits.filter(|_| kind == "U32");
        let count = packed.map_or(count, |bits| count.saturating_mul(32) / bits);
        details.parameters = details.parameters.saturating_add(count);
    }
    details.quantization = bits.map_or_else(String::new, |bits| format!("{bits}-bit"));
    details.weight_bytes = if UNPACKED { details.parameters.saturating_mul(4) } else { stored };
    if !UNPACKED {
        // Published weights have 16 bits, and so have keys and values then.
        details.kv_bytes_per_token /= 2;
    }
    details
}

/// The details of a model that is not here, from its config.json and the headers of all its weight files.
pub(crate) fn header_details(config: &Value, tensors: Map<String, Value>) -> serde_json::Result<Details> {
    let tensors = tensors.into_iter().map(|(name, entry)| Ok((name, serde_json::from_value(entry)?)));
    let tensors: BTreeMap<String, Tensor> = tensors.collect::<serde_json::Result<_>>()?;
    let mut details = Details::default();
    apply_config(&mut details, config);
    apply_kind(&mut details, config, false);
    let problem = config::impossible(config).or_else(|| quantization::refusal(config));
    details.problem = details.problem.take().or(problem);
    apply_tensors(&mut details, config, &tensors);
    Ok(details)
}

/// Bits of an element of a safetensors type.
fn element_bits(kind: &str) -> u64 {
    match kind {
        "F64" | "I64" | "U64" => 64,
        "F32" | "I32" | "U32" => 32,
        "F16" | "BF16" | "I16" | "U16" => 16,
        _ => 8,
    }
}

/// The first reason why the worker would refuse the folder before it reads weights and tokenizer.
fn find_problem(folder: &Path, values: &Value) -> Option<String> {
    if let Err(problem) = complete::check(folder) {
        return Some(problem.to_string());
    }
    let problem = config::impossible(values).or_else(|| quantization::refusal(values));
    problem.map(|problem| format!("config.json: {problem}"))
}

/// Sets the kind by the worker's rules, and whether the family is supported.
fn apply_kind(details: &mut Details, config: &Value, has_modules: bool) {
    let family = &details.architecture;
    let names = config.get("architectures").and_then(Value::as_array).into_iter().flatten();
    let classifies = families::classifies(names.filter_map(Value::as_str));
    details.kind = families::kind(family, has_modules, classifies);
    details.capabilities.embeddings = details.kind == ModelKind::Embed;
    // Without a name the file is at fault, not the family.
    details.unserved = !family.is_empty() && !families::is_served(family);
    if details.unserved {
        details.problem =
            Some(format!("\"{family}\" models are not supported; supported are {}", families::names()));
    }
}

/// Sentence-transformers cuts texts at a length of its own.
fn apply_text_length(details: &mut Details, folder: &Path) {
    let own = read_json(&folder.join(SENTENCE_CONFIG)).ok();
    let own = own.and_then(|own| own.get("max_seq_length")?.as_u64()).and_then(|n| u32::try_from(n).ok());
    details.context = [details.context, own].into_iter().flatten().min();
}

fn apply_config(details: &mut Details, config: &Value) {
    let text = |name: &str| config.get(name).and_then(Value::as_str);
    details.architecture = text("model_type").unwrap_or_default().to_owned();
    if details.architecture.is_empty() {
        details.problem = Some("config.json: \"model_type\" is missing".into());
    }
    let fields = Fields::new(config, &details.architecture);
    details.context = fields.context();
    details.kv_bytes_per_token = fields.kv_bytes_per_token();
}

fn apply_templates(details: &mut Details, folder: &Path) {
    let templates = match Templates::read(folder, &BTreeMap::new()) {
        Ok(templates) => templates,
        Err(problem) => return details.chat_problem = Some(problem),
    };
    let Capabilities { chat, tools, reasoning, .. } = &mut details.capabilities;
    *chat = templates.can_chat();
    details.chat_problem = templates.problem();
    let text = |purpose| templates.text(purpose).unwrap_or_default();
    *tools = *chat && text(Purpose::Tools).contains("tools");
    let marks = ["<think>", "reasoning_content", "<|channel|>", "<|channel>thought"];
    *reasoning = *chat && marks.iter().any(|mark| text(Purpose::Chat).contains(mark));
    details.reasoning_control = match text(Purpose::Chat) {
        _ if !details.capabilities.reasoning => ReasoningControl::Fixed,
        text if text.contains("reasoning_effort") => ReasoningControl::Effort,
        text if text.contains("enable_thinking") || text.contains("if thinking") => ReasoningControl::Switch,
        _ => ReasoningControl::Fixed,
    };
}

fn apply_tensors(details: &mut Details, config: &Value, tensors: &BTreeMap<String, Tensor>) {
    let settings = quantization::settings(config);
    let bits_of = |path: &str, tensor: &Tensor| {
        let own = settings.and_then(|settings| settings.get(path)?.get("bits"));
        let configured = own.or_else(|| settings?.get("bits")).and_then(Value::as_u64);
        bits_by_shape(path, tensor, config).or(configured).filter(|bits| (1..=32).contains(bits))
    };
    let mut stored = 0u64;
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    // Without a tower, or for some families, the worker loads only the language model.
    details.capabilities.vision = families::sees(&details.architecture)
        && config.get("vision_config").is_some_and(Value::is_object)
        && tensors.keys().any(|name| families::is_vision_tensor(name));
    let skips_vision = families::is_part(&details.architecture) && !details.capabilities.vision;
    for (name, tensor) in
        tensors.iter().filter(|(name, _)| !(skips_vision && families::is_vision_tensor(name)))
    {
        let (begin, end) = tensor.data_offsets;
        stored = stored.saturating_add(end.saturating_sub(begin));
        let count = tensor.shape.iter().fold(1u64, |product, n| product.saturating_mul(*n));
        let path = name.rsplit_once('.').map_or(name.as_str(), |(path, _)| path);
        let packed = tensors.contains_key(&format!("{path}.scales"));
        let (kind, count) = match (packed, bits_of(path, tensor)) {
            (true, _) if !name.ends_with(".weight") => continue,
            (true, Some(bits)) if tensor.dtype == "U32" => {
                if tensors.get(&format!("{path}.scales")).is_some_and(|scales| scales.dtype == "U8") {
                    stored = stored.saturating_add(mxfp4_growth(count.saturating_mul(8)));
                }
                (format!("{bits}-bit"), count.saturating_mul(32) / bits)
            }
            // The MXFP4 layout of OpenAI's gpt-oss files.
            _ if tensor.dtype == "U8" && name.ends_with("_scales") => continue,
            _ if tensor.dtype == "U8" && name.ends_with("_blocks") => {
                stored = stored.saturating_add(mxfp4_growth(count.saturating_mul(2)));
                ("4-bit".to_owned(), count.saturating_mul(2))
            }
            _ => (tensor.dtype.to_lowercase(), count),
        };
        let total = kinds.entry(kind).or_default();
        *total = total.saturating_add(count);
    }
    details.parameters = kinds.values().copied().fold(0, u64::saturating_add);
    let largest = kinds.into_iter().max_by_key(|(_, count)| *count);
    details.quantization = largest.map_or_else(String::new, |(kind, _)| kind);
    details.weight_bytes = if UNPACKED { details.parameters.saturating_mul(4) } else { stored };
    if !UNPACKED && has_half_norms(tensors) {
        details.kv_bytes_per_token /= 2;
    }
}

/// Bits per weight of a packed layer whose input is the hidden state. The worker trusts shapes more than settings, too.
fn bits_by_shape(path: &str, tensor: &Tensor, config: &Value) -> Option<u64> {
    let layer = path.rsplit('.').next()?;
    let reads_hidden_state =
        ["lm_head", "embed_tokens", "q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"];
    let inner = config.get("text_config").unwrap_or(config);
    let inputs = inner.get("hidden_size").and_then(Value::as_u64).filter(|inputs| *inputs > 0)?;
    let bits = tensor.shape.last()?.checked_mul(32).filter(|bits| bits.is_multiple_of(inputs))? / inputs;
    (reads_hidden_state.contains(&layer) && (2..=8).contains(&bits)).then_some(bits)
}

/// Bytes that MXFP4 weights take in memory beyond their file: the worker packs them in 6 bits instead of 4¼.
fn mxfp4_growth(weights: u64) -> u64 {
    weights.saturating_mul(7) / 32
}

/// Whether keys and values have 16 bits if weights stay as stored. Norms are never packed, so they show it.
fn has_half_norms(tensors: &BTreeMap<String, Tensor>) -> bool {
    let mut norms = tensors.iter().filter(|(name, _)| name.ends_with("norm.weight")).peekable();
    norms.peek().is_some() && norms.all(|(_, norm)| norm.dtype == "BF16" || norm.dtype == "F16")
}

/// Every tensor of the folder's weight files, which are those that the worker loads.
fn read_tensors(folder: &Path) -> Result<BTreeMap<String, Tensor>, String> {
    let mut all = BTreeMap::new();
    for file in complete::weight_files(folder).map_err(|problem| problem.to_string())?.files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        all.extend(read_header(&file).map_err(|problem| format!("{name}: {problem}"))?);
    }
    Ok(all)
}

fn read_header(path: &Path) -> io::Result<BTreeMap<String, Tensor>> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let mut file = open_regular(path)?;
    let size = file.metadata()?.len();
    let mut start = Vec::new();
    (&mut file).take(32).read_to_end(&mut start)?;
    if let Some(content) = weights::describe_other_content(&start) {
        return Err(invalid(content.to_owned()));
    }
    let (length, _) = start.split_first_chunk().ok_or_else(|| invalid("the file is cut off".to_owned()))?;
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        return Err(invalid(format!("the header has {length} bytes, more than {MAX_HEADER}")));
    }
    file.seek(SeekFrom::Start(LENGTH_BYTES))?;
    let mut text = Vec::with_capacity(length.min(size) as usize);
    file.take(length).read_to_end(&mut text)?;
    let Header(tensors) = serde_json::from_slice(&text).map_err(|e| invalid(e.to_string()))?;
    let end = tensors.values().map(|tensor| tensor.data_offsets.1).max().unwrap_or(0);
    let expected = end.saturating_add(length).saturating_add(LENGTH_BYTES);
    if size < expected {
        return Err(invalid(format!("the file is cut off: it has {size} of {expected} bytes")));
    }
    Ok(tensors)
}

fn read_json(path: &Path) -> io::Result<Value> {
    let text = read_text(path, MAX_TEXT)?;
    json::parse(&text).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}
