//! Parses Responses requests.

use ipc_proto::generate::{ChatPrompt, Constraint, Generation, Logprobs, Priority, Prompt, ToolChanges};
use ipc_proto::{Error, Result};
use serde_json::{Map, Value, json};

use crate::inference::request::{InferenceRequest, PromptRequest, Streaming};
use crate::protocols::common::checks::{
    applicable_format, model_name, refuse, stop_texts, token_limit, top_logprobs,
};
use crate::protocols::common::extensions::Extensions;
use crate::protocols::common::reasoning::ReasoningRequest;
use crate::protocols::common::token_limit::TokenLimit;
use crate::protocols::common::verbosity::Verbosity;
use crate::protocols::common::{labels, prompt_cache};
use crate::protocols::openai::chat::parse::cache_retentions;
use crate::protocols::openai::fields::Stop;
use crate::protocols::openai::output_format::{FormatField, parse_format};
use crate::protocols::openai::responses::wire::{Item, Request};
use crate::protocols::openai::responses::{items, tools, updates, wire as api};
use crate::protocols::openai::tools::call_forms::CallForms;

/// Accepted values of `include`. Values of items that this server never produces have no effect.
const INCLUDABLE: [&str; 8] = [
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
    "message.input_image.image_url",
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
];

/// A parsed request with the settings of its response.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidResponse {
    /// The neutral request.
    pub request: InferenceRequest,
    /// The new items of the conversation, without those of previous responses.
    pub input: Vec<Item>,
    /// The id of the previous response.
    pub previous: Option<String>,
    /// Whether to store the response; `None` leaves it to the server.
    pub store: Option<bool>,
    /// Whether to generate the response in the background.
    pub background: bool,
    /// Whether a summary takes the place of earlier turns.
    pub compaction: Compaction,
    /// Whether to generate an output.
    pub generates: bool,
    /// Whether to return the reasoning as encrypted content too.
    pub encrypt: bool,
    /// Whether to return the reasoning as a summary. No model here writes summaries, so it is returned unchanged.
    pub summarise: bool,
    /// The forms of calls.
    pub calls: CallForms,
    /// The fields of the request that the response echoes.
    pub echo: Map<String, Value>,
}

/// Whether a summary takes the place of earlier turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compaction {
    /// Never.
    Never,
    /// The response is nothing but the summary.
    Now,
    /// If the prompt has more tokens than this number, or than the server's default.
    Above(Option<u32>),
}

/// Parses a request that continues `history`, the items of previous responses.
///
/// # Errors
/// Returns an error that names the invalid field.
pub fn parse(mut request: Request, history: &[Item]) -> Result<ValidResponse> {
    updates::apply(&mut request, history)?;
    refuse_unsupported(&request)?;
    let sampling = request.sampling.parse(None)?;
    request.unsupported.check(&sampling)?;
    request.chat_only.check()?;
    let extensions = std::mem::take(&mut request.extensions).parse()?;
    let labels = labels::from_body(&request.user, &request.safety_identifier, request.metadata.as_ref())?;
    let affinity = labels::first_label(&[("prompt_cache_key", &request.prompt_cache_key)])?;
    let summarise = wants_summary(&request)?;
    let reasoning_budget = reasoning_budget(&request)?;
    let logprobs = logprobs(&request)?;
    let encrypt = includes(&request, "reasoning.encrypted_content");
    let stream = request.stream.unwrap_or(false).then_some(Streaming { include_usage: true });
    let background = in_background(&request)?;
    let max_tokens = token_limit("max_output_tokens", request.max_output_tokens)?;
    let constraint = constraint(&request)?;
    let priority = priority_of_tier(&request).or(extensions.priority).unwrap_or_default();
    let stop = stop_texts("stop", request.stop.take().map(Stop::into_texts).unwrap_or_default())?;
    let generates = generates(&request);
    let Conversation { prompt, input, calls, shown } = parse_conversation(&mut request, history)?;
    let compaction = compaction(&request, &input)?;
    let constraint = applicable_format(&prompt.tool_choice, constraint);
    let echo = echo(&request, &prompt, &shown);
    let generation = Generation {
        prompt: Prompt::Chat(prompt),
        sampling,
        stop,
        max_tokens,
        logprobs,
        constraint,
        priority,
        reasoning_budget,
        time_limit_ms: extensions.time_limit_ms,
        ..Generation::default()
    };
    Ok(ValidResponse {
        request: InferenceRequest {
            model: model_name(request.model)?,
            generation,
            more_prompts: Vec::new(),
            choices: 1,
            cache_salt: extensions.cache_salt,
            stream,
            keep_alive: extensions.keep_alive,
            labels,
            affinity,
            original: None,
            assumes_no_thinking: false,
        },
        input,
        previous: request.previous_response_id,
        store: request.store,
        background,
        compaction,
        generates,
        encrypt,
        summarise,
        calls,
        echo,
    })
}

/// Parses a request to count tokens.
///
/// # Errors
/// Returns an error that names the invalid field.
pub fn parse_count(mut request: Request, history: &[Item]) -> Result<PromptRequest> {
    updates::apply(&mut request, history)?;
    refuse_unsupported(&request)?;
    let Extensions { keep_alive, time_limit_ms, .. } = std::mem::take(&mut request.extensions).parse()?;
    let Conversation { prompt, .. } = parse_conversation(&mut request, history)?;
    Ok(PromptRequest {
        model: model_name(request.model)?,
        prompts: vec![Prompt::Chat(prompt)],
        keep_alive,
        time_limit_ms,
    })
}

/// Returns whether the response is made in the background.
fn in_background(request: &Request) -> Result<bool> {
    let background = request.background.unwrap_or(false);
    if background && request.store == Some(false) {
        let text = "background: such a response is stored and asked for later: it cannot have store: false";
        return Err(Error::invalid("background", text));
    }
    Ok(background)
}

fn priority_of_tier(request: &Request) -> Option<Priority> {
    match request.service_tier.as_deref() {
        Some("priority" | "fast" | "ultrafast") => Some(Priority::High),
        Some("flex") => Some(Priority::Low),
        _ => None,
    }
}

/// Returns whether the request generates an output, or only fills the prefix cache.
fn generates(request: &Request) -> bool {
    request.generate.unwrap_or(true) && !prompt_cache::prewarms(request.prompt_cache_options.as_ref())
}

/// Parses `context_management` and a `compaction_trigger` among the new items.
fn compaction(request: &Request, input: &[Item]) -> Result<Compaction> {
    let is_trigger = |item: &Item| item.r#type.as_deref() == Some("compaction_trigger");
    if let Some(at) = input.iter().position(is_trigger) {
        if at + 1 < input.len() {
            let name = format!("input[{at}].type");
            return Err(Error::invalid(&name, format!("{name}: a compaction_trigger is the last item")));
        }
        return Ok(Compaction::Now);
    }
    let managements = request.context_management.iter().flatten();
    for (at, management) in managements.clone().enumerate() {
        if management.r#type != "compaction" {
            let name = format!("context_management[{at}].type");
            return Err(Error::invalid(&name, format!("{name} must be compaction")));
        }
        token_limit(&format!("context_management[{at}].compact_threshold"), management.compact_threshold)?;
    }
    let thresholds = managements.map(|management| management.compact_threshold.and_then(TokenLimit::tokens));
    Ok(thresholds
        .min_by_key(|threshold| threshold.unwrap_or(u32::MAX))
        .map_or(Compaction::Never, Compaction::Above))
}

/// Refuses unsupported fields that would change the output.
fn refuse_unsupported(request: &Request) -> Result<()> {
    refuse("conversation", &request.conversation, &[])?;
    refuse("prompt", &request.prompt, &[])?;
    refuse("moderation", &request.moderation, &[])?;
    refuse("background_options", &request.background_options, &[])?;
    prompt_cache::check(request.prompt_cache_options.as_ref())?;
    refuse("access_programs", &request.access_programs, &[])?;
    refuse("image", &request.image, &[])?;
    let text = |value: &Option<String>| value.as_deref().map(Value::from);
    let tiers = ["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"].map(Value::from);
    refuse("service_tier", &text(&request.service_tier), &tiers)?;
    refuse("prompt_cache_retention", &text(&request.prompt_cache_retention), &cache_retentions())?;
    // `max_tool_calls` limits calls of tools that the server runs itself. There are none, so it is always met.
    let unknown = request.include.iter().flatten().find(|included| !INCLUDABLE.contains(&included.as_str()));
    if let Some(unknown) = unknown {
        return Err(Error::invalid("include", format!("include: \"{unknown}\" is not known")));
    }
    let obfuscation = request.stream_options.and_then(|options| options.include_obfuscation);
    refuse("stream_options.include_obfuscation", &obfuscation.map(Value::Bool), &[json!(false)])?;
    let reasoning = request.reasoning.as_ref();
    let mode = reasoning.and_then(|reasoning| reasoning.mode.as_deref()).map(Value::from);
    refuse("reasoning.mode", &mode, &[json!("standard")])?;
    let context = reasoning.and_then(|reasoning| reasoning.context.as_deref()).map(Value::from);
    refuse("reasoning.context", &context, &[json!("auto"), json!("all_turns")])
}

/// Returns the requested kind of summary. `generate_summary` is the former name of the field.
fn summary(request: &Request) -> Option<&str> {
    let reasoning = request.reasoning.as_ref()?;
    reasoning.summary.as_deref().or(reasoning.generate_summary.as_deref())
}

/// Returns whether the request wants a summary of the reasoning.
fn wants_summary(request: &Request) -> Result<bool> {
    match summary(request) {
        None => Ok(false),
        Some("auto" | "concise" | "detailed") => Ok(true),
        Some(_) => {
            let text = "reasoning.summary must be auto, concise or detailed";
            Err(Error::invalid("reasoning.summary", text))
        }
    }
}

fn reasoning_budget(request: &Request) -> Result<Option<u32>> {
    let reasoning = request.reasoning.as_ref();
    let budget = token_limit("reasoning.max_tokens", reasoning.and_then(|reasoning| reasoning.max_tokens))?;
    let thinks = reasoning.and_then(|reasoning| reasoning.effort.as_deref()) != Some("none");
    Ok(budget.filter(|_| thinks))
}

fn includes(request: &Request, what: &str) -> bool {
    request.include.iter().flatten().any(|included| included == what)
}

fn logprobs(request: &Request) -> Result<Option<Logprobs>> {
    let top = top_logprobs("top_logprobs", request.top_logprobs)?;
    let wanted = top > 0 || includes(request, "message.output_text.logprobs");
    Ok(wanted.then_some(Logprobs { top, prompt: false }))
}

fn constraint(request: &Request) -> Result<Option<Constraint>> {
    let Some(format) = request.text.as_ref().and_then(|text| text.format.as_ref()) else { return Ok(None) };
    parse_format(&FormatField { name: "text.format", schema: "schema" }, format)
}

/// The conversation of a request.
struct Conversation {
    prompt: ChatPrompt,
    /// The new items.
    input: Vec<Item>,
    /// The forms of calls.
    calls: CallForms,
    /// The echoed tools.
    shown: Vec<Value>,
}

fn parse_conversation(request: &mut Request, history: &[Item]) -> Result<Conversation> {
    let input = match request.input.take() {
        None if history.is_empty() => return Err(Error::invalid("input", "input is missing")),
        None => Vec::new(),
        Some(api::Input::Text(text)) => vec![items::user_message(text)],
        Some(api::Input::Items(items)) => items,
    };
    items::check_results(history, &input)?;
    // Codex warms the connection of a resumed session up before it has a question.
    let nothing = items::user_message(String::new());
    let mut paths = items::paths(history, &input);
    if !generates(request) && paths.iter().all(|(_, item)| items::is_setting(item)) {
        paths.push(("input".into(), &nothing));
    }
    let offer = tools::parse(request.tools.take().unwrap_or_default(), request.tool_choice.as_ref(), &paths)?;
    let mut messages = items::turns(request.instructions.as_deref(), &paths, &offer.calls)?;
    verbosity(request).apply(&mut messages);
    let budget = reasoning_budget(request)?;
    let effort = request.reasoning.as_ref().and_then(|reasoning| reasoning.effort.as_deref());
    let wish = ReasoningRequest::from_effort(effort).ok_or_else(|| {
        let text = "reasoning.effort must be none, minimal, low, medium, high, xhigh or max";
        Error::invalid("reasoning.effort", text)
    })?;
    let wish = ReasoningRequest { budget, ..wish };
    let template_kwargs = wish.template_kwargs(request.chat_template_kwargs.take());
    let parallel_calls = request.parallel_tool_calls.unwrap_or(true);
    let prompt = ChatPrompt {
        messages,
        tools: offer.tools,
        tool_changes: ToolChanges::default(),
        tool_choice: offer.choice,
        parallel_calls,
        template_kwargs,
        continues: false,
        sanitize_control_tokens: request.sanitize_control_tokens,
        truncates: truncates(request)?,
    };
    Ok(Conversation { prompt, input, calls: offer.calls, shown: offer.shown })
}

fn verbosity(request: &Request) -> Verbosity {
    request.text.as_ref().and_then(|text| text.verbosity).unwrap_or_default()
}

/// Returns whether the oldest turns may be left out.
fn truncates(request: &Request) -> Result<bool> {
    match request.truncation.as_deref() {
        None | Some("disabled") => Ok(false),
        Some("auto") => Ok(true),
        Some(_) => Err(Error::invalid("truncation", "truncation must be auto or disabled")),
    }
}

/// Returns the tier that serves the request.
fn tier_name(asked: Option<&str>) -> &'static str {
    match asked {
        Some("flex") => "flex",
        Some("priority" | "fast" | "ultrafast") => "priority",
        _ => "default",
    }
}

/// Returns the fields of the request that its response echoes.
fn echo(request: &Request, prompt: &ChatPrompt, tools: &[Value]) -> Map<String, Value> {
    let tool_choice =
        request.tool_choice.as_ref().map(serde_json::to_value).and_then(std::result::Result::ok);
    let effort = request.reasoning.as_ref().and_then(|reasoning| reasoning.effort.as_deref());
    let format =
        request.text.as_ref().and_then(|text| text.format.clone()).filter(|format| !format.is_null());
    let echo = json!({
        "instructions": request.instructions,
        "previous_response_id": request.previous_response_id,
        "max_output_tokens": request.max_output_tokens.and_then(TokenLimit::tokens),
        "max_tool_calls": request.max_tool_calls,
        "parallel_tool_calls": prompt.parallel_calls,
        "tools": tools,
        "tool_choice": tool_choice.unwrap_or_else(|| json!("auto")),
        "temperature": request.sampling.temperature.unwrap_or(1.0),
        "top_p": request.sampling.top_p.unwrap_or(1.0),
        "top_logprobs": request.top_logprobs.unwrap_or(0),
        "presence_penalty": request.sampling.presence_penalty.unwrap_or(0.0),
        "frequency_penalty": request.sampling.frequency_penalty.unwrap_or(0.0),
        "reasoning": {"effort": effort, "summary": summary(request)},
        "text": {"format": format.unwrap_or_else(|| json!({"type": "text"})), "verbosity": verbosity(request)},
        "truncation": if prompt.truncates { "auto" } else { "disabled" },
        "service_tier": tier_name(request.service_tier.as_deref()),
        "background": request.background.unwrap_or(false),
        "metadata": request.metadata.clone().unwrap_or_default(),
        "user": request.user,
        "safety_identifier": request.safety_identifier,
        "prompt_cache_key": request.prompt_cache_key,
        "prompt_cache_retention": request.prompt_cache_retention,
    });
    match echo {
        Value::Object(echo) => echo,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests;
