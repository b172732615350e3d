//! Parses the tools of a Responses request and of its history, and the tool choice.
//!
//! The model knows every tool as a function with one name. Tools that wait for a search are left out until an item of the history
//! brings them, unless there is no search that could.

use std::collections::HashSet;

use ipc_proto::generate::{Tool, ToolChoice};
use ipc_proto::{Error, Result};
use serde_json::{Value, json};

use crate::protocols::openai::chat::wire::{CustomTool, Function};
use crate::protocols::openai::responses::wire as api;
use crate::protocols::openai::responses::wire::{Item, NamedTool};
use crate::protocols::openai::tools as functions;
use crate::protocols::openai::tools::call_forms::{CallForm, CallForms, CallKind, joined_name};

/// The name of the tool search.
const TOOL_SEARCH: &str = "tool_search";

/// The tools of a request.
#[derive(Debug, Default)]
pub(super) struct Offer {
    /// The tools that the model may call.
    pub(super) tools: Vec<Tool>,
    /// Whether the model calls a tool, and which.
    pub(super) choice: ToolChoice,
    /// The forms of calls.
    pub(super) calls: CallForms,
    /// The request's tools as they are echoed.
    pub(super) shown: Vec<Value>,
}

/// A tool of the request or of its history.
struct Declared {
    tool: Tool,
    form: CallForm,
    /// The description of its namespace.
    group: Option<String>,
    /// Waits for a search.
    deferred: bool,
}

/// The place of a tool in the request, and its namespace.
#[derive(Clone, Copy)]
struct Declaration<'a> {
    path: &'a str,
    namespace: Option<&'a str>,
    /// The description of the namespace.
    group: Option<&'a str>,
}

/// Parses a request's tools and those in `items`, the history with the paths of its items.
///
/// # Errors
/// Returns an error that names the invalid field.
pub(super) fn parse(
    tools: Vec<api::Tool>,
    choice: Option<&api::ToolChoice>,
    items: &[(String, &Item)],
) -> Result<Offer> {
    let shown = tools.iter().map(echo).collect();
    let mut declared = Vec::new();
    for (at, tool) in tools.into_iter().enumerate() {
        let path = format!("tools[{at}]");
        declare(Declaration { path: &path, namespace: None, group: None }, tool, &mut declared)?;
    }
    check_unique(&declared)?;
    let searches = declared.iter().any(|one| one.form.kind == CallKind::ToolSearch);
    declared.retain(|one| !(searches && one.deferred));
    for (path, item) in items {
        for loaded in loaded_tools(path, item)? {
            if !declared.iter().any(|known| known.form == loaded.form) {
                declared.push(loaded);
            }
        }
    }
    describe_namespaces(&mut declared);
    let (mut tools, calls) = name_all(declared);
    functions::check_names("tools", &tools)?;
    let choice = parse_choice(choice, &mut tools, &calls)?;
    Ok(Offer { tools, choice, calls, shown })
}

/// Adds a tool, or those of a namespace. Leaves out kinds that only OpenAI's servers run.
fn declare(at: Declaration, tool: api::Tool, all: &mut Vec<Declared>) -> Result<()> {
    let Declaration { path, namespace, group } = at;
    let kind = match &*tool.r#type {
        "function" => CallKind::Function,
        "custom" => CallKind::Custom,
        TOOL_SEARCH if tool.execution.as_deref() == Some("client") => CallKind::ToolSearch,
        "namespace" if namespace.is_none() => return declare_namespace(path, tool, all),
        _ => return Ok(()),
    };
    let api::Tool { name, description, parameters, strict, format, defer_loading, .. } = tool;
    let name = match kind {
        CallKind::ToolSearch => TOOL_SEARCH.to_owned(),
        _ => name.ok_or_else(|| missing(path, "name"))?,
    };
    let form = CallForm { kind, namespace: namespace.map(str::to_owned), name: name.clone() };
    let tool = match kind {
        CallKind::Custom => functions::parse_custom(path, CustomTool { name, description, format })?,
        _ => functions::parse_function(path, Function { name, description, parameters, strict })?,
    };
    all.push(Declared { tool, form, group: group.map(str::to_owned), deferred: defer_loading == Some(true) });
    Ok(())
}

fn declare_namespace(path: &str, tool: api::Tool, all: &mut Vec<Declared>) -> Result<()> {
    let name = tool.name.filter(|name| !name.is_empty()).ok_or_else(|| missing(path, "name"))?;
    let group = tool.description.as_deref().filter(|text| !text.is_empty());
    for (at, inner) in tool.tools.ok_or_else(|| missing(path, "tools"))?.into_iter().enumerate() {
        let path = format!("{path}.tools[{at}]");
        declare(Declaration { path: &path, namespace: Some(&name), group }, inner, all)?;
    }
    Ok(())
}

fn missing(path: &str, field: &str) -> Error {
    let name = format!("{path}.{field}");
    Error::invalid(&name, format!("{name} is missing"))
}

fn check_unique(declared: &[Declared]) -> Result<()> {
    let mut names = HashSet::new();
    let repeated = declared.iter().find(|one| !names.insert((&one.form.namespace, &one.form.name)));
    match repeated {
        Some(one) => Err(Error::invalid("tools", format!("tools: two are named \"{}\"", one.form.name))),
        None => Ok(()),
    }
}

/// The tools that an item adds: those found by a search, or further ones of the client.
fn loaded_tools(path: &str, item: &Item) -> Result<Vec<Declared>> {
    let mut loaded = Vec::new();
    if !matches!(item.r#type.as_deref(), Some("tool_search_output" | "additional_tools")) {
        return Ok(loaded);
    }
    for (at, tool) in item.tools(path)?.into_iter().enumerate() {
        let path = format!("{path}.tools[{at}]");
        declare(Declaration { path: &path, namespace: None, group: None }, tool, &mut loaded)?;
    }
    Ok(loaded)
}

/// The description of a namespace begins that of its first tool: models know no namespaces.
fn describe_namespaces(declared: &mut [Declared]) {
    let mut described = HashSet::new();
    for one in declared {
        if let Some(group) = one.group.take()
            && described.insert(one.form.namespace.clone())
        {
            let own = one.tool.description.take().filter(|text| !text.is_empty());
            one.tool.description = Some(own.map_or(group.clone(), |own| format!("{group}\n\n{own}")));
        }
    }
}

/// Gives each tool a name of its own. Tools outside of namespaces keep theirs.
fn name_all(declared: Vec<Declared>) -> (Vec<Tool>, CallForms) {
    let plain = declared.iter().filter(|one| one.form.namespace.is_none());
    let reserved: HashSet<String> = plain.map(|one| one.form.name.clone()).collect();
    let (mut taken, mut calls, mut tools) = (HashSet::new(), CallForms::default(), Vec::new());
    for Declared { mut tool, form, .. } in declared {
        let joined = joined_name(form.namespace.as_deref(), &form.name);
        let is_free =
            |name: &String| !taken.contains(name) && (form.namespace.is_none() || !reserved.contains(name));
        let numbered = (2..).map(|number: usize| joined_name(Some(&joined), &number.to_string()));
        let name = std::iter::once(joined.clone()).chain(numbered).find(is_free).unwrap_or(joined.clone());
        taken.insert(name.clone());
        tool.name.clone_from(&name);
        tools.push(tool);
        if form != (CallForm { name: name.clone(), ..CallForm::default() }) {
            calls.insert(name, form);
        }
    }
    (tools, calls)
}

/// Parses the tool choice, and removes tools that it does not allow.
fn parse_choice(
    choice: Option<&api::ToolChoice>,
    tools: &mut Vec<Tool>,
    calls: &CallForms,
) -> Result<ToolChoice> {
    let wrong = |text: &str| Err(Error::invalid("tool_choice", format!("tool_choice: {text}")));
    let mode = match choice {
        None => return Ok(ToolChoice::Auto),
        Some(api::ToolChoice::Mode(mode)) => mode.clone(),
        Some(api::ToolChoice::Some(chosen)) => match (&*chosen.r#type, &chosen.tools) {
            ("function" | "custom", _) => {
                let api::ChosenTools { r#type, name, namespace, .. } = chosen.clone();
                let named = NamedTool { r#type, name, namespace };
                let found = chosen_tools(&named, tools, calls);
                let Some(name) = found.into_iter().next() else {
                    let noun = if named.r#type == "custom" { "custom tool" } else { "function" };
                    return wrong(&format!("name must be the name of a {noun} among the tools"));
                };
                return Ok(ToolChoice::Named(name));
            }
            ("allowed_tools", Some(allowed)) => {
                let mut names = Vec::new();
                for one in allowed {
                    let found = chosen_tools(one, tools, calls);
                    let is_known_kind = matches!(&*one.r#type, "function" | "custom" | "namespace");
                    if found.is_empty() && is_known_kind {
                        return wrong(&format!(
                            "allowed_tools names a {} that is not among the tools",
                            one.r#type
                        ));
                    }
                    names.extend(found);
                }
                tools.retain(|tool| names.contains(&tool.name));
                chosen.mode.clone().unwrap_or_default()
            }
            (other, _) => return wrong(&format!("type \"{other}\" is not supported")),
        },
    };
    match &*mode {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        "required" if tools.is_empty() => wrong("no function is among the tools"),
        "required" => Ok(ToolChoice::Required),
        _ => wrong("must be none, auto, required, a tool or allowed_tools"),
    }
}

/// The names, for the model, of the tools that a reference means. One without a namespace means a tool outside of all
/// namespaces, otherwise the only one of that name.
fn chosen_tools(chosen: &NamedTool, tools: &[Tool], calls: &CallForms) -> Vec<String> {
    let all: Vec<(&String, CallForm)> =
        tools.iter().map(|tool| (&tool.name, calls.form(&tool.name))).collect();
    let names = |fits: &dyn Fn(&CallForm) -> bool| -> Vec<String> {
        all.iter().filter(|(_, form)| fits(form)).map(|(name, _)| (*name).clone()).collect()
    };
    let kind = match &*chosen.r#type {
        "function" => CallKind::Function,
        "custom" => CallKind::Custom,
        TOOL_SEARCH => return names(&|form| form.kind == CallKind::ToolSearch),
        "namespace" => return names(&|form| form.namespace.is_some() && form.namespace == chosen.name),
        _ => return Vec::new(),
    };
    let same = |form: &CallForm| form.kind == kind && chosen.name.as_ref() == Some(&form.name);
    let exact = names(&|form| same(form) && form.namespace == chosen.namespace);
    if !exact.is_empty() || chosen.namespace.is_some() {
        return exact;
    }
    let elsewhere = names(&|form| same(form));
    if elsewhere.len() == 1 { elsewhere } else { Vec::new() }
}

/// A tool as the response echoes it. Functions have all their fields.
fn echo(tool: &api::Tool) -> Value {
    // Strings, numbers, lists and objects with string keys always serialise.
    let mut shown = serde_json::to_value(tool).unwrap_or_default();
    if let Value::Object(fields) = &mut shown
        && tool.r#type == "function"
    {
        fields.entry("description").or_insert(Value::Null);
        fields.entry("parameters").or_insert(Value::Null);
        fields.entry("strict").or_insert(json!(false));
    }
    shown
}

#[cfg(test)]
mod tests;
