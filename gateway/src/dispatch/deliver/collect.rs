//! Waits for the complete outputs of a request.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use ipc_proto::Result;
use ipc_proto::generate::Event;

use super::{Job, Served};
use crate::audit::record::RequestRecorder;
use crate::backends::Verbatim;
use crate::dispatch::choices::Choices;
use crate::inference::output::{CompleteOutput, Output};

/// An event in the course of a request.
#[derive(Debug, Clone, Copy)]
pub enum JobEvent<'a> {
    /// A server has taken it.
    Begun {
        /// Tokens of the first choice's prompt.
        prompt_tokens: u32,
        /// The server that has taken it.
        served: &'a Served,
    },
    /// An event of one of its choices.
    Event(&'a Event),
}

/// Collects the output of each choice, and which server it came from. Calls `on_event` with each event.
///
/// # Errors
/// When a choice cannot begin, or fails. The other choices are cancelled.
pub async fn collect(job: Job, mut on_event: impl FnMut(&Event)) -> Result<(Vec<CompleteOutput>, Served)> {
    let each = |event: JobEvent<'_>| {
        if let JobEvent::Event(event) = event {
            on_event(event);
        }
    };
    follow(job, each).await
}

/// As [`collect`], and also reports the beginning.
///
/// # Errors
/// As [`collect`].
pub async fn follow(
    job: Job,
    mut on_event: impl FnMut(JobEvent<'_>),
) -> Result<(Vec<CompleteOutput>, Served)> {
    let (services, mut recorder, requests) = job.into_requests();
    let started = async { services.dispatcher.generate(requests.await?).await };
    let mut choices = recorder.record_start(started.await)?;
    recorder.record_prompt(choices.prompt_tokens());
    let served = Served::of(&choices, &recorder);
    on_event(JobEvent::Begun { prompt_tokens: choices.prompt_tokens(), served: &served });
    let each = |event: &Event| on_event(JobEvent::Event(event));
    let outputs = complete(&mut choices, &mut recorder, each).await?;
    Ok((outputs, served))
}

/// The outcome of a request whose answer is not streamed.
pub enum Whole {
    /// The outputs, and which server they came from.
    Outputs(Vec<CompleteOutput>, Served),
    /// The answer in the client's own protocol.
    Verbatim(Response),
}

/// As [`collect`], for a request that may be answered in the client's own protocol.
///
/// # Errors
/// As [`collect`].
pub async fn whole(job: Job, on_event: impl FnMut(&Event)) -> Result<Whole> {
    let (services, mut recorder, requests) = job.into_requests();
    let started = async { services.dispatcher.generate(requests.await?).await };
    let mut choices = recorder.record_start(started.await)?;
    recorder.record_prompt(choices.prompt_tokens());
    let served = Served::of(&choices, &recorder);
    if let Some(verbatim) = choices.take_verbatim() {
        return Ok(Whole::Verbatim(pass(choices, *verbatim, &mut recorder, served).await?));
    }
    Ok(Whole::Outputs(complete(&mut choices, &mut recorder, on_event).await?, served))
}

/// Answers with the provider's own answer.
async fn pass(
    mut choices: Choices,
    mut verbatim: Verbatim,
    recorder: &mut RequestRecorder,
    served: Served,
) -> Result<Response> {
    while !choices.is_over() {
        let (choice, event) = choices.next().await;
        recorder.record_event(choice, &event, choices.is_over());
        if let Event::Failed(error) = event {
            return Err(error);
        }
    }
    let body = verbatim.next().await.transpose()?.unwrap_or_default();
    recorder.record_answer(&body);
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let served = Served { headers: Some(Box::new(verbatim.headers)), ..served };
    Ok(served.attach(([kind], body).into_response()))
}

/// Collects the output of each choice that has begun. Calls `on_event` with each event.
///
/// # Errors
/// When a choice fails.
pub async fn complete(
    choices: &mut Choices,
    recorder: &mut RequestRecorder,
    mut on_event: impl FnMut(&Event),
) -> Result<Vec<CompleteOutput>> {
    let mut outputs: Vec<Output> = (0..choices.count()).map(|_| Output::default()).collect();
    let mut ends = vec![None; outputs.len()];
    while !choices.is_over() {
        let (choice, event) = choices.next().await;
        on_event(&event);
        recorder.record_event(choice, &event, choices.is_over());
        match event {
            Event::Progress(_) => {}
            Event::Prompt { tokens } => outputs[choice].prompt = tokens,
            Event::Delta(delta) => outputs[choice].add(delta),
            Event::Failed(error) => return Err(error),
            Event::Finished { reason, usage } => ends[choice] = Some((reason, usage)),
        }
    }
    let mut complete = Vec::with_capacity(outputs.len());
    for (output, end) in outputs.into_iter().zip(ends) {
        if let Some((reason, usage)) = end {
            complete.push(CompleteOutput { output, reason, usage });
        }
    }
    Ok(complete)
}
