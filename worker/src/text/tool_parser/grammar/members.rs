//! Grammars of calls whose arguments are written one by one: elements between tags, Gemma's and Python's lists.
//!
//! A string without JSON's quotes becomes a terminal of its own, made from the rules in its schema. A rule that no terminal can
//! express is an error if the function is strict. Otherwise the grammar ignores it.

use std::fmt::Write;

use ipc_proto::generate::Tool;
use serde_json::{Value, json};

use super::super::ToolFormat;
use super::super::schema::{self, Member, StringRules};
use super::super::xml::XmlTags;
use super::{LarkBuilder, escape_pattern, literal};
use crate::text::grammar::{TextForm, function_comment, json_text, prepare_schema};

/// Argument names, for functions whose schema does not list them.
const NAME: &str = r"/[A-Za-z_][A-Za-z0-9_]{0,63}/";

/// The parameters of a function.
enum Parameters {
    Members(Vec<Member>),
    /// Any arguments.
    Any,
}

impl LarkBuilder<'_> {
    /// The rule `call` for elements between tags.
    ///
    /// # Errors
    /// A sentence that names the part of a strict function's schema that the format cannot express.
    pub(super) fn xml_calls(&mut self, format: ToolFormat) -> Result<(), String> {
        let tags = format.xml_tags();
        let XmlTags { function, name_end, parameter, end, .. } = tags;
        let (before_value, after_value) = around_value(tags);
        let line = if name_end.ends_with('\n') { "" } else { "\n" };
        let mut calls = Vec::new();
        for (at, tool) in self.tools().iter().enumerate() {
            let mut call = literal(&format!("{function}{}{name_end}{line}", tool.name));
            match self.parameters(tool, format)? {
                Parameters::Any => {
                    let value = self.unquoted("any", &[StringRules::default()], false, &after_value);
                    self.rule("NAME", NAME);
                    let (before, after) = (literal(parameter), literal(&before_value));
                    let _ = write!(call, r#" ({before} NAME {after} {value} "\n")*"#);
                }
                Parameters::Members(members) => {
                    for (n, member) in members.iter().enumerate() {
                        self.rules += &function_comment(&tool.name, &member.name);
                        let value = self.xml_parameter(&format!("{at}x{n}"), member, tool, &after_value)?;
                        let before = literal(&format!("{parameter}{}{before_value}", member.name));
                        let optional = if member.required { "" } else { "?" };
                        let _ = write!(call, r#" ({before} {value} "\n"){optional}"#);
                    }
                }
            }
            // A format without tags around a function ends it by the marker after the call.
            let end = if function.is_empty() { String::new() } else { literal(end) };
            calls.push(format!("{call} {end}"));
        }
        self.rule("call", &calls.join(" | "));
        Ok(())
    }

    /// The value of a parameter, and the text `end` after it.
    fn xml_parameter(&mut self, id: &str, member: &Member, tool: &Tool, end: &str) -> Result<String, String> {
        if let Some(terminal) = self.text_terminal(id, tool, TextForm::Raw)? {
            let rules = StringRules { terminal: Some(terminal), ..StringRules::default() };
            return Ok(self.unquoted(id, &[rules], false, end));
        }
        if let Some(texts) = schema::texts(&member.schema, &member.schema) {
            let rules = texts.schemas.iter().map(|schema| schema::string_rules(schema, tool.is_strict()));
            let rules = rules.collect::<Result<Vec<_>, _>>();
            let rules = rules.map_err(|keyword| inexpressible(tool, Some(member), keyword))?;
            return Ok(self.unquoted(id, &rules, texts.nullable, end));
        }
        let value = self.json(&format!("value{id}"), member.schema.clone());
        Ok(format!("{value} {}", literal(end)))
    }

    /// A rule for a string that the first `end` ends, by any of `rules`, or for the text `null`.
    fn unquoted(&mut self, id: &str, rules: &[StringRules], nullable: bool, end: &str) -> String {
        let terminal = format!("TEXT{}", id.to_uppercase());
        let marker = escape_pattern(end.trim_start());
        let all: Vec<String> = rules.iter().map(|rules| string_terminal(rules, &marker)).collect();
        let null = if nullable { r#" | "null""# } else { "" };
        self.rule(&terminal, &format!("({}){null}", all.join(") | (")));
        let rule = format!("text{id}");
        self.rule(&format!("{rule}[lazy]"), &format!("{terminal} {}", literal(end)));
        rule
    }

    /// A string between two of Gemma's escape markers.
    fn gemma_string(&mut self, id: &str, rules: &StringRules, marker: &str) -> String {
        let escape = self.marker(marker);
        if !escape.starts_with('<') {
            return format!("{escape} {}", self.unquoted(id, std::slice::from_ref(rules), false, marker));
        }
        // The parser also accepts the marker when ordinary tokens spell it, so the string must not contain it.
        let terminal = format!("TEXT{}", id.to_uppercase());
        self.rule(&terminal, &string_terminal(rules, &escape_pattern(marker)));
        format!("{escape} {terminal} {escape}")
    }

    fn json(&mut self, rule: &str, schema: Value) -> String {
        self.rule(rule, &format!("%json {}", json_text(schema)));
        rule.to_owned()
    }

    /// The value of an argument in Gemma's or Python's notation. Without `member`, any value.
    fn value(
        &mut self,
        format: ToolFormat,
        id: &str,
        member: Option<(&Member, &Tool)>,
    ) -> Result<String, String> {
        let rule = format!("value{id}");
        match (member, format.escape()) {
            (Some((member, tool)), Some(escape)) if schema::is_string(&member.schema) => {
                let rules = schema::string_rules(&member.schema, tool.is_strict());
                let rules = rules.map_err(|keyword| inexpressible(tool, Some(member), keyword))?;
                let terminal = self.text_terminal(id, tool, TextForm::Raw)?;
                Ok(self.gemma_string(id, &StringRules { terminal, ..rules }, escape))
            }
            (Some((member, tool)), _) => {
                if let Some(text) = self.json_string(id, tool)? {
                    return Ok(text);
                }
                self.rules += &function_comment(&tool.name, &member.name);
                Ok(self.json(&rule, member.schema.clone()))
            }
            (None, Some(escape)) => {
                let text = self.gemma_string(id, &StringRules::default(), escape);
                Ok(format!("({text} | {})", self.json(&rule, json!({}))))
            }
            (None, None) => Ok(self.json(&rule, json!({}))),
        }
    }

    /// The rule `call` for Gemma's and Python's argument lists. Required arguments come first, then optional ones.
    ///
    /// # Errors
    /// A sentence that names the part of a strict function's schema that the format cannot express.
    pub(super) fn argument_lists(&mut self, format: ToolFormat) -> Result<(), String> {
        let (between, gap) = if format.escape().is_some() { (":", ",") } else { ("=", ", ") };
        let mut calls = Vec::new();
        let gap = literal(gap);
        for (at, tool) in self.tools().iter().enumerate() {
            let name = format!("args{at}");
            match self.parameters(tool, format)? {
                Parameters::Any => {
                    let value = self.value(format, "any", None)?;
                    self.rule("NAME", NAME);
                    let item = format!("NAME {} {value}", literal(between));
                    self.rule(&name, &format!("({item} ({gap} {item})*)?"));
                }
                Parameters::Members(members) => {
                    let mut items = [Vec::new(), Vec::new()];
                    for (n, member) in members.iter().enumerate() {
                        let value = self.value(format, &format!("{at}x{n}"), Some((member, tool)))?;
                        let item = format!("{} {value}", literal(&format!("{}{between}", member.name)));
                        items[usize::from(!member.required)].push(item);
                    }
                    self.list(&name, &gap, &items);
                }
            }
            calls.push(match format {
                ToolFormat::Gemma | ToolFormat::Gemma4 => {
                    format!(r#"{} "{{" {name} "}}""#, literal(&format!("call:{}", tool.name)))
                }
                _ => format!(r#"{} {name} ")""#, literal(&format!("{}(", tool.name))),
            });
        }
        self.rule("call", &calls.join(" | "));
        Ok(())
    }

    /// The rule `name` for a list with all required items and any of the optional ones, in order.
    fn list(&mut self, name: &str, gap: &str, [required, optional]: &[Vec<String>; 2]) {
        if !required.is_empty() {
            let mut all = required.join(&format!(" {gap} "));
            for item in optional {
                let _ = write!(all, " ({gap} {item})?");
            }
            return self.rule(name, &all);
        }
        // Any optional item may be the first.
        for (n, item) in optional.iter().enumerate() {
            let next = n + 1;
            let rest = if next < optional.len() {
                format!("({gap} {name}x{next})? | {name}x{next}")
            } else {
                String::new()
            };
            self.rule(&format!("{name}x{n}"), &format!("{item} {rest}"));
        }
        let all = if optional.is_empty() { r#""""#.to_owned() } else { format!("{name}x0?") };
        self.rule(name, &all);
    }

    /// The parameters of a function that the format can express.
    ///
    /// # Errors
    /// As for [`Self::xml_calls`].
    fn parameters(&self, tool: &Tool, format: ToolFormat) -> Result<Parameters, String> {
        if self.spec.lenient && !tool.is_strict() {
            return Ok(Parameters::Any);
        }
        let schema = tool.parameters().and_then(|text| serde_json::from_str(text).ok());
        let mut schema = schema.unwrap_or_else(|| json!({}));
        prepare_schema(&mut schema);
        let members = match schema::members(&schema) {
            Err(keyword) if tool.is_strict() => return Err(inexpressible(tool, None, keyword)),
            Err(_) => return Ok(Parameters::Any),
            Ok(members) => members,
        };
        match members.iter().find(|member| !is_writable(format, &member.name)) {
            Some(member) if tool.is_strict() => Err(format!(
                "an argument's name cannot be written in this model's form of calls: {:?}",
                member.name
            )),
            Some(_) => Ok(Parameters::Any),
            None => Ok(Parameters::Members(members)),
        }
    }
}

/// The texts between a parameter's name and its value, and after the value.
fn around_value(tags: &XmlTags) -> (String, String) {
    let XmlTags { key_end, value, value_end, own_lines, .. } = tags;
    let line = if *own_lines || !value.is_empty() { "\n" } else { "" };
    let before_end = if *own_lines { "\n" } else { "" };
    (format!("{key_end}{line}{value}"), format!("{before_end}{value_end}"))
}

/// A terminal for a whole string. `marker` is a regular expression that the string must not contain.
fn string_terminal(rules: &StringRules, marker: &str) -> String {
    // The complement alone would also match bytes that are no UTF-8.
    let mut all = vec![format!("/(?s:.*)/ & ~/(?s:.*){marker}(?s:.*)/")];
    if let Some(values) = &rules.values {
        let values: Vec<String> = values.iter().map(|value| literal(value)).collect();
        all.push(format!("({})", values.join(" | ")));
    }
    all.extend(rules.terminal.clone());
    if let Some(pattern) = &rules.pattern {
        all.push(format!("/{}/", llguidance::regex_to_lark(pattern, "dw")));
    }
    match rules.length {
        (0, None) => {}
        (low, high) => {
            all.push(format!("/(?s:.{{{low},{}}})/", high.map_or_else(String::new, |high| high.to_string())));
        }
    }
    all.join(" & ")
}

/// Whether the parser reads an argument's name unchanged.
fn is_writable(format: ToolFormat, name: &str) -> bool {
    let breaks = |c: char| match format {
        ToolFormat::QwenXml | ToolFormat::Seed | ToolFormat::Glm => matches!(c, '>' | '<' | '\n'),
        ToolFormat::MiniMax => matches!(c, '>' | '<' | '\n' | '"'),
        ToolFormat::Gemma | ToolFormat::Gemma4 => matches!(c, ':' | ',' | '{' | '}' | '[' | ']' | '"' | '<'),
        _ => !(c.is_alphanumeric() || c == '_'),
    };
    !name.is_empty() && name.trim() == name && !name.contains(breaks)
}

/// A sentence about a keyword in a function's schema, or in that of an argument.
fn inexpressible(tool: &Tool, member: Option<&Member>, keyword: &str) -> String {
    let place = member.map_or_else(String::new, |member| format!(" (at {:?})", member.name));
    format!(
        "the schema of the function {:?} uses a keyword that this model's form of calls cannot follow: \"{keyword}\"{place}",
        tool.name
    )
}
