//! Turns a neutral request into a [`Submission`]: validates it, tokenises its prompt, compiles its constraint and resolves its
//! sampling. Pure, except for random seeds.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipc_proto::generate::{Constraint, GenerateRequest, Prompt, ToolChoice};
use ipc_proto::stream::StreamId;
use ipc_proto::{Error, ErrorKind, Origin, Result};

use crate::engine::command::Submission;
use crate::engine::output::OutputLimits;
use crate::engine::penalties::Penalties;
use crate::engine::reasoning_budget::ReasoningBudget;
use crate::engine::runner::RowSampling;
use crate::engine::sequence::{SamplingParams, SequenceParams};
use crate::prompts;
use crate::text::grammar::Matcher;
use crate::text::model_files::{ModelFiles, REPETITION};
use crate::text::output_parser::OutputFormat;
use crate::text::prompt_memo::TokenizedPrompt;
use crate::text::tool_parser::ToolFormat;
use crate::text::tool_parser::grammar::{GrammarSpec, lark_grammar};

/// Stop texts of one request, at most. The engine searches every piece of text for each of them.
const MAX_STOPS: usize = 32;
/// Bytes of a stop text, at most. The engine may hold back as much text.
const MAX_STOP_BYTES: usize = 1024;
/// Alternatives reported with each token, at most.
const MAX_TOP_LOGPROBS: u8 = 20;

/// Validates and tokenises `request`, which arrived just now. `max_length` limits prompt and output together, in tokens.
///
/// # Errors
/// When the model cannot serve the request: it has no chat template, the prompt is empty or too long, a value is out of range,
/// or the constraint cannot be compiled.
pub fn admit(
    files: &ModelFiles,
    max_length: u32,
    stream: StreamId,
    request: GenerateRequest,
) -> Result<Submission> {
    let deadline = request.time_limit_ms.map(|ms| Instant::now() + Duration::from_millis(ms.into()));
    check_limits(&request)?;
    let TokenizedPrompt { tokens: prompt, output_format } = tokenize_prompt(files, &request)?;
    check_prompt(files, &prompt, max_length, prompt_field(&request.prompt))?;
    let max_output = max_length - prompt.len() as u32;
    check_generated(files, &request, max_output)?;
    let constraint = compile_constraint(files, &request, &output_format)?;
    let budget = reasoning_budget(files, &request, &output_format)?;
    let limits = OutputLimits {
        eos: end_tokens(files, &request)?,
        max_tokens: request.max_tokens.map_or(max_output, |tokens| tokens.min(max_output)),
        output_format,
        markers: match request.prompt {
            Prompt::Chat(_) => Arc::clone(&files.formats.markers),
            _ => Arc::default(),
        },
        stop: request.stop.clone(),
    };
    let params = SequenceParams {
        prompt,
        sampling: resolve_sampling(&request, files)?,
        generated: request.generated,
        priority: request.priority,
        cache_scope: request.cache_scope,
        logprobs: request.logprobs,
        masked: constraint.is_some() || budget.is_some(),
    };
    Ok(Submission { stream, id: request.id, params, limits, constraint, budget, deadline })
}

/// Checks the values that do not depend on the model.
fn check_limits(request: &GenerateRequest) -> Result<()> {
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
    Ok(())
}

fn tokenize_prompt(files: &ModelFiles, request: &GenerateRequest) -> Result<TokenizedPrompt> {
    let prompt = &request.prompt;
    if matches!(prompt, Prompt::Tokens(_)) {
        // It is tokenised already, so the memo would save nothing.
        return prompts::encode(files, prompt);
    }
    files.prompt_memo.get_or_tokenize(&request.cache_scope, prompt, || prompts::encode(files, prompt))
}

fn prompt_field(prompt: &Prompt) -> &'static str {
    match prompt {
        Prompt::Text(_) | Prompt::Tokens(_) | Prompt::Infill { .. } => "prompt",
        Prompt::Chat(_) => "messages",
    }
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
        return Err(Error::new(ErrorKind::ContextLength, Origin::Client, text).with_param(field));
    }
    Ok(())
}

/// Checks the output of a request that another worker began.
fn check_generated(files: &ModelFiles, request: &GenerateRequest, max_output: u32) -> Result<()> {
    let unknown = request.generated.iter().any(|token| *token >= files.vocabulary);
    if unknown || request.generated.len() > max_output as usize {
        return Err(Error::invalid("generated", "generated: these tokens are not this model's output"));
    }
    Ok(())
}

/// The tokens that end the output: the model's, unless the request ignores them, and those of the request.
fn end_tokens(files: &ModelFiles, request: &GenerateRequest) -> Result<Arc<HashSet<u32>>> {
    if request.stop_tokens.iter().any(|token| *token >= files.vocabulary) {
        let text = format!("stop_token_ids: token ids of this model lie below {}", files.vocabulary);
        return Err(Error::invalid("stop_token_ids", text));
    }
    let eos = if request.ignore_eos { Arc::default() } else { Arc::clone(&files.eos) };
    if request.stop_tokens.is_empty() {
        return Ok(eos);
    }
    Ok(Arc::new(eos.iter().chain(&request.stop_tokens).copied().collect()))
}

/// The limit on the reasoning. `None` if the request sets none, or the output holds no reasoning.
fn reasoning_budget(
    files: &ModelFiles,
    request: &GenerateRequest,
    output_format: &OutputFormat,
) -> Result<Option<ReasoningBudget>> {
    let Some(tokens) = request.reasoning_budget.filter(|_| matches!(request.prompt, Prompt::Chat(_))) else {
        return Ok(None);
    };
    let internal = |text: String| Error::new(ErrorKind::Internal, Origin::Worker, text);
    let encode = |text: &String| files.tokenizer.encode(text, false).map_err(internal);
    let endings = files.formats.reasoning_endings(output_format);
    let endings = endings.iter().map(encode).collect::<Result<Vec<_>>>()?;
    Ok((!endings.is_empty()).then(|| ReasoningBudget::new(tokens, endings, files.vocabulary)))
}

/// Compiles the constraint on the output: on the answer, and on calls in the model's own format.
fn compile_constraint(
    files: &ModelFiles,
    request: &GenerateRequest,
    output_format: &OutputFormat,
) -> Result<Option<Matcher>> {
    let answer = request.constraint.as_ref();
    let Prompt::Chat(chat) = &request.prompt else { return compile_answer(files, answer) };
    let tools = if output_format.functions.is_some() { chat.tools.as_slice() } else { &[] };
    if let ToolChoice::Named(name) = &chat.tool_choice
        && !tools.iter().any(|tool| tool.name == *name)
    {
        return Err(Error::invalid("tool_choice", format!("tool_choice: there is no function \"{name}\"")));
    }
    // The reasoning precedes the answer, whether the prompt opens it or the model does.
    let may_reason = !output_format.reasoning_closed && !output_format.in_answer;
    let tags = output_format.reasoning.tags().filter(|_| may_reason);
    let tags = tags.map(|(open, close)| (open, close, output_format.reasoning_open));
    let must_call = !tools.is_empty() && chat.tool_choice != ToolChoice::Auto;
    let is_strict = tools.iter().any(|tool| tool.strict);
    let is_embedded = !tools.is_empty() || tags.is_some() || output_format.tool_format == ToolFormat::Harmony;
    if !(must_call || is_strict || (answer.is_some() && is_embedded)) {
        return compile_answer(files, answer);
    }
    let compile = |lenient| {
        let spec = GrammarSpec {
            tools,
            choice: &chat.tool_choice,
            parallel: !output_format.single_call,
            reasoning: tags,
            answer: answer.is_some(),
            lenient,
        };
        let marker = |marker: &str| files.grammars.marker(marker);
        let lark = lark_grammar(output_format.tool_format, &spec, &marker)?;
        files.grammars.compile_with_answer(lark, answer)
    };
    // Unless the function is strict, a schema that the format cannot express is only a hint.
    let compiled = compile(false).or_else(|error| compile(true).map_err(|_| error));
    compiled.map(Some).or_else(|text| {
        // Blame the answer's constraint if that alone does not compile either.
        compile_answer(files, answer)?;
        Err(Error::invalid("tools", format!("tools: {text}")))
    })
}

fn compile_answer(files: &ModelFiles, constraint: Option<&Constraint>) -> Result<Option<Matcher>> {
    let compiled = constraint.map(|constraint| files.grammars.compile(constraint)).transpose();
    compiled.map_err(|text| Error::invalid("response_format", text))
}

/// Resolves the sampling: the request's values, then the model's defaults, then neutral values.
fn resolve_sampling(request: &GenerateRequest, files: &ModelFiles) -> Result<SamplingParams> {
    let ModelFiles { defaults, vocabulary, eos, .. } = files;
    let requested = &request.sampling;
    let within = |name: &str, value: f32, low: f32, high: f32| {
        let text = || format!("{name} must lie between {low} and {high}, not {value}");
        if (low..=high).contains(&value) { Ok(value) } else { Err(Error::invalid(name, text())) }
    };
    let temperature = requested.temperature.or(defaults.temperature).unwrap_or(1.0);
    let top_p = requested.top_p.or(defaults.top_p).unwrap_or(1.0);
    let min_p = requested.min_p.or(defaults.min_p).unwrap_or(0.0);
    let row = RowSampling {
        // Below this, logits divided by the temperature overflow float32. Such sampling is greedy anyway.
        temperature: Some(within("temperature", temperature, 0.0, 100.0)?)
            .filter(|t| *t >= 1e-4)
            .unwrap_or(0.0),
        top_p: within("top_p", top_p, f32::MIN_POSITIVE, 1.0)?,
        top_k: requested.top_k.or(defaults.top_k).unwrap_or(0),
        min_p: within("min_p", min_p, 0.0, 1.0)?,
        noise: 0,
    };
    let (least, most) = (*REPETITION.start(), *REPETITION.end());
    let repetition = requested.repetition_penalty.or(defaults.repetition_penalty).unwrap_or(1.0);
    let penalties = Penalties {
        repetition: within("repetition_penalty", repetition, least, most)?,
        presence: within("presence_penalty", requested.presence_penalty.unwrap_or(0.0), -100.0, 100.0)?,
        frequency: within("frequency_penalty", requested.frequency_penalty.unwrap_or(0.0), -100.0, 100.0)?,
        bias: requested.logit_bias.clone(),
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
        seed: requested.seed.unwrap_or_else(random_seed),
        penalties,
        min_tokens: request.min_tokens,
        ends: ends.into(),
    })
}

/// An unpredictable number, from the standard library's random keys.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests;
