//! Makes responses: whole, streamed or in the background.

use std::sync::Arc;

use axum::Json;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use ipc_proto::generate::{Event, Generation};
use ipc_proto::{Error, ErrorKind, Result};

use crate::access::Tenant;
use crate::dispatch::deliver::{EndHook, Job, JobEvent, Preparation, Served, Whole};
use crate::dispatch::replay_buffer::{ReplayWriter, replay_buffer};
use crate::dispatch::writer::ResponseWriter;
use crate::dispatch::{Services, deliver};
use crate::inference::labels::Labels;
use crate::inference::original::WireProtocol;
use crate::inference::request::InferenceRequest;
use crate::inference::request_id::RequestId;
use crate::protocols::common::answer::unix_seconds;
use crate::protocols::common::body::{self, RawBody};
use crate::protocols::common::{model_choice, original};
use crate::protocols::openai::responses::compaction::passes::{CompactionSlot, Compactor, LastPass};
use crate::protocols::openai::responses::parse::{Compaction, ValidResponse};
use crate::protocols::openai::responses::store::ResponseStore;
use crate::protocols::openai::responses::wire::Item;
use crate::protocols::openai::responses::write::{Form, ResponseBuilder, ResponseHead};
use crate::protocols::openai::responses::{parse, wire as api};
use crate::store::responses::StoredResponse;

const ENDPOINT: &str = "/v1/responses";
/// Maximum number of item references in one request. Each one costs a database query.
const MAX_REFERENCES: usize = 100;

/// The services and values that making a response needs.
#[derive(Clone)]
pub struct Context {
    /// The way to the models.
    pub services: Services,
    /// The stored responses.
    pub responses: Arc<ResponseStore>,
    /// The id of the client's request.
    pub id: RequestId,
    /// The sender.
    pub tenant: Tenant,
    /// The labels of the request's headers.
    pub labels: Labels,
}

/// A response that is about to be made.
pub struct Creation {
    job: Job,
    builder: ResponseBuilder,
    /// `None` if the response is not stored.
    saver: Option<ResponseSaver>,
    background: bool,
    input: Vec<Item>,
    /// Whether nothing of it stays here, so that a provider of the same protocol may answer it whole.
    is_stateless: bool,
}

impl Creation {
    /// Parses a request that continues `history`.
    ///
    /// # Errors
    /// Returns an error that names the invalid field.
    pub fn new(context: &Context, request: api::Request, history: &[Item]) -> Result<Self> {
        let Context { services, responses, id, tenant, labels } = context.clone();
        let mut valid = parse::parse(request, history)?;
        valid.request = valid.request.with_labels(labels);
        let stores = valid.store.unwrap_or(true) || valid.background;
        valid.echo.insert("store".into(), stores.into());
        let slot = CompactionSlot::default();
        let head = ResponseHead {
            id: format!("resp_{}", uuid::Uuid::new_v4().simple()),
            created_at: unix_seconds(),
            model: valid.request.model.clone(),
            echo: std::mem::take(&mut valid.echo),
            encrypt: valid.encrypt,
            summarise: valid.summarise,
            calls: std::mem::take(&mut valid.calls),
            form: form(&valid),
            compacted: Arc::clone(&slot),
        };
        let saver = stores.then(|| ResponseSaver::new(&responses, &tenant, &valid));
        let (background, input) = (valid.background, std::mem::take(&mut valid.input));
        let (sender, preparing) = ((id, tenant), services.clone());
        let request = if valid.generates { valid.request } else { prefill_only(valid.request) };
        let preparation = match valid.compaction {
            Compaction::Never => None,
            _ if !valid.generates => None,
            Compaction::Now => {
                let compactor = Compactor::new(preparing, sender.clone(), ENDPOINT, request.clone());
                Some(prepare_summary(compactor, slot))
            }
            Compaction::Above(threshold) => {
                let compactor = Compactor::new(preparing, sender.clone(), ENDPOINT, request.clone());
                Some(compactor.compact_above(threshold, slot).boxed())
            }
        };
        let is_stateless =
            saver.is_none() && valid.previous.is_none() && valid.generates && preparation.is_none();
        let job = Job::new(services, sender, ENDPOINT, request).prepared_by(preparation);
        Ok(Self { job, builder: ResponseBuilder::new(head), saver, background, input, is_stateless })
    }

    /// The request in `body`, if it can be read here or a provider of OpenAI's may answer it as it came.
    ///
    /// # Errors
    /// Returns an error that names the invalid field.
    pub async fn read(context: &Context, headers: HeaderMap, body: RawBody) -> Result<Self> {
        let mut typed = body::parse_raw::<api::Request>(&body);
        if let Ok(request) = &mut typed {
            model_choice::fill(&context.services.catalogue, request).await?;
        }
        let made = match typed {
            Ok(mut request) => {
                let history = load_history(&context.responses, &context.tenant, &mut request).await;
                let made = history.and_then(|history| Self::new(context, request, &history));
                made.and_then(|made| made.within(body.size()))
            }
            Err(error) => Err(error),
        };
        let known =
            made.as_ref().ok().map(|made| (&*made.job.request.model, made.job.request.stream.is_some()));
        let passes = made.as_ref().ok().is_none_or(|made| made.is_stateless);
        let names = context.services.names.now();
        let original =
            || original::keep(&names, (WireProtocol::Responses, headers), body.into_bytes(), known);
        let original = passes.then(original).flatten();
        let parse = |request| Self::new(context, request, &[]);
        original::join(made, original, parse, |creation| &mut creation.job.request)
    }

    /// Refuses a request of `bytes` that is too large without its images.
    ///
    /// # Errors
    /// It is too large.
    pub fn within(self, bytes: usize) -> Result<Self> {
        body::check_text(bytes, self.job.request.prompts())?;
        Ok(self)
    }

    /// Returns the new input items.
    pub fn input(&self) -> &[Item] {
        &self.input
    }

    /// Stores the response with `history` instead of the previous response, which is not stored.
    pub fn detach(&mut self, history: &[Item]) {
        if let Some(saver) = &mut self.saver {
            saver.previous = None;
            saver.input.splice(..0, history.iter().cloned());
        }
    }

    /// Makes the response, and answers with it, with its stream, or with its beginning.
    ///
    /// # Errors
    /// Returns every error before the response begins.
    pub async fn respond(self) -> Result<Response> {
        let Self { job, builder, saver, background, .. } = self;
        let streamed = job.request.stream.is_some();
        match saver {
            Some(saver) if background => generate_in_background(job, builder, saver).await,
            saver if streamed => stream(job, builder, saver).await,
            saver => generate(job, builder, saver).await,
        }
    }
}

fn form(valid: &ValidResponse) -> Form {
    match valid.compaction {
        _ if !valid.generates => Form::Nothing,
        Compaction::Now => Form::Compaction,
        Compaction::Never | Compaction::Above(_) => Form::Answer,
    }
}

/// The request with the least output there is.
fn prefill_only(request: InferenceRequest) -> InferenceRequest {
    let generation =
        Generation { max_tokens: Some(1), constraint: None, logprobs: None, ..request.generation };
    InferenceRequest { generation, ..request }
}

/// Runs a compaction up to its last pass, whose output the response holds.
fn prepare_summary(compactor: Compactor, slot: CompactionSlot) -> Preparation {
    let prepare = async move {
        let LastPass { request, outcome } = compactor.prepare().await?;
        // Nothing else fills the slot.
        let _ = slot.set(outcome);
        Ok(request)
    };
    prepare.boxed()
}

async fn generate(job: Job, mut builder: ResponseBuilder, saver: Option<ResponseSaver>) -> Result<Response> {
    let served = match collect(job, &mut builder).await? {
        Collected::Here(served) => served,
        Collected::Verbatim(response) => return Ok(response),
    };
    if let Some(model) = &served.answerer.target {
        builder.set_model(model);
    }
    if let Some(saver) = saver
        && saver.store(saver.snapshot(&builder)).await.is_err()
    {
        // The client still gets its response.
        builder.mark_not_stored();
    }
    Ok(served.attach(Json(builder.response()).into_response()))
}

/// A whole answer.
enum Collected {
    /// Its events are in the builder.
    Here(Served),
    /// A provider's own answer.
    Verbatim(Response),
}

/// Collects a generation event by event, so that each log probability stays with its text.
async fn collect(job: Job, builder: &mut ResponseBuilder) -> Result<Collected> {
    let mut ignored = Vec::new();
    let add = |event: &Event| {
        if !matches!(event, Event::Failed(_)) {
            builder.push(&mut ignored, 0, event);
            ignored.clear();
        }
    };
    Ok(match deliver::whole(job, add).await? {
        Whole::Outputs(_, served) => Collected::Here(served),
        Whole::Verbatim(response) => Collected::Verbatim(response),
    })
}

async fn stream(job: Job, builder: ResponseBuilder, saver: Option<ResponseSaver>) -> Result<Response> {
    let failed = ResponseBuilder::new(builder.head().clone());
    let course = Arc::clone(job.recorder.course());
    let end_hook = saver.map(|saver| -> EndHook<ResponseBuilder> {
        Box::new(move |builder| {
            let stored = saver.snapshot(builder);
            Box::pin(async move { saver.store(stored).await.is_ok() })
        })
    });
    match deliver::stream(job, builder, end_hook).await {
        // Codex handles the codes of these errors inside a stream, but gives up at their HTTP statuses.
        Err(error) if matches!(error.kind, ErrorKind::ContextLength | ErrorKind::Overloaded) => {
            Ok(deliver::failure_stream(failed, &error, &course))
        }
        outcome => outcome,
    }
}

async fn generate_in_background(
    job: Job,
    mut builder: ResponseBuilder,
    saver: ResponseSaver,
) -> Result<Response> {
    let mut last = Vec::new();
    builder.queue(&mut last);
    saver.responses.store_pending(saver.snapshot(&builder), unix_seconds()).await?;
    let streamed = job.request.stream.is_some();
    let (writer, replay) = replay_buffer();
    if streamed {
        writer.push_events(&mut last);
    }
    let response =
        if streamed { deliver::replay(&replay, 0) } else { Json(builder.response()).into_response() };
    let (responses, id) = (Arc::clone(&saver.responses), builder.id().to_owned());
    if streamed {
        responses.add_replay(id.clone(), replay);
    }
    responses.run(id, async move {
        let add = |progress: JobEvent<'_>| {
            let is_last = match progress {
                JobEvent::Begun { prompt_tokens, served } => {
                    if let Some(model) = &served.answerer.target {
                        builder.set_model(model);
                    }
                    builder.open(&mut last, prompt_tokens);
                    saver.responses.record_begin(saver.snapshot(&builder));
                    false
                }
                JobEvent::Event(Event::Failed(_)) => true,
                JobEvent::Event(event) => builder.push(&mut last, 0, event),
            };
            if is_last {
                return;
            }
            if streamed {
                writer.push_events(&mut last);
            } else {
                last.clear();
            }
        };
        match deliver::follow(job, add).await {
            Ok(_) => builder.end(&mut last, true),
            Err(error) => {
                last.clear();
                builder.fail(&mut last, &error);
            }
        }
        (saver.snapshot(&builder).response, FinalEvents { writer, last })
    });
    Ok(response)
}

/// The last events of a stream. They are pushed on drop, after the response was stored.
struct FinalEvents {
    writer: ReplayWriter,
    last: Vec<u8>,
}

impl Drop for FinalEvents {
    fn drop(&mut self) {
        self.writer.push_events(&mut self.last);
    }
}

/// Stores one response.
struct ResponseSaver {
    responses: Arc<ResponseStore>,
    owner: String,
    previous: Option<String>,
    input: Vec<Item>,
}

impl ResponseSaver {
    fn new(responses: &Arc<ResponseStore>, tenant: &Tenant, valid: &ValidResponse) -> Self {
        let mut input = valid.input.clone();
        for item in &mut input {
            item.id.get_or_insert_with(|| format!("item_{}", uuid::Uuid::new_v4().simple()));
        }
        let (owner, previous) = (tenant.name().to_owned(), valid.previous.clone());
        Self { responses: Arc::clone(responses), owner, previous, input }
    }

    /// Returns the database row of the response in its present state.
    fn snapshot(&self, builder: &ResponseBuilder) -> StoredResponse {
        // Strings, numbers, lists and objects with string keys always serialize.
        let input = serde_json::to_string(&self.input).unwrap_or_default();
        let response = serde_json::to_string(&builder.response()).unwrap_or_default();
        let (id, owner) = (builder.id().to_owned(), self.owner.clone());
        StoredResponse { id, owner, previous: self.previous.clone(), input, response, instance: None }
    }

    async fn store(&self, stored: StoredResponse) -> Result<()> {
        self.responses.store(stored, unix_seconds()).await
    }
}

/// Loads the items of previous responses, and replaces item references in the request by the items.
///
/// # Errors
/// Returns an error for an unknown previous response or too many references.
pub async fn load_history(
    responses: &ResponseStore,
    tenant: &Tenant,
    request: &mut api::Request,
) -> Result<Vec<Item>> {
    let history = match &request.previous_response_id {
        Some(id) => responses.history(tenant.name(), id).await?,
        None => Vec::new(),
    };
    resolve_references(responses, tenant, request, &history).await?;
    Ok(history)
}

/// Replaces item references in the request by the items.
///
/// # Errors
/// Returns an error for too many references.
pub async fn resolve_references(
    responses: &ResponseStore,
    tenant: &Tenant,
    request: &mut api::Request,
    history: &[Item],
) -> Result<()> {
    let Some(api::Input::Items(items)) = &mut request.input else { return Ok(()) };
    let mut referred = 0;
    for item in items {
        let Some(id) = item.reference() else { continue };
        referred += 1;
        if referred > MAX_REFERENCES {
            return Err(Error::invalid("input", format!("input: at most {MAX_REFERENCES} references")));
        }
        let known = history.iter().find(|item| item.id.as_deref() == Some(id)).cloned();
        let found = match known {
            Some(known) => Some(known),
            None => responses.item(tenant.name(), id).await?,
        };
        if let Some(found) = found {
            *item = found;
        }
    }
    Ok(())
}
