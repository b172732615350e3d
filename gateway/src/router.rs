//! Every route, and the middleware in one list.

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use ipc_proto::{Error, ErrorKind, Origin};
use tower_http::catch_panic::CatchPanicLayer;

use crate::error::{ApiError, unroutable};
use crate::handlers::{
    admin, docs, embeddings, generate, health, messages, metrics, models, prompts, responses,
};
use crate::middleware::{auth, host, idempotency, protocol, request_id};
use crate::state::AppState;

/// The gateway's HTTP service.
pub fn router(state: AppState) -> Router {
    let api = Router::new()
        .route("/v1/chat/completions", post(generate::chat))
        .route("/v1/completions", post(generate::completions))
        .route("/v1/messages", post(messages::create))
        .route("/v1/messages/count_tokens", post(messages::count_tokens))
        .route("/v1/responses", post(responses::create))
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
        .route("/v1/embeddings", post(embeddings::embed))
        .route("/v1/rerank", post(embeddings::rerank))
        .route("/v2/rerank", post(embeddings::rerank))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::one))
        .route("/api/tags", get(models::tags))
        .route("/api/version", get(models::version))
        .route("/admin/v1/pool", get(admin::pool))
        .route("/admin/v1/events", get(admin::events::events))
        .route("/admin/v1/models", get(admin::models))
        .route("/admin/v1/models/{*path}", get(admin::model).post(admin::order).put(admin::set))
        .route("/metrics", get(metrics::metrics))
        // Runs after the key is checked, whose owner's answers it looks among.
        .layer(from_fn_with_state(state.clone(), idempotency::apply))
        .layer(from_fn_with_state(state.clone(), auth::check));
    Router::new()
        .route("/", get(health::greet))
        .route("/health", get(health::health))
        .route("/openapi.json", get(docs::document))
        .route("/docs", get(docs::page))
        .merge(api)
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        // Layers run from the last to the first: a request gets its id and its protocol, then its host is checked, then it
        // is served.
        .layer(CatchPanicLayer::custom(|_| panicked()))
        .layer(from_fn_with_state(state.clone(), host::check))
        .layer(from_fn(protocol::shape))
        .layer(from_fn(request_id::give))
        .with_state(state)
}

async fn not_found(request: Request) -> Response {
    unroutable(StatusCode::NOT_FOUND, format!("there is no {}", request.uri().path()))
}

async fn wrong_method(request: Request) -> Response {
    let text = format!("{} does not take {}", request.uri().path(), request.method());
    unroutable(StatusCode::METHOD_NOT_ALLOWED, text)
}

fn panicked() -> Response {
    ApiError(Error::new(ErrorKind::Internal, Origin::Gateway, "the gateway has a defect; its log says more"))
        .into_response()
}
