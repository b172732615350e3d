//! Checks completion requests.

use ipc_proto::generate::{Generation, Logprobs, Prompt};
use ipc_proto::{Error, Result};

use super::choices::{self, Echo, Form, ValidChoices};
use super::formats::{self, Formats, formats};
use super::labels;
use super::{
    Asked, Extras, MAX_TOP_LOGPROBS, ValidRequest, extras, foreign, keep_alive, limit, model, sampling, stop,
    streaming,
};
use crate::api::openai::completions::{self, Request};

/// Prompts of one request, at most.
const MAX_PROMPTS: usize = 128;

/// Checks a completion request.
///
/// # Errors
/// Naming the field that is wrong.
pub fn completion(mut request: Request) -> Result<ValidChoices> {
    let labels = labels::of_body(&request.user, &request.safety_identifier, request.metadata.as_ref())?;
    let affinity = labels::first(&[("prompt_cache_key", &request.prompt_cache_key)])?;
    let told = choices::count("n", request.n)?;
    let candidates = choices::count("best_of", request.best_of.or(request.n))?;
    if candidates < told {
        return Err(Error::invalid("best_of", format!("best_of must be at least n, which is {told}")));
    }
    if candidates > told && request.stream == Some(true) {
        return Err(Error::invalid("best_of", "best_of cannot be streamed: the best is known at the end"));
    }
    let sampling = sampling(&asked!(request))?;
    foreign::refuse(&request.foreign, &sampling)?;
    let (extras, cache_salt) = extras!(request)?;
    let echo = request.echo.unwrap_or(false);
    let prompts =
        prompts(request.prompt, request.suffix.as_deref().filter(|suffix| !suffix.is_empty()), echo)?;
    let top = request.logprobs;
    if let Some(top) = top.filter(|top| *top > MAX_TOP_LOGPROBS) {
        let text = format!("logprobs must lie between 0 and {MAX_TOP_LOGPROBS}, not {top}");
        return Err(Error::invalid("logprobs", text));
    }
    let max_tokens = match request.max_tokens {
        Some(0) if echo => Some(0),
        // OpenAI's default for this endpoint, on which its users' scripts count.
        tokens => limit("max_tokens", tokens)?.or(Some(16)),
    };
    let (mut prompts, mut echoes): (Vec<Prompt>, Vec<Echo>) = prompts.into_iter().unzip();
    // The scores of a prompt's tokens spell it where its text is unknown, and end the answer where nothing follows it.
    let spells = echoes.contains(&Echo::Tokens);
    let scored = echo && (top.is_some() || spells || max_tokens == Some(0));
    if echo && top.is_some() {
        echoes.fill(Echo::Tokens);
    }
    let needs_logprobs = top.is_some() || scored || candidates > told;
    let logprobs = needs_logprobs.then(|| Logprobs { top: top.unwrap_or(0), prompt: scored });
    let prompt = prompts.remove(0);
    let generation =
        Generation { prompt, sampling, stop: stop(request.stop)?, max_tokens, logprobs, ..extras };
    let stream = streaming(request.stream, request.stream_options)?;
    let form = Form { candidates, told, echo: echoes, logprobs: top.is_some(), ..Form::default() };
    let keep_alive = keep_alive::checked(request.keep_alive)?;
    let model = model(request.model)?;
    let choices = candidates as u32;
    let request = ValidRequest {
        model,
        generation,
        more_prompts: prompts,
        choices,
        cache_salt,
        stream,
        keep_alive,
        labels,
        affinity,
    };
    ValidChoices::new(request, form)
}

/// Each prompt, at least one, and its echo before the completion.
fn prompts(prompt: completions::Prompt, suffix: Option<&str>, echo: bool) -> Result<Vec<(Prompt, Echo)>> {
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
