//! Prompts as models read them: `/tokenize`, `/detokenize`, `/apply-template` and the `render` form of each protocol.

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
use crate::protocols::common::body;
use crate::protocols::common::body::MAX_PROMPT_BYTES;
use crate::protocols::error::ApiError;
use crate::protocols::openai::chat::parse as chat_request;
use crate::protocols::openai::completions::parse as completion_request;
use crate::protocols::openai::responses::handler::conversation;
use crate::protocols::openai::responses::store::Responses;
use crate::protocols::openai::responses::{parse as responses, wire as responses_api};
use crate::protocols::prompts::parse::Form;
use crate::protocols::prompts::wire::{Applied, Detokenize, Detokenized, Rendered, RenderedList, Tokenize};
use crate::protocols::prompts::{parse as validate, write as translate};

type Answer<T> = std::result::Result<T, ApiError>;

/// `POST /tokenize`.
///
/// # Errors
/// A wrong request, an unknown model, a template that refuses the conversation.
pub async fn tokenize(State(services): State<Services>, request: Request) -> Answer<Response> {
    let body: Map<String, Value> = body::json_within(request, MAX_PROMPT_BYTES).await?;
    let (form, model, request) = if body.get("messages").is_some_and(|messages| !messages.is_null()) {
        let extra = body::of_json(Value::Object(body.clone()))?;
        let valid = chat_request::parse(body::of_json(naming_its_model(&services, body).await?)?)?.request;
        (Form::Vllm, valid.model, validate::conversation(&extra, valid.generation.prompt)?)
    } else {
        let mut request: Tokenize = body::of_json(Value::Object(body))?;
        let name = request.model.take();
        let (form, request) = validate::text(request)?;
        (form, named_or_only(&services, name).await?, request)
    };
    let target = Target { model, ..Target::default() };
    let tokenized = services.dispatcher.tokenize(&target, &request).await?;
    Ok(match form {
        Form::Vllm => Json(translate::tokens(tokenized, request.pieces)).into_response(),
        Form::LlamaCpp => Json(translate::plain_tokens(tokenized, request.pieces)).into_response(),
    })
}

/// `POST /detokenize`.
///
/// # Errors
/// A wrong request, an unknown model, token ids that it does not have.
pub async fn detokenize(State(services): State<Services>, request: Request) -> Answer<Json<Detokenized>> {
    let mut request: Detokenize = body::json_within(request, MAX_PROMPT_BYTES).await?;
    let name = request.model.take();
    let tokens = validate::ids(request)?;
    let target = Target { model: named_or_only(&services, name).await?, ..Target::default() };
    let prompt = services.dispatcher.detokenize(&target, &tokens).await?;
    Ok(Json(Detokenized { content: prompt.clone(), prompt }))
}

/// `POST /apply-template`.
///
/// # Errors
/// A wrong request, an unknown model, a template that refuses the conversation.
pub async fn apply_template(State(services): State<Services>, request: Request) -> Answer<Json<Applied>> {
    let body = body::json_within(request, MAX_PROMPT_BYTES).await?;
    let valid = chat_request::parse(body::of_json(naming_its_model(&services, body).await?)?)?;
    let rendered = render_one(&services, valid.request.into()).await?;
    Ok(Json(Applied { prompt: rendered.prompt }))
}

/// `POST /v1/chat/completions/render`.
///
/// # Errors
/// As `POST /v1/chat/completions` before anything is generated.
pub async fn chat(State(services): State<Services>, request: Request) -> Answer<Json<Rendered>> {
    let valid = chat_request::parse(body::json_within(request, MAX_PROMPT_BYTES).await?)?;
    Ok(Json(render_one(&services, valid.request.into()).await?))
}

/// `POST /v1/completions/render`: each prompt of the request.
///
/// # Errors
/// As `POST /v1/completions` before anything is generated.
pub async fn completions(State(services): State<Services>, request: Request) -> Answer<Json<RenderedList>> {
    let valid = completion_request::parse(body::json_within(request, MAX_PROMPT_BYTES).await?)?;
    Ok(Json(RenderedList { object: "list", data: render(&services, valid.request.into()).await? }))
}

/// `POST /v1/responses/render`.
///
/// # Errors
/// As `POST /v1/responses` before anything is generated.
pub async fn responses(
    State(services): State<Services>,
    State(stored): State<Arc<Responses>>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> Answer<Json<Rendered>> {
    let mut request: responses_api::Request = body::json_within(request, MAX_PROMPT_BYTES).await?;
    let history = conversation(&stored, &tenant, &mut request).await?;
    let valid = responses::create(request, &history)?;
    let rendered = render_one(&services, valid.request.into()).await;
    Ok(Json(rendered?))
}

/// `POST /v1/messages/render`: without `max_tokens`, as nothing is generated.
///
/// # Errors
/// As `POST /v1/messages` before anything is generated.
pub async fn messages(State(services): State<Services>, request: Request) -> Answer<Json<Rendered>> {
    let mut request: messages_api::Request = body::lenient_json_within(request, MAX_PROMPT_BYTES).await?;
    request.max_tokens.get_or_insert(u32::MAX);
    let valid = anthropic::messages(request)?;
    let rendered = render_one(&services, valid.request.into()).await;
    Ok(Json(rendered?))
}

async fn render(services: &Services, prompts: PromptRequest) -> Result<Vec<Rendered>> {
    let model = prompts.model.clone();
    let (target, prompts) = Target::of_prompts(prompts);
    let all = services.dispatcher.render(&target, &prompts).await?;
    Ok(all.into_iter().map(|prompt| translate::rendered(model.clone(), prompt)).collect())
}

/// The prompt of a request that has one.
async fn render_one(services: &Services, prompts: PromptRequest) -> Result<Rendered> {
    Ok(render(services, prompts).await?.remove(0))
}

/// A request's model; the only one that generates text where the request names none.
async fn named_or_only(services: &Services, name: Option<String>) -> Result<String> {
    let models = if name.is_none() { services.fleet.models().await? } else { Vec::new() };
    validate::named_or_only(name, &models)
}

/// A chat request with the name of its model, as [`named_or_only`] has it.
async fn naming_its_model(services: &Services, mut body: Map<String, Value>) -> Result<Value> {
    if body.get("model").is_none_or(Value::is_null) {
        body.insert("model".to_owned(), named_or_only(services, None).await?.into());
    }
    Ok(Value::Object(body))
}
