//! The tools of a conversation: the declared ones, and their changes by its turns. Pure.
//!
//! Later tools do not join the list at the head of the prompt: the turn that offers a tool describes it. So the prompt before that
//! turn stays the same, and the prefix cache matches it.

use ipc_proto::generate::{Tool, ToolChanges, ToolChoice, ToolInput};
use ipc_proto::{Error, Result};
use serde_json::{Value, json};

use crate::protocols::anthropic::messages::wire as messages;
use crate::protocols::anthropic::messages::wire::{Block, ChangedTool};

const MAX_NAME_BYTES: usize = 128;
/// The types of the tools that search deferred tools on Anthropic's servers.
const TOOL_SEARCH: &str = "tool_search_tool_";

/// The tools that the model may call, at some point of the conversation.
#[derive(Debug, Default)]
pub(super) struct Toolset {
    listed: Vec<Tool>,
    /// The number of listed tools that the request declares.
    declared: usize,
    changes: ToolChanges,
    /// Tools that a turn can offer.
    deferred: Vec<Tool>,
    /// The changes that no turn describes yet.
    pending: Pending,
}

#[derive(Debug, Default)]
struct Pending {
    described: Vec<Tool>,
    named: Vec<String>,
    unknown: Vec<String>,
    withdrawn: Vec<String>,
}

impl Toolset {
    /// Parses the tools of a request. Deferred tools are not offered yet, unless the request has a tool search: there is none here
    /// that could find them.
    pub(super) fn declare(tools: Vec<messages::Tool>) -> Result<Self> {
        let is_search =
            |tool: &messages::Tool| tool.r#type.as_deref().is_some_and(|kind| kind.starts_with(TOOL_SEARCH));
        let has_search = tools.iter().any(is_search);
        let mut all = Self::default();
        for (at, tool) in tools.into_iter().enumerate().filter(|(_, tool)| !is_search(tool)) {
            let is_deferred = tool.defer_loading == Some(true) && !has_search;
            let tool = parse_tool(&format!("tools[{at}]"), tool)?;
            if is_deferred { all.deferred.push(tool) } else { all.listed.push(tool) }
        }
        all.declared = all.listed.len();
        Ok(all)
    }

    /// Applies a `tool_addition` or `tool_removal`.
    pub(super) fn change(&mut self, path: &str, block: Block) -> Result<()> {
        let Block { r#type, tool, tools, .. } = block;
        if let Some(Value::Array(definitions)) = tools.filter(|_| tool.is_none() && r#type == "tool_addition")
        {
            for (at, definition) in definitions.into_iter().enumerate() {
                let path = format!("{path}.tools[{at}]");
                let tool = serde_json::from_value(definition);
                let tool = tool.map_err(|e| Error::invalid(&path, format!("{path}: {e}")))?;
                self.define(parse_tool(&path, tool)?);
            }
            return Ok(());
        }
        let path = format!("{path}.tool");
        let changed = tool.ok_or_else(|| Error::invalid(&path, format!("{path} is missing")))?;
        self.change_one(&path, &r#type, changed)
    }

    fn change_one(&mut self, path: &str, change: &str, changed: ChangedTool) -> Result<()> {
        let unknown = |name: &str| {
            let path = format!("{path}.name");
            Error::invalid(&path, format!("{path}: there is no tool \"{name}\""))
        };
        match (change, &*changed.r#type, changed.name, changed.definition) {
            ("tool_addition", "tool_definition", _, Some(tool)) => {
                self.define(parse_tool(&format!("{path}.definition"), *tool)?);
                Ok(())
            }
            ("tool_addition", "tool_reference", Some(name), _) => {
                self.offer(&name).then_some(()).ok_or_else(|| unknown(&name))
            }
            ("tool_removal", "tool_reference", Some(name), _) => {
                self.withdraw(&name).then_some(()).ok_or_else(|| unknown(&name))
            }
            (_, kind, ..) => {
                let path = format!("{path}.type");
                let text =
                    format!("{path}: \"{kind}\" is not supported here, or lacks its name or definition");
                Err(Error::invalid(path, text))
            }
        }
    }

    /// Offers the tool that the result of a tool search names. An unknown name is described as such: an MCP server may have left.
    pub(super) fn refer(&mut self, name: &str) {
        if !self.offer(name) {
            self.pending.unknown.push(name.to_owned());
        }
    }

    /// Returns false if there is no such tool.
    fn offer(&mut self, name: &str) -> bool {
        if let Some(at) = self.deferred.iter().position(|tool| tool.name == name) {
            let tool = self.deferred.remove(at);
            self.define(tool);
            return true;
        }
        let is_added = self.changes.added.iter().any(|tool| tool.name == name);
        if !is_added && !self.is_listed(name) {
            return false;
        }
        if !is_added {
            self.changes.withdrawn.retain(|withdrawn| withdrawn != name);
        }
        self.pending.named.push(name.to_owned());
        true
    }

    fn define(&mut self, tool: Tool) {
        self.deferred.retain(|deferred| deferred.name != tool.name);
        self.changes.added.retain(|added| added.name != tool.name);
        if self.listed.is_empty() {
            // The head shows the form of calls only where it lists a tool.
            self.pending.named.push(tool.name.clone());
            self.listed.push(tool);
            return;
        }
        if self.listed.contains(&tool) {
            self.offer(&tool.name);
            return;
        }
        if self.is_offered_at_head(&tool.name) {
            self.changes.withdrawn.push(tool.name.clone());
        }
        self.pending.described.push(tool.clone());
        self.changes.added.push(tool);
    }

    /// Returns false if there is no such tool.
    fn withdraw(&mut self, name: &str) -> bool {
        if let Some(at) = self.changes.added.iter().position(|tool| tool.name == name) {
            self.deferred.push(self.changes.added.remove(at));
        } else if self.is_offered_at_head(name) {
            self.changes.withdrawn.push(name.to_owned());
        } else {
            return self.is_listed(name) || self.deferred.iter().any(|tool| tool.name == name);
        }
        self.pending.withdrawn.push(name.to_owned());
        true
    }

    fn is_listed(&self, name: &str) -> bool {
        self.listed.iter().any(|tool| tool.name == name)
    }

    fn is_offered_at_head(&self, name: &str) -> bool {
        self.is_listed(name) && !self.changes.withdrawn.iter().any(|withdrawn| withdrawn == name)
    }

    /// Describes the changes since the last call, for the turn that makes them.
    pub(super) fn take_announcement(&mut self) -> Option<String> {
        std::mem::take(&mut self.pending).describe()
    }

    /// Returns the blocks that lead from the declared tools to the present ones.
    pub(super) fn as_blocks(&self) -> Vec<Value> {
        let ToolChanges { added, withdrawn } = &self.changes;
        let defined = self.listed[self.declared..].iter().chain(added);
        let defined = defined.map(|tool| {
            let definition = json!({"name": tool.name, "description": tool.description,
                "input_schema": parameters(tool), "strict": tool.is_strict()});
            json!({"type": "tool_addition", "tool": {"type": "tool_definition", "definition": definition}})
        });
        let gone = withdrawn.iter().filter(|name| !added.iter().any(|tool| tool.name == **name));
        let gone = gone
            .map(|name| json!({"type": "tool_removal", "tool": {"type": "tool_reference", "name": name}}));
        defined.chain(gone).collect()
    }

    /// Returns the listed tools and their changes.
    pub(super) fn into_parts(self) -> (Vec<Tool>, ToolChanges) {
        (self.listed, self.changes)
    }
}

impl Pending {
    fn describe(self) -> Option<String> {
        let Self { described, named, unknown, withdrawn } = self;
        let mut lines = Vec::new();
        if !described.is_empty() {
            let tools: Vec<String> = described.iter().map(|tool| describe(tool).to_string()).collect();
            let tools = tools.join("\n");
            lines.push(format!("These functions can be called from here on:\n<tools>\n{tools}\n</tools>"));
        }
        for (text, names) in [
            ("These functions can be called", named),
            ("These functions do not exist", unknown),
            ("These functions can no longer be called", withdrawn),
        ] {
            if !names.is_empty() {
                lines.push(format!("{text}: {}", names.join(", ")));
            }
        }
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

/// Describes tools that can be called from here on, and others that no longer can.
pub(super) fn announce(added: &[Tool], withdrawn: Vec<String>) -> Option<String> {
    Pending { described: added.to_vec(), withdrawn, ..Pending::default() }.describe()
}

/// Describes a tool in the form in which most templates list them.
fn describe(tool: &Tool) -> Value {
    let description = tool.description.as_deref().unwrap_or_default();
    let function = json!({"name": tool.name, "description": description, "parameters": parameters(tool)});
    json!({"type": "function", "function": function})
}

fn parameters(tool: &Tool) -> Value {
    let schema = tool.parameters().and_then(|schema| serde_json::from_str(schema).ok());
    schema.unwrap_or_else(|| json!({"type": "object"}))
}

fn parse_tool(path: &str, tool: messages::Tool) -> Result<Tool> {
    let wrong = |field: &str, text: &str| {
        let name = format!("{path}.{field}");
        Error::invalid(&name, format!("{name}: {text}"))
    };
    if tool.r#type.as_deref().is_some_and(|kind| kind != "custom") {
        return Err(wrong("type", "only \"custom\" tools are supported; this server runs none of its own"));
    }
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if tool.name.is_empty() || tool.name.len() > MAX_NAME_BYTES || !tool.name.bytes().all(word) {
        return Err(wrong("name", "1 to 128 letters, digits, _ or -"));
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
}

/// Parses `tool_choice`, and whether one message may contain several calls. `callable` are the tools at the end of the conversation.
pub(super) fn parse_choice(
    choice: Option<messages::ToolChoice>,
    callable: &[Tool],
) -> Result<(ToolChoice, bool)> {
    let Some(choice) = choice else { return Ok((ToolChoice::Auto, true)) };
    let wrong = |text: &str| Err(Error::invalid("tool_choice", format!("tool_choice: {text}")));
    let parallel = !choice.disable_parallel_tool_use.unwrap_or(false);
    let chosen = match (&*choice.r#type, choice.name) {
        ("auto", _) => ToolChoice::Auto,
        ("none", _) => ToolChoice::None,
        ("any" | "tool", _) if callable.is_empty() => return wrong("there are no tools"),
        ("any", _) => ToolChoice::Required,
        ("tool", Some(name)) if callable.iter().any(|tool| tool.name == name) => ToolChoice::Named(name),
        ("tool", _) => return wrong("name must be the name of a tool that is offered"),
        _ => return wrong("type must be \"auto\", \"any\", \"tool\" or \"none\""),
    };
    Ok((chosen, parallel))
}

#[cfg(test)]
mod tests;
