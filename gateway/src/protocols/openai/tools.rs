//! Parses tools and the tool choice of chat completions, and tools of Responses.

pub mod call_forms;
pub mod text_input;

use std::collections::HashSet;

use ipc_proto::generate::{TextGrammar, Tool, ToolChoice, ToolInput};
use ipc_proto::{Error, Result};
use serde_json::Value;

use crate::protocols::openai::chat::wire as chat;
use crate::protocols::openai::chat::wire::{Chosen, CustomTool, Function, FunctionChoice, TextFormat};

use call_forms::{CallForm, CallForms, CallKind, MAX_NAME_BYTES};

/// Maximum number of tools in one request.
const MAX_TOOLS: usize = 512;

/// The parsed tools of a request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tools {
    /// The tools that the model may call.
    pub tools: Vec<Tool>,
    /// Whether the model calls a tool, and which.
    pub choice: ToolChoice,
    /// Whether one turn may have several calls.
    pub parallel: bool,
    /// Whether the answer has the deprecated form, with one `function_call`.
    pub legacy: bool,
    /// The forms of calls.
    pub calls: CallForms,
}

/// Parses `tools` or the deprecated `functions`, and removes them from the request.
///
/// # Errors
/// Returns an error that names the invalid field.
pub fn parse(request: &mut chat::Request) -> Result<Tools> {
    let tools = request.tools.take().unwrap_or_default();
    let functions = request.functions.take().unwrap_or_default();
    if !tools.is_empty() && !functions.is_empty() {
        return Err(Error::invalid("functions", "functions cannot be given together with tools"));
    }
    let legacy = !functions.is_empty() || request.function_call.is_some();
    let (name, tools) = if legacy {
        if let Some(choice) = request.tool_choice.as_ref().filter(|_| request.function_call.is_some()) {
            let text = format!("tool_choice cannot be given together with function_call: {choice:?}");
            return Err(Error::invalid("tool_choice", text));
        }
        (
            "functions",
            functions
                .into_iter()
                .enumerate()
                .map(|(at, f)| parse_function(&format!("functions[{at}]"), f))
                .collect(),
        )
    } else {
        ("tools", tools.into_iter().enumerate().map(|(at, t)| parse_tool(at, t)).collect::<Result<Vec<_>>>())
    };
    let mut tools: Vec<Tool> = tools?;
    check_names(name, &tools)?;
    let calls = custom_calls(&tools);
    let choice = match request.function_call.take() {
        Some(call) => parse_legacy_choice(call)?,
        None => match request.tool_choice.take() {
            Some(choice) => parse_choice(choice, &mut tools)?,
            None => ToolChoice::Auto,
        },
    };
    let field = if legacy { "function_call" } else { "tool_choice" };
    match &choice {
        ToolChoice::Named(name) if !tools.iter().any(|tool| tool.name == *name) => {
            Err(Error::invalid(field, format!("{field}: there is no function \"{name}\"")))
        }
        ToolChoice::Required if tools.is_empty() => {
            Err(Error::invalid(field, format!("{field}: \"required\" needs tools")))
        }
        _ => {
            let parallel = !legacy && request.parallel_tool_calls.unwrap_or(true);
            Ok(Tools { tools, choice, parallel, legacy, calls })
        }
    }
}

fn parse_tool(at: usize, tool: chat::Tool) -> Result<Tool> {
    let path = format!("tools[{at}]");
    let missing = |path: &str| Error::invalid(path, format!("{path} is missing"));
    match &*tool.r#type {
        "function" => {
            let path = format!("{path}.function");
            parse_function(&path, tool.function.ok_or_else(|| missing(&path))?)
        }
        "custom" => {
            let path = format!("{path}.custom");
            parse_custom(&path, tool.custom.ok_or_else(|| missing(&path))?)
        }
        other => {
            let name = format!("{path}.type");
            let text = format!("{name}: \"{other}\" is neither \"function\" nor \"custom\"");
            Err(Error::invalid(name, text))
        }
    }
}

/// Parses the function at `path` in the request.
///
/// # Errors
/// Returns an error for a name that is not an identifier.
pub fn parse_function(path: &str, function: Function) -> Result<Tool> {
    let Function { name, description, parameters, strict } = function;
    check_name(path, &name)?;
    let schema = parameters.map(|schema| Value::Object(schema).to_string());
    Ok(Tool { name, description, input: ToolInput::Json { schema, strict: strict.unwrap_or(false) } })
}

/// Parses the custom tool at `path` in the request.
///
/// # Errors
/// Returns an error for a name that is not an identifier, or an unknown format.
pub fn parse_custom(path: &str, tool: CustomTool) -> Result<Tool> {
    let CustomTool { name, description, format } = tool;
    check_name(path, &name)?;
    let grammar = format.map(|format| parse_format(&format!("{path}.format"), format)).transpose()?;
    Ok(Tool { name, description, input: ToolInput::Text(grammar.flatten()) })
}

fn check_name(path: &str, name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(fits) {
        let field = format!("{path}.name");
        let text = format!("{field} must have 1 to {MAX_NAME_BYTES} letters, digits, '_', '-' or '.'");
        return Err(Error::invalid(field, text));
    }
    Ok(())
}

/// Parses the format of a custom tool's text. `None` is any text.
fn parse_format(path: &str, format: TextFormat) -> Result<Option<TextGrammar>> {
    let wrong = |field: &str, text: &str| {
        let name = format!("{path}.{field}");
        Err(Error::invalid(&name, format!("{name}: {text}")))
    };
    match &*format.r#type {
        "text" => return Ok(None),
        "grammar" => {}
        other => return wrong("type", &format!("\"{other}\" is neither \"text\" nor \"grammar\"")),
    }
    let (syntax, definition) = match format.grammar {
        Some(grammar) => (Some(grammar.syntax), Some(grammar.definition)),
        None => (format.syntax, format.definition),
    };
    match (syntax.as_deref(), definition) {
        (Some("lark"), Some(text)) => Ok(Some(TextGrammar::Lark(text))),
        (Some("regex"), Some(text)) => Ok(Some(TextGrammar::Regex(text))),
        (Some("lark" | "regex"), None) => wrong("definition", "it is missing"),
        _ => wrong("syntax", "it must be \"lark\" or \"regex\""),
    }
}

/// Checks the number and the names of the tools in the field `name`.
///
/// # Errors
/// Returns an error for too many tools, or two tools with the same name.
pub fn check_names(name: &str, tools: &[Tool]) -> Result<()> {
    if tools.len() > MAX_TOOLS {
        return Err(Error::invalid(name, format!("{name}: at most {MAX_TOOLS}, not {}", tools.len())));
    }
    let mut names = HashSet::new();
    match tools.iter().find(|tool| !names.insert(&*tool.name)) {
        Some(tool) => Err(Error::invalid(name, format!("{name}: two are named \"{}\"", tool.name))),
        None => Ok(()),
    }
}

/// The forms of the calls of custom tools.
fn custom_calls(tools: &[Tool]) -> CallForms {
    let mut calls = CallForms::default();
    for tool in tools.iter().filter(|tool| kind(tool) == CallKind::Custom) {
        let form = CallForm { kind: CallKind::Custom, namespace: None, name: tool.name.clone() };
        calls.insert(tool.name.clone(), form);
    }
    calls
}

/// The kind of a function or custom tool.
pub fn kind(tool: &Tool) -> CallKind {
    match tool.input {
        ToolInput::Json { .. } => CallKind::Function,
        ToolInput::Text(_) => CallKind::Custom,
    }
}

fn parse_mode(field: &str, mode: &str) -> Result<ToolChoice> {
    match mode {
        "none" => Ok(ToolChoice::None),
        "auto" => Ok(ToolChoice::Auto),
        "required" if field != "function_call" => Ok(ToolChoice::Required),
        other => {
            let text = format!("{field}: \"{other}\" is none of \"none\", \"auto\" and \"required\"");
            Err(Error::invalid(field, text))
        }
    }
}

fn parse_legacy_choice(choice: FunctionChoice) -> Result<ToolChoice> {
    match choice {
        FunctionChoice::Mode(name) => parse_mode("function_call", &name),
        FunctionChoice::Named(function) => Ok(ToolChoice::Named(function.name)),
    }
}

/// Parses the tool choice, and removes tools that it does not allow.
fn parse_choice(choice: chat::ToolChoice, tools: &mut Vec<Tool>) -> Result<ToolChoice> {
    let chosen = match choice {
        chat::ToolChoice::Mode(name) => return parse_mode("tool_choice", &name),
        chat::ToolChoice::Chosen(chosen) => chosen,
    };
    match (&*chosen.r#type, chosen.allowed_tools) {
        ("allowed_tools", Some(allowed)) => {
            let field = "tool_choice.allowed_tools.tools";
            let names: Vec<String> =
                allowed.tools.into_iter().map(|one| chosen_name(field, one, tools)).collect::<Result<_>>()?;
            tools.retain(|tool| names.contains(&tool.name));
            parse_mode("tool_choice.allowed_tools.mode", &allowed.mode)
        }
        (kind, _) => {
            let chosen = Chosen { r#type: kind.to_owned(), allowed_tools: None, ..chosen };
            chosen_name("tool_choice", chosen, tools).map(ToolChoice::Named)
        }
    }
}

/// The name of the chosen tool, which must be one of `tools` and of the chosen kind.
fn chosen_name(field: &str, chosen: Chosen, tools: &[Tool]) -> Result<String> {
    let (part, named, wanted) = match &*chosen.r#type {
        "function" => ("function", chosen.function, CallKind::Function),
        "custom" => ("custom", chosen.custom, CallKind::Custom),
        other => {
            let field = format!("{field}.type");
            let text = format!("{field}: \"{other}\" is neither \"function\" nor \"custom\"");
            return Err(Error::invalid(field, text));
        }
    };
    let Some(named) = named else {
        let field = format!("{field}.{part}");
        return Err(Error::invalid(&field, format!("{field} is missing")));
    };
    if tools.iter().any(|tool| tool.name == named.name && kind(tool) == wanted) {
        return Ok(named.name);
    }
    let noun = if wanted == CallKind::Custom { "custom tool" } else { "function" };
    Err(Error::invalid(field, format!("{field}: there is no {noun} \"{}\"", named.name)))
}

#[cfg(test)]
mod tests;
