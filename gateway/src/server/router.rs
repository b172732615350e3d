//! Every route, and the middleware in one list.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use ipc_proto::{Error, ErrorKind, Origin};
use tower_http::catch_panic::CatchPanicLayer;

use crate::admin::{
    chats, downloads, events, keys, login, logs, metrics, models as admin, pool, providers, requests, routes,
    settings, shelf,
};
use crate::openapi::handler as docs;
use crate::protocols::anthropic::messages::handler as messages;
use crate::protocols::embeddings::handler as embeddings;
use crate::protocols::error::{ApiError, unroutable};
use crate::protocols::lmstudio;
use crate::protocols::models::handler as models;
use crate::protocols::ollama::{catalog, handler as ollama, pull};
use crate::protocols::openai::decisions::handler as decisions;
use crate::protocols::openai::handler as generate;
use crate::protocols::openai::responses::{handler as responses, socket};
use crate::protocols::prompts::handler as prompts;
use crate::server::middleware::{
    auth, error_shape, host, idempotency, intake, origin, path, request_id, upgrade,
};
use crate::server::state::AppState;
use crate::server::{health, ui};

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
    let api = inference_routes()
        .merge(lmstudio_routes())
        .merge(ollama_routes())
        .merge(admin_routes())
        .merge(ui_routes())
        // Runs after the key check: stored responses belong to a tenant.
        .layer(from_fn_with_state(Arc::clone(&state.idempotency), idempotency::apply))
        // Below no response is kept for a repetition: some have the cookie of a session.
        .merge(session_routes())
        .layer(from_fn_with_state(Arc::clone(&state.hosts), auth::check));
    let api = api.merge(login_routes().layer(from_fn_with_state(Arc::clone(&state.hosts), auth::identify)));
    Router::new()
        .route("/", get(ui::index))
        .route("/ui/assets/{id}", get(ui::asset))
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
        .layer(from_fn_with_state(Arc::clone(&state.services.names), request_id::assign))
        .with_state(state)
}

/// OpenAI's and Anthropic's APIs, and those for prompts, embeddings and rerank.
fn inference_routes() -> Router<AppState> {
    ApiRoutes::default()
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
        .0
}

fn lmstudio_routes() -> Router<AppState> {
    Router::new()
        .route("/api/v0/models", get(lmstudio::list))
        .route("/api/v0/models/{*id}", get(lmstudio::retrieve))
        .route("/api/v0/chat/completions", post(generate::create_chat))
        .route("/api/v0/completions", post(generate::create_completion))
        .route("/api/v0/embeddings", post(embeddings::embed))
}

fn ollama_routes() -> Router<AppState> {
    Router::new()
        .route("/api/chat", post(ollama::chat))
        .route("/api/generate", post(ollama::generate))
        .route("/api/embed", post(ollama::embed))
        .route("/api/embeddings", post(ollama::embeddings))
        .route("/api/tags", get(catalog::tags))
        .route("/api/ps", get(catalog::ps))
        .route("/api/show", post(catalog::show))
        .route("/api/version", get(catalog::version))
        .route("/api/pull", post(pull::pull))
        .route("/api/create", post(catalog::store_change))
        .route("/api/copy", post(catalog::store_change))
        .route("/api/push", post(catalog::store_change))
        .route("/api/delete", delete(catalog::store_change))
        .route("/api/blobs/{id}", post(catalog::store_change).head(catalog::store_change))
}

/// The admin API, and the counters.
fn admin_routes() -> Router<AppState> {
    Router::new()
        .route("/admin/v1/pool", get(pool::pool))
        .route("/admin/v1/events", get(events::events))
        .route("/admin/v1/logs", get(logs::lines))
        .route("/admin/v1/settings", get(settings::settings).patch(settings::change))
        .route("/admin/v1/models", get(admin::list))
        .route("/admin/v1/models/{id}", get(admin::get).delete(admin::remove))
        .route("/admin/v1/models/{id}/removal", get(admin::removal))
        .route("/admin/v1/models/{id}/settings", get(admin::settings).put(admin::replace_settings))
        .route("/admin/v1/models/{id}/load", post(admin::load))
        .route("/admin/v1/models/{id}/unload", post(admin::unload))
        .route("/admin/v1/models/{id}/restart", post(admin::restart))
        .route("/admin/v1/models/{id}/pin", post(admin::pin))
        .route("/admin/v1/keys", get(keys::list).post(keys::create))
        .route("/admin/v1/keys/{id}", get(keys::get).delete(keys::revoke))
        .route("/admin/v1/requests", get(requests::list))
        .route("/admin/v1/requests/export", get(requests::export::export))
        .route("/admin/v1/requests/tail", get(requests::tail::tail))
        .route("/admin/v1/requests/{id}", get(requests::get))
        .route("/admin/v1/providers", get(providers::list).post(providers::create))
        .route(
            "/admin/v1/providers/{id}",
            get(providers::get).put(providers::replace).delete(providers::remove),
        )
        .route("/admin/v1/providers/{id}/test", post(providers::test))
        .route("/admin/v1/test-provider", post(providers::try_out))
        .route("/admin/v1/downloads", get(downloads::list).post(downloads::create))
        .route("/admin/v1/downloads/{id}", patch(downloads::change).delete(downloads::remove))
        .route("/admin/v1/hub/search", get(downloads::search))
        .route("/admin/v1/routes", get(routes::list).put(routes::replace))
        .route("/admin/v1/routes/explain", post(routes::explain))
        .route("/metrics", get(metrics::metrics))
}

/// The sign-in. Everybody may ask, and most have no key yet.
fn login_routes() -> Router<AppState> {
    Router::new()
        .route("/admin/v1/session", get(login::who).post(login::sign_in).delete(login::sign_out))
        .route("/admin/v1/setup", post(login::set_up))
}

/// Sessions, and the password that begins them.
fn session_routes() -> Router<AppState> {
    Router::new()
        .route("/admin/v1/sessions", get(login::list))
        .route("/admin/v1/sessions/{id}", delete(login::end))
        .route("/admin/v1/password", post(login::change_password))
}

/// The web UI's own endpoints: its conversations, their folders, presets, and running answers.
fn ui_routes() -> Router<AppState> {
    Router::new()
        .route("/ui/v1/chats", get(chats::list))
        .route("/ui/v1/chats/{id}", get(chats::get).put(chats::put).patch(chats::mark).delete(chats::delete))
        .route("/ui/v1/folders", get(shelf::folders))
        .route("/ui/v1/folders/{id}", put(shelf::put_folder).delete(shelf::delete_folder))
        .route("/ui/v1/presets", get(shelf::presets))
        .route("/ui/v1/presets/{id}", put(shelf::put_preset).delete(shelf::delete_preset))
        .route("/ui/v1/answers/{id}", get(idempotency::find).delete(idempotency::cancel))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of a handler's future, in bytes.
    fn future_bytes<A, B, C, D, F>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// A request that waits for its first token keeps its future.
    #[test]
    fn waiting_requests_are_small() {
        let sizes = [
            ("chat", future_bytes(generate::create_chat)),
            ("completion", future_bytes(generate::create_completion)),
            ("message", future_bytes(messages::create)),
        ];
        for (handler, bytes) in sizes {
            assert!(bytes <= 9 << 10, "{handler}: {bytes} bytes");
        }
    }
}
