//! Turns a submission into requests to the engine: tokenises its prompt, compiles its constraint and resolves its sampling.
//! Pure, except for random seeds.
//!
//! The gateway has checked the values that depend on no model. This module checks those that do.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipc_proto::generate::{
    Choice, Constraint, Generation, Prompt, Submission, TextGrammar, Tool, ToolChoice, ToolInput,
};
use ipc_proto::stream::StreamId;
use ipc_proto::{Error, ErrorKind, Field, Origin, Result};
use tracing::Span;

use crate::engine::command::EngineRequest;
use crate::engine::masks;
use crate::engine::output::OutputLimits;
use crate::engine::penalties::Penalties;
use crate::engine::reasoning_budget::ReasoningBudget;
use crate::engine::runner::RowSampling;
use crate::engine::sequence::{SamplingParams, SequenceParams};
use crate::prompts::{self, Limits, TokenizedPrompt};
use crate::text::grammar::Matcher;
use crate::text::model_files::ModelFiles;
use crate::text::output_parser::OutputFormat;
use crate::text::tool_parser::ToolFormat;
use crate::text::tool_parser::grammar::{GrammarSpec, lark_grammar};

/// Tokenises `submission`, which arrived just now, for the gateway behind `stream`: one request for each choice. `max_length`
/// limits prompt and output together, in tokens. `span` goes with the requests. Stops when `wanted` becomes false.
///
/// # Errors
/// When the model cannot serve the request. It has no chat template, the prompt is empty or too long, a token id is unknown, or
/// the constraint cannot be compiled.
pub fn admit(
    files: &ModelFiles,
    max_length: u32,
    (stream, span): (StreamId, &Span),
    submission: Submission,
    wanted: &dyn Fn() -> bool,
) -> Result<Vec<EngineRequest>> {
    let Submission { cache_scope, tenant, generation, choices, .. } = submission;
    let deadline = generation.time_limit_ms.map(|ms| Instant::now() + Duration::from_millis(ms.into()));
    let limits = Limits { max_context: Some(max_length), wanted };
    let TokenizedPrompt { tokens: prompt, images, output_format } =
        prompts::encode(files, &generation.prompt, limits)?;
    check_prompt(files, &prompt, max_length, prompt_field(&generation.prompt))?;
    let max_output = max_length - prompt.len() as u32;
    let constraint = compile_constraint(files, &generation, &output_format)?;
    let budget = reasoning_budget(files, &generation, &output_format)?;
    let limits = OutputLimits {
        eos: end_tokens(files, &generation)?,
        max_tokens: generation.max_tokens.map_or(max_output, |tokens| tokens.min(max_output)),
        output_format: OutputFormat { constrained: generation.constraint.is_some(), ..output_format },
        markers: match generation.prompt {
            Prompt::Chat(_) => Arc::clone(&files.formats.markers),
            _ => Arc::default(),
        },
        stop: generation.stop.clone(),
    };
    let params = SequenceParams {
        prompt,
        sampling: resolve_sampling(&generation, files)?,
        images,
        generated: Vec::new(),
        priority: generation.priority,
        tenant,
        cache_scope,
        logprobs: generation.logprobs,
        scored_from: generation.scored_from as usize,
        masked: constraint.is_some() || budget.is_some(),
    };
    let admit_choice = |choice: Choice| {
        check_generated(files, &choice.generated, max_output)?;
        let mut params = SequenceParams { generated: choice.generated, ..params.clone() };
        params.sampling.seed = params.sampling.seed.wrapping_add(choice.index.into());
        let (limits, mut constraint, budget) = (limits.clone(), constraint.clone(), budget.clone());
        if let Some(matcher) = &mut constraint {
            replay(matcher, &params.generated)?;
        }
        Ok(EngineRequest {
            stream,
            id: choice.id,
            params,
            limits,
            constraint,
            budget,
            report_progress: generation.report_progress,
            deadline,
            span: span.clone(),
        })
    };
    choices.into_iter().map(admit_choice).collect()
}

fn prompt_field(prompt: &Prompt) -> Field {
    match prompt {
        Prompt::Text(_) | Prompt::Tokens(_) | Prompt::Infill { .. } => Field::Prompt,
        Prompt::Chat(_) => Field::Messages,
    }
}

fn check_prompt(files: &ModelFiles, prompt: &[u32], max_length: u32, field: Field) -> Result<()> {
    let length = prompt.len() as u32;
    if length == 0 {
        return Err(Error::invalid(field, "the prompt is empty"));
    }
    if let Some(token) = prompt.iter().find(|token| **token >= files.vocabulary) {
        let text =
            format!("the prompt has token {token}; the model's tokens end at {}", files.vocabulary - 1);
        return Err(Error::invalid(field, text));
    }
    if length >= max_length {
        return Err(Error::too_long(field, length, max_length));
    }
    Ok(())
}

/// Checks the output of a choice that another worker began.
fn check_generated(files: &ModelFiles, generated: &[u32], max_output: u32) -> Result<()> {
    let unknown = generated.iter().any(|token| *token >= files.vocabulary);
    if unknown || generated.len() > max_output as usize {
        return Err(Error::invalid(Field::Generated, "these tokens are not this model's output"));
    }
    Ok(())
}

/// Follows the output of a choice that another worker began. The engine's thread must not: a grammar can take its time.
fn replay(matcher: &mut Matcher, generated: &[u32]) -> Result<()> {
    matcher
        .watched(|matcher| generated.iter().try_for_each(|token| masks::advance(matcher, *token).map(drop)))
}

/// The tokens that end the output: the model's, unless the request ignores them, and those of the generation.
fn end_tokens(files: &ModelFiles, generation: &Generation) -> Result<Arc<HashSet<u32>>> {
    if generation.stop_tokens.iter().any(|token| *token >= files.vocabulary) {
        let text = format!("token ids of this model lie below {}", files.vocabulary);
        return Err(Error::invalid(Field::StopTokens, text));
    }
    let eos = if generation.ignore_eos { Arc::default() } else { Arc::clone(&files.eos) };
    if generation.stop_tokens.is_empty() {
        return Ok(eos);
    }
    Ok(Arc::new(eos.iter().chain(&generation.stop_tokens).copied().collect()))
}

/// The limit on the reasoning. `None` if the request sets none, or the output holds no reasoning.
fn reasoning_budget(
    files: &ModelFiles,
    generation: &Generation,
    output_format: &OutputFormat,
) -> Result<Option<ReasoningBudget>> {
    let Some(tokens) = generation.reasoning_budget.filter(|_| matches!(generation.prompt, Prompt::Chat(_)))
    else {
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
    generation: &Generation,
    output_format: &OutputFormat,
) -> Result<Option<Matcher>> {
    let answer = generation.constraint.as_ref();
    let Prompt::Chat(chat) = &generation.prompt else { return compile_answer(files, answer) };
    let tools = if output_format.functions.is_some() { chat.callable_tools() } else { Vec::new() };
    if let ToolChoice::Named(name) = &chat.tool_choice
        && !tools.iter().any(|tool| tool.name == *name)
    {
        return Err(Error::invalid(Field::ToolChoice, format!("there is no function \"{name}\"")));
    }
    // The reasoning precedes the answer, whether the prompt opens it or the model does.
    let may_reason = !output_format.reasoning_closed && !output_format.in_answer;
    let tags = output_format.reasoning.tags().filter(|_| may_reason);
    let tags = tags.map(|(open, close)| (open, close, output_format.reasoning_open));
    let must_call = !tools.is_empty() && chat.tool_choice != ToolChoice::Auto;
    let is_strict = tools.iter().any(Tool::is_strict);
    let is_embedded = !tools.is_empty() || tags.is_some() || output_format.tool_format == ToolFormat::Harmony;
    if !(must_call || is_strict || (answer.is_some() && is_embedded)) {
        return compile_answer(files, answer);
    }
    let compile = |lenient| {
        let spec = GrammarSpec {
            tools: &tools,
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
        Err(Error::invalid(Field::Tools, blame_text_tool(files, &tools).unwrap_or(text)))
    })
}

/// The error of the first tool whose grammar alone cannot be compiled, because it is too large for example.
fn blame_text_tool(files: &ModelFiles, tools: &[Tool]) -> Option<String> {
    tools.iter().find_map(|tool| {
        let ToolInput::Text(Some(grammar)) = &tool.input else { return None };
        let constraint = match grammar {
            TextGrammar::Lark(text) => Constraint::Lark(text.clone()),
            TextGrammar::Regex(text) => Constraint::Regex(text.clone()),
        };
        let error = files.grammars.compile(&constraint).err()?;
        Some(format!("the grammar of the tool {:?} cannot be used: {error}", tool.name))
    })
}

fn compile_answer(files: &ModelFiles, constraint: Option<&Constraint>) -> Result<Option<Matcher>> {
    let compiled = constraint.map(|constraint| files.grammars.compile(constraint)).transpose();
    compiled.map_err(|text| Error::invalid(Field::OutputFormat, text))
}

/// Resolves the sampling: the request's values, then the model's defaults, then neutral values.
fn resolve_sampling(generation: &Generation, files: &ModelFiles) -> Result<SamplingParams> {
    let ModelFiles { defaults, vocabulary, eos, .. } = files;
    let requested = &generation.sampling;
    let temperature = requested.temperature.or(defaults.temperature).unwrap_or(1.0);
    let row = RowSampling {
        // Below this, logits divided by the temperature overflow float32. Such sampling is greedy anyway.
        temperature: if temperature < 1e-4 { 0.0 } else { temperature },
        top_p: requested.top_p.or(defaults.top_p).unwrap_or(1.0),
        top_k: requested.top_k.or(defaults.top_k).unwrap_or(0),
        min_p: requested.min_p.or(defaults.min_p).unwrap_or(0.0),
        noise: 0,
    };
    let penalties = Penalties {
        repetition: requested.repetition_penalty.or(defaults.repetition_penalty).unwrap_or(1.0),
        presence: requested.presence_penalty.unwrap_or(0.0),
        frequency: requested.frequency_penalty.unwrap_or(0.0),
        bias: requested.logit_bias.clone(),
    };
    if !penalties.bias.iter().all(|(token, _)| token < vocabulary) {
        let text = format!("token ids of this model lie below {vocabulary}");
        return Err(Error::invalid(Field::LogitBias, text));
    }
    let mut ends: Vec<u32> = eos.iter().copied().filter(|token| token < vocabulary).collect();
    ends.sort_unstable();
    Ok(SamplingParams {
        row,
        seed: requested.seed.unwrap_or_else(random_seed),
        penalties,
        min_tokens: generation.min_tokens,
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
