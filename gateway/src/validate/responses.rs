//! Checks Responses requests.

use ipc_proto::generate::{
    ChatPrompt, Constraint, GenerateRequest, Logprobs, Priority, Prompt, Tool, ToolChoice,
};
use ipc_proto::{Error, Result};
use serde_json::{Map, Value, json};

use super::thinking::Wish;
use super::{
    Asked, Extras, MAX_TOP_LOGPROBS, Streaming, ValidRequest, extras, keep_alive, limit, model, refuse,
    sampling, stop,
};
use crate::api::openai::responses::{self as api, Item, Request};

mod items;

/// A request that was checked, and what its answer depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidResponse {
    /// What to generate.
    pub request: ValidRequest,
    /// The new items of the conversation, without those of earlier responses.
    pub input: Vec<Item>,
    /// The response that this one goes on from.
    pub previous: Option<String>,
    /// Whether it is to be kept; `None` where the client does not care.
    pub store: Option<bool>,
    /// Whether it is made while nobody waits.
    pub background: bool,
    /// Whether what was thought is also given in a form that clients hand back.
    pub encrypt: bool,
    /// What a response gives back of its request.
    pub echo: Map<String, Value>,
}

/// Checks a request that goes on from `history`, the items of earlier responses.
///
/// # Errors
/// Naming the field that is wrong.
pub fn create(mut request: Request, history: &[Item]) -> Result<ValidResponse> {
    refused(&request)?;
    let asked = Asked {
        temperature: request.temperature,
        top_p: request.top_p,
        top_k: request.top_k,
        min_p: request.min_p,
        seed: request.seed,
        repetition_penalty: request.repetition_penalty,
        presence_penalty: request.presence_penalty,
        frequency_penalty: request.frequency_penalty,
        logit_bias: None,
    };
    let sampling = sampling(&asked)?;
    let extras = extras(Extras {
        response_format: None,
        min_tokens: None,
        ignore_eos: None,
        priority: request.priority,
        service_tier: None,
        cache_salt: request.cache_salt.take(),
        timeout: request.timeout,
    })?;
    let keep_alive = keep_alive::checked(request.keep_alive.take())?;
    let logprobs = logprobs(&request)?;
    let encrypt = includes(&request, "reasoning.encrypted_content");
    let stream = request.stream.unwrap_or(false).then_some(Streaming { include_usage: true });
    let background = request.background.unwrap_or(false);
    if background && (stream.is_some() || request.store == Some(false)) {
        let text = "background: such a response is stored and asked for later: it cannot have stream or store: false";
        return Err(Error::invalid("background", text));
    }
    let max_tokens = limit("max_output_tokens", request.max_output_tokens)?;
    let constraint = constraint(&request)?;
    let priority = match request.service_tier.as_deref() {
        Some("priority") => Priority::High,
        Some("flex") => Priority::Low,
        _ => extras.priority,
    };
    let stop = stop(request.stop.take())?;
    let (prompt, input, tools) = conversation(&mut request, history)?;
    if constraint.is_some() && matches!(prompt.tool_choice, ToolChoice::Required | ToolChoice::Named(_)) {
        let text = "text.format: an answer that must call a tool cannot fit a schema as well";
        return Err(Error::invalid("text.format", text));
    }
    let echo = echo(&request, &prompt, &tools);
    let prompt = Prompt::Chat(prompt);
    let generate =
        GenerateRequest { prompt, sampling, stop, max_tokens, logprobs, constraint, priority, ..extras };
    Ok(ValidResponse {
        request: ValidRequest { model: model(request.model)?, generate, stream, keep_alive },
        input,
        previous: request.previous_response_id,
        store: request.store,
        background,
        encrypt,
        echo,
    })
}

/// Checks a request to count tokens: the model and the prompt.
///
/// # Errors
/// Naming the field that is wrong.
pub fn count(mut request: Request, history: &[Item]) -> Result<(String, Prompt)> {
    refused(&request)?;
    let (prompt, _, _) = conversation(&mut request, history)?;
    Ok((model(request.model)?, Prompt::Chat(prompt)))
}

/// What changes the answer and is not built.
fn refused(request: &Request) -> Result<()> {
    refuse("conversation", &request.conversation, &[])?;
    refuse("prompt", &request.prompt, &[])?;
    refuse("moderation", &request.moderation, &[])?;
    refuse("context_management", &request.context_management, &[json!([])])?;
    refuse("background_options", &request.background_options, &[])?;
    refuse("prompt_cache_options", &request.prompt_cache_options, &[])?;
    refuse("access_programs", &request.access_programs, &[])?;
    refuse("image", &request.image, &[])?;
    let text = |value: &Option<String>| value.as_deref().map(Value::from);
    refuse("truncation", &text(&request.truncation), &[json!("disabled")])?;
    let tiers = ["auto", "default", "flex", "priority"].map(Value::from);
    refuse("service_tier", &text(&request.service_tier), &tiers)?;
    let obfuscation = request.stream_options.and_then(|options| options.include_obfuscation);
    refuse("stream_options.include_obfuscation", &obfuscation.map(Value::Bool), &[json!(false)])?;
    let verbosity = request.text.as_ref().and_then(|text| text.verbosity.as_deref()).map(Value::from);
    refuse("text.verbosity", &verbosity, &[json!("medium")])?;
    let reasoning = request.reasoning.as_ref();
    let mode = reasoning.and_then(|reasoning| reasoning.mode.as_deref()).map(Value::from);
    refuse("reasoning.mode", &mode, &[json!("standard")])?;
    let context = reasoning.and_then(|reasoning| reasoning.context.as_deref()).map(Value::from);
    refuse("reasoning.context", &context, &[json!("auto"), json!("all_turns")])
}

fn includes(request: &Request, what: &str) -> bool {
    request.include.iter().flatten().any(|included| included == what)
}

fn logprobs(request: &Request) -> Result<Option<Logprobs>> {
    let top = request.top_logprobs.unwrap_or(0);
    if top > MAX_TOP_LOGPROBS {
        let text = format!("top_logprobs must lie between 0 and {MAX_TOP_LOGPROBS}, not {top}");
        return Err(Error::invalid("top_logprobs", text));
    }
    let wanted = top > 0 || includes(request, "message.output_text.logprobs");
    Ok(wanted.then_some(Logprobs { top, prompt: false }))
}

fn constraint(request: &Request) -> Result<Option<Constraint>> {
    let Some(format) = request.text.as_ref().and_then(|text| text.format.as_ref()) else { return Ok(None) };
    let wrong = |text: &str| Err(Error::invalid("text.format", format!("text.format: {text}")));
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(None),
        _ if format.is_null() => Ok(None),
        Some("json_object") => Ok(Some(Constraint::JsonObject)),
        Some("json_schema") => match format.get("schema") {
            Some(schema) if schema.is_object() => Ok(Some(Constraint::JsonSchema(schema.to_string()))),
            _ => wrong("schema is missing, or no schema"),
        },
        _ => wrong("type must be text, json_object or json_schema"),
    }
}

/// The prompt, the new items, and the tools as they are given back.
fn conversation(request: &mut Request, history: &[Item]) -> Result<(ChatPrompt, Vec<Item>, Vec<Value>)> {
    let (mut tools, shown) = tools(request.tools.take().unwrap_or_default())?;
    let tool_choice = tool_choice(request.tool_choice.as_ref(), &mut tools)?;
    let input = match request.input.take() {
        None if history.is_empty() => return Err(Error::invalid("input", "input is missing")),
        None => Vec::new(),
        Some(api::Input::Text(text)) => vec![items::said(text)],
        Some(api::Input::Items(items)) => items,
    };
    let messages = items::turns(request.instructions.as_deref(), history, &input)?;
    let effort = request.reasoning.as_ref().and_then(|reasoning| reasoning.effort.as_deref());
    let wish = match effort {
        None => Wish::default(),
        Some("none") => Wish { thinks: Some(false), ..Wish::default() },
        Some("minimal" | "low" | "medium" | "high" | "xhigh" | "max") => {
            Wish { thinks: Some(true), effort, budget: None }
        }
        Some(_) => {
            let text = "reasoning.effort must be none, minimal, low, medium, high, xhigh or max";
            return Err(Error::invalid("reasoning.effort", text));
        }
    };
    let template_kwargs = wish.template_kwargs(request.chat_template_kwargs.take());
    let parallel_calls = request.parallel_tool_calls.unwrap_or(true);
    Ok((ChatPrompt { messages, tools, tool_choice, parallel_calls, template_kwargs }, input, shown))
}

fn tools(tools: Vec<api::Tool>) -> Result<(Vec<Tool>, Vec<Value>)> {
    let mut functions = Vec::new();
    let mut shown = Vec::new();
    for (at, tool) in tools.into_iter().enumerate() {
        // Codex sends kinds that only OpenAI's own servers run; the model is not told of them, and gets on without.
        if tool.r#type != "function" {
            continue;
        }
        let name = tool.name.filter(|name| !name.is_empty()).ok_or_else(|| {
            let name = format!("tools[{at}].name");
            Error::invalid(&name, format!("{name} is missing"))
        })?;
        let strict = tool.strict.unwrap_or(false);
        shown.push(json!({"type": "function", "name": name, "description": tool.description,
            "parameters": tool.parameters, "strict": strict}));
        let parameters = tool.parameters.map(|parameters| Value::Object(parameters).to_string());
        functions.push(Tool { name, description: tool.description, parameters, strict });
    }
    Ok((functions, shown))
}

/// What the client chose; of `tools` those stay that it allows.
fn tool_choice(choice: Option<&api::ToolChoice>, tools: &mut Vec<Tool>) -> Result<ToolChoice> {
    let wrong = |text: &str| Err(Error::invalid("tool_choice", format!("tool_choice: {text}")));
    let mode = match choice {
        None => return Ok(ToolChoice::Auto),
        Some(api::ToolChoice::Mode(mode)) => mode.clone(),
        Some(api::ToolChoice::Some(chosen)) => match (&*chosen.r#type, &chosen.name, &chosen.tools) {
            ("function", Some(name), _) if tools.iter().any(|tool| tool.name == *name) => {
                return Ok(ToolChoice::Named(name.clone()));
            }
            ("function", _, _) => return wrong("name must be the name of a function among the tools"),
            ("allowed_tools", _, Some(allowed)) => {
                let named = |tool: &Tool| allowed.iter().any(|one| one.name.as_ref() == Some(&tool.name));
                tools.retain(named);
                chosen.mode.clone().unwrap_or_default()
            }
            (other, _, _) => return wrong(&format!("type \"{other}\" is not supported")),
        },
    };
    match &*mode {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        "required" if tools.is_empty() => wrong("no function is among the tools"),
        "required" => Ok(ToolChoice::Required),
        _ => wrong("must be none, auto, required, a function or allowed_tools"),
    }
}

/// What a response says about its request.
fn echo(request: &Request, prompt: &ChatPrompt, tools: &[Value]) -> Map<String, Value> {
    let tool_choice = match &prompt.tool_choice {
        ToolChoice::Auto => json!("auto"),
        ToolChoice::None => json!("none"),
        ToolChoice::Required => json!("required"),
        ToolChoice::Named(name) => json!({"type": "function", "name": name}),
    };
    let reasoning = request.reasoning.as_ref();
    let format =
        request.text.as_ref().and_then(|text| text.format.clone()).filter(|format| !format.is_null());
    let echo = json!({
        "instructions": request.instructions,
        "previous_response_id": request.previous_response_id,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "parallel_tool_calls": prompt.parallel_calls,
        "tools": tools,
        "tool_choice": tool_choice,
        "temperature": request.temperature.unwrap_or(1.0),
        "top_p": request.top_p.unwrap_or(1.0),
        "top_logprobs": request.top_logprobs.unwrap_or(0),
        "presence_penalty": request.presence_penalty.unwrap_or(0.0),
        "frequency_penalty": request.frequency_penalty.unwrap_or(0.0),
        "reasoning": {"effort": reasoning.and_then(|r| r.effort.as_deref()), "summary": null},
        "text": {"format": format.unwrap_or_else(|| json!({"type": "text"})), "verbosity": "medium"},
        "truncation": "disabled",
        "service_tier": request.service_tier.as_deref().filter(|tier| *tier != "auto").unwrap_or("default"),
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
