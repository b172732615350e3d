//! Parses chat requests into neutral ones.

use ipc_proto::generate::{ChatPrompt, Generation, Logprobs, Message, Priority, Prompt, Role};
use ipc_proto::{Error, Result};
use serde_json::{Value, json};

use super::messages;
use super::wire::{Effort, Request};
use crate::inference::request::InferenceRequest;
use crate::protocols::common::checks::{
    applicable_format, check_continuation, model_name, must_call, refuse, token_limit, top_logprobs,
};
use crate::protocols::common::prompt_cache;
use crate::protocols::common::reasoning::ReasoningRequest;
use crate::protocols::common::token_limit::TokenLimit;
use crate::protocols::openai::choices::{self, AnswerForm, ChoicesRequest, Echo};
use crate::protocols::openai::fields::Parsed;
use crate::protocols::openai::tools::{self, Tools};

/// Parses a chat request.
///
/// # Errors
/// Returns an error that names the invalid field.
pub fn parse(mut request: Request) -> Result<ChoicesRequest> {
    refuse_unsupported(&request)?;
    let tools = tools::parse(&mut request)?;
    let reasoning = parse_reasoning(&request)?;
    let template_kwargs = template_kwargs(&mut request, reasoning);
    let candidates = choices::parse_count("n", request.groups.shared.n)?;
    let logprobs = parse_logprobs(request.logprobs, request.top_logprobs)?;
    let is_background = messages::is_background_task(&request.messages);
    let max_tokens = max_tokens(&request)?;
    let Tools { tools, choice: tool_choice, parallel: parallel_calls, legacy, calls } = tools;
    let prompt = ChatPrompt { tools, tool_choice, parallel_calls, template_kwargs, ..prompt(&mut request)? };
    let echo = if request.echo == Some(true) { echo_of(prompt.messages.last()) } else { Vec::new() };
    let Parsed {
        mut generation,
        extensions,
        has_priority,
        stream,
        labels,
        affinity,
        tier,
        telemetry,
        request_id,
    } = request.groups.parse()?;
    if is_background && !has_priority {
        generation.priority = Priority::Low;
    }
    check_form_of_continuation(&prompt, generation.constraint.is_some())?;
    generation.constraint = applicable_format(&prompt.tool_choice, generation.constraint);
    let form = AnswerForm {
        candidates,
        returned: candidates,
        legacy,
        calls,
        logprobs: logprobs.is_some(),
        tier,
        hide_reasoning: reasoning.hidden,
        echo,
        telemetry,
        request_id,
    };
    let generation = Generation {
        prompt: Prompt::Chat(prompt),
        max_tokens,
        logprobs,
        reasoning_budget: reasoning.budget,
        ..generation
    };
    let request = InferenceRequest {
        model: model_name(request.model)?,
        generation,
        more_prompts: Vec::new(),
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

/// Parses the messages and how the prompt ends. It has no tools and no template variables yet.
fn prompt(request: &mut Request) -> Result<ChatPrompt> {
    let continues = parse_continuation(request)?;
    let mut messages = messages::parse(std::mem::take(&mut request.messages))?;
    request.verbosity.unwrap_or_default().apply(&mut messages);
    check_continuation("continue_final_message", continues, &messages)?;
    let sanitize_control_tokens = request.sanitize_control_tokens;
    Ok(ChatPrompt { messages, continues, sanitize_control_tokens, ..ChatPrompt::default() })
}

/// Refuses a continuation that must have a form from its first token on.
fn check_form_of_continuation(prompt: &ChatPrompt, has_format: bool) -> Result<()> {
    if prompt.continues && (has_format || must_call(&prompt.tool_choice)) {
        let text =
            "continue_final_message: an answer with a format, or that must call a function, begins anew";
        return Err(Error::invalid("continue_final_message", text));
    }
    Ok(())
}

fn max_tokens(request: &Request) -> Result<Option<u32>> {
    match (request.max_completion_tokens, request.max_tokens) {
        (Some(limit), _) => limit.positive("max_completion_tokens"),
        (None, limit) => token_limit("max_tokens", limit),
    }
}

/// Refuses unsupported fields that would change the output.
fn refuse_unsupported(request: &Request) -> Result<()> {
    refuse("modalities", &request.modalities, &[json!(["text"])])?;
    refuse("audio", &request.audio, &[])?;
    refuse("prediction", &request.prediction, &[])?;
    refuse("web_search_options", &request.web_search_options, &[])?;
    refuse("store", &request.store.map(Value::Bool), &[json!(false)])?;
    refuse("prompt_cache_retention", &request.prompt_cache_retention, &cache_retentions())?;
    prompt_cache::check(request.prompt_cache_options.as_ref())?;
    if prompt_cache::prewarms(request.prompt_cache_options.as_ref()) {
        let text = "prompt_cache_options.prewarm is not supported here, only by Responses";
        return Err(Error::invalid("prompt_cache_options.prewarm", text));
    }
    refuse("moderation", &request.moderation, &[])?;
    refuse("best_of", &request.best_of, &[json!(1)])?;
    refuse("add_special_tokens", &request.add_special_tokens, &[json!(false)])
}

/// Returns the echo of the last message. Only the assistant's has the role of the answer.
fn echo_of(last: Option<&Message>) -> Vec<Echo> {
    let own = last.filter(|message| message.role == Role::Assistant && !message.content.is_empty());
    own.map(|message| Echo::Text(message.content.text().into_owned())).into_iter().collect()
}

/// The supported cache retentions. Cached text stays in memory.
pub fn cache_retentions() -> [Value; 2] {
    [json!("in_memory"), json!("in-memory")]
}

/// Returns whether the output continues the last message.
fn parse_continuation(request: &Request) -> Result<bool> {
    if request.continue_final_message == Some(true) && request.add_generation_prompt == Some(true) {
        let text = "continue_final_message cannot be given together with add_generation_prompt";
        return Err(Error::invalid("continue_final_message", text));
    }
    Ok(request.continue_final_message.unwrap_or(false))
}

/// Returns the variables of the chat template: reasoning, documents and the client's own, which take precedence.
fn template_kwargs(request: &mut Request, reasoning: ReasoningRequest) -> Option<String> {
    let mut own = serde_json::Map::new();
    if let Some(documents) = request.documents.take() {
        own.insert("documents".into(), documents.into());
    }
    if request.add_generation_prompt == Some(false) && request.continue_final_message != Some(true) {
        own.insert("add_generation_prompt".into(), false.into());
    }
    own.extend(request.chat_template_kwargs.take().unwrap_or_default());
    reasoning.template_kwargs(Some(own))
}

/// Parses the reasoning settings from the fields of OpenAI, OpenRouter, Qwen and vLLM.
fn parse_reasoning(request: &Request) -> Result<ReasoningRequest<'static>> {
    let own = request.reasoning.clone().unwrap_or_default();
    let effort = request.reasoning_effort.or(own.effort).map(effort_name);
    let mut reasoning = ReasoningRequest::from_effort(effort).unwrap_or_default();
    reasoning.enabled = reasoning.enabled.or(own.enabled);
    let budgets = [
        ("thinking_budget", request.thinking_budget),
        ("thinking_token_budget", request.thinking_token_budget),
        ("reasoning_budget_tokens", request.reasoning_budget_tokens),
        ("reasoning.max_tokens", own.max_tokens),
    ];
    if let Some((name, _)) = budgets.iter().find(|(_, budget)| *budget == Some(TokenLimit::from(0))) {
        let text = format!("{name} must be at least 1; reasoning_effort \"none\" turns thinking off");
        return Err(Error::invalid(*name, text));
    }
    let budget = budgets.iter().find_map(|(_, budget)| *budget).and_then(TokenLimit::tokens);
    reasoning.budget = budget.filter(|_| reasoning.enabled != Some(false));
    reasoning.hidden = request.include_reasoning == Some(false) || own.exclude == Some(true);
    Ok(reasoning)
}

fn effort_name(effort: Effort) -> &'static str {
    match effort {
        Effort::None => "none",
        Effort::Minimal => "minimal",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::Xhigh => "xhigh",
        Effort::Max => "max",
    }
}

fn parse_logprobs(wanted: Option<bool>, top: Option<u32>) -> Result<Option<Logprobs>> {
    let top = top_logprobs("top_logprobs", top)?;
    if wanted == Some(true) {
        return Ok(Some(Logprobs { top, prompt: false }));
    }
    if top > 0 {
        return Err(Error::invalid("top_logprobs", "top_logprobs is only allowed with logprobs: true"));
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
