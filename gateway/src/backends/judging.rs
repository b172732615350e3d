//! Has models of this machine judge the text of a request, for conditions of routes.
//!
//! It asks the workers directly: no route, no key and no provider takes part, and no row of the request log is written. What is not
//! judged within the time limit counts as not judged, and its condition does not hold.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use ipc_proto::Result;
use ipc_proto::gateway::Routes;
use ipc_proto::generate::Priority;
use tokio::time::{Instant, timeout_at};

use super::local::LocalBackend;
use crate::inference::names::Names;
use crate::inference::routing::questions::{Answer, Found, Question};
use crate::inference::routing::{self, Decision, Facts, Next};

mod asking;
mod prompt;
mod vectors;

use asking::Session;
use vectors::Vectors;

/// Decides on routes, and asks models of this machine where a condition needs it.
pub struct Judges {
    local: Arc<LocalBackend>,
    /// The vectors of examples.
    vectors: Mutex<Vectors>,
}

/// The request whose text is judged.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its id, for the logs.
    pub request_id: &'a str,
    /// Requests of different scopes share no cached text.
    pub cache_scope: &'a str,
    /// Its class in the queues of the models that judge.
    pub priority: Priority,
    /// Milliseconds that are left of its time limit.
    pub time_left_ms: Option<u32>,
}

/// Answers questions about a text.
trait Judge: Sync {
    /// Dropping the future ends the work for it.
    fn answer<'a>(&'a self, question: Question<'a>, text: &'a str) -> BoxFuture<'a, Result<Found>>;
}

impl Judges {
    /// Judges by models of this machine.
    pub fn new(local: Arc<LocalBackend>) -> Self {
        Self { local, vectors: Mutex::default() }
    }

    /// Chooses the route of a request. Asks no model if no condition needs it.
    pub async fn decide(&self, names: &Names, facts: Facts, subject: Subject<'_>) -> Decision {
        if let Next::Decided(decision) = routing::decide(names.routes(), &facts) {
            return decision;
        }
        let limit_ms = names.judge().timeout_ms.min(subject.time_left_ms.unwrap_or(u32::MAX));
        let session = Session::new(self, subject, limit_ms);
        // Requests that nothing is asked for have a small future.
        decide_within(names.routes(), facts, limit_ms, &session).boxed().await
    }

    fn vectors(&self) -> MutexGuard<'_, Vectors> {
        self.vectors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks each question that the decision needs, all of them together within the limit.
async fn decide_within(routes: &Routes, mut facts: Facts, limit_ms: u32, judge: &dyn Judge) -> Decision {
    let deadline = Instant::now() + Duration::from_millis(limit_ms.into());
    loop {
        let question = match routing::decide(routes, &facts) {
            Next::Decided(decision) => return decision,
            Next::Asks(question) => question,
        };
        let text = facts.text.clone().unwrap_or_default();
        let began = Instant::now();
        let found = match deadline > began {
            true => timeout_at(deadline, judge.answer(question, &text)).await.ok(),
            false => None,
        };
        let found = match found {
            Some(answer) => answer.map_err(|error| error.message.as_str().into()),
            None => Err(Arc::from(format!("no answer within {limit_ms} ms"))),
        };
        if let Err(problem) = &found {
            tracing::warn!(model = question.model(), %problem, "a condition of a route was not judged");
        }
        let ms = u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX);
        facts.answers.add(question, Answer { found, ms });
    }
}

#[cfg(test)]
mod tests;
