//! Anthropic's Messages.

use axum::extract::{Request, State};
use axum::response::Response;
use axum::{Extension, Json};

use super::generate::json;
use super::stream::{self, Job};
use crate::api::anthropic::messages::Count;
use crate::audit::record::Observed;
use crate::body;
use crate::error::ApiError;
use crate::middleware::auth::Tenant;
use crate::middleware::request_id::RequestId;
use crate::state::AppState;
use crate::translate::anthropic::{Blocks, Head};
use crate::validate::anthropic::{self as validate, ValidMessages};
use crate::validate::labels;

/// `POST /v1/messages`.
///
/// # Errors
/// Everything that goes wrong before the message begins.
pub async fn create(
    State(state): State<AppState>,
    Extension(id): Extension<RequestId>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> Result<Response, ApiError> {
    let sender = labels::of_headers(request.headers());
    let mut valid = validate::messages(body::lenient_json(request).await?)?;
    valid.request = valid.request.sent_by(sender);
    let observed = Observed::new(state.audit.clone(), &id.0, "/v1/messages", &valid.request);
    let ValidMessages { request, max_tokens, hide_thinking, diagnose } = valid;
    let head = Head {
        id: format!("msg_{}", uuid::Uuid::new_v4().simple()),
        request_id: id.0.clone(),
        model: request.model.clone(),
        stops: request.generation.stop.clone(),
        max_tokens,
        hide_thinking,
        diagnose,
    };
    let streamed = request.stream.is_some();
    let job = Job { state, id, valid: request, observed, tenant };
    if streamed {
        return Ok(stream::stream(job, Blocks::new(head), None).await?);
    }
    let (mut all, capacity) = stream::whole(job, |_| {}).await?;
    Ok(json(head.answer(all.remove(0)), capacity)?)
}

/// `POST /v1/messages/count_tokens`.
///
/// # Errors
/// A wrong request, an unknown model.
pub async fn count_tokens(State(state): State<AppState>, request: Request) -> Result<Json<Count>, ApiError> {
    let valid = validate::count(body::lenient_json(request).await?)?;
    let counted = state.local.count_tokens(valid).await;
    let input_tokens = counted?;
    Ok(Json(Count { input_tokens }))
}
