//! Parses functions and the tool choice of chat completions, and functions of Responses.

use std::collections::HashSet;

use ipc_proto::generate::{Tool, ToolChoice, ToolInput};
use ipc_proto::{Error, Result};
use serde_json::Value;

use crate::protocols::openai::chat::wire as chat;
use crate::protocols::openai::chat::wire::{Chosen, Function, FunctionChoice};

/// Maximum number of functions in one request.
const MAX_TOOLS: usize = 128;
const MAX_NAME_BYTES: usize = 128;

/// The parsed functions of a request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tools {
    /// The functions that the model may call.
    pub tools: Vec<Tool>,
    /// Whether the model calls a function, and which.
    pub choice: ToolChoice,
    /// Whether one turn may have several calls.
    pub parallel: bool,
    /// Whether the answer has the deprecated form, with one `function_call`.
    pub legacy: bool,
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
            Ok(Tools { tools, choice, parallel, legacy })
        }
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

/// Parses the function at `path` in the request.
///
/// # Errors
/// Returns an error for a name that is not an identifier.
pub fn parse_function(path: &str, function: Function) -> Result<Tool> {
    let Function { name, description, parameters, strict } = function;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(fits) {
        let field = format!("{path}.name");
        let text = format!("{field} must have 1 to {MAX_NAME_BYTES} letters, digits, '_', '-' or '.'");
        return Err(Error::invalid(field, text));
    }
    let schema = parameters.map(|schema| Value::Object(schema).to_string());
    Ok(Tool { name, description, input: ToolInput::Json { schema, strict: strict.unwrap_or(false) } })
}

/// Checks the number and the names of the functions in the field `name`.
///
/// # Errors
/// Returns an error for too many functions, or two functions with the same name.
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
            let names: Vec<String> = allowed
                .tools
                .into_iter()
                .map(|chosen| function_name("tool_choice.allowed_tools.tools", chosen))
                .collect::<Result<_>>()?;
            if let Some(name) = names.iter().find(|name| !tools.iter().any(|tool| tool.name == **name)) {
                let field = "tool_choice.allowed_tools.tools";
                return Err(Error::invalid(field, format!("{field}: there is no function \"{name}\"")));
            }
            tools.retain(|tool| names.contains(&tool.name));
            parse_mode("tool_choice.allowed_tools.mode", &allowed.mode)
        }
        (kind, allowed) => {
            let chosen =
                Chosen { r#type: kind.to_owned(), function: chosen.function, allowed_tools: allowed };
            function_name("tool_choice", chosen).map(ToolChoice::Named)
        }
    }
}

fn function_name(field: &str, chosen: Chosen) -> Result<String> {
    if chosen.r#type != "function" {
        let field = format!("{field}.type");
        let text = format!("{field}: \"{}\" is not supported, only \"function\"", chosen.r#type);
        return Err(Error::invalid(field, text));
    }
    let field = format!("{field}.function");
    let missing = || Error::invalid(&field, format!("{field} is missing"));
    chosen.function.map(|function| function.name).ok_or_else(missing)
}

#[cfg(test)]
mod tests;
