//! Asks the workers of this machine.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use ipc_proto::embed::{EmbedRequest, Embeddings, Input};
use ipc_proto::generate::{Choice, Event, Generation};
use ipc_proto::{Disposition, Error, ErrorKind, Origin, Result};

use super::{Judge, Judges, Subject, prompt};
use crate::access::Tenant;
use crate::backends::{Attempt, Attempted, Backend, Call, EventStream, GenerateAttempt, Tried};
use crate::inference::course::Course;
use crate::inference::routing::questions::{Finding, Found, Question};

/// Calls for the vectors of one question. Each but the first follows from a change of the model's workers.
const MAX_CALLS: usize = 4;

/// All questions about one text.
pub(super) struct Session<'j> {
    judges: &'j Judges,
    subject: Subject<'j>,
    limit_ms: u32,
    /// The vectors of the text by the workers that made them.
    texts: Mutex<HashMap<u64, Arc<[f32]>>>,
}

impl<'j> Session<'j> {
    pub(super) fn new(judges: &'j Judges, subject: Subject<'j>, limit_ms: u32) -> Self {
        Self { judges, subject, limit_ms, texts: Mutex::default() }
    }

    async fn sentence(&self, model: &str, sentence: &str, text: &str) -> Result<Found> {
        let generation = Generation {
            priority: self.subject.priority,
            time_limit_ms: Some(self.limit_ms),
            ..prompt::generation(sentence, text)
        };
        let ask = |tried| self.judges.local.generate(self.attempt(model, generation.clone(), tried));
        let Attempted { outcome, .. } = once_more(ask).await?;
        match outcome?.pop() {
            Some(stream) => read(stream).await,
            None => Err(unanswered("it has no output")),
        }
    }

    fn attempt(&self, model: &str, generation: Generation, tried: Tried) -> GenerateAttempt {
        GenerateAttempt {
            model: model.to_owned(),
            sender: Tenant::default(),
            request_id: self.subject.request_id.to_owned(),
            cache_scope: self.subject.cache_scope.to_owned(),
            generation,
            choices: vec![Choice::default()],
            drawn_seed: 0,
            keep_alive: None,
            affinity: None,
            original: None,
            assumes_no_thinking: true,
            tried,
            // Its own: the request's shows which model answers.
            course: Arc::default(),
        }
    }

    /// The cosine of the text and the nearest example. Only vectors of the same worker are compared: another one may have another
    /// version of the model.
    async fn similarity(&self, model: &str, examples: &[String], text: &str) -> Result<Found> {
        let (mut worker, mut tokens) = (self.judges.vectors().latest(model), 0);
        for _ in 0..=MAX_CALLS {
            let own = worker.and_then(|worker| self.texts().get(&worker).cloned());
            let missing = self.judges.vectors().missing(worker, examples);
            if let (Some(worker), Some(own), true) = (worker, &own, missing.is_empty())
                && let Some(cosine) = self.judges.vectors().nearest(worker, examples, own)
            {
                let finding = Finding::Similarity(cosine);
                return Ok(Found { finding, prompt_tokens: tokens, completion_tokens: 0 });
            }
            let asks_for_text = own.is_none();
            let texts = asks_for_text.then_some(text).into_iter().chain(missing.iter().copied());
            let (answering, answer) = self.embed(model, texts).await?;
            tokens += u32::try_from(answer.tokens).unwrap_or(u32::MAX);
            let mut vectors = answer.vectors.into_iter().map(Arc::from);
            if asks_for_text && let Some(vector) = vectors.next() {
                self.texts().insert(answering, vector);
            }
            self.judges.vectors().add(model, answering, missing.into_iter().zip(vectors));
            worker = Some(answering);
        }
        Err(unanswered("its workers change too often"))
    }

    /// The vectors of some texts, and the worker that made them.
    async fn embed<'t>(
        &self,
        model: &str,
        texts: impl Iterator<Item = &'t str>,
    ) -> Result<(u64, Embeddings)> {
        let inputs: Vec<Input> = texts.map(|text| Input::Text(text.to_owned())).collect();
        let count = inputs.len();
        let request = EmbedRequest { inputs, truncate: true, ..EmbedRequest::default() };
        let (sender, course): (_, Arc<Course>) = (Tenant::default(), Arc::default());
        let ask = |tried| {
            let (request, course, sender) = (&request, &course, &sender);
            self.judges.local.embed(Call { model, sender, keep_alive: None, request, tried, course })
        };
        let Attempted { server, outcome } = once_more(ask).await?;
        let embeddings = outcome?;
        if embeddings.vectors.len() == count {
            Ok((server, embeddings))
        } else {
            Err(unanswered("it has not embedded every text"))
        }
    }

    fn texts(&self) -> MutexGuard<'_, HashMap<u64, Arc<[f32]>>> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Judge for Session<'_> {
    fn answer<'a>(&'a self, question: Question<'a>, text: &'a str) -> BoxFuture<'a, Result<Found>> {
        match question {
            Question::Sentence { model, sentence } => self.sentence(model, sentence, text).boxed(),
            Question::Similar { model, examples } => self.similarity(model, examples, text).boxed(),
        }
    }
}

/// Asks a server, and another one if the first is about to end.
async fn once_more<'f, T>(ask: impl Fn(Tried) -> BoxFuture<'f, Attempt<T>>) -> Attempt<T> {
    let first = ask(Tried::default()).await?;
    match &first.outcome {
        Err(error) if error.disposition == Disposition::RetryElsewhere => {
            ask(Tried { excluded: vec![first.server], lost: None }).await
        }
        _ => Ok(first),
    }
}

/// Reads an output up to its verdict. The rest is cancelled.
async fn read(mut stream: EventStream) -> Result<Found> {
    let prompt_tokens = stream.prompt_tokens;
    loop {
        match poll_fn(|context| stream.poll_next(context)).await {
            Event::Delta(delta) => {
                if let Some(truth) = prompt::verdict(&delta.text()) {
                    let completion_tokens = delta.index.saturating_add(1);
                    return Ok(Found { finding: Finding::Truth(truth), prompt_tokens, completion_tokens });
                }
            }
            Event::Failed(error) => return Err(error),
            Event::Finished { .. } => return Err(unanswered("it has said neither yes nor no")),
            Event::Progress(_) | Event::Prompt { .. } => {}
        }
    }
}

fn unanswered(text: &str) -> Error {
    Error::new(ErrorKind::Internal, Origin::Worker, text)
}
