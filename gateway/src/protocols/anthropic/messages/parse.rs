//! Parses Messages requests.

use ipc_proto::generate::{
    ChatPrompt, Constraint, Generation, Prompt, Sampling, Tool, ToolChoice, ToolInput,
};
use ipc_proto::{Error, Result};
use serde_json::{Value, json};

use crate::inference::labels::Labels;
use crate::inference::request::{InferenceRequest, PromptRequest, Streaming};
use crate::protocols::anthropic::messages::wire::{Format, Request};
use crate::protocols::anthropic::messages::{turns, wire as messages};
use crate::protocols::common::checks::{model_name, refuse, stop_texts};
use crate::protocols::common::extensions::Extensions;
use crate::protocols::common::labels;
use crate::protocols::common::reasoning::ReasoningRequest;

/// Minimum reasoning budget in tokens.
const MIN_BUDGET: u32 = 1024;
const MAX_NAME_BYTES: usize = 128;

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
}

/// Parses a request for a message.
///
/// # Errors
/// Returns an error that names the invalid field.
pub fn parse(mut request: Request) -> Result<ValidMessages> {
    let missing = || Error::invalid("max_tokens", "max_tokens is missing");
    let max_tokens = request.max_tokens.ok_or_else(missing)?;
    if max_tokens == 0 {
        return Err(Error::invalid("max_tokens", "max_tokens must be at least 1"));
    }
    refuse_unsupported(&request)?;
    let sampling = parse_sampling(&request)?;
    request.unsupported.check(&sampling)?;
    request.chat_only.check()?;
    let stop = stop_texts("stop_sequences", request.stop_sequences.take().unwrap_or_default())?;
    let hide_thinking = parse_thinking(&request, max_tokens)?;
    let extensions = std::mem::take(&mut request.extensions).parse()?;
    let user = request.metadata.as_ref().and_then(|metadata| metadata.user_id.clone());
    let user = labels::first_label(&[("metadata.user_id", &user)])?;
    let labels = Labels { user, ..Labels::default() };
    let reasoning_budget = request.thinking.as_ref().and_then(thinking_budget);
    let diagnose = request.diagnostics.is_some();
    let stream = request.stream.unwrap_or(false).then_some(Streaming { include_usage: true });
    let constraint = parse_constraint(&request)?;
    let (model, prompt) = parse_conversation(request)?;
    if constraint.is_some() && matches!(prompt.tool_choice, ToolChoice::Required | ToolChoice::Named(_)) {
        let text = "output_config.format: an answer that must call a tool cannot fit a schema as well";
        return Err(Error::invalid("output_config.format", text));
    }
    let calls = matches!(prompt.tool_choice, ToolChoice::Required | ToolChoice::Named(_));
    if prompt.continues && (calls || constraint.is_some()) {
        let text = "messages: an answer with a format, or that must call a tool, begins anew: the last turn must be the user's";
        return Err(Error::invalid("messages", text));
    }
    let generation = Generation {
        prompt: Prompt::Chat(prompt),
        sampling,
        stop,
        max_tokens: Some(max_tokens),
        constraint,
        reasoning_budget,
        priority: extensions.priority.unwrap_or_default(),
        time_limit_ms: extensions.time_limit_ms,
        ..Generation::default()
    };
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
    };
    Ok(ValidMessages { request, max_tokens, hide_thinking, diagnose })
}

/// Parses a request to count tokens.
///
/// # Errors
/// Returns an error that names the invalid field.
pub fn parse_count(mut request: Request) -> Result<PromptRequest> {
    refuse_unsupported(&request)?;
    parse_constraint(&request)?;
    let Extensions { keep_alive, time_limit_ms, .. } = std::mem::take(&mut request.extensions).parse()?;
    let (model, prompt) = parse_conversation(request)?;
    Ok(PromptRequest { model, prompts: vec![Prompt::Chat(prompt)], keep_alive, time_limit_ms })
}

/// Refuses unsupported fields that would change the output.
fn refuse_unsupported(request: &Request) -> Result<()> {
    refuse("container", &request.container, &[])?;
    refuse("mcp_servers", &request.mcp_servers, &[json!([])])?;
    let text = |value: &Option<String>| value.as_deref().map(Value::from);
    refuse("service_tier", &text(&request.service_tier), &[json!("auto"), json!("standard_only")])?;
    refuse("speed", &text(&request.speed), &[json!("standard")])?;
    refuse("thread", &request.thread, &[])?;
    refuse("compaction", &request.compaction, &[])?;
    refuse("fallbacks", &request.fallbacks, &[json!([])])?;
    // Inference always runs on this machine.
    refuse("inference_geo", &request.inference_geo, &[json!("global"), json!("default")])?;
    // This server always keeps the reasoning.
    let is_neutral = |edit: &messages::Edit| {
        edit.r#type.starts_with("clear_thinking_") && edit.keep.as_ref().is_some_and(|keep| keep == "all")
    };
    let edits = request.context_management.iter().flat_map(|management| &management.edits);
    match edits.enumerate().find(|(_, edit)| !is_neutral(edit)) {
        Some((at, edit)) => {
            let name = format!("context_management.edits[{at}]");
            let text = format!("{name}: \"{}\" is not supported by this server yet", edit.r#type);
            Err(Error::invalid(name, text))
        }
        None => Ok(()),
    }
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

fn parse_thinking(request: &Request, max_tokens: u32) -> Result<bool> {
    let Some(thinking) = &request.thinking else { return Ok(false) };
    let wrong = |name: &str, text: &str| {
        let name = format!("thinking.{name}");
        Err(Error::invalid(&name, format!("{name} {text}")))
    };
    match (&*thinking.r#type, thinking.budget_tokens) {
        ("enabled", None) => return wrong("budget_tokens", "is missing"),
        ("enabled", Some(budget)) if budget < MIN_BUDGET => {
            return wrong("budget_tokens", &format!("must be at least {MIN_BUDGET}"));
        }
        ("enabled", Some(budget)) if budget >= max_tokens => {
            return wrong("budget_tokens", "must be less than max_tokens");
        }
        _ => {}
    }
    match thinking.display.as_deref() {
        // No model here writes summaries, so the reasoning is returned unchanged.
        None | Some("summarized") => Ok(false),
        Some("omitted") => Ok(true),
        Some(_) => wrong("display", "must be \"summarized\" or \"omitted\""),
    }
}

/// Returns the maximum number of reasoning tokens.
fn thinking_budget(thinking: &messages::Thinking) -> Option<u32> {
    thinking.budget_tokens.filter(|_| thinking.r#type == "enabled")
}

/// Returns the variables of the chat template: the reasoning settings and the client's own variables.
fn template_kwargs(request: &mut Request) -> Result<Option<String>> {
    let enabled = match request.thinking.as_ref().map(|thinking| &*thinking.r#type) {
        None | Some("disabled") => false,
        Some("enabled" | "adaptive") => true,
        Some(_) => {
            let text = "thinking.type must be \"enabled\", \"disabled\" or \"adaptive\"";
            return Err(Error::invalid("thinking.type", text));
        }
    };
    let effort = match request.output_config.as_ref().and_then(|config| config.effort.as_deref()) {
        effort @ (None | Some("low" | "medium" | "high" | "xhigh" | "max")) => effort,
        Some(_) => {
            let text = "output_config.effort must be \"low\", \"medium\", \"high\", \"xhigh\" or \"max\"";
            return Err(Error::invalid("output_config.effort", text));
        }
    };
    let reasoning = ReasoningRequest {
        enabled: Some(enabled),
        effort,
        budget: request.thinking.as_ref().and_then(thinking_budget),
        hidden: false,
    };
    Ok(reasoning.template_kwargs(request.chat_template_kwargs.take()))
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

/// Returns the model and the prompt.
fn parse_conversation(mut request: Request) -> Result<(String, ChatPrompt)> {
    let template_kwargs = template_kwargs(&mut request)?;
    let tools = parse_tools(request.tools.unwrap_or_default())?;
    let (tool_choice, parallel_calls) = parse_tool_choice(request.tool_choice, &tools)?;
    let (messages, continues) = turns::parse(request.system, request.messages)?;
    let prompt = ChatPrompt {
        messages,
        tools,
        tool_choice,
        parallel_calls,
        template_kwargs,
        continues,
        sanitize_control_tokens: request.sanitize_control_tokens,
    };
    Ok((model_name(request.model)?, prompt))
}

fn parse_tools(tools: Vec<messages::Tool>) -> Result<Vec<Tool>> {
    let one = |(at, tool): (usize, messages::Tool)| {
        let wrong = |field: &str, text: &str| {
            let name = format!("tools[{at}].{field}");
            Error::invalid(&name, format!("{name}: {text}"))
        };
        if tool.r#type.as_deref().is_some_and(|kind| kind != "custom") {
            return Err(wrong(
                "type",
                "only \"custom\" tools are supported; this server runs none of its own",
            ));
        }
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if tool.name.is_empty() || tool.name.len() > MAX_NAME_BYTES || !tool.name.bytes().all(word) {
            return Err(wrong("name", "1 to 128 letters, digits, _ or -"));
        }
        if tool.defer_loading == Some(true) {
            return Err(wrong("defer_loading", "there is no tool search here that would load it"));
        }
        if tool.allowed_callers.as_ref().is_some_and(|callers| *callers != json!(["direct"])) {
            return Err(wrong("allowed_callers", "only [\"direct\"]: this server runs no code"));
        }
        let schema = tool.input_schema.ok_or_else(|| wrong("input_schema", "it is missing"))?;
        let examples = tool.input_examples.unwrap_or_default();
        let examples: String = examples.iter().map(|example| format!("\nExample: {example}")).collect();
        let description = Some(tool.description.unwrap_or_default() + &examples);
        Ok(Tool {
            name: tool.name,
            description: description.filter(|text| !text.is_empty()),
            input: ToolInput::Json {
                schema: Some(Value::Object(schema).to_string()),
                strict: tool.strict.unwrap_or(false),
            },
        })
    };
    tools.into_iter().enumerate().map(one).collect()
}

fn parse_tool_choice(choice: Option<messages::ToolChoice>, tools: &[Tool]) -> Result<(ToolChoice, bool)> {
    let Some(choice) = choice else { return Ok((ToolChoice::Auto, true)) };
    let wrong = |text: &str| Err(Error::invalid("tool_choice", format!("tool_choice: {text}")));
    let parallel = !choice.disable_parallel_tool_use.unwrap_or(false);
    let chosen = match (&*choice.r#type, choice.name) {
        ("auto", _) => ToolChoice::Auto,
        ("none", _) => ToolChoice::None,
        ("any" | "tool", _) if tools.is_empty() => return wrong("there are no tools"),
        ("any", _) => ToolChoice::Required,
        ("tool", Some(name)) if tools.iter().any(|tool| tool.name == name) => ToolChoice::Named(name),
        ("tool", _) => return wrong("name must be one of the tools' names"),
        _ => return wrong("type must be \"auto\", \"any\", \"tool\" or \"none\""),
    };
    Ok((chosen, parallel))
}

#[cfg(test)]
mod tests;
