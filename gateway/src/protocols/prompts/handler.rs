//! Shows prompts as models read them: `/tokenize`, `/detokenize`, `/apply-template` and the `render` form of each protocol.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use ipc_proto::Result;
use serde_json::{Map, Value};

use crate::access::Tenant;
use crate::dispatch::{Services, Target};
use crate::inference::request::PromptRequest;
use crate::protocols::anthropic::messages::{parse as anthropic, wire as messages_api};
use crate::protocols::common::body::{self, MAX_PROMPT_BYTES};
use crate::protocols::common::checks::model_name;
use crate::protocols::common::model_choice::{self, NamesModel};
use crate::protocols::error::ApiError;
use crate::protocols::openai::chat::parse as chat_request;
use crate::protocols::openai::completions::parse as completion_request;
use crate::protocols::openai::responses::create::load_history;
use crate::protocols::openai::responses::store::ResponseStore;
use crate::protocols::openai::responses::{parse as responses, wire as responses_api};
use crate::protocols::prompts::parse::TokenizeApi;
use crate::protocols::prompts::wire::{Applied, Detokenize, Detokenized, Rendered, RenderedList, Tokenize};
use crate::protocols::prompts::{parse as validate, write as translate};

type Answer<T> = Result<T, ApiError>;

/// `POST /tokenize`.
///
/// # Errors
/// Returns an error for an invalid request, an unknown model, or a template that rejects the conversation.
pub async fn tokenize(
    State(services): State<Services>,
    Extension(sender): Extension<Tenant>,
    request: Request,
) -> Answer<Response> {
    let body: Map<String, Value> = body::json_within(request, MAX_PROMPT_BYTES).await?;
    let (form, model, request) = if body.get("messages").is_some_and(|messages| !messages.is_null()) {
        let extra = body::from_json(Value::Object(body.clone()))?;
        let chat = named(&services, body::from_json(Value::Object(body))?).await?;
        let valid = chat_request::parse(chat)?.request;
        (TokenizeApi::Vllm, valid.model, validate::parse_conversation(&extra, valid.generation.prompt)?)
    } else {
        let mut request: Tokenize = named(&services, body::from_json(Value::Object(body))?).await?;
        let model = model_name(request.model.take())?;
        let (form, request) = validate::parse_text(request)?;
        (form, model, request)
    };
    let target = Target { model, sender, ..Target::default() };
    let tokenized = services.dispatcher.tokenize(&target, &request).await?;
    Ok(match form {
        TokenizeApi::Vllm => Json(translate::tokens(tokenized, request.pieces)).into_response(),
        TokenizeApi::LlamaCpp => Json(translate::plain_tokens(tokenized, request.pieces)).into_response(),
    })
}

/// `POST /detokenize`.
///
/// # Errors
/// Returns an error for an invalid request, an unknown model, or token ids outside its vocabulary.
pub async fn detokenize(
    State(services): State<Services>,
    Extension(sender): Extension<Tenant>,
    request: Request,
) -> Answer<Json<Detokenized>> {
    let request = body::json_within(request, MAX_PROMPT_BYTES).await?;
    let mut request: Detokenize = named(&services, request).await?;
    let model = model_name(request.model.take())?;
    let tokens = validate::parse_ids(request)?;
    let target = Target { model, sender, ..Target::default() };
    let prompt = services.dispatcher.detokenize(&target, &tokens).await?;
    Ok(Json(Detokenized { content: prompt.clone(), prompt }))
}

/// `POST /apply-template`.
///
/// # Errors
/// Returns an error for an invalid request, an unknown model, or a template that rejects the conversation.
pub async fn apply_template(
    State(services): State<Services>,
    Extension(sender): Extension<Tenant>,
    request: Request,
) -> Answer<Json<Applied>> {
    let request = body::json_within(request, MAX_PROMPT_BYTES).await?;
    let valid = chat_request::parse(named(&services, request).await?)?;
    let rendered = render_one(&services, sender, valid.request.into()).await?;
    Ok(Json(Applied { prompt: rendered.prompt }))
}

/// `POST /v1/chat/completions/render`.
///
/// # Errors
/// The same as `POST /v1/chat/completions` before generation.
pub async fn chat(
    State(services): State<Services>,
    Extension(sender): Extension<Tenant>,
    request: Request,
) -> Answer<Json<Rendered>> {
    let request = body::json_within(request, MAX_PROMPT_BYTES).await?;
    let valid = chat_request::parse(named(&services, request).await?)?;
    Ok(Json(render_one(&services, sender, valid.request.into()).await?))
}

/// `POST /v1/completions/render`: each prompt of the request.
///
/// # Errors
/// The same as `POST /v1/completions` before generation.
pub async fn completions(
    State(services): State<Services>,
    Extension(sender): Extension<Tenant>,
    request: Request,
) -> Answer<Json<RenderedList>> {
    let request = body::json_within(request, MAX_PROMPT_BYTES).await?;
    let valid = completion_request::parse(named(&services, request).await?)?;
    Ok(Json(RenderedList { object: "list", data: render(&services, sender, valid.request.into()).await? }))
}

/// `POST /v1/responses/render`.
///
/// # Errors
/// The same as `POST /v1/responses` before generation.
pub async fn responses(
    State(services): State<Services>,
    State(stored): State<Arc<ResponseStore>>,
    Extension(sender): Extension<Tenant>,
    request: Request,
) -> Answer<Json<Rendered>> {
    let request = body::json_within(request, MAX_PROMPT_BYTES).await?;
    let mut request: responses_api::Request = named(&services, request).await?;
    let history = load_history(&stored, &sender, &mut request).await?;
    let valid = responses::parse(request, &history)?;
    let rendered = render_one(&services, sender, valid.request.into()).await;
    Ok(Json(rendered?))
}

/// `POST /v1/messages/render`: without `max_tokens`, as nothing is generated.
///
/// # Errors
/// The same as `POST /v1/messages` before generation.
pub async fn messages(
    State(services): State<Services>,
    Extension(sender): Extension<Tenant>,
    request: Request,
) -> Answer<Json<Rendered>> {
    let request = body::json_within(request, MAX_PROMPT_BYTES).await?;
    let mut request: messages_api::Request = named(&services, request).await?;
    request.max_tokens.get_or_insert(u32::MAX.into());
    let valid = anthropic::parse(request)?;
    let rendered = render_one(&services, sender, valid.request.into()).await;
    Ok(Json(rendered?))
}

async fn render(services: &Services, sender: Tenant, prompts: PromptRequest) -> Result<Vec<Rendered>> {
    let model = prompts.model.clone();
    let (target, prompts) = Target::from_prompts(sender, prompts);
    let all = services.dispatcher.render(&target, &prompts).await?;
    Ok(all.into_iter().map(|prompt| translate::rendered(model.clone(), prompt)).collect())
}

/// Renders a request with one prompt.
async fn render_one(services: &Services, sender: Tenant, prompts: PromptRequest) -> Result<Rendered> {
    Ok(render(services, sender, prompts).await?.remove(0))
}

async fn named<T: NamesModel>(services: &Services, mut request: T) -> Result<T> {
    model_choice::fill(&services.catalogue, &mut request).await?;
    Ok(request)
}
