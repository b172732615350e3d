//! The id of a client's request.

use std::sync::{Arc, Mutex, PoisonError};

use hyper::HeaderMap;
use opentelemetry::trace::SpanContext;

use super::content::Content;
use super::course::Course;

/// Part of the response headers, and of the log lines of all processes.
#[derive(Debug, Clone)]
pub struct RequestId {
    /// The id itself.
    pub name: String,
    /// The headers of the request that conditions of routes name, if there are such conditions.
    pub headers: Option<Arc<HeaderMap>>,
    /// The client's span, which the request's span is a child of. Without one it is not valid, and has the trace of the request alone.
    pub parent: Arc<SpanContext>,
    /// Collects the content of the request, if its key says so.
    pub content: Option<Arc<Content>>,
    /// By which an error response can say which model was asked.
    pub latest: LatestCourse,
}

/// The course of a client's request, or of its last part if it has several.
#[derive(Debug, Clone, Default)]
pub struct LatestCourse(Arc<Mutex<Option<Arc<Course>>>>);

impl LatestCourse {
    /// Replaces the course.
    pub fn set(&self, course: &Arc<Course>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(course));
    }

    /// The course; `None` if the request goes to no model, or was refused before.
    pub fn get(&self) -> Option<Arc<Course>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
