//! Parses completion requests into neutral ones.

use ipc_proto::generate::{Generation, Logprobs, Prompt};
use ipc_proto::{Error, Result};
use serde_json::json;

use super::wire::{self as completions, Request};
use crate::inference::request::InferenceRequest;
use crate::protocols::common::checks::{model_name, refuse, token_limit, top_logprobs};
use crate::protocols::common::token_limit::TokenLimit;
use crate::protocols::openai::choices::{self, AnswerForm, ChoicesRequest, Echo};
use crate::protocols::openai::fields::Parsed;

/// Maximum number of prompts in one request.
const MAX_PROMPTS: usize = 128;
/// OpenAI's default for this endpoint. Existing scripts rely on it.
const DEFAULT_MAX_TOKENS: u32 = 16;

/// Parses a completion request.
///
/// # Errors
/// Returns an error that names the invalid field.
pub fn parse(request: Request) -> Result<ChoicesRequest> {
    let returned = choices::parse_count("n", request.groups.shared.n)?;
    let candidates = choices::parse_count("best_of", request.best_of.or(request.groups.shared.n))?;
    if candidates < returned {
        return Err(Error::invalid("best_of", format!("best_of must be at least n, which is {returned}")));
    }
    if candidates > returned && request.groups.shared.stream == Some(true) {
        return Err(Error::invalid("best_of", "best_of cannot be streamed: the best is known at the end"));
    }
    refuse("add_special_tokens", &request.add_special_tokens, &[json!(true)])?;
    let Parsed { generation, extensions, stream, labels, affinity, telemetry, request_id, .. } =
        request.groups.parse()?;
    let echo = request.echo.unwrap_or(false);
    let suffix = request.suffix.as_deref().filter(|suffix| !suffix.is_empty());
    let (mut prompts, mut echoes): (Vec<Prompt>, Vec<Echo>) =
        parse_prompts(request.prompt, suffix, echo)?.into_iter().unzip();
    let max_tokens = match request.max_tokens {
        None => Some(DEFAULT_MAX_TOKENS),
        Some(limit) if echo && limit == TokenLimit::from(0) => Some(0),
        limit => token_limit("max_tokens", limit)?,
    };
    let has_logprobs = request.logprobs.is_some();
    let top = top_logprobs("logprobs", request.logprobs)?;
    // The scores of a prompt's tokens provide its text if the prompt is token ids. They also end the answer if `max_tokens` is 0.
    let echoes_tokens = echoes.contains(&Echo::Tokens);
    let scored = echo && (has_logprobs || echoes_tokens || max_tokens == Some(0));
    if echo && has_logprobs {
        echoes.fill(Echo::Tokens);
    }
    let needs_logprobs = has_logprobs || scored || candidates > returned;
    let logprobs = needs_logprobs.then_some(Logprobs { top, prompt: scored });
    let form = AnswerForm {
        candidates,
        returned,
        echo: echoes,
        logprobs: has_logprobs,
        telemetry,
        request_id,
        ..AnswerForm::default()
    };
    let generation = Generation { prompt: prompts.remove(0), max_tokens, logprobs, ..generation };
    let request = InferenceRequest {
        model: model_name(request.model)?,
        generation,
        more_prompts: prompts,
        choices: candidates as u32,
        cache_salt: extensions.cache_salt,
        stream,
        keep_alive: extensions.keep_alive,
        labels,
        affinity,
        original: None,
        assumes_no_thinking: false,
    };
    ChoicesRequest::new(request, form)
}

/// Parses the prompts, at least one, each with its echo.
fn parse_prompts(
    prompt: completions::Prompt,
    suffix: Option<&str>,
    echo: bool,
) -> Result<Vec<(Prompt, Echo)>> {
    let wrong = |text: String| Error::invalid("prompt", format!("prompt {text}"));
    let texts = |texts: Vec<String>| {
        let one = |text: String| {
            if text.is_empty() && suffix.is_none() {
                return Err(wrong("must not be empty".into()));
            }
            let before = if echo { Echo::Text(text.clone()) } else { Echo::None };
            let prompt = match suffix {
                Some(after) => Prompt::Infill { before: text, after: after.to_owned() },
                None => Prompt::Text(text),
            };
            Ok((prompt, before))
        };
        texts.into_iter().map(one).collect::<Result<Vec<_>>>()
    };
    let batches = |batches: Vec<Vec<u32>>| {
        if suffix.is_some() {
            return Err(Error::invalid("suffix", "suffix needs a prompt that is text"));
        }
        let one = |tokens: Vec<u32>| {
            if tokens.is_empty() {
                return Err(wrong("must not be empty".into()));
            }
            Ok((Prompt::Tokens(tokens), if echo { Echo::Tokens } else { Echo::None }))
        };
        batches.into_iter().map(one).collect()
    };
    if echo && suffix.is_some() {
        return Err(Error::invalid("echo", "echo cannot be combined with suffix"));
    }
    let all = match prompt {
        completions::Prompt::Text(text) => texts(vec![text])?,
        completions::Prompt::Texts(all) => texts(all)?,
        completions::Prompt::Tokens(tokens) => batches(vec![tokens])?,
        completions::Prompt::Batches(all) => batches(all)?,
    };
    match all.len() {
        1..=MAX_PROMPTS => Ok(all),
        0 => Err(wrong("must not be empty".into())),
        n => Err(wrong(format!("may be at most {MAX_PROMPTS}, not {n}"))),
    }
}
