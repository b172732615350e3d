//! Every route, and the middleware in one list.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use ipc_proto::{Error, ErrorKind, Origin};
use tower_http::catch_panic::CatchPanicLayer;

use crate::admin::{events, metrics, models as admin, pool};
use crate::openapi::handler as docs;
use crate::protocols::anthropic::messages::handler as messages;
use crate::protocols::embeddings::handler as embeddings;
use crate::protocols::error::{ApiError, unroutable};
use crate::protocols::lmstudio;
use crate::protocols::models::handler as models;
use crate::protocols::ollama::{catalog, handler as ollama};
use crate::protocols::openai::decisions::handler as decisions;
use crate::protocols::openai::handler as generate;
use crate::protocols::openai::responses::{handler as responses, socket};
use crate::protocols::prompts::handler as prompts;
use crate::server::health;
use crate::server::middleware::{
    auth, error_shape, host, idempotency, intake, origin, path, request_id, upgrade,
};
use crate::server::state::AppState;

/// The routes of the API. Paths below `/v1` are served without it too, for clients whose base URL lacks it.
#[derive(Default)]
struct ApiRoutes(Router<AppState>);

impl ApiRoutes {
    fn route(self, path: &str, methods: MethodRouter<AppState>) -> Self {
        let router = match path.strip_prefix("/v1") {
            Some(alias) => self.0.route(alias, methods.clone()),
            None => self.0,
        };
        Self(router.route(path, methods))
    }
}

/// The gateway's HTTP service.
pub fn router(state: AppState) -> Router {
    let api = ApiRoutes::default()
        .route("/v1/chat/completions", post(generate::create_chat))
        .route("/v1/completions", post(generate::create_completion))
        .route("/v1/messages", post(messages::create))
        .route("/v1/messages/count_tokens", post(messages::count_tokens))
        .route("/v1/responses", post(responses::create).get(socket::connect))
        .route("/v1/responses/compact", post(responses::compact))
        .route("/v1/responses/input_tokens", post(responses::input_tokens))
        .route("/v1/responses/{id}", get(responses::get).delete(responses::delete))
        .route("/v1/responses/{id}/cancel", post(responses::cancel))
        .route("/v1/responses/{id}/input_items", get(responses::input_items))
        .route("/v1/chat/completions/render", post(prompts::chat))
        .route("/v1/completions/render", post(prompts::completions))
        .route("/v1/responses/render", post(prompts::responses))
        .route("/v1/messages/render", post(prompts::messages))
        .route("/tokenize", post(prompts::tokenize))
        .route("/detokenize", post(prompts::detokenize))
        .route("/apply-template", post(prompts::apply_template))
        .route("/v1/decisions", post(decisions::create))
        .route("/v1/embeddings", post(embeddings::embed))
        .route("/v1/rerank", post(embeddings::rerank))
        .route("/v2/rerank", post(embeddings::rerank))
        .route("/v2/embed", post(embeddings::embed_by_type))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::retrieve))
        .route("/api/v0/models", get(lmstudio::list))
        .route("/api/v0/models/{*id}", get(lmstudio::retrieve))
        .route("/api/v0/chat/completions", post(generate::create_chat))
        .route("/api/v0/completions", post(generate::create_completion))
        .route("/api/v0/embeddings", post(embeddings::embed))
        .route("/api/chat", post(ollama::chat))
        .route("/api/generate", post(ollama::generate))
        .route("/api/embed", post(ollama::embed))
        .route("/api/embeddings", post(ollama::embeddings))
        .route("/api/tags", get(catalog::tags))
        .route("/api/ps", get(catalog::ps))
        .route("/api/show", post(catalog::show))
        .route("/api/version", get(catalog::version))
        .route("/api/pull", post(catalog::pull))
        .route("/api/create", post(catalog::store_change))
        .route("/api/copy", post(catalog::store_change))
        .route("/api/push", post(catalog::store_change))
        .route("/api/delete", delete(catalog::store_change))
        .route("/api/blobs/{id}", post(catalog::store_change).head(catalog::store_change))
        .route("/admin/v1/pool", get(pool::pool))
        .route("/admin/v1/events", get(events::events))
        .route("/admin/v1/models", get(admin::list))
        .route("/admin/v1/models/{id}", get(admin::get))
        .route("/admin/v1/models/{id}/settings", get(admin::settings).put(admin::replace_settings))
        .route("/admin/v1/models/{id}/load", post(admin::load))
        .route("/admin/v1/models/{id}/unload", post(admin::unload))
        .route("/admin/v1/models/{id}/restart", post(admin::restart))
        .route("/admin/v1/models/{id}/pin", post(admin::pin))
        .route("/metrics", get(metrics::metrics))
        .0
        // Runs after the key check: stored responses belong to a tenant.
        .layer(from_fn_with_state(Arc::clone(&state.idempotency), idempotency::apply))
        .layer(from_fn_with_state(Arc::clone(&state.keys), auth::check));
    Router::new()
        .route("/", get(health::greet))
        .route("/health", get(health::health))
        .route("/openapi.json", get(docs::document))
        .route("/docs", get(docs::page))
        .merge(api)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        // Layers run from the last to the first: they set the id and the protocol of a request, then check its host.
        .layer(CatchPanicLayer::custom(|_| internal_error()))
        .layer(from_fn(upgrade::check))
        .layer(from_fn(path::check))
        .layer(from_fn_with_state(Arc::clone(&state.origins), origin::check))
        .layer(from_fn_with_state(Arc::clone(&state.hosts), host::check))
        // Outside of all checks, so that a client can read their answers.
        .layer(from_fn_with_state(state.intake, intake::apply))
        .layer(from_fn(error_shape::apply))
        .layer(from_fn(request_id::assign))
        .with_state(state)
}

async fn not_found(request: Request) -> Response {
    unroutable(StatusCode::NOT_FOUND, format!("there is no {}", request.uri().path()))
}

async fn method_not_allowed(request: Request) -> Response {
    let text = format!("{} does not take {}", request.uri().path(), request.method());
    unroutable(StatusCode::METHOD_NOT_ALLOWED, text)
}

fn internal_error() -> Response {
    ApiError(Error::new(ErrorKind::Internal, Origin::Gateway, "the gateway has a defect; its log says more"))
        .into_response()
}
