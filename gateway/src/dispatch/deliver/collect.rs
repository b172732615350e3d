//! Waits for the complete outputs of a request.

use ipc_proto::Result;
use ipc_proto::generate::Event;
use ipc_proto::worker::Capacity;

use super::Job;
use crate::audit::record::RequestRecorder;
use crate::dispatch::choices::Choices;
use crate::inference::output::{CompleteOutput, Output};

/// An event in the course of a request.
#[derive(Debug, Clone, Copy)]
pub enum Progress<'a> {
    /// A server has taken it.
    Begun {
        /// Tokens of the first choice's prompt.
        prompt_tokens: u32,
    },
    /// An event of one of its choices.
    Event(&'a Event),
}

/// Collects the output of each choice, and the worker's free capacity when it took the request, if known. Calls `on_event`
/// with each event.
///
/// # Errors
/// When a choice cannot begin, or fails. The other choices are cancelled.
pub async fn collect(
    job: Job,
    mut on_event: impl FnMut(&Event),
) -> Result<(Vec<CompleteOutput>, Option<Capacity>)> {
    let each = |progress: Progress<'_>| {
        if let Progress::Event(event) = progress {
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
    mut on_progress: impl FnMut(Progress<'_>),
) -> Result<(Vec<CompleteOutput>, Option<Capacity>)> {
    let (services, mut recorder, requests) = job.into_requests();
    let started = async { services.dispatcher.generate(requests.await?).await };
    let mut choices = recorder.record_start(started.await)?;
    on_progress(Progress::Begun { prompt_tokens: choices.prompt_tokens() });
    let each = |event: &Event| on_progress(Progress::Event(event));
    let outputs = complete(&mut choices, &mut recorder, each).await?;
    Ok((outputs, choices.capacity()))
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
        recorder.record_event(&event, choices.is_over());
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
