//! Scores the answers of all questions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use ipc_proto::generate::{Event, Generation, Logprobs, Prompt};
use ipc_proto::prompt::TokenizeRequest;
use ipc_proto::worker::Capacity;
use ipc_proto::{Error, ErrorKind, Field, Origin, Result};

use super::parse::ValidDecision;
use super::questions::ANSWER_PREFIX;
use super::wire::{InputDetails, Usage};
use crate::audit::record::RequestRecorder;
use crate::dispatch::dispatcher::time_left_ms;
use crate::dispatch::{GenerateRequest, Services, Target, deliver};
use crate::inference::output::CompleteOutput;

/// The number of answers that are scored at once, so that a request leaves room for others.
const WAVE: usize = 64;

/// The log probabilities of all answers.
#[derive(Debug, Default)]
pub struct Scores {
    /// For each question, the log probability of each answer.
    pub logprobs: Vec<Vec<f64>>,
    /// Token counts.
    pub usage: Usage,
    /// The worker's free capacity, if known.
    pub capacity: Option<Capacity>,
}

/// An answer to score: the tokens of its prompt and its own.
struct Scored {
    question: usize,
    prompt_tokens: usize,
    tokens: Vec<u32>,
}

/// The path of a request to the model.
pub struct Route {
    /// The id of the client's request, for the logs.
    pub request_id: String,
    /// Requests of different scopes share no cached text.
    pub cache_scope: String,
    /// The model, and the limits of the calls.
    pub target: Target,
    /// The request's arrival, from which its time limit counts.
    pub arrived: Instant,
}

/// Scores every answer of every question.
///
/// # Errors
/// Unknown or broken model, an input that does not fit it, no capacity.
pub async fn score(
    services: &Services,
    recorder: &mut RequestRecorder,
    route: &Route,
    decision: &ValidDecision,
) -> Result<Scores> {
    let answers = tokenize(services, &route.target, decision).await?;
    let mut scores = Scores { logprobs: vec![Vec::new(); decision.questions.len()], ..Scores::default() };
    for wave in answers.chunks(WAVE) {
        let left = time_left_ms(route.target.time_limit_ms, route.arrived)?;
        let requests = wave.iter().map(|scored| request(route, decision, scored, left)).collect();
        let mut choices = services.dispatcher.generate(requests).await?;
        scores.capacity = choices.capacity();
        let outputs = deliver::complete(&mut choices, recorder, |_: &Event| {}).await?;
        for (scored, output) in wave.iter().zip(outputs) {
            scores.add(scored, &output)?;
        }
    }
    Ok(scores)
}

impl Scores {
    fn add(&mut self, scored: &Scored, output: &CompleteOutput) -> Result<()> {
        let own = scored.tokens.len() - scored.prompt_tokens;
        let tokens = &output.output.prompt;
        if tokens.len() != own {
            let text = format!("an answer of {own} tokens has {} scores", tokens.len());
            return Err(Error::new(ErrorKind::Internal, Origin::Gateway, text));
        }
        let logprob = tokens.iter().map(|token| f64::from(token.token.logprob.unwrap_or(f32::NEG_INFINITY)));
        let logprobs = &mut self.logprobs[scored.question];
        let is_first = logprobs.is_empty();
        logprobs.push(logprob.sum());
        let usage = &mut self.usage;
        usage.input_tokens += own as u64;
        if is_first {
            usage.input_tokens += scored.prompt_tokens as u64;
            let InputDetails { cached_tokens, cache_write_tokens } = &mut usage.input_tokens_details;
            *cached_tokens += u64::from(output.usage.cached_tokens);
            *cache_write_tokens += u64::from(output.usage.cache_written_tokens);
        }
        usage.total_tokens = usage.input_tokens;
        Ok(())
    }
}

fn request(
    route: &Route,
    decision: &ValidDecision,
    scored: &Scored,
    time_limit_ms: Option<u32>,
) -> GenerateRequest {
    let extensions = &decision.extensions;
    let generation = Generation {
        prompt: Prompt::Tokens(scored.tokens.clone()),
        max_tokens: Some(0),
        logprobs: Some(Logprobs { top: 0, prompt: true }),
        scored_from: scored.prompt_tokens as u32,
        priority: extensions.priority.unwrap_or_default(),
        time_limit_ms,
        ..Generation::default()
    };
    GenerateRequest {
        model: route.target.model.clone(),
        sender: route.target.sender.clone(),
        request_id: route.request_id.clone(),
        cache_scope: route.cache_scope.clone(),
        generation,
        choices: 1,
        keep_alive: extensions.keep_alive,
        affinity: decision.affinity.clone(),
        original: None,
        assumes_no_thinking: false,
        course: Arc::clone(&route.target.course),
    }
}

/// The tokens of each answer behind those of its question's prompt.
async fn tokenize(services: &Services, target: &Target, decision: &ValidDecision) -> Result<Vec<Scored>> {
    let prompts: Vec<Prompt> = decision.questions.iter().map(|question| decision.prompt(question)).collect();
    let rendered = services.dispatcher.render(target, &prompts).await.map_err(blame_input)?;
    let mut known: HashMap<String, Vec<u32>> = HashMap::new();
    let mut answers = Vec::new();
    for (at, (question, prompt)) in decision.questions.iter().zip(rendered).enumerate() {
        for text in question.kind.answer_texts() {
            let own = match known.get(&text) {
                Some(tokens) => tokens.clone(),
                None => {
                    let tokens = answer_tokens(services, target, &text).await?;
                    known.insert(text, tokens.clone());
                    tokens
                }
            };
            let tokens = [&prompt.tokens[..], &own].concat();
            answers.push(Scored { question: at, prompt_tokens: prompt.tokens.len(), tokens });
        }
    }
    Ok(answers)
}

/// The tokens of an answer as they follow the beginning of the model's turn. Alone they can differ: some tokenizers add a space.
async fn answer_tokens(services: &Services, target: &Target, text: &str) -> Result<Vec<u32>> {
    let encode = async |text: String| -> Result<Vec<u32>> {
        let request = TokenizeRequest {
            prompt: Prompt::Text(text),
            add_special: false,
            parse_special: false,
            pieces: false,
        };
        Ok(services.dispatcher.tokenize(target, &request).await?.tokens)
    };
    let (before, whole) =
        (encode(ANSWER_PREFIX.to_owned()).await?, encode(format!("{ANSWER_PREFIX}{text}")).await?);
    match whole.strip_prefix(&before[..]) {
        Some(tokens) if !tokens.is_empty() => Ok(tokens.to_vec()),
        _ => encode(text.to_owned()).await,
    }
}

/// The prompts are the client's input.
fn blame_input(error: Error) -> Error {
    match error.field {
        Some(Field::Messages | Field::Prompt) => error.with_field("input"),
        _ => error,
    }
}
