//! From a neutral request to a [`Submission`]: render, tokenise, check, resolve. Pure but for a drawn seed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipc_proto::generate::{Constraint, GenerateRequest, Prompt, ToolChoice};
use ipc_proto::stream::StreamId;
use ipc_proto::{Error, ErrorKind, Result, Source};

use crate::adapters::grammar::Matcher;
use crate::adapters::model_files::{ModelFiles, REPETITION};
use crate::adapters::reading::Manner;
use crate::adapters::tool_parser::Format;
use crate::adapters::tool_parser::grammar::{self, Demand};
use crate::engine::budget::Budget;
use crate::engine::command::Submission;
use crate::engine::output::Limits;
use crate::engine::penalties::Penalties;
use crate::engine::runner::RowSampling;
use crate::engine::sequence::{Order, SamplingParams};
use crate::prompts;

/// Stop texts of one request, at most; each is looked for in every piece of text.
const MAX_STOPS: usize = 32;
/// Bytes of a stop text, at most; so much text may be held back.
const MAX_STOP_BYTES: usize = 1024;
/// Likeliest tokens told with each token, at most.
const MAX_TOP_LOGPROBS: u8 = 20;

/// Checks and tokenises `request`, which arrived just now. `max_length` is what prompt and output may take together, in
/// tokens.
///
/// # Errors
/// When the request is wrong for this model: no chat template, a prompt that is empty or too long, values out of range, a
/// constraint that cannot be.
pub fn admit(
    files: &ModelFiles,
    max_length: u32,
    stream: StreamId,
    request: GenerateRequest,
) -> Result<Submission> {
    let deadline = request.time_limit_ms.map(|ms| Instant::now() + Duration::from_millis(ms.into()));
    if request.stop.len() > MAX_STOPS
        || !request.stop.iter().all(|stop| (1..=MAX_STOP_BYTES).contains(&stop.len()))
    {
        let text = format!("stop: at most {MAX_STOPS} texts of 1 to {MAX_STOP_BYTES} bytes");
        return Err(Error::invalid("stop", text));
    }
    let scores_prompt = request.logprobs.is_some_and(|logprobs| logprobs.prompt);
    if request.max_tokens == Some(0) && !scores_prompt {
        return Err(Error::invalid("max_tokens", "max_tokens must be at least 1"));
    }
    if request.max_tokens == Some(0) && !request.generated.is_empty() {
        return Err(Error::invalid("generated", "generated: there is nothing to go on with"));
    }
    if request.logprobs.is_some_and(|logprobs| logprobs.top > MAX_TOP_LOGPROBS) {
        let text = format!("top_logprobs: at most {MAX_TOP_LOGPROBS}");
        return Err(Error::invalid("top_logprobs", text));
    }
    let field = match request.prompt {
        Prompt::Text(_) | Prompt::Tokens(_) | Prompt::Infill { .. } => "prompt",
        Prompt::Chat(_) => "messages",
    };
    let (prompt, manner) = match &request.prompt {
        // These are tokens already.
        prompt @ Prompt::Tokens(_) => prompts::read(files, prompt)?,
        prompt => files.recent.read(&request.cache_scope, prompt, || prompts::read(files, prompt))?,
    };
    check_prompt(files, &prompt, max_length, field)?;
    let room = max_length - prompt.len() as u32;
    if request.generated.len() > room as usize
        || request.generated.iter().any(|token| *token >= files.vocabulary)
    {
        return Err(Error::invalid("generated", "generated: these tokens are not this model's output"));
    }
    let max_tokens = request.max_tokens.map_or(room, |tokens| tokens.min(room));
    let constraint = constrained(files, &request, &manner)?;
    let budget = budget(files, &request, &manner)?;
    let none = || Arc::new(HashSet::new());
    let mut eos = if request.ignore_eos { none() } else { Arc::clone(&files.eos) };
    if request.stop_tokens.iter().any(|token| *token >= files.vocabulary) {
        let text = format!("stop_token_ids: token ids of this model lie below {}", files.vocabulary);
        return Err(Error::invalid("stop_token_ids", text));
    }
    if !request.stop_tokens.is_empty() {
        eos = Arc::new(eos.iter().chain(&request.stop_tokens).copied().collect());
    }
    let order = Order {
        prompt,
        generated: request.generated.clone(),
        sampling: resolve(&request, files)?,
        priority: request.priority,
        cache_scope: request.cache_scope,
        logprobs: request.logprobs,
        masked: constraint.is_some() || budget.is_some(),
    };
    let markers =
        if matches!(request.prompt, Prompt::Chat(_)) { Arc::clone(&files.dialect.markers) } else { none() };
    let limits = Limits { eos, stop: request.stop, max_tokens, manner, markers };
    Ok(Submission { stream, id: request.id, order, limits, constraint, budget, deadline })
}

/// How long it may think, where that is said and the model thinks.
fn budget(files: &ModelFiles, request: &GenerateRequest, manner: &Manner) -> Result<Option<Budget>> {
    let Some(tokens) = request.reasoning_budget.filter(|_| matches!(request.prompt, Prompt::Chat(_))) else {
        return Ok(None);
    };
    let internal = |text: String| Error::new(ErrorKind::Internal, Source::Worker, text);
    let closings = files.dialect.closings(manner);
    let encode = |text: &String| files.tokenizer.encode(text, false).map_err(internal);
    let closings = closings.iter().map(encode).collect::<Result<Vec<_>>>()?;
    Ok((!closings.is_empty()).then(|| Budget::new(tokens, closings, files.vocabulary)))
}

fn check_prompt(files: &ModelFiles, prompt: &[u32], max_length: u32, field: &str) -> Result<()> {
    let length = prompt.len() as u32;
    if length == 0 {
        return Err(Error::invalid(field, "the prompt is empty"));
    }
    if prompt.iter().any(|token| *token >= files.vocabulary) {
        return Err(Error::invalid(
            field,
            "the prompt has a token that the tokenizer knows and the model does not",
        ));
    }
    if length >= max_length {
        let text = format!(
            "the prompt has {length} tokens; this model's context holds {max_length}, output included"
        );
        return Err(Error::new(ErrorKind::ContextLength, Source::Client, text).with_param(field));
    }
    Ok(())
}

/// What the output must be: what is asked of an answer, and calls in the model's own form.
fn constrained(files: &ModelFiles, request: &GenerateRequest, manner: &Manner) -> Result<Option<Matcher>> {
    let answer = request.constraint.as_ref();
    let Prompt::Chat(chat) = &request.prompt else { return plainly(files, answer) };
    let tools = if manner.tools.is_some() { chat.tools.as_slice() } else { &[] };
    if let ToolChoice::Named(name) = &chat.tool_choice
        && !tools.iter().any(|tool| tool.name == *name)
    {
        return Err(Error::invalid("tool_choice", format!("tool_choice: there is no function \"{name}\"")));
    }
    let forced = !tools.is_empty() && chat.tool_choice != ToolChoice::Auto;
    let strict = tools.iter().any(|tool| tool.strict);
    // What a model thinks comes before its answer, whether the prompt has opened it or the model does.
    let tags = manner.reasoning.tags().filter(|_| !manner.thought && !manner.answering);
    let tags = tags.map(|(open, close)| (open, close, manner.open));
    let around = !tools.is_empty() || tags.is_some() || manner.format == Format::Harmony;
    if !(forced || strict || (answer.is_some() && around)) {
        return plainly(files, answer);
    }
    let compile = |lenient| {
        let demand = Demand {
            tools,
            choice: &chat.tool_choice,
            parallel: !manner.single,
            reasoning: tags,
            answer: answer.is_some(),
            lenient,
        };
        let lark = grammar::lark(manner.format, &demand, &|marker| files.grammars.marker(marker))?;
        files.grammars.compile_around(lark, answer)
    };
    // A schema that cannot be followed is only a hint where the function is not strict.
    let compiled = compile(false).or_else(|error| compile(true).map_err(|_| error));
    match compiled {
        Ok(matcher) => Ok(Some(matcher)),
        // Whose fault is it?
        Err(text) => {
            plainly(files, answer)?;
            Err(Error::invalid("tools", format!("tools: {text}")))
        }
    }
}

fn plainly(files: &ModelFiles, constraint: Option<&Constraint>) -> Result<Option<Matcher>> {
    let compiled = constraint.map(|constraint| files.grammars.compile(constraint)).transpose();
    compiled.map_err(|text| Error::invalid("response_format", text))
}

fn resolve(request: &GenerateRequest, files: &ModelFiles) -> Result<SamplingParams> {
    let ModelFiles { defaults, vocabulary, eos, .. } = files;
    let asked = &request.sampling;
    let within = |name: &str, value: f32, low: f32, high: f32| {
        let text = || format!("{name} must lie between {low} and {high}, not {value}");
        if (low..=high).contains(&value) { Ok(value) } else { Err(Error::invalid(name, text())) }
    };
    let temperature = asked.temperature.or(defaults.temperature).unwrap_or(1.0);
    let top_p = asked.top_p.or(defaults.top_p).unwrap_or(1.0);
    let min_p = asked.min_p.or(defaults.min_p).unwrap_or(0.0);
    let row = RowSampling {
        // Below this the quotient overflows float32; it is greedy for every purpose.
        temperature: Some(within("temperature", temperature, 0.0, 100.0)?)
            .filter(|t| *t >= 1e-4)
            .unwrap_or(0.0),
        top_p: within("top_p", top_p, f32::MIN_POSITIVE, 1.0)?,
        top_k: asked.top_k.or(defaults.top_k).unwrap_or(0),
        min_p: within("min_p", min_p, 0.0, 1.0)?,
        noise: 0,
    };
    let (least, most) = (*REPETITION.start(), *REPETITION.end());
    let repetition = asked.repetition_penalty.or(defaults.repetition_penalty).unwrap_or(1.0);
    let penalties = Penalties {
        repetition: within("repetition_penalty", repetition, least, most)?,
        presence: within("presence_penalty", asked.presence_penalty.unwrap_or(0.0), -100.0, 100.0)?,
        frequency: within("frequency_penalty", asked.frequency_penalty.unwrap_or(0.0), -100.0, 100.0)?,
        bias: asked.logit_bias.clone(),
    };
    if !penalties.bias.iter().all(|(token, bias)| token < vocabulary && bias.is_finite()) {
        let text =
            format!("logit_bias: token ids of this model lie below {vocabulary}, and biases are numbers");
        return Err(Error::invalid("logit_bias", text));
    }
    let mut ends: Vec<u32> = eos.iter().copied().filter(|token| token < vocabulary).collect();
    ends.sort_unstable();
    Ok(SamplingParams {
        row,
        seed: asked.seed.unwrap_or_else(random_seed),
        penalties,
        min_tokens: request.min_tokens,
        ends: ends.into(),
    })
}

/// A number nobody can predict, from the standard library's per-process random keys.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests;
