//! Writes neutral generations as requests of OpenAI's protocol.

use ipc_proto::gateway::ProviderKind;
use ipc_proto::generate::{
    ChatPrompt, Constraint, Content, ContentPart, Generation, Image, ImageDetail, Message, Prompt, Role,
    Sampling, Tool, ToolCall, ToolChoice,
};
use ipc_proto::{Field, Result};
use serde_json::{Map, Value, json};

use super::super::fields::{self, number, refused, whole_number};
use super::super::schemas;
use crate::inference::images::with_stand_ins;

/// vLLM's name of the budget of thinking tokens.
const BUDGET: &str = "thinking_token_budget";

/// The body of a streamed request for `choices` outputs. `says_thinking` is whether the client itself said whether to reason.
///
/// # Errors
/// Names the field that the provider's protocol cannot express.
pub(in super::super) fn write(
    model: &str,
    generation: &Generation,
    (choices, says_thinking): (usize, bool),
    kind: ProviderKind,
) -> Result<Value> {
    let mut body = Map::new();
    body.insert("model".into(), model.into());
    match &generation.prompt {
        Prompt::Chat(chat) => write_chat(&mut body, (chat, says_thinking), generation, kind)?,
        prompt => write_completion(&mut body, prompt, generation)?,
    }
    write_common(&mut body, generation, kind)?;
    body.insert("stream".into(), true.into());
    body.insert("stream_options".into(), json!({"include_usage": true}));
    if choices > 1 {
        body.insert("n".into(), choices.into());
    }
    Ok(body.into())
}

fn write_completion(body: &mut Map<String, Value>, prompt: &Prompt, generation: &Generation) -> Result<()> {
    match prompt {
        Prompt::Text(text) => body.insert("prompt".into(), text.as_str().into()),
        Prompt::Tokens(tokens) => body.insert("prompt".into(), tokens.as_slice().into()),
        Prompt::Infill { before, after } => {
            body.insert("prompt".into(), before.as_str().into());
            body.insert("suffix".into(), after.as_str().into())
        }
        Prompt::Chat(_) => None,
    };
    if let Some(limit) = generation.max_tokens {
        body.insert("max_tokens".into(), limit.into());
    }
    if generation.logprobs.is_some() {
        return Err(refused("logprobs", "log probabilities of completions"));
    }
    match generation.constraint {
        Some(_) => Err(refused(Field::OutputFormat, "a format of completions")),
        None => Ok(()),
    }
}

fn write_chat(
    body: &mut Map<String, Value>,
    (chat, says_thinking): (&ChatPrompt, bool),
    generation: &Generation,
    kind: ProviderKind,
) -> Result<()> {
    if chat.continues {
        return Err(refused(Field::Messages, "the continuation of an assistant's message"));
    }
    body.insert("messages".into(), write_messages(&chat.messages, kind)?.into());
    let tools = chat.callable_tools();
    if !tools.is_empty() {
        body.insert("tools".into(), tools.iter().map(write_tool).collect());
        body.insert("tool_choice".into(), write_choice(&chat.tool_choice));
        if !chat.parallel_calls {
            body.insert("parallel_tool_calls".into(), false.into());
        }
    }
    if let Some(limit) = generation.max_tokens {
        // OpenAI's reasoning models refuse the older name, and many servers do not know the newer one.
        let name = if kind == ProviderKind::Openai { "max_completion_tokens" } else { "max_tokens" };
        body.insert(name.into(), limit.into());
    }
    if let Some(logprobs) = generation.logprobs {
        body.insert("logprobs".into(), true.into());
        if logprobs.top > 0 {
            body.insert("top_logprobs".into(), logprobs.top.into());
        }
    }
    if let Some(constraint) = &generation.constraint {
        body.insert("response_format".into(), write_format(constraint)?);
    }
    write_reasoning(body, (chat.template_kwargs.as_deref(), says_thinking), kind);
    Ok(())
}

/// The turns. Results are texts in this protocol, so their images follow as the user's, after the last result of a round.
fn write_messages(messages: &[Message], kind: ProviderKind) -> Result<Vec<Value>> {
    let mut all = Vec::with_capacity(messages.len());
    let mut shown: Vec<Value> = Vec::new();
    for message in messages {
        if message.role != Role::Tool && !shown.is_empty() {
            all.push(json!({"role": "user", "content": std::mem::take(&mut shown)}));
        }
        all.push(write_message(message, kind)?);
        if message.role == Role::Tool {
            for image in message.content.images() {
                shown.push(write_image(image)?);
            }
        }
    }
    if !shown.is_empty() {
        all.push(json!({"role": "user", "content": shown}));
    }
    Ok(all)
}

/// A text, or a list of parts if there are images. Only the user's may have them.
fn write_content(role: Role, content: &Content) -> Result<Value> {
    let has_images = content.images().next().is_some();
    let part = |part: &ContentPart| match part {
        ContentPart::Text(text) => Ok(json!({"type": "text", "text": text})),
        ContentPart::Image(image) => write_image(image),
    };
    match role {
        Role::User if has_images => content.parts().iter().map(part).collect(),
        Role::Tool if has_images => Ok(with_stand_ins(content, "[image: see below]").text().into()),
        _ if has_images => Ok(with_stand_ins(content, "[image]").text().into()),
        _ => Ok(content.text().into()),
    }
}

fn write_image(image: &Image) -> Result<Value> {
    let mut url = json!({"url": fields::image_url(&image.source)?});
    let detail = match image.detail {
        ImageDetail::Auto => None,
        ImageDetail::Low => Some("low"),
        ImageDetail::High => Some("high"),
    };
    if let Some(detail) = detail {
        url["detail"] = detail.into();
    }
    Ok(json!({"type": "image_url", "image_url": url}))
}

fn write_message(message: &Message, kind: ProviderKind) -> Result<Value> {
    let mut fields = Map::new();
    fields.insert("role".into(), message.role.as_str().into());
    // An assistant that only called functions has said nothing.
    let content = if message.content.is_empty() && !message.tool_calls.is_empty() {
        Value::Null
    } else {
        write_content(message.role, &message.content)?
    };
    fields.insert("content".into(), content);
    if let Some(name) = message.name.as_deref().filter(|_| message.role != Role::Tool) {
        fields.insert("name".into(), name.into());
    }
    if let Some(id) = &message.tool_call_id {
        fields.insert("tool_call_id".into(), id.as_str().into());
    }
    if !message.tool_calls.is_empty() {
        fields.insert("tool_calls".into(), message.tool_calls.iter().map(write_call).collect());
    }
    if let Some(reasoning) = message.reasoning.as_deref().filter(|_| kind != ProviderKind::Openai) {
        fields.insert("reasoning_content".into(), reasoning.into());
    }
    Ok(fields.into())
}

fn write_call(call: &ToolCall) -> Value {
    json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}})
}

/// A function. A tool whose input is text becomes one with a single argument, as its calls are in the neutral form.
fn write_tool(tool: &Tool) -> Value {
    let mut function = Map::new();
    function.insert("name".into(), tool.name.as_str().into());
    if let Some(description) = &tool.description {
        function.insert("description".into(), description.as_str().into());
    }
    let schema = tool.parameters().and_then(|text| serde_json::from_str::<Value>(text).ok());
    if let Some(mut schema) = schema {
        if tool.is_strict() {
            schemas::close(&mut schema);
            function.insert("strict".into(), schemas::is_strict(&schema).into());
        }
        function.insert("parameters".into(), schema);
    }
    json!({"type": "function", "function": function})
}

fn write_choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => json!({"type": "function", "function": {"name": name}}),
    }
}

/// OpenAI refuses strict schemas with optional properties. Without `strict` it follows them as well as it can.
fn write_format(constraint: &Constraint) -> Result<Value> {
    let schema = match constraint {
        Constraint::JsonObject => return Ok(json!({"type": "json_object"})),
        Constraint::JsonSchema(schema) => schema,
        Constraint::Regex(_) => return Err(refused(Field::OutputFormat, "a regular expression")),
        Constraint::Lark(_) => return Err(refused(Field::OutputFormat, "a grammar")),
    };
    let mut schema = fields::schema(schema)?;
    schemas::close(&mut schema);
    let strict = schemas::is_strict(&schema);
    Ok(json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": strict}}))
}

/// The wishes for reasoning. Compatible servers get all variables of the chat template, which are theirs to read.
fn write_reasoning(
    body: &mut Map<String, Value>,
    (kwargs, says_thinking): (Option<&str>, bool),
    kind: ProviderKind,
) {
    let kwargs = fields::template_kwargs(kwargs);
    let effort = match (kwargs.get("reasoning_effort"), kwargs.get("enable_thinking")) {
        (Some(effort), _) => Some(effort.clone()),
        // Models that do not reason refuse the field.
        (None, Some(Value::Bool(false))) if says_thinking => Some("none".into()),
        _ => None,
    };
    if let Some(effort) = effort {
        body.insert("reasoning_effort".into(), effort);
    }
    if kind == ProviderKind::OpenaiCompatible && !kwargs.is_empty() {
        body.insert("chat_template_kwargs".into(), kwargs.into());
    }
}

fn write_common(body: &mut Map<String, Value>, generation: &Generation, kind: ProviderKind) -> Result<()> {
    if generation.logprobs.is_some_and(|logprobs| logprobs.prompt) {
        return Err(refused("prompt_logprobs", "log probabilities of the prompt"));
    }
    let Sampling { temperature, top_p, seed, presence_penalty, frequency_penalty, logit_bias, .. } =
        &generation.sampling;
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    put("temperature", temperature.map(number));
    put("top_p", top_p.map(number));
    put("seed", seed.map(Value::from));
    put("presence_penalty", presence_penalty.map(number));
    put("frequency_penalty", frequency_penalty.map(number));
    put("stop", Some(&generation.stop).filter(|stop| !stop.is_empty()).map(|stop| stop.as_slice().into()));
    if !logit_bias.is_empty() {
        let biases: Map<String, Value> =
            logit_bias.iter().map(|(token, bias)| (token.to_string(), whole_number(*bias))).collect();
        put("logit_bias", Some(biases.into()));
    }
    for (name, value) in extensions(generation) {
        if kind == ProviderKind::Openai {
            let what =
                if name == BUDGET { "thinking.budget_tokens, a budget of thinking tokens" } else { name };
            return Err(refused(name, what));
        }
        put(name, Some(value));
    }
    Ok(())
}

/// Set fields that OpenAI does not know, by vLLM's names.
fn extensions(generation: &Generation) -> impl Iterator<Item = (&'static str, Value)> {
    let Sampling { top_k, min_p, repetition_penalty, .. } = &generation.sampling;
    let all = [
        ("top_k", top_k.map(Value::from)),
        ("min_p", min_p.map(number)),
        ("repetition_penalty", repetition_penalty.map(number)),
        ("min_tokens", Some(generation.min_tokens).filter(|tokens| *tokens > 0).map(Value::from)),
        ("ignore_eos", generation.ignore_eos.then_some(Value::Bool(true))),
        (
            "stop_token_ids",
            Some(&generation.stop_tokens).filter(|stop| !stop.is_empty()).map(|stop| stop.as_slice().into()),
        ),
        (BUDGET, generation.reasoning_budget.map(Value::from)),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?)))
}
