//! Asks the models of a route in order, until one answers.
//!
//! A request goes on only before its output has begun, and never to two models at once: the one that is too slow is cancelled, and
//! its end awaited, before the next one is asked.

use std::time::Duration;

use ipc_proto::{Disposition, Error, ErrorKind, Origin, Resource};

use super::{Asked, View, is_beyond};
use crate::backends::{Attempt, Attempted, EventStream, GenerateAttempt};
use crate::inference::course::reason;
use crate::inference::routing::{Bounds, Decision};

impl View<'_> {
    /// Asks the models of a route.
    pub(super) async fn generate_along(
        &self,
        decision: &Decision,
        attempt: GenerateAttempt,
    ) -> Attempt<Vec<EventStream>> {
        let bounds = decision.bounds;
        if let Some(target) = attempt.course.target().filter(|_| has_begun(&attempt)) {
            // Only the model that has begun can continue its output.
            return self.generate_at(bounds, &target, attempt).await;
        }
        if let Some(title) = &decision.route {
            attempt.course.enter_route(&title.as_str().into());
        }
        let Some((last, others)) = decision.targets.split_last() else {
            return Err(Error::not_found(Resource::Model, "the route names no model"));
        };
        for target in others {
            let outcome = self.generate_within(bounds, target, attempt.clone()).await;
            let Some(cause) = reason_to_go_on(&outcome, &attempt) else { return outcome };
            attempt.course.pass_over(reason(cause));
            let model = &*attempt.model;
            tracing::warn!(model, target, %cause, "a request goes to the next model of its route");
        }
        self.generate_at(bounds, last, attempt).await
    }

    async fn generate_at(
        &self,
        bounds: Bounds,
        target: &str,
        attempt: GenerateAttempt,
    ) -> Attempt<Vec<EventStream>> {
        let asked = Asked { name: target, along_route: true, local_only: bounds.local_only };
        let (backend, model) = self.ask(asked, &attempt.sender, &attempt.course).await?;
        backend.generate(GenerateAttempt { model: model.to_owned(), ..attempt }).await
    }

    /// As [`Self::generate_at`], up to the beginning of the output, which the route may limit.
    async fn generate_within(
        &self,
        bounds: Bounds,
        target: &str,
        attempt: GenerateAttempt,
    ) -> Attempt<Vec<EventStream>> {
        let Some(seconds) = bounds.first_token_seconds else {
            return begun(self.generate_at(bounds, target, attempt).await).await;
        };
        let limit = tokio::time::sleep(Duration::from_secs(seconds.into()));
        tokio::pin!(limit);
        let asked = tokio::select! {
            outcome = self.generate_at(bounds, target, attempt) => outcome?,
            () = &mut limit => return Err(too_slow(target, seconds)),
        };
        let Attempted { server, outcome } = asked;
        let mut streams = match outcome {
            Ok(streams) => streams,
            Err(error) => return Ok(Attempted { server, outcome: Err(error) }),
        };
        let is_late = tokio::select! {
            () = wait_for_output(&mut streams) => false,
            () = &mut limit => true,
        };
        if is_late {
            for stream in streams {
                stream.cancel().await;
            }
            return Err(too_slow(target, seconds));
        }
        Ok(Attempted { server, outcome: begin(streams) })
    }
}

/// Waits until the output of an attempt has begun or failed.
async fn begun(attempt: Attempt<Vec<EventStream>>) -> Attempt<Vec<EventStream>> {
    let Attempted { server, outcome } = attempt?;
    let outcome = match outcome {
        Ok(mut streams) => {
            wait_for_output(&mut streams).await;
            begin(streams)
        }
        Err(error) => Err(error),
    };
    Ok(Attempted { server, outcome })
}

/// Waits until the first choice has begun or failed.
async fn wait_for_output(streams: &mut [EventStream]) {
    if let Some(first) = streams.first_mut() {
        first.wait_for_output().await;
    }
}

/// The streams, or the failure of the first one before its output.
fn begin(mut streams: Vec<EventStream>) -> Result<Vec<EventStream>, Error> {
    match streams.first_mut().and_then(EventStream::early_failure) {
        Some(error) => Err(error),
        None => Ok(streams),
    }
}

fn too_slow(target: &str, seconds: u32) -> Error {
    let text = format!("the model {target} has not begun its output within {seconds} s");
    Error::new(ErrorKind::Timeout, Origin::Gateway, text).with_disposition(Disposition::Final)
}

fn has_begun(attempt: &GenerateAttempt) -> bool {
    attempt.choices.iter().any(|choice| !choice.generated.is_empty())
}

/// The error after which the next model of a route takes a request. `None` if no model could take it, or its output has begun:
/// another model would not continue it.
fn reason_to_go_on<'a, T>(outcome: &'a Attempt<T>, attempt: &GenerateAttempt) -> Option<&'a Error> {
    let (error, is_final) = match outcome {
        Ok(attempted) => (attempted.outcome.as_ref().err()?, false),
        Err(error) => (error, true),
    };
    // The dispatcher asks the same model once more first.
    let is_retried =
        !is_final && error.disposition == Disposition::RetryElsewhere && attempt.tried.excluded.is_empty();
    if is_final && is_beyond(error, &attempt.sender) {
        return Some(error);
    }
    let concerns_the_model = matches!(
        error.kind,
        ErrorKind::NotFound(Resource::Model)
            | ErrorKind::ModelBroken
            | ErrorKind::Unavailable
            | ErrorKind::Overloaded
            | ErrorKind::RateLimited
            | ErrorKind::Upstream
            | ErrorKind::Timeout
            | ErrorKind::ContextLength
    );
    (concerns_the_model && !has_begun(attempt) && !is_retried).then_some(error)
}
