//! Writes neutral generations as requests of Anthropic's Messages.

use ipc_proto::generate::{
    ChatPrompt, Constraint, Content, ContentPart, Generation, ImageSource, Message, Prompt, Role, Sampling,
    Tool, ToolCall, ToolChoice,
};
use ipc_proto::{Field, Result};
use serde_json::{Map, Value, json};

use super::super::fields::{self, number, refused};
use super::super::schemas;
use crate::inference::images::with_stand_ins;

/// The limit of an output if neither the client nor the settings give one. The protocol demands a limit.
const DEFAULT_MAX_TOKENS: u32 = 8192;
/// The smallest budget of thinking that the protocol takes.
const MIN_THINKING_BUDGET: u32 = 1024;

/// The body of a streamed request for one output.
///
/// # Errors
/// Names the field that the protocol cannot express.
pub(in super::super) fn write(
    model: &str,
    generation: &Generation,
    choices: usize,
    max_output: Option<u32>,
) -> Result<Value> {
    let Prompt::Chat(chat) = &generation.prompt else {
        return Err(refused(Field::Prompt, "completions, only conversations"));
    };
    if choices > 1 {
        return Err(refused(Field::Choices, "several choices"));
    }
    if generation.logprobs.is_some() {
        return Err(refused("logprobs", "log probabilities"));
    }
    let mut body = head(model, chat)?;
    let limit = generation.max_tokens.or(max_output).unwrap_or(DEFAULT_MAX_TOKENS);
    body.insert("max_tokens".into(), limit.into());
    body.insert("stream".into(), true.into());
    if !generation.stop.is_empty() {
        body.insert("stop_sequences".into(), generation.stop.as_slice().into());
    }
    write_sampling(&mut body, generation)?;
    if let Some(constraint) = &generation.constraint {
        let format = json!({"type": "json_schema", "schema": schema(constraint)?});
        body.insert("output_config".into(), json!({"format": format}));
    }
    write_thinking(&mut body, chat, generation.reasoning_budget.map(|budget| (budget, limit)));
    Ok(body.into())
}

/// The body of a request that counts a prompt's tokens.
///
/// # Errors
/// The prompt is no conversation.
pub(in super::super) fn count(model: &str, prompt: &Prompt) -> Result<Value> {
    match prompt {
        Prompt::Chat(chat) => Ok(head(model, chat)?.into()),
        _ => Err(refused(Field::Prompt, "completions, only conversations")),
    }
}

/// The model, the conversation and the tools.
fn head(model: &str, chat: &ChatPrompt) -> Result<Map<String, Value>> {
    if chat.continues {
        return Err(refused(Field::Messages, "the continuation of an assistant's message"));
    }
    let mut body = Map::new();
    body.insert("model".into(), model.into());
    let instructions = chat.messages.iter().take_while(|message| message.role == Role::System);
    let (count, system) = instructions
        .fold((0, String::new()), |(count, text), message| (count + 1, join(&text, &message.content.text())));
    if !system.is_empty() {
        body.insert("system".into(), system.into());
    }
    body.insert("messages".into(), write_turns(&chat.messages[count..])?);
    let tools = chat.callable_tools();
    if !tools.is_empty() {
        body.insert("tools".into(), tools.iter().map(write_tool).collect());
        body.insert("tool_choice".into(), write_choice(chat));
    }
    Ok(body)
}

fn join(before: &str, text: &str) -> String {
    if before.is_empty() { text.to_owned() } else { format!("{before}\n\n{text}") }
}

/// The turns. Roles alternate: results of tools and later instructions belong to the user's turn.
fn write_turns(messages: &[Message]) -> Result<Value> {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in messages {
        let role = if message.role == Role::Assistant { "assistant" } else { "user" };
        let blocks = write_blocks(message)?;
        match turns.last_mut() {
            Some((last, all)) if *last == role => all.extend(blocks),
            _ if blocks.is_empty() => {}
            _ => turns.push((role, blocks)),
        }
    }
    let turn = |(role, content): (&str, Vec<Value>)| json!({"role": role, "content": content});
    Ok(turns.into_iter().map(turn).collect())
}

fn write_blocks(message: &Message) -> Result<Vec<Value>> {
    let content = &message.content;
    if message.role == Role::Tool {
        let id = message.tool_call_id.as_deref().unwrap_or_default();
        let has_images = content.images().next().is_some();
        let content: Value = if has_images { write_parts(content)?.into() } else { content.text().into() };
        return Ok(vec![json!({"type": "tool_result", "tool_use_id": id, "content": content})]);
    }
    // Only the user's turns may have images.
    let mut blocks = match message.role {
        Role::User => write_parts(content)?,
        _ => write_parts(&with_stand_ins(content, "[image]"))?,
    };
    blocks.extend(message.tool_calls.iter().map(write_call));
    Ok(blocks)
}

/// The texts and images. The protocol refuses empty text blocks.
fn write_parts(content: &Content) -> Result<Vec<Value>> {
    let said = |part: &&ContentPart| part.as_text().is_none_or(|text| !text.trim().is_empty());
    let part = |part: &ContentPart| match part {
        ContentPart::Text(text) => Ok(json!({"type": "text", "text": text})),
        ContentPart::Image(image) => Ok(json!({"type": "image", "source": write_source(&image.source)?})),
    };
    content.parts().iter().filter(said).map(part).collect()
}

fn write_source(source: &ImageSource) -> Result<Value> {
    Ok(match source {
        ImageSource::Url(url) => json!({"type": "url", "url": url}),
        source => {
            let (kind, data) = fields::encoded(source)?;
            json!({"type": "base64", "media_type": kind, "data": data})
        }
    })
}

fn write_call(call: &ToolCall) -> Value {
    let input: Value = serde_json::from_str(&call.arguments).unwrap_or_default();
    // Arguments that broke off are no object.
    let input = if input.is_object() { input } else { json!({"arguments": call.arguments}) };
    json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input})
}

fn write_tool(tool: &Tool) -> Value {
    let mut schema = tool.parameters().and_then(|text| serde_json::from_str::<Value>(text).ok());
    if tool.is_strict() {
        schema.iter_mut().for_each(schemas::close);
    }
    let mut fields = Map::new();
    fields.insert("name".into(), tool.name.as_str().into());
    if let Some(description) = &tool.description {
        fields.insert("description".into(), description.as_str().into());
    }
    let empty = || json!({"type": "object", "properties": {}});
    fields.insert("input_schema".into(), schema.unwrap_or_else(empty));
    if tool.is_strict() {
        fields.insert("strict".into(), true.into());
    }
    fields.into()
}

fn write_choice(chat: &ChatPrompt) -> Value {
    let mut choice = match &chat.tool_choice {
        ToolChoice::Auto => json!({"type": "auto"}),
        ToolChoice::None => return json!({"type": "none"}),
        ToolChoice::Required => json!({"type": "any"}),
        ToolChoice::Named(name) => json!({"type": "tool", "name": name}),
    };
    if !chat.parallel_calls {
        choice["disable_parallel_tool_use"] = true.into();
    }
    choice
}

fn write_sampling(body: &mut Map<String, Value>, generation: &Generation) -> Result<()> {
    let Sampling {
        temperature,
        top_p,
        top_k,
        min_p,
        seed: _,
        repetition_penalty,
        presence_penalty,
        frequency_penalty,
        logit_bias,
    } = &generation.sampling;
    let unknown = [
        ("min_p", min_p.is_some()),
        ("repetition_penalty", repetition_penalty.is_some()),
        ("presence_penalty", presence_penalty.is_some_and(|penalty| penalty != 0.0)),
        ("frequency_penalty", frequency_penalty.is_some_and(|penalty| penalty != 0.0)),
        ("logit_bias", !logit_bias.is_empty()),
        ("min_tokens", generation.min_tokens > 0),
        ("ignore_eos", generation.ignore_eos),
        ("stop_token_ids", !generation.stop_tokens.is_empty()),
    ];
    if let Some((name, _)) = unknown.iter().find(|(_, is_set)| *is_set) {
        return Err(refused(*name, name));
    }
    if let Some(temperature) = temperature {
        body.insert("temperature".into(), number(*temperature));
    }
    if let Some(top_p) = top_p {
        body.insert("top_p".into(), number(*top_p));
    }
    if let Some(top_k) = top_k.filter(|k| *k > 0) {
        body.insert("top_k".into(), top_k.into());
    }
    Ok(())
}

fn schema(constraint: &Constraint) -> Result<Value> {
    match constraint {
        Constraint::JsonSchema(schema) => {
            let mut schema = fields::schema(schema)?;
            schemas::close(&mut schema);
            Ok(schema)
        }
        Constraint::JsonObject => Err(refused(Field::OutputFormat, "a JSON object without a schema")),
        Constraint::Regex(_) => Err(refused(Field::OutputFormat, "a regular expression")),
        Constraint::Lark(_) => Err(refused(Field::OutputFormat, "a grammar")),
    }
}

/// The wishes for reasoning. `budget` comes with the limit of the whole output.
fn write_thinking(body: &mut Map<String, Value>, chat: &ChatPrompt, budget: Option<(u32, u32)>) {
    let kwargs = fields::template_kwargs(chat.template_kwargs.as_deref());
    let enabled = kwargs.get("enable_thinking").and_then(Value::as_bool);
    if enabled == Some(false) {
        body.insert("thinking".into(), json!({"type": "disabled"}));
        return;
    }
    if let Some(effort) = kwargs.get("reasoning_effort").and_then(Value::as_str) {
        let config = body.entry("output_config").or_insert_with(|| json!({}));
        config["effort"] = effort.into();
    }
    // Within a round of calls the protocol demands the signed thinking of the round, which the neutral form does not carry.
    let is_in_calls = chat.messages.last().is_some_and(|message| message.role == Role::Tool);
    // It refuses thinking before a forced call, too.
    let is_forced = matches!(chat.tool_choice, ToolChoice::Required | ToolChoice::Named(_));
    if is_in_calls || is_forced || enabled != Some(true) {
        return;
    }
    // A budget must leave room for the answer.
    let thinking = match budget.filter(|(budget, limit)| (MIN_THINKING_BUDGET..*limit).contains(budget)) {
        Some((budget, _)) => json!({"type": "enabled", "budget_tokens": budget}),
        None => json!({"type": "adaptive"}),
    };
    body.insert("thinking".into(), thinking);
}
