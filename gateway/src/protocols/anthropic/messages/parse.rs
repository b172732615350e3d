//! Parses Messages requests.

use ipc_proto::generate::{ChatPrompt, Constraint, Generation, Prompt, Sampling};
use ipc_proto::{Error, Result};
use serde_json::{Map, Value, json};

use crate::inference::labels::Labels;
use crate::inference::request::{InferenceRequest, PromptRequest, Streaming};
use crate::protocols::anthropic::messages::compaction::AutoCompaction;
use crate::protocols::anthropic::messages::context_management::Edits;
use crate::protocols::anthropic::messages::thinking::Reasoning;
use crate::protocols::anthropic::messages::tools::Toolset;
use crate::protocols::anthropic::messages::turns::Conversation;
use crate::protocols::anthropic::messages::wire::{Format, Request};
use crate::protocols::anthropic::messages::{
    cache_control, compaction, context_management, thinking, tools, turns,
};
use crate::protocols::common::checks::{applicable_format, model_name, must_call, refuse, stop_texts};
use crate::protocols::common::extensions::Extensions;
use crate::protocols::common::labels;
use crate::protocols::common::reasoning::ReasoningRequest;

/// A parsed request with the settings of its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidMessages {
    /// The neutral request.
    pub request: InferenceRequest,
    /// The client's limit of output tokens.
    pub max_tokens: u32,
    /// Whether to omit the reasoning.
    pub hide_thinking: bool,
    /// Whether the client requested cache diagnostics.
    pub diagnose: bool,
    /// A compaction that happens first if the prompt is long enough.
    pub compaction: Option<AutoCompaction>,
    /// Whether the output is a summary of the conversation.
    pub summarises: bool,
    /// The changes of the tools during the conversation, as blocks.
    pub tool_changes: Vec<Value>,
}

/// The prompt of a request, and the changes of its tools as blocks.
struct ParsedPrompt {
    model: String,
    prompt: ChatPrompt,
    tool_changes: Vec<Value>,
}

/// Parses a request for a message.
///
/// # Errors
/// Returns an error that names the invalid field.
pub fn parse(mut request: Request) -> Result<ValidMessages> {
    let missing = || Error::invalid("max_tokens", "max_tokens is missing");
    // 0 fills the cache only.
    let max_tokens = request.max_tokens.ok_or_else(missing)?.tokens().unwrap_or(u32::MAX);
    let edits = refuse_unsupported(&request)?;
    let sampling = parse_sampling(&request)?;
    request.unsupported.check(&sampling)?;
    request.chat_only.check()?;
    let stop = stop_texts("stop_sequences", request.stop_sequences.take().unwrap_or_default())?;
    let reasoning = thinking::parse(request.thinking.as_ref(), Some(max_tokens))?;
    let assumes_no_thinking = request.thinking.is_none();
    let extensions = std::mem::take(&mut request.extensions).parse()?;
    let user = request.metadata.as_ref().and_then(|metadata| metadata.user_id.clone());
    let user = labels::first_label(&[("metadata.user_id", &user)])?;
    let labels = Labels { user, ..Labels::default() };
    let diagnose = request.diagnostics.as_ref().is_some_and(|asked| asked.previous_message_id.is_some());
    let stream = request.stream.unwrap_or(false).then_some(Streaming { include_usage: true });
    let constraint = parse_constraint(&request)?;
    let compaction = request.compaction.take();
    let ParsedPrompt { model, mut prompt, tool_changes } = parse_conversation(request, reasoning, &edits)?;
    check_form(&prompt, constraint.as_ref())?;
    let constraint = applicable_format(&prompt.tool_choice, constraint);
    let mut generation = Generation {
        sampling,
        stop,
        // A request for no tokens fills the cache. The one token that it takes is not shown.
        max_tokens: Some(max_tokens.max(1)),
        constraint,
        reasoning_budget: reasoning.budget,
        priority: extensions.priority.unwrap_or_default(),
        time_limit_ms: extensions.time_limit_ms,
        ..Generation::default()
    };
    let summarises = compaction.is_some();
    if let Some(compaction) = compaction {
        compaction::ask(&compaction, &mut prompt)?;
        (generation.stop, generation.constraint) = (Vec::new(), None);
    }
    generation.prompt = Prompt::Chat(prompt);
    let request = InferenceRequest {
        model,
        generation,
        more_prompts: Vec::new(),
        choices: 1,
        cache_salt: extensions.cache_salt,
        stream,
        keep_alive: extensions.keep_alive,
        labels,
        affinity: None,
        original: None,
        assumes_no_thinking,
    };
    let (hide_thinking, compaction) = (reasoning.hidden, edits.compaction);
    Ok(ValidMessages { request, max_tokens, hide_thinking, diagnose, compaction, summarises, tool_changes })
}

/// Refuses a form of the answer that contradicts the tools or the beginning of the answer.
fn check_form(prompt: &ChatPrompt, constraint: Option<&Constraint>) -> Result<()> {
    if prompt.continues && (must_call(&prompt.tool_choice) || constraint.is_some()) {
        let text = "messages: an answer with a format, or that must call a tool, begins anew: the last turn must be the user's";
        return Err(Error::invalid("messages", text));
    }
    Ok(())
}

/// Parses a request to count tokens.
///
/// # Errors
/// Returns an error that names the invalid field.
pub fn parse_count(mut request: Request) -> Result<PromptRequest> {
    let edits = refuse_unsupported(&request)?;
    parse_constraint(&request)?;
    let Extensions { keep_alive, time_limit_ms, .. } = std::mem::take(&mut request.extensions).parse()?;
    let reasoning = thinking::parse(request.thinking.as_ref(), None)?;
    let ParsedPrompt { model, prompt, .. } = parse_conversation(request, reasoning, &edits)?;
    Ok(PromptRequest { model, prompts: vec![Prompt::Chat(prompt)], keep_alive, time_limit_ms })
}

/// Refuses unsupported fields that would change the output. Returns the edits of the conversation.
fn refuse_unsupported(request: &Request) -> Result<Edits> {
    refuse("container", &request.container, &[])?;
    refuse("mcp_servers", &request.mcp_servers, &[json!([])])?;
    let text = |value: &Option<String>| value.as_deref().map(Value::from);
    refuse("service_tier", &text(&request.service_tier), &[json!("auto"), json!("standard_only")])?;
    refuse("speed", &text(&request.speed), &[json!("standard")])?;
    refuse("thread", &request.thread, &[])?;
    // No model here declines, so the fallbacks of a model's own are never needed.
    refuse("fallbacks", &request.fallbacks, &[json!([]), json!("default")])?;
    // Inference always runs on this machine.
    refuse("inference_geo", &request.inference_geo, &[json!("global"), json!("default")])?;
    let edits = context_management::parse(request.context_management.as_ref())?;
    if request.compaction.is_some() && edits != Edits::default() {
        return Err(Error::invalid("compaction", "compaction cannot be combined with context_management"));
    }
    Ok(edits)
}

fn parse_sampling(request: &Request) -> Result<Sampling> {
    let fields = &request.sampling;
    // Anthropic's temperatures end at 1, those of the other protocols at 2.
    if let Some(temperature) = fields.temperature.filter(|number| !(0.0..=1.0).contains(number)) {
        let text = format!("temperature must lie between 0 and 1, not {temperature}");
        return Err(Error::invalid("temperature", text));
    }
    if fields.top_k.is_some_and(|k| k < 0) {
        return Err(Error::invalid("top_k", "top_k must be 0 or positive"));
    }
    fields.parse(None)
}

/// Returns the variables of the chat template: the reasoning settings and the client's own variables.
fn template_kwargs(
    reasoning: Reasoning,
    effort: Option<&str>,
    own: Option<Map<String, Value>>,
) -> Result<Option<String>> {
    thinking::check_effort("output_config.effort", effort)?;
    let Reasoning { enabled, budget, .. } = reasoning;
    let wish = ReasoningRequest { enabled: Some(enabled), effort, budget, hidden: false };
    Ok(wish.template_kwargs(own))
}

fn parse_constraint(request: &Request) -> Result<Option<Constraint>> {
    let schema = |name: &str, format: &Format| match &format.schema {
        Some(schema) if format.r#type == "json_schema" && schema.is_object() => {
            Ok(Some(Constraint::JsonSchema(schema.to_string())))
        }
        _ => {
            let text = format!("{name} must be {{\"type\": \"json_schema\", \"schema\": {{…}}}}");
            Err(Error::invalid(name, text))
        }
    };
    match (request.output_config.as_ref().and_then(|config| config.format.as_ref()), &request.output_format) {
        (Some(format), _) => schema("output_config.format", format),
        (None, Some(format)) => schema("output_format", format),
        (None, None) => Ok(None),
    }
}

fn parse_conversation(request: Request, reasoning: Reasoning, edits: &Edits) -> Result<ParsedPrompt> {
    cache_control::check(&request)?;
    let tools = Toolset::declare(request.tools.unwrap_or_default())?;
    let effort = request.output_config.and_then(|config| config.effort);
    let Conversation { mut messages, continues, tools, effort: later } =
        turns::parse(request.system, request.messages, tools)?;
    if let Some(turns) = edits.thinking_turns {
        context_management::clear_thinking(&mut messages, turns);
    }
    let effort = later.as_deref().or(effort.as_deref());
    let template_kwargs = template_kwargs(reasoning, effort, request.chat_template_kwargs)?;
    let changed_tools = tools.as_blocks();
    let (tools, tool_changes) = tools.into_parts();
    let mut prompt = ChatPrompt {
        messages,
        tools,
        tool_changes,
        template_kwargs,
        continues,
        sanitize_control_tokens: request.sanitize_control_tokens,
        ..ChatPrompt::default()
    };
    (prompt.tool_choice, prompt.parallel_calls) =
        tools::parse_choice(request.tool_choice, &prompt.callable_tools())?;
    Ok(ParsedPrompt { model: model_name(request.model)?, prompt, tool_changes: changed_tools })
}

#[cfg(test)]
mod tests;
