//! The handler of decisions.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use ipc_proto::generate::{Event, FinishReason, Usage};

use super::parse::parse;
use super::probabilities::decide;
use super::scoring::{Route, score};
use super::wire;
use crate::access::Tenant;
use crate::audit::record::RequestRecorder;
use crate::dispatch::deliver::Served;
use crate::dispatch::{Services, Target};
use crate::inference::request_id::RequestId;
use crate::protocols::common::answer::json;
use crate::protocols::common::{body, labels, model_choice};
use crate::protocols::error::ApiError;

const PATH: &str = "/v1/decisions";

/// `POST /v1/decisions`.
///
/// # Errors
/// Returns every error of the request.
pub async fn create(
    State(services): State<Services>,
    Extension(id): Extension<RequestId>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> Result<Response, ApiError> {
    let (arrived, sender) = (Instant::now(), labels::from_headers(request.headers()));
    let mut request: wire::Request = body::json(request).await?;
    model_choice::fill(&services.catalogue, &mut request).await?;
    let mut decision = parse(request)?;
    let labels = std::mem::take(&mut decision.labels).or(sender);
    let (model, extensions) = (decision.model.clone(), &decision.extensions);
    let mut recorder = RequestRecorder::for_model(services.audit.clone(), &id, PATH, &model, false)
        .with_labels(labels, &id)
        .sent_by(&tenant);
    let target = Target {
        model: model.clone(),
        sender: tenant.clone(),
        keep_alive: extensions.keep_alive,
        time_limit_ms: extensions.time_limit_ms,
        course: Arc::clone(recorder.course()),
    };
    let cache_scope = tenant.scope(&extensions.cache_salt);
    let route = Route { request_id: id.name, cache_scope, target, arrived };
    let scored = score(&services, &mut recorder, &route, &decision).await;
    let scores = recorder.record_start(scored)?;
    let prompt_tokens = u32::try_from(scores.usage.input_tokens).unwrap_or(u32::MAX);
    let usage = Usage { prompt_tokens, ..Usage::default() };
    recorder.record_event(0, &Event::Finished { reason: FinishReason::Stop, usage }, true);
    let answers = decision.questions.iter().zip(&scores.logprobs);
    let answers = answers.map(|(question, logprobs)| decide(question, logprobs)).collect();
    let served = Served { capacity: scores.capacity, answerer: recorder.course().answerer(), headers: None };
    let mut model = model;
    served.rename(&mut model);
    let response = wire::Response { model: &model, answers, usage: scores.usage };
    Ok(json(serde_json::to_vec(&response), served)?)
}
