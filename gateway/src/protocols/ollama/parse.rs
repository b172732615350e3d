//! Parses requests of `/api/chat`, `/api/generate`, `/api/embed` and `/api/embeddings`.

use ipc_proto::embed::{self, Input as EmbedInput};
use ipc_proto::generate::{
    ChatPrompt, Constraint, Content, Generation, Image, ImageDetail, Logprobs, Message, Prompt, Role, Tool,
    ToolCall,
};
use ipc_proto::supervisor::KeepAlive;
use ipc_proto::{Error, Result};
use serde_json::{Map, Value, json};

use super::wire::{self, ChatRequest, GenerateRequest, Input, Options, SharedFields, Think};
use crate::inference::request::{InferenceRequest, Streaming};
use crate::protocols::common::checks::{model_name, refuse, stop_texts, top_logprobs};
use crate::protocols::common::reasoning::ReasoningRequest;
use crate::protocols::common::{body, images as image, keep_alive};
use crate::protocols::openai::chat::wire as chat;
use crate::protocols::openai::fields::Stop;
use crate::protocols::openai::tools::{check_names, parse_function};

/// The action that a request asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// A text.
    Generate(Box<InferenceRequest>),
    /// To load the model, and to keep it for this time.
    Load(String, Option<KeepAlive>),
    /// To unload the model.
    Unload(String),
}

/// A parsed embeddings request. Without inputs only the model is loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidEmbed {
    /// The model's name.
    pub model: String,
    /// The time until the idle model is unloaded, if set.
    pub keep_alive: Option<KeepAlive>,
    /// The request for the worker.
    pub request: embed::EmbedRequest,
}

/// Parses a chat request.
///
/// # Errors
/// Returns an error that names the invalid field.
pub fn chat(request: ChatRequest) -> Result<Order> {
    let ChatRequest { model, messages, tools, shared } = request;
    let messages = messages.unwrap_or_default();
    if messages.is_empty() {
        return load_or_unload(model, shared);
    }
    let tools = tools.unwrap_or_default().into_iter().enumerate();
    let tools = tools.map(|(at, tool)| parse_tool(at, tool)).collect::<Result<Vec<_>>>()?;
    check_names("tools", &tools)?;
    let prompt = ChatPrompt {
        messages: parse_messages(messages)?,
        tools,
        parallel_calls: true,
        template_kwargs: reasoning(shared.think.as_ref())?.template_kwargs(None),
        ..ChatPrompt::default()
    };
    generate_order(model, Prompt::Chat(prompt), shared)
}

/// Parses a generate request. `has_template` says whether the model has a chat template: others get the prompt as it is.
///
/// # Errors
/// Returns an error that names the invalid field.
pub fn generate(request: GenerateRequest, has_template: bool) -> Result<Order> {
    let GenerateRequest { model, prompt, suffix, system, raw, images, template, context, shared } = request;
    let images = images.unwrap_or_default();
    let text = "contexts are not supported; /api/chat takes the whole conversation";
    refuse_list("context", context.as_ref(), text)?;
    refuse("template", &template.map(Value::String), &[json!("")])?;
    let prompt = prompt.unwrap_or_default();
    let suffix = suffix.filter(|text| !text.is_empty());
    if prompt.is_empty() && suffix.is_none() && images.is_empty() {
        return load_or_unload(model, shared);
    }
    let system = system.filter(|text| !text.is_empty());
    let is_raw = raw == Some(true);
    if is_raw && system.is_some() {
        return Err(Error::invalid("system", "system cannot be given together with raw"));
    }
    if !images.is_empty() && (suffix.is_some() || is_raw || !has_template) {
        let text = "images need a model with a chat template, and neither raw nor a suffix";
        return Err(Error::invalid("images", text));
    }
    let prompt = match suffix {
        Some(after) => Prompt::Infill { before: prompt, after },
        None if is_raw || !has_template => Prompt::Text(join_system(system, prompt)),
        None => {
            let system = system.map(|text| Message::text(Role::System, text));
            let user = Message::text(Role::User, with_images("images", &images, &prompt)?);
            let messages: Vec<Message> = system.into_iter().chain([user]).collect();
            image::check_count(&messages)?;
            Prompt::Chat(ChatPrompt {
                messages,
                template_kwargs: reasoning(shared.think.as_ref())?.template_kwargs(None),
                ..ChatPrompt::default()
            })
        }
    };
    generate_order(model, prompt, shared)
}

/// The prompt of a model without a chat template.
fn join_system(system: Option<String>, prompt: String) -> String {
    match system {
        Some(system) => format!("{system}\n\n{prompt}"),
        None => prompt,
    }
}

/// Parses an embeddings request.
///
/// # Errors
/// Returns an error that names the invalid field.
pub fn embed(request: wire::EmbedRequest) -> Result<ValidEmbed> {
    let texts = match request.input {
        None => Vec::new(),
        Some(Input::Text(text)) if text.is_empty() => Vec::new(),
        Some(Input::Text(text)) => vec![text],
        Some(Input::Texts(texts)) => texts,
    };
    if let Some(at) = texts.iter().position(String::is_empty) {
        let field = format!("input[{at}]");
        return Err(Error::invalid(&field, format!("{field} must not be empty")));
    }
    // Ollama takes 0 as unset.
    let dimensions = request.dimensions.filter(|dimensions| *dimensions > 0);
    valid_embed(request.model, request.keep_alive, texts, dimensions, request.truncate)
}

/// Parses a request of the older form, with one text.
///
/// # Errors
/// Returns an error that names the invalid field.
pub fn embeddings(request: wire::EmbeddingsRequest) -> Result<ValidEmbed> {
    let texts = request.prompt.into_iter().filter(|text| !text.is_empty()).collect();
    valid_embed(request.model, request.keep_alive, texts, None, None)
}

fn valid_embed(
    model: Option<String>,
    keep: Option<keep_alive::KeepAlive>,
    texts: Vec<String>,
    dimensions: Option<u32>,
    truncate: Option<bool>,
) -> Result<ValidEmbed> {
    let request = embed::EmbedRequest {
        inputs: texts.into_iter().map(EmbedInput::Text).collect(),
        dimensions,
        truncate: truncate.unwrap_or(true),
        ..embed::EmbedRequest::default()
    };
    Ok(ValidEmbed { model: model_name(model)?, keep_alive: keep_alive::parse(keep)?, request })
}

/// A request without a prompt.
fn load_or_unload(model: Option<String>, shared: SharedFields) -> Result<Order> {
    let model = model_name(model)?;
    Ok(match keep_alive::parse(shared.keep_alive)? {
        Some(KeepAlive::Seconds(0)) => Order::Unload(model),
        keep_alive => Order::Load(model, keep_alive),
    })
}

fn generate_order(model: Option<String>, prompt: Prompt, shared: SharedFields) -> Result<Order> {
    let logprobs = parse_logprobs(shared.logprobs, shared.top_logprobs)?;
    for (name, value) in [("truncate", shared.truncate), ("shift", shared.shift)] {
        refuse(name, &value.map(Value::Bool), &[json!(false)])?;
    }
    let options: Options = body::from_json(Value::Object(shared.options.unwrap_or_default()))?;
    refuse("penalize_newline", &options.penalize_newline.map(Value::Bool), &[json!(true)])?;
    let sampling = options.sampling.parse(None)?;
    options.unsupported.check(&sampling)?;
    let generation = Generation {
        prompt,
        sampling,
        stop: stop_texts("stop", options.stop.map(Stop::into_texts).unwrap_or_default())?,
        max_tokens: max_tokens(options.num_predict)?,
        constraint: shared.format.as_ref().map_or(Ok(None), parse_format)?,
        logprobs,
        ..Generation::default()
    };
    Ok(Order::Generate(Box::new(InferenceRequest {
        model: model_name(model)?,
        generation,
        more_prompts: Vec::new(),
        choices: 1,
        cache_salt: String::new(),
        stream: shared.stream.unwrap_or(true).then_some(Streaming { include_usage: true }),
        keep_alive: keep_alive::parse(shared.keep_alive)?,
        labels: Default::default(),
        affinity: None,
        original: None,
        assumes_no_thinking: false,
    })))
}

/// Negative numbers and 0 set no limit, as in Ollama.
fn max_tokens(num_predict: Option<i64>) -> Result<Option<u32>> {
    match num_predict {
        Some(1..) => {
            let too_large = |_| Error::invalid("num_predict", "num_predict is too large");
            num_predict.map(|tokens| u32::try_from(tokens).map_err(too_large)).transpose()
        }
        _ => Ok(None),
    }
}

fn parse_format(format: &Value) -> Result<Option<Constraint>> {
    match format {
        Value::Null => Ok(None),
        Value::String(name) if name.is_empty() => Ok(None),
        Value::String(name) if name == "json" => Ok(Some(Constraint::JsonObject)),
        Value::Object(_) => Ok(Some(Constraint::JsonSchema(format.to_string()))),
        _ => Err(Error::invalid("format", "format must be \"json\" or a JSON schema")),
    }
}

fn parse_logprobs(wanted: Option<bool>, top: Option<u32>) -> Result<Option<Logprobs>> {
    let top = top_logprobs("top_logprobs", top)?;
    if wanted != Some(true) && top > 0 {
        return Err(Error::invalid("top_logprobs", "top_logprobs is only allowed with logprobs: true"));
    }
    Ok((wanted == Some(true)).then_some(Logprobs { top, prompt: false }))
}

fn reasoning(think: Option<&Think>) -> Result<ReasoningRequest<'_>> {
    match think {
        None => Ok(ReasoningRequest::default()),
        Some(Think::On(on)) => Ok(ReasoningRequest { enabled: Some(*on), ..ReasoningRequest::default() }),
        Some(Think::Effort(effort)) => ReasoningRequest::from_effort(Some(effort)).ok_or_else(|| {
            let text = format!("think must be a boolean, \"low\", \"medium\" or \"high\", not \"{effort}\"");
            Error::invalid("think", text)
        }),
    }
}

fn refuse_list(name: &str, list: Option<&Vec<Value>>, reason: &str) -> Result<()> {
    match list {
        Some(list) if !list.is_empty() => Err(Error::invalid(name, format!("{name}: {reason}"))),
        _ => Ok(()),
    }
}

fn parse_tool(at: usize, tool: chat::Tool) -> Result<Tool> {
    let path = format!("tools[{at}]");
    if tool.r#type != "function" {
        let name = format!("{path}.type");
        let text = format!("{name}: \"{}\" is not supported, only \"function\"", tool.r#type);
        return Err(Error::invalid(name, text));
    }
    let path = format!("{path}.function");
    let missing = || Error::invalid(&path, format!("{path} is missing"));
    parse_function(&path, tool.function.ok_or_else(missing)?)
}

/// Parses all messages. Results without an id answer the calls before them in their order.
///
/// Some frameworks send each of several calls as a message of its own, and then the results. So calls stay open until a user
/// speaks, or until calls come after a result.
fn parse_messages(messages: Vec<wire::Message>) -> Result<Vec<Message>> {
    let mut all = Vec::with_capacity(messages.len());
    let mut open_calls: Vec<ToolCall> = Vec::new();
    let mut has_results = false;
    for (at, message) in messages.into_iter().enumerate() {
        let path = format!("messages[{at}]");
        let images = message.images.unwrap_or_default();
        let content = message.content.unwrap_or_default();
        let content = with_images(&format!("{path}.images"), &images, &content)?;
        all.push(match message.role {
            wire::Role::System => Message::text(Role::System, content),
            wire::Role::User => {
                open_calls.clear();
                Message::text(Role::User, content)
            }
            wire::Role::Assistant => {
                let tool_calls: Vec<ToolCall> =
                    message.tool_calls.unwrap_or_default().into_iter().map(parse_call).collect();
                if has_results && !tool_calls.is_empty() {
                    open_calls.clear();
                    has_results = false;
                }
                open_calls.extend(tool_calls.iter().cloned());
                Message {
                    role: Role::Assistant,
                    content,
                    reasoning: message.thinking.filter(|text| !text.is_empty()),
                    tool_calls,
                    ..Message::default()
                }
            }
            wire::Role::Tool => {
                has_results = true;
                let answered = answered_call(&mut open_calls, message.tool_call_id.as_deref());
                let (id, name) = answered.map(|call| (call.id, call.name)).unzip();
                let id = message.tool_call_id.or(id.filter(|id| !id.is_empty()));
                Message::result(id, message.tool_name.or(name), content)
            }
        });
    }
    image::check_count(&all)?;
    Ok(all)
}

/// The images of a message and then its text, as Ollama's own templates have them.
fn with_images(name: &str, images: &[String], text: &str) -> Result<Content> {
    let mut content = Content::default();
    for (at, data) in images.iter().enumerate() {
        let name = format!("{name}[{at}]");
        let source = if data.starts_with("data:") {
            image::from_url(&name, data)?
        } else {
            image::from_base64(&name, data)?
        };
        content.push_image(Image { source, detail: ImageDetail::Auto });
    }
    content.push_text(text);
    Ok(content)
}

/// Takes the call that a result answers.
fn answered_call(open: &mut Vec<ToolCall>, id: Option<&str>) -> Option<ToolCall> {
    let at = open.iter().position(|call| id.is_none_or(|id| call.id == id))?;
    Some(open.remove(at))
}

fn parse_call(call: wire::CalledTool) -> ToolCall {
    let wire::Called { name, arguments } = call.function;
    ToolCall { id: call.id.unwrap_or_default(), name, arguments: arguments_text(arguments) }
}

fn arguments_text(arguments: Map<String, Value>) -> String {
    Value::Object(arguments).to_string()
}

#[cfg(test)]
mod tests;
