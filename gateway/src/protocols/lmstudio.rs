//! `GET /api/v0/models` and `/api/v0/models/{id}`, from which LM Studio's clients learn the models and their contexts.

#![expect(missing_docs, reason = "the names and their meaning are LM Studio's")]

use axum::extract::{Path, State};
use axum::{Extension, Json};
use ipc_proto::supervisor::{ModelEntry, ModelSettings, ModelState};
use ipc_proto::worker::ModelKind;
use ipc_proto::{Error, Resource, Result};
use schemars::JsonSchema;
use serde::Serialize;

use crate::access::Tenant;
use crate::dispatch::Services;
use crate::fleet::catalogue::within;
use crate::protocols::error::ApiError;
use crate::protocols::models::write::expand_aliases;

/// The list of models. Models that rank documents are left out: LM Studio has no such type.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LmStudioModelList")]
pub struct List {
    pub object: &'static str,
    pub data: Vec<Model>,
}

/// One model.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LmStudioModel")]
pub struct Model {
    pub id: String,
    pub object: &'static str,
    /// `llm`, `vlm` for one that reads images, or `embeddings`.
    pub r#type: &'static str,
    /// The first part of the id, or `local`.
    pub publisher: String,
    pub arch: String,
    pub compatibility_type: &'static str,
    pub quantization: String,
    /// `loaded` or `not-loaded`.
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_context_length: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loaded_context_length: Option<u32>,
    /// `tool_use`, or nothing.
    pub capabilities: Vec<&'static str>,
}

/// `GET /api/v0/models`.
///
/// # Errors
/// Returns an error if the supervisor does not answer.
pub async fn list(
    State(services): State<Services>,
    Extension(tenant): Extension<Tenant>,
) -> Result<Json<List>, ApiError> {
    let mut data = Vec::new();
    let models = expand_aliases(services.catalogue.models().await?).into_iter();
    for entry in models.filter(|entry| tenant.may_use(&entry.id)) {
        data.extend(describe(&services, entry).await?);
    }
    Ok(Json(List { object: "list", data }))
}

/// `GET /api/v0/models/{id}`. The id may contain slashes.
///
/// # Errors
/// Returns an error if there is no model with that id.
pub async fn retrieve(
    State(services): State<Services>,
    Extension(tenant): Extension<Tenant>,
    Path(id): Path<String>,
) -> Result<Json<Model>, ApiError> {
    tenant.check_model(&id)?;
    let found = services.catalogue.model(&id).await?;
    let found = ModelEntry { id: id.clone(), ..found };
    let missing = || {
        let text = format!("the model \"{id}\" does not exist; GET /api/v0/models lists those that do");
        Error::not_found(Resource::Model, text).with_field("model")
    };
    let described = if found.details.unserved { None } else { describe(&services, found).await? };
    Ok(Json(described.ok_or_else(missing)?))
}

async fn describe(services: &Services, entry: ModelEntry) -> Result<Option<Model>> {
    let settings = within(services.fleet.settings(entry.id.clone())).await?;
    Ok(to_model(entry, &settings))
}

/// `None` if LM Studio has no type for the model.
fn to_model(entry: ModelEntry, settings: &ModelSettings) -> Option<Model> {
    let details = entry.details;
    let r#type = match details.kind {
        ModelKind::Generate if details.capabilities.vision => "vlm",
        ModelKind::Generate => "llm",
        ModelKind::Embed => "embeddings",
        ModelKind::Rerank => return None,
    };
    let is_loaded = matches!(entry.state, ModelState::Ready | ModelState::Draining);
    let context = [details.context, settings.context].into_iter().flatten().min();
    Some(Model {
        publisher: entry.id.split_once('/').map_or("local", |(publisher, _)| publisher).to_owned(),
        id: entry.id,
        object: "model",
        r#type,
        arch: details.architecture,
        compatibility_type: "mlx",
        quantization: details.quantization,
        state: if is_loaded { "loaded" } else { "not-loaded" },
        max_context_length: details.context,
        loaded_context_length: context.filter(|_| is_loaded),
        capabilities: if details.capabilities.tools { vec!["tool_use"] } else { Vec::new() },
    })
}

#[cfg(test)]
mod tests {
    use ipc_proto::supervisor::{Capabilities, Details};
    use serde_json::json;

    use super::*;

    fn entry(kind: ModelKind, state: ModelState) -> ModelEntry {
        let details = Details {
            kind,
            architecture: "llama".into(),
            quantization: "4-bit".into(),
            context: Some(8192),
            capabilities: Capabilities { tools: true, ..Capabilities::default() },
            ..Details::default()
        };
        ModelEntry { id: "org/m".into(), details, state, ..ModelEntry::default() }
    }

    #[test]
    fn loaded_model_has_the_context_of_its_settings() {
        let settings = ModelSettings { context: Some(4096), ..ModelSettings::default() };
        let model = to_model(entry(ModelKind::Generate, ModelState::Ready), &settings).unwrap();
        assert_eq!(
            serde_json::to_value(model).unwrap(),
            json!({"id": "org/m", "object": "model", "type": "llm", "publisher": "org", "arch": "llama",
                "compatibility_type": "mlx", "quantization": "4-bit", "state": "loaded",
                "max_context_length": 8192, "loaded_context_length": 4096, "capabilities": ["tool_use"]})
        );
    }

    #[test]
    fn stopped_model_has_no_loaded_context() {
        let model =
            to_model(entry(ModelKind::Embed, ModelState::Stopped), &ModelSettings::default()).unwrap();
        assert_eq!(
            (model.r#type, model.state, model.loaded_context_length),
            ("embeddings", "not-loaded", None)
        );
    }

    #[test]
    fn model_that_reads_images_has_a_type_of_its_own() {
        let mut seeing = entry(ModelKind::Generate, ModelState::Ready);
        seeing.details.capabilities.vision = true;
        assert_eq!(to_model(seeing, &ModelSettings::default()).unwrap().r#type, "vlm");
    }

    #[test]
    fn model_that_ranks_is_left_out() {
        assert!(to_model(entry(ModelKind::Rerank, ModelState::Ready), &ModelSettings::default()).is_none());
    }
}
