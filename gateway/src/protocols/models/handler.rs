//! `GET /v1/models`, in the client's own protocol.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use ipc_proto::Error;
use ipc_proto::supervisor::ModelEntry;

use crate::access::Tenant;
use crate::dispatch::Services;
use crate::protocols::anthropic::models as anthropic;
use crate::protocols::error::ApiError;
use crate::protocols::models::catalogue;
use crate::protocols::models::codex;
use crate::protocols::models::write::{paginate, to_anthropic, to_openai};
use crate::protocols::openai::models as openai;
use crate::protocols::protocol::Protocol;

/// Lists every model. Anthropic's clients request pages.
///
/// # Errors
/// Returns an error if the supervisor has never answered.
pub async fn list(
    State(services): State<Services>,
    (Extension(protocol), Extension(tenant)): (Extension<Protocol>, Extension<Tenant>),
    own: Result<Query<openai::Query>, QueryRejection>,
    query: Result<Query<anthropic::Query>, QueryRejection>,
) -> Result<Response, ApiError> {
    let models = catalogue::all(&services, &tenant).await?;
    if protocol == Protocol::OpenAi {
        let catalogue = own.ok().and_then(|own| own.0.client_version).map(|_| codex::catalogue(&models));
        let owned = |entry| {
            let owner = catalogue::owner(&services, &entry);
            to_openai(entry, owner)
        };
        let data = models.into_iter().map(owned).collect();
        return Ok(Json(openai::List { object: "list", data, models: catalogue }).into_response());
    }
    let Query(query) = query.map_err(|e| Error::invalid("limit", e.body_text()))?;
    Ok(Json(paginate(models, &query)?).into_response())
}

/// Returns one model by its id, which may contain slashes.
///
/// # Errors
/// Returns an error if there is no model with that id.
pub async fn retrieve(
    State(services): State<Services>,
    (Extension(protocol), Extension(tenant)): (Extension<Protocol>, Extension<Tenant>),
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let found = catalogue::listed(&services, &id, &tenant).await?;
    let owner = catalogue::owner(&services, &found);
    // An alias is shown as the model's id.
    let found = ModelEntry { id, ..found };
    Ok(match protocol {
        Protocol::OpenAi | Protocol::Responses | Protocol::Ollama | Protocol::Admin => {
            Json(to_openai(found, owner)).into_response()
        }
        Protocol::Anthropic => Json(to_anthropic(found)).into_response(),
    })
}
