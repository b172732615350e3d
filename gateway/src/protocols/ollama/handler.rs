//! Handlers of `/api/chat`, `/api/generate`, `/api/embed` and `/api/embeddings`.

use std::time::Instant;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use ipc_proto::embed::Embeddings;
use ipc_proto::supervisor::{KeepAlive, Want};
use ipc_proto::{ErrorKind, Result};

use super::parse::{self, Order, ValidEmbed};
use super::wire::{
    ChatRequest, EmbedRequest, EmbedResponse, EmbeddingsRequest, EmbeddingsResponse, GenerateRequest,
};
use super::write::{AnswerHead, Endpoint, LineWriter};
use crate::access::Tenant;
use crate::dispatch::deliver::{Job, Served};
use crate::dispatch::{Services, deliver};
use crate::inference::labels::Labels;
use crate::inference::request_id::RequestId;
use crate::protocols::common::answer::json;
use crate::protocols::common::body::RawBody;
use crate::protocols::common::model_choice::{self, NamesModel};
use crate::protocols::common::{body, labels};
use crate::protocols::embeddings::handler;
use crate::protocols::embeddings::parse::Call;
use crate::protocols::error::ApiError;
use crate::protocols::models::catalogue;

/// The tag that Ollama's clients add to a name without one.
pub(super) const DEFAULT_TAG: &str = ":latest";

/// `POST /api/chat`.
///
/// # Errors
/// Returns every error before the first token.
pub async fn chat(
    State(services): State<Services>,
    Extension(id): Extension<RequestId>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> Result<Response, ApiError> {
    let sender = labels::from_headers(request.headers());
    let body = body::read(request).await?;
    let request: ChatRequest = named(&services, body::parse_raw(&body)?).await?;
    let order = within(&body, parse::chat(request)?)?;
    Ok(follow(services, (id, tenant), Endpoint::Chat, order, sender).await?)
}

/// `POST /api/generate`.
///
/// # Errors
/// Returns every error before the first token.
pub async fn generate(
    State(services): State<Services>,
    Extension(id): Extension<RequestId>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> Result<Response, ApiError> {
    let sender = labels::from_headers(request.headers());
    let body = body::read(request).await?;
    let request: GenerateRequest = named(&services, body::parse_raw(&body)?).await?;
    let model = catalogue::one(&services, request.model.as_deref().unwrap_or_default()).await?;
    let order = within(&body, parse::generate(request, model.details.capabilities.chat)?)?;
    Ok(follow(services, (id, tenant), Endpoint::Generate, order, sender).await?)
}

/// Refuses a body that is too large without its images.
fn within(body: &RawBody, order: Order) -> Result<Order> {
    if let Order::Generate(request) = &order {
        body::check_text(body.size(), request.prompts())?;
    }
    Ok(order)
}

/// `POST /api/embed`.
///
/// # Errors
/// Returns every error of the request.
pub async fn embed(
    State(services): State<Services>,
    Extension(id): Extension<RequestId>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> Result<Response, ApiError> {
    let (start, sender) = (Instant::now(), labels::from_headers(request.headers()));
    let request: EmbedRequest = named(&services, body::json(request).await?).await?;
    let valid = parse::embed(request)?;
    let mut model = valid.model.clone();
    let (answer, served) = run_embed(&services, (&id, &tenant, "/api/embed"), valid, sender).await?;
    served.rename(&mut model);
    let response = EmbedResponse {
        model: &model,
        embeddings: &answer.vectors,
        total_duration: u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),
        prompt_eval_count: answer.tokens,
    };
    Ok(json(serde_json::to_vec(&response), served)?)
}

/// `POST /api/embeddings`.
///
/// # Errors
/// Returns every error of the request.
pub async fn embeddings(
    State(services): State<Services>,
    Extension(id): Extension<RequestId>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> Result<Response, ApiError> {
    let sender = labels::from_headers(request.headers());
    let request: EmbeddingsRequest = named(&services, body::json(request).await?).await?;
    let valid = parse::embeddings(request)?;
    let (answer, served) = run_embed(&services, (&id, &tenant, "/api/embeddings"), valid, sender).await?;
    let embedding = answer.vectors.first().map(Vec::as_slice).unwrap_or_default();
    Ok(json(serde_json::to_vec(&EmbeddingsResponse { embedding }), served)?)
}

async fn follow(
    services: Services,
    sender: (RequestId, Tenant),
    endpoint: Endpoint,
    order: Order,
    labels: Labels,
) -> Result<Response> {
    let request = match order {
        Order::Generate(request) => request.with_labels(labels),
        Order::Load(model, keep_alive) => {
            sender.1.check_model(&model)?;
            load(&services, &model, keep_alive).await?;
            return json(AnswerHead::new(endpoint, model).without_text("load"), Served::default());
        }
        Order::Unload(model) => {
            sender.1.check_model(&model)?;
            let id = services.fleet.model(&model).await?.id;
            services.fleet.unload(id, false).await?;
            return json(AnswerHead::new(endpoint, model).without_text("unload"), Served::default());
        }
    };
    let mut head = AnswerHead::new(endpoint, request.model.clone());
    let streamed = request.stream.is_some();
    let job = Job::new(services, sender, endpoint.path(), request);
    if streamed {
        return deliver::stream(job, LineWriter::new(head), None).await;
    }
    let (mut all, served) = deliver::collect(job, |_| head.mark_token()).await?;
    head.rename(&served);
    json(head.answer(&all.remove(0)), served)
}

/// Waits until a worker serves the model.
async fn load(services: &Services, model: &str, keep_alive: Option<KeepAlive>) -> Result<()> {
    let id = services.fleet.model(model).await?.id;
    services.fleet.ensure_ready(Want { keep_alive, ..Want::model(&id) }).await?;
    match keep_alive {
        Some(keep) => services.fleet.keep_alive(id, keep).await,
        None => Ok(()),
    }
}

/// Embeds the inputs, or loads the model if there are none.
async fn run_embed(
    services: &Services,
    from: (&RequestId, &Tenant, &'static str),
    valid: ValidEmbed,
    sender: Labels,
) -> Result<(Embeddings, Served)> {
    let ValidEmbed { model, keep_alive, request } = valid;
    if request.inputs.is_empty() {
        from.1.check_model(&model)?;
        load(services, &model, keep_alive).await?;
        return Ok(Default::default());
    }
    let call = Call { model, keep_alive, time_limit_ms: None, labels: Labels::default() };
    handler::run_embed(services, from, (call, sender), &request).await
}

/// Sets the model of a request that names none, and removes the default tag.
async fn named<T: NamesModel>(services: &Services, mut request: T) -> Result<T> {
    model_choice::fill(&services.catalogue, &mut request).await?;
    if let Some(name) = request.model_mut().take() {
        *request.model_mut() = Some(resolve_tag(services, name).await?);
    }
    Ok(request)
}

/// Returns the name without the default tag, unless a model has the name with it.
///
/// # Errors
/// Returns an error if the supervisor does not answer.
pub(super) async fn resolve_tag(services: &Services, name: String) -> Result<String> {
    let Some(base) = name.strip_suffix(DEFAULT_TAG) else { return Ok(name) };
    match services.fleet.model(&name).await {
        Ok(_) => Ok(name),
        Err(error) if matches!(error.kind, ErrorKind::NotFound(_)) => Ok(base.to_owned()),
        Err(error) => Err(error),
    }
}
