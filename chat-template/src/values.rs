//! Converts messages and tools into template values.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use ipc_proto::generate::{Content, ContentPart, Message, TextGrammar, Tool, ToolCall, ToolInput};
use serde_json::{Map, Value, json};

/// The name of a call's arguments that are no JSON object.
const BROKEN_ARGUMENTS: &str = "INVALID_JSON";

/// Choices between two forms of the same value. The default is the form of Transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Style {
    /// Arguments of calls stay JSON text instead of objects.
    pub(crate) arguments_as_text: bool,
    /// A turn with calls only has no `content` instead of an empty one.
    pub(crate) omits_empty_content: bool,
    /// A turn with text and calls has no `thinking`: the template of gpt-oss refuses it.
    pub(crate) omits_thinking: bool,
    /// Missing descriptions and types of tools are added.
    pub(crate) completes_tools: bool,
}

impl Style {
    /// The styles that differ for this conversation. The one of Transformers comes first.
    pub(crate) fn all(messages: &[Message], tools: &[Value]) -> Vec<Self> {
        let calls = messages.iter().any(|message| !message.tool_calls.is_empty());
        let only_calls = messages.iter().any(is_only_calls);
        let thinks = messages.iter().any(|message| {
            message.reasoning.is_some() && !message.content.is_empty() && !message.tool_calls.is_empty()
        });
        let incomplete = tools.iter().any(|tool| complete_tool(tool.clone()) != *tool);
        let options = |possible: bool| if possible { &[false, true][..] } else { &[false] };
        let mut all = Vec::new();
        for &completes_tools in options(incomplete) {
            for &arguments_as_text in options(calls) {
                for &omits_empty_content in options(only_calls) {
                    for &omits_thinking in options(thinks) {
                        all.push(Self {
                            arguments_as_text,
                            omits_empty_content,
                            omits_thinking,
                            completes_tools,
                        });
                    }
                }
            }
        }
        all
    }
}

fn is_only_calls(message: &Message) -> bool {
    message.content.is_empty() && !message.tool_calls.is_empty()
}

/// What one template needs of every message.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Needs {
    /// Ids of calls have nine letters and digits (Mistral).
    pub(crate) short_ids: bool,
    /// Content is a list of parts even if it is one text.
    pub(crate) parts: bool,
}

/// A message in OpenAI's form. Keys without a value are absent, and reasoning has both names, as in Transformers.
pub(crate) fn message(message: &Message, style: Style, needs: Needs) -> Value {
    let Needs { short_ids, parts } = needs;
    let mut map = Map::new();
    map.insert("role".into(), message.role.as_str().into());
    if !(style.omits_empty_content && is_only_calls(message)) {
        map.insert("content".into(), content(&message.content, parts));
    }
    if let Some(name) = &message.name {
        map.insert("name".into(), name.as_str().into());
    }
    if let Some(reasoning) = &message.reasoning {
        let speaks_and_calls = !message.content.is_empty() && !message.tool_calls.is_empty();
        if !(style.omits_thinking && speaks_and_calls) {
            map.insert("thinking".into(), reasoning.as_str().into());
        }
        map.insert("reasoning_content".into(), reasoning.as_str().into());
        map.insert("reasoning".into(), reasoning.as_str().into());
    }
    if !message.tool_calls.is_empty() {
        let calls = message.tool_calls.iter().map(|made| call(made, style.arguments_as_text, short_ids));
        map.insert("tool_calls".into(), calls.collect());
    }
    if let Some(id) = &message.tool_call_id {
        map.insert("tool_call_id".into(), call_id(id, short_ids).into());
    }
    Value::Object(map)
}

/// Text, or a list of parts if there are images or the template takes nothing else.
fn content(content: &Content, parts: bool) -> Value {
    if !parts && content.images().next().is_none() {
        return content.text().into();
    }
    let value = |part: &ContentPart| match part {
        ContentPart::Text(text) => json!({"type": "text", "text": text}),
        ContentPart::Image(_) => json!({"type": "image"}),
    };
    content.parts().iter().map(value).collect()
}

fn call(call: &ToolCall, as_text: bool, short_ids: bool) -> Value {
    let arguments =
        if as_text { call.arguments.as_str().into() } else { Value::Object(arguments(&call.arguments)) };
    let function = json!({"name": call.name, "arguments": arguments});
    json!({"id": call_id(&call.id, short_ids), "type": "function", "function": function})
}

/// The arguments of a call as an object. Templates iterate over it, so any other text becomes its only member, under the same name
/// as in the gateway's answers. No arguments at all are an empty object.
pub(crate) fn arguments(text: &str) -> Map<String, Value> {
    match serde_json::from_str(text) {
        Ok(Value::Object(members)) => members,
        Ok(Value::Null) => Map::new(),
        _ if text.trim().is_empty() => Map::new(),
        _ => [(BROKEN_ARGUMENTS.to_owned(), text.into())].into_iter().collect(),
    }
}

/// The id of a call. For Mistral's templates a deterministic id of nine letters and digits.
fn call_id(id: &str, short: bool) -> String {
    let fits = id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !short || fits {
        return id.to_owned();
    }
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    format!("{:016x}", hasher.finish())[..9].to_owned()
}

/// A tool in OpenAI's form, with the keys that its client sent.
pub(crate) fn tool(tool: &Tool) -> Value {
    let mut function = Map::new();
    function.insert("name".into(), tool.name.as_str().into());
    if let Some(description) = description(tool) {
        function.insert("description".into(), description.into());
    }
    if let Some(parameters) = tool.parameters().and_then(|text| serde_json::from_str(text).ok()) {
        function.insert("parameters".into(), parameters);
    }
    json!({"type": "function", "function": function})
}

/// A tool's description. The grammar of its text follows: no schema could show it.
fn description(tool: &Tool) -> Option<Cow<'_, str>> {
    let own = tool.description.as_deref();
    let (kind, grammar) = match &tool.input {
        ToolInput::Text(Some(TextGrammar::Lark(text))) => ("this Lark grammar", text),
        ToolInput::Text(Some(TextGrammar::Regex(text))) => ("this regular expression", text),
        ToolInput::Json { .. } | ToolInput::Text(None) => return own.map(Cow::Borrowed),
    };
    let gap = if own.is_some_and(|text| !text.is_empty()) { "\n\n" } else { "" };
    let argument = Tool::TEXT_ARGUMENT;
    Some(
        format!("{}{gap}The text in \"{argument}\" matches {kind}:\n{grammar}", own.unwrap_or_default())
            .into(),
    )
}

/// A tool with a schema of its parameters, which Hermes' form requires.
pub(crate) fn tool_with_parameters(definition: &Tool) -> Value {
    let mut value = tool(definition);
    if let Some(function) = value.get_mut("function").and_then(Value::as_object_mut) {
        function.entry("parameters").or_insert_with(|| json!({"type": "object", "properties": {}}));
    }
    value
}

/// Adds the fields that templates read without a check: descriptions, types, properties.
pub(crate) fn complete_tool(mut tool: Value) -> Value {
    let Some(function) = tool.get_mut("function").and_then(Value::as_object_mut) else { return tool };
    function.entry("description").or_insert_with(|| "".into());
    let parameters = function.entry("parameters").or_insert_with(|| json!({}));
    if let Some(parameters) = parameters.as_object_mut() {
        parameters.entry("type").or_insert_with(|| "object".into());
        parameters.entry("properties").or_insert_with(|| json!({}));
        complete_parts(parameters);
    }
    tool
}

/// Completes the schemas of an object's properties and of a list's items.
fn complete_parts(schema: &mut Map<String, Value>) {
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for property in properties.into_iter().flat_map(Map::values_mut) {
        complete_schema(property);
    }
    schema.get_mut("items").map(complete_schema);
}

fn complete_schema(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    schema.entry("description").or_insert_with(|| "".into());
    let kind = match schema.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        kind => first_type(kind, schema),
    };
    match &*kind {
        "object" => drop(schema.entry("additionalProperties").or_insert_with(|| json!({}))),
        "array" => drop(schema.entry("items").or_insert_with(|| json!({}))),
        _ => {}
    }
    schema.insert("type".into(), kind.into());
    complete_parts(schema);
}

/// One type name for a schema: the first in a list that is not null, else the type of an alternative, else a guess. Templates have no
/// name for "any", and some iterate over the letters of an unknown one.
fn first_type(kind: Option<&Value>, schema: &Map<String, Value>) -> String {
    let listed = kind.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let alternatives = ["anyOf", "oneOf"].into_iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    let alternatives = alternatives.filter_map(|schema| schema.get("type")?.as_str());
    let guess = match schema {
        schema if schema.contains_key("properties") => "object",
        schema if schema.contains_key("items") => "array",
        _ => "string",
    };
    listed.chain(alternatives).find(|name| *name != "null").unwrap_or(guess).to_owned()
}
