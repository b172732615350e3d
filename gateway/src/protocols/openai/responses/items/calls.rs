//! Calls and outputs of every kind, and items of unknown kinds.

use ipc_proto::Result;
use ipc_proto::generate::{Content as NeutralContent, Role, ToolCall};
use serde_json::{Map, Value, json};

use super::{Turns, missing, parse_content, parse_output};
use crate::inference::images::with_stand_ins;
use crate::protocols::common::images;
use crate::protocols::openai::responses::wire::{Content, Item};
use crate::protocols::openai::tools::call_forms::CallKind;
use crate::protocols::openai::tools::text_input;

/// Items that only mark something, or whose content is in other items: lists of tools, and settings and requests that are read
/// elsewhere. The message after a search on the web reports its results.
const MARKS: [&str; 5] =
    ["web_search_call", "mcp_list_tools", "additional_tools", "configuration_update", "compaction_trigger"];
/// Fields that say nothing to the model.
const SILENT: [&str; 5] = ["created_by", "fingerprint", "caller", "agent", "metadata"];
/// The text in the place of an image in an item of an unknown kind.
const IMAGE: &str = "[image left out]";

impl Turns<'_> {
    /// Pushes an item that is neither a message nor reasoning.
    pub(super) fn push_other(&mut self, path: &str, kind: &str, item: &Item) -> Result<()> {
        match kind {
            "function_call" | "custom_tool_call" => self.push_client_call(path, kind, item)?,
            "function_call_output" | "custom_tool_call_output" => {
                let id = item.call_id.clone().ok_or_else(|| missing(path, "call_id"))?;
                let output = item.output.as_ref().ok_or_else(|| missing(path, "output"))?;
                let content = parse_output(&format!("{path}.output"), output)?;
                self.push_result(id, content);
            }
            "tool_search_output" => {
                // A search by a server has no id. Its tools are offered all the same.
                if let Some(id) = &item.call_id {
                    let names = item.tools(path)?.into_iter().filter_map(|tool| tool.name);
                    self.push_result(id.clone(), json!({ "tools": names.collect::<Vec<_>>() }).to_string());
                }
            }
            "mcp_approval_response" => {
                let field = |name: &str| item.rest.get(name).and_then(Value::as_str).unwrap_or_default();
                // The output of an approved call follows.
                if item.rest.get("approve") == Some(&Value::Bool(false)) {
                    let text = format!("The user declined this call. {}", field("reason"));
                    self.push_result(field("approval_request_id").to_owned(), text.trim_end().to_owned());
                }
            }
            kind if MARKS.contains(&kind) => {}
            "mcp_call" | "mcp_approval_request" => self.push_mcp_call(item),
            kind if kind.ends_with("_call") || kind == "program" => self.push_hosted_call(kind, item),
            kind if kind.ends_with("_output") => self.push_result(id_of(item), output_of(kind, item)),
            kind => self.push_unknown(kind, item)?,
        }
        Ok(())
    }

    /// Pushes a call of a tool that the client runs.
    fn push_client_call(&mut self, path: &str, kind: &str, item: &Item) -> Result<()> {
        let needed = |field: &str, value: &Option<String>| value.clone().ok_or_else(|| missing(path, field));
        let id = needed("call_id", &item.call_id)?;
        let name = needed("name", &item.name)?;
        let (kind, arguments) = if kind == "function_call" {
            let arguments = item.arguments.as_ref().ok_or_else(|| missing(path, "arguments"))?;
            (CallKind::Function, text_of(arguments))
        } else {
            let input = item.rest.get("input").ok_or_else(|| missing(path, "input"))?;
            (CallKind::Custom, text_input::arguments(&text_of(input)))
        };
        let name = self.calls.offered_name(kind, item.namespace.as_deref(), &name);
        self.push_call(ToolCall { id, name, arguments });
        Ok(())
    }

    /// Pushes a call of a tool that a vendor defines, and its output if the item has it.
    fn push_hosted_call(&mut self, kind: &str, item: &Item) {
        let id = id_of(item);
        let field = |name: &str| item.rest.get(name).cloned().unwrap_or_default();
        let stem = kind.trim_end_matches("_call").to_owned();
        let (name, arguments, output) = match kind {
            "local_shell_call" | "shell_call" => (stem, field("action"), None),
            "apply_patch_call" => (stem, field("operation"), None),
            "computer_call" => {
                let one = field("action");
                let actions = if one.is_null() { json!({ "actions": field("actions") }) } else { one };
                (stem, actions, None)
            }
            "code_interpreter_call" => {
                (stem, json!({ "code": field("code") }), Some(joined_logs(&field("outputs"))))
            }
            "image_generation_call" => {
                let failed = item.rest.get("error").filter(|error| !error.is_null());
                let output = failed.map_or_else(|| "[image]".to_owned(), text_of);
                (stem, json!({ "prompt": field("revised_prompt") }), Some(output))
            }
            "file_search_call" => {
                let results = field("results");
                // Without results, the following message reports them.
                if results.is_null() {
                    return;
                }
                (stem, json!({ "queries": field("queries") }), Some(text_of(&results)))
            }
            "tool_search_call" => {
                // A search by a server has no output of its own for the model.
                if item.call_id.is_none() {
                    return;
                }
                let name = self.calls.offered_name(CallKind::ToolSearch, None, &stem);
                (name, item.arguments.clone().unwrap_or_default(), None)
            }
            _ => (stem, Value::Object(own_fields(item)), None),
        };
        self.push_call(ToolCall { id: id.clone(), name, arguments: text_of(&arguments) });
        if let Some(output) = output {
            self.push_result(id, output);
        }
    }

    /// Pushes a call that OpenAI's servers made to an MCP server, or the request to approve it. A call that was approved is there
    /// already.
    fn push_mcp_call(&mut self, item: &Item) {
        let field = |name: &str| item.rest.get(name).filter(|value| !value.is_null());
        let approved = field("approval_request_id").map(text_of).filter(|id| self.called.contains_key(id));
        let id = approved.clone().unwrap_or_else(|| id_of(item));
        if approved.is_none() {
            let (server, name) = (field("server_label").map(text_of), item.name.clone().unwrap_or_default());
            let name = self.calls.offered_name(CallKind::Function, server.as_deref(), &name);
            let arguments = item.arguments.as_ref().map(text_of).unwrap_or_default();
            self.push_call(ToolCall { id: id.clone(), name, arguments });
        }
        let failure = field("error").map(text_of).map(NeutralContent::from);
        if let Some(output) = failure.or_else(|| item.output.as_ref().map(plain)) {
            self.push_result(id, output);
        }
    }

    /// Pushes an item of an unknown kind as text, unless it says nothing.
    fn push_unknown(&mut self, kind: &str, item: &Item) -> Result<()> {
        let read = |content: &Content| parse_content("", content, false).ok();
        if let Some((role, content)) = item.role.zip(item.content.as_ref().and_then(read)) {
            // Whose images these are is not known.
            self.push_turn(role, with_stand_ins(&content, IMAGE));
            return Ok(());
        }
        let fields = own_fields(item);
        if !fields.is_empty() {
            self.push_text(Role::User, format!("<{kind}>{}</{kind}>", Value::Object(fields)));
        }
        Ok(())
    }
}

/// The id of a call, or of the call that an output answers. Some kinds have only the item's own.
fn id_of(item: &Item) -> String {
    item.call_id.clone().or_else(|| item.id.clone()).unwrap_or_default()
}

/// A string itself, any other value as JSON.
fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The parts of a content, or the content as JSON.
fn plain(content: &Content) -> NeutralContent {
    // Any content serialises: it was parsed from JSON.
    let json = || serde_json::to_value(content).unwrap_or_default().to_string();
    parse_output("", content).unwrap_or_else(|_| json().into())
}

/// The text of an output of a kind that a vendor defines.
fn output_of(kind: &str, item: &Item) -> NeutralContent {
    let field = |name: &str| item.rest.get(name).map(text_of);
    match (kind, &item.output) {
        ("shell_call_output", Some(Content::Other(Value::Array(chunks)))) => {
            chunks.iter().map(shell_output).collect::<Vec<_>>().join("\n").into()
        }
        ("computer_call_output", output) => screenshot(output.as_ref()),
        (_, Some(output)) => plain(output),
        (_, None) => field("result").or_else(|| item.status.clone()).unwrap_or_default().into(),
    }
}

/// The image of a screen. One that is kept elsewhere cannot be read.
fn screenshot(output: Option<&Content>) -> NeutralContent {
    let Some(Content::Other(output)) = output else { return "[screenshot]".into() };
    match images::from_value("output.image_url", &output["image_url"], output["detail"].as_str()) {
        Ok(image) => image.into(),
        Err(_) => "[screenshot]".into(),
    }
}

/// One chunk of a shell's output, with the exit code unless it is 0.
fn shell_output(chunk: &Value) -> String {
    let text = |name: &str| chunk[name].as_str().unwrap_or_default();
    let outcome = match (&chunk["outcome"]["exit_code"], chunk["outcome"]["type"].as_str()) {
        (_, Some("timeout")) => "\n[timeout]".to_owned(),
        (Value::Number(code), _) if code.as_i64() != Some(0) => format!("\n[exit code {code}]"),
        _ => String::new(),
    };
    format!("{}{}{outcome}", text("stdout"), text("stderr"))
}

/// The logs among the outputs of code.
fn joined_logs(outputs: &Value) -> String {
    let logs = outputs.as_array().into_iter().flatten().filter_map(|output| output["logs"].as_str());
    logs.collect::<Vec<_>>().join("\n")
}

/// The fields of an item that say something to the model.
fn own_fields(item: &Item) -> Map<String, Value> {
    let mut fields: Map<String, Value> = item.rest.clone();
    fields.retain(|name, value| !value.is_null() && !SILENT.contains(&name.as_str()));
    let more = [("name", item.name.clone().map(Value::from)), ("arguments", item.arguments.clone())];
    fields.extend(more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    if let Some(content) = &item.content {
        fields.insert("content".into(), with_stand_ins(&plain(content), IMAGE).text().into_owned().into());
    }
    fields
}
