//! Delivers a generation to its client, in any protocol.
//!
//! - [`collect`] waits for the complete outputs.
//! - [`stream`] answers with a stream: it waits for a status, sends keep-alives and writes events.
//! - [`replay()`] answers with the recorded events of an earlier stream.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use ipc_proto::Result;
use ipc_proto::generate::Generation;

use super::Services;
use super::dispatcher::GenerateRequest;
use crate::access::Tenant;
use crate::audit::record::RequestRecorder;
use crate::inference::course::Course;
use crate::inference::request::InferenceRequest;
use crate::inference::request_id::RequestId;

mod collect;
mod replay;
mod served;
mod silence;
mod stream;
mod written;

pub use collect::{JobEvent, Whole, collect, complete, follow, whole};
pub use replay::replay;
pub use served::Served;
pub use stream::{EndHook, failure_stream, stream};

/// Completes a request before it goes to a model.
pub type Preparation = BoxFuture<'static, Result<InferenceRequest>>;

/// A request on its way to a model.
pub struct Job {
    /// The services that it uses.
    pub services: Services,
    /// The request's id.
    pub id: RequestId,
    /// The request.
    pub request: InferenceRequest,
    /// Records it for the audit log.
    pub recorder: RequestRecorder,
    /// The sender.
    pub tenant: Tenant,
    /// Returns the request that goes to the model instead of `request`. It may take as long as a generation.
    preparation: Option<Preparation>,
}

impl Job {
    /// Starts to record a request to `endpoint`.
    pub fn new(
        services: Services,
        (id, tenant): (RequestId, Tenant),
        endpoint: &'static str,
        request: InferenceRequest,
    ) -> Self {
        let recorder = RequestRecorder::new(services.audit.clone(), &id, endpoint, &request).sent_by(&tenant);
        Self { services, id, request, recorder, tenant, preparation: None }
    }

    /// The same job, whose request `preparation` completes.
    #[must_use]
    pub fn prepared_by(mut self, preparation: Option<Preparation>) -> Self {
        self.preparation = preparation;
        self
    }

    /// One request to the dispatcher for each prompt, once the preparation has ended.
    fn into_requests(
        self,
    ) -> (Services, RequestRecorder, impl Future<Output = Result<Vec<GenerateRequest>>> + Send + 'static)
    {
        let Self { services, id, request, recorder, tenant, preparation } = self;
        let course = Arc::clone(recorder.course());
        let requests = async move {
            let request = match preparation {
                Some(preparation) => preparation.await?,
                None => request,
            };
            Ok(Self::split(&id, &tenant, request, &course))
        };
        (services, recorder, requests)
    }

    fn split(
        id: &RequestId,
        tenant: &Tenant,
        request: InferenceRequest,
        course: &Arc<Course>,
    ) -> Vec<GenerateRequest> {
        let cache_scope = tenant.scope(&request.cache_salt);
        let InferenceRequest {
            model,
            mut generation,
            more_prompts,
            choices,
            keep_alive,
            affinity,
            original,
            assumes_no_thinking,
            ..
        } = request;
        // A prompt may be large: none is copied.
        let first = std::mem::take(&mut generation.prompt);
        let prompts = std::iter::once(first).chain(more_prompts);
        let generations = prompts.map(|prompt| Generation { prompt, ..generation.clone() });
        let with_generation = |generation: Generation| GenerateRequest {
            model: model.clone(),
            sender: tenant.clone(),
            request_id: id.name.clone(),
            cache_scope: cache_scope.clone(),
            generation,
            choices,
            keep_alive,
            affinity: affinity.clone(),
            original: original.clone(),
            assumes_no_thinking,
            course: Arc::clone(course),
        };
        generations.map(with_generation).collect()
    }
}

/// A streamed response.
fn stream_response(media_type: &'static str, body: Body, served: Served) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        // Without it nginx buffers the tokens.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    served.attach((headers, body).into_response())
}
