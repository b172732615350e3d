//! Which model answers a request, for the response's headers and its body.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use ipc_proto::worker::Capacity;
use percent_encoding::{CONTROLS, utf8_percent_encode};

use crate::audit::record::RequestRecorder;
use crate::dispatch::choices::Choices;
use crate::inference::course::{Answerer, BackendName, Course, LOCAL};

const BACKEND: HeaderName = HeaderName::from_static("x-mlxd-backend");
const ROUTE: HeaderName = HeaderName::from_static("x-mlxd-route");
const FALLBACK_REASON: HeaderName = HeaderName::from_static("x-mlxd-fallback-reason");

/// The server of a request. The default is an answer of the gateway itself.
#[derive(Debug, Clone, Default)]
pub struct Served {
    /// The server's free capacity when it took the request, if known.
    pub capacity: Option<Capacity>,
    /// The model that answers.
    pub answerer: Answerer,
    /// The provider's headers for the client.
    pub headers: Option<Box<HeaderMap>>,
}

impl Served {
    /// The server of choices that have begun.
    pub(super) fn of(choices: &Choices, recorder: &RequestRecorder) -> Self {
        Self { capacity: choices.capacity(), answerer: recorder.course().answerer(), headers: None }
    }

    /// The model that was asked last, for an error response. `None` if none was.
    pub fn asked(course: &Course) -> Option<Self> {
        let answerer = course.answerer();
        answerer.backend.is_some().then(|| Self { answerer, ..Self::default() })
    }

    /// Replaces the client's name of the model by that of the route's model which answers.
    pub fn rename(&self, model: &mut String) {
        if let Some(target) = &self.answerer.target {
            target.as_ref().clone_into(model);
        }
    }

    /// The response with the headers that say which model answers.
    pub fn attach(self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        match &self.answerer.backend {
            Some(BackendName::Local) => {
                headers.insert(BACKEND, HeaderValue::from_static(LOCAL));
            }
            Some(BackendName::Provider(name) | BackendName::Managed(name)) => set(headers, BACKEND, name),
            None => {}
        }
        if let Some(route) = &self.answerer.route {
            set(headers, ROUTE, route);
        }
        if let Some(reason) = self.answerer.fallback_reason() {
            set(headers, FALLBACK_REASON, &reason);
        }
        headers.extend(self.headers.map(|own| *own).unwrap_or_default());
        if let Some(capacity) = self.capacity {
            response.extensions_mut().insert(capacity);
        }
        response
    }
}

/// Sets a header. Characters that no header may have are percent-encoded.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(utf8_percent_encode(value, CONTROLS).to_string()) {
        headers.insert(name, value);
    }
}
