//! Describes models in Ollama's form. Pure.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use ipc_proto::supervisor::{self, ModelEntry, ModelState};
use ipc_proto::worker::ModelKind;
use serde_json::{Map, Value};

use super::folder::FolderTexts;
use super::models::{Details, Model, RunningModel, Show};
use crate::protocols::models::write::rfc3339;

/// Writes a model for the list.
pub fn tag(entry: ModelEntry) -> Model {
    Model {
        name: entry.id.clone(),
        model: entry.id,
        modified_at: rfc3339(entry.created),
        size: entry.bytes,
        digest: "",
        details: details(entry.details),
    }
}

/// Writes a loaded model; `None` if it is not loaded.
pub fn running(entry: ModelEntry, now: DateTime<Utc>) -> Option<RunningModel> {
    if !matches!(entry.state, ModelState::Ready | ModelState::Draining) {
        return None;
    }
    let size = entry.workers.iter().map(|worker| worker.footprint).sum();
    // The model stays until its last worker is unloaded.
    let expire = entry.workers.iter().map(|worker| worker.expires_ms).collect::<Option<Vec<_>>>();
    let last_ms = expire.and_then(|all| all.into_iter().max());
    let expires = last_ms.and_then(|ms| TimeDelta::try_milliseconds(i64::try_from(ms).ok()?));
    Some(RunningModel {
        name: entry.id.clone(),
        model: entry.id,
        size,
        size_vram: size,
        digest: "",
        expires_at: expires.map(|left| (now + left).to_rfc3339_opts(SecondsFormat::Secs, true)),
        context_length: entry.details.context,
        details: details(entry.details),
    })
}

/// Writes one model with the texts in its folder.
pub fn show(entry: ModelEntry, texts: FolderTexts) -> Show {
    let FolderTexts { template, parameters } = texts;
    Show {
        modelfile: "",
        parameters,
        template,
        model_info: model_info(&entry),
        capabilities: capabilities(&entry.details),
        modified_at: rfc3339(entry.created),
        details: details(entry.details),
    }
}

fn model_info(entry: &ModelEntry) -> Map<String, Value> {
    let supervisor::Details { architecture, parameters, context, .. } = &entry.details;
    let mut info = Map::new();
    info.insert("general.architecture".into(), architecture.as_str().into());
    info.insert("general.basename".into(), entry.id.as_str().into());
    info.insert("general.parameter_count".into(), (*parameters).into());
    if let Some(context) = context {
        info.insert(format!("{architecture}.context_length"), (*context).into());
    }
    info
}

fn capabilities(details: &supervisor::Details) -> Vec<&'static str> {
    let generates = details.kind == ModelKind::Generate;
    let all = [
        ("completion", generates),
        ("tools", generates && details.capabilities.tools),
        ("vision", generates && details.capabilities.vision),
        ("thinking", generates && details.capabilities.reasoning),
        ("embedding", details.kind == ModelKind::Embed),
    ];
    all.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
}

fn details(details: supervisor::Details) -> Details {
    Details {
        parent_model: "",
        format: "safetensors",
        families: [details.architecture.clone()],
        family: details.architecture,
        parameter_size: format_parameter_count(details.parameters),
        quantization_level: details.quantization,
    }
}

/// Formats a number of parameters in billions, or in millions below one billion.
fn format_parameter_count(parameters: u64) -> String {
    let millions = parameters as f64 / 1e6;
    if millions < 1e3 { format!("{millions:.1}M") } else { format!("{:.1}B", millions / 1e3) }
}

#[cfg(test)]
mod tests;
