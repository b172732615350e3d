//! Prompts as models read them: `/tokenize`, `/detokenize`, `/apply-template` and the `render` form of each protocol.

use axum::extract::{Request, State as Extract};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use ipc_proto::worker::ModelKind;
use ipc_proto::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::responses::conversation;
use crate::api::openai::responses as responses_api;
use crate::api::prompts::{Applied, Detokenize, Detokenized, Rendered, RenderedList, Tokenize, TokenizeChat};
use crate::body;
use crate::error::ApiError;
use crate::middleware::auth::Tenant;
use crate::state::State;
use crate::translate::{names, prompts as translate};
use crate::validate::prompts::{self as validate, Form};
use crate::validate::{self as requests, ValidPrompt, anthropic, responses};

type Answer<T> = std::result::Result<T, ApiError>;

/// Models that an error message lists.
const LISTED: usize = 8;

/// `POST /tokenize`.
///
/// # Errors
/// A wrong request, an unknown model, a template that refuses the conversation.
pub async fn tokenize(Extract(state): Extract<State>, request: Request) -> Answer<Response> {
    let body = with_model(&state, body::json(request).await?).await?;
    if body.contains_key("messages") {
        let extra: TokenizeChat = parsed(&body)?;
        let prompt = chat_prompt(&body)?;
        let request = validate::chat(&extra, prompt.prompt)?;
        let pieces = request.pieces;
        let tokenized = state.local.tokenize(prompt.model, request).await?;
        return Ok(Json(translate::tokens(tokenized, pieces)).into_response());
    }
    let mut request: Tokenize = parsed(&body)?;
    let model = request.model.take().unwrap_or_default();
    let (form, request) = validate::text(request)?;
    let pieces = request.pieces;
    let tokenized = state.local.tokenize(model, request).await?;
    Ok(match form {
        Form::Vllm => Json(translate::tokens(tokenized, pieces)).into_response(),
        Form::LlamaCpp => Json(translate::plain_tokens(tokenized, pieces)).into_response(),
    })
}

/// `POST /detokenize`.
///
/// # Errors
/// A wrong request, an unknown model, token ids that it does not have.
pub async fn detokenize(Extract(state): Extract<State>, request: Request) -> Answer<Json<Detokenized>> {
    let body = with_model(&state, body::json(request).await?).await?;
    let Detokenize { model, tokens } = parsed(&body)?;
    let prompt = state.local.detokenize(model.unwrap_or_default(), tokens).await?;
    Ok(Json(Detokenized { content: prompt.clone(), prompt }))
}

/// `POST /apply-template`.
///
/// # Errors
/// A wrong request, an unknown model, a template that refuses the conversation.
pub async fn apply_template(Extract(state): Extract<State>, request: Request) -> Answer<Json<Applied>> {
    let body = with_model(&state, body::json(request).await?).await?;
    let rendered = render(&state, chat_prompt(&body)?).await?;
    Ok(Json(Applied { prompt: rendered.prompt }))
}

/// `POST /v1/chat/completions/render`.
///
/// # Errors
/// As `POST /v1/chat/completions` before anything is generated.
pub async fn chat(Extract(state): Extract<State>, request: Request) -> Answer<Json<Rendered>> {
    let valid = requests::chat(body::json(request).await?)?;
    Ok(Json(render(&state, ValidPrompt::of_request(valid.request)).await?))
}

/// `POST /v1/completions/render`: each prompt of the request.
///
/// # Errors
/// As `POST /v1/completions` before anything is generated.
pub async fn completions(Extract(state): Extract<State>, request: Request) -> Answer<Json<RenderedList>> {
    let valid = requests::completion(body::json(request).await?)?;
    let mut data = Vec::new();
    for prompt in ValidPrompt::all_of(valid) {
        data.push(render(&state, prompt).await?);
    }
    Ok(Json(RenderedList { object: "list", data }))
}

/// `POST /v1/responses/render`.
///
/// # Errors
/// As `POST /v1/responses` before anything is generated.
pub async fn responses(
    Extract(state): Extract<State>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> Answer<Json<Rendered>> {
    let mut request: responses_api::Request = body::json(request).await?;
    let history = conversation(&state, &tenant, &mut request).await?;
    let valid = responses::count(request, &history)?;
    Ok(Json(render(&state, valid).await.map_err(names::of_responses)?))
}

/// `POST /v1/messages/render`.
///
/// # Errors
/// As `POST /v1/messages` before anything is generated.
pub async fn messages(Extract(state): Extract<State>, request: Request) -> Answer<Json<Rendered>> {
    let valid = anthropic::count(body::lenient_json(request).await?)?;
    Ok(Json(render(&state, valid).await.map_err(names::of_messages)?))
}

async fn render(state: &State, prompt: ValidPrompt) -> Result<Rendered> {
    let model = prompt.model.clone();
    Ok(translate::rendered(model, state.local.render(prompt).await?))
}

/// The prompt of a chat request.
fn chat_prompt(body: &Map<String, Value>) -> Result<ValidPrompt> {
    let valid = requests::chat(parsed(body)?)?;
    Ok(ValidPrompt::of_request(valid.request))
}

fn parsed<T: DeserializeOwned>(body: &Map<String, Value>) -> Result<T> {
    body::parse(Value::Object(body.clone()).to_string().as_bytes())
}

/// A body that names its model: where it does not, the only one that generates text is meant.
async fn with_model(state: &State, mut body: Map<String, Value>) -> Result<Map<String, Value>> {
    if body.get("model").is_some_and(|model| !model.is_null()) {
        return Ok(body);
    }
    let models = state.local.models().await?.into_iter();
    let generates =
        models.filter(|entry| !entry.details.unserved && entry.details.kind == ModelKind::Generate);
    let mut ids: Vec<String> = generates.map(|entry| entry.id).collect();
    if ids.len() != 1 {
        let more = ids.len().saturating_sub(LISTED);
        ids.truncate(LISTED);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        let text =
            format!("model is missing, and not one model is served but these: {}{rest}", ids.join(", "));
        return Err(Error::invalid("model", text));
    }
    body.insert("model".to_owned(), ids.remove(0).into());
    Ok(body)
}
