//! Grammars of calls whose arguments are written one by one: Qwen3-Coder's elements, Gemma's and Python's lists.
//!
//! A text that stands there without JSON's quotes is a terminal of its own, which says what the schema says of it. What cannot
//! be said so is refused where the function is strict, and a hint where it is not.

use std::fmt::Write;

use ipc_proto::generate::Tool;
use serde_json::{Value, json};

use super::super::schema::{self, Member, Text};
use super::super::{Format, gemma, qwen_xml};
use super::{Lark, pattern, text};
use crate::adapters::grammar::json_text;

/// Names of arguments where a schema does not say them.
const NAME: &str = r"/[A-Za-z_][A-Za-z0-9_]{0,63}/";

/// What a function takes.
enum Arguments {
    Members(Vec<Member>),
    /// Whatever is given.
    Any,
}

impl Lark<'_> {
    /// Qwen3-Coder's elements.
    ///
    /// # Errors
    /// A sentence that names what of a strict function's schema cannot be said.
    pub(super) fn elements(&mut self) -> Result<(), String> {
        let mut calls = Vec::new();
        for (at, tool) in self.tools().iter().enumerate() {
            let mut call = text(&format!("{}{}>\n", qwen_xml::FUNCTION, tool.name));
            match self.arguments(tool, Format::QwenXml)? {
                Arguments::Any => {
                    let value = self.raw("any", &Text::default(), "\n</parameter>");
                    self.rule("NAME", NAME);
                    let _ = write!(call, r#" ({} NAME ">\n" {value} "\n")*"#, text(qwen_xml::PARAMETER));
                }
                Arguments::Members(members) => {
                    for (n, member) in members.iter().enumerate() {
                        let value = self.element(&format!("{at}x{n}"), member, tool.strict)?;
                        let before = text(&format!("{}{}>\n", qwen_xml::PARAMETER, member.name));
                        let optional = if member.required { "" } else { "?" };
                        let _ = write!(call, r#" ({before} {value} "\n"){optional}"#);
                    }
                }
            }
            calls.push(format!("{call} {}", text(qwen_xml::END)));
        }
        self.rule("call", &calls.join(" | "));
        Ok(())
    }

    /// An element's value and its end.
    fn element(&mut self, at: &str, member: &Member, strict: bool) -> Result<String, String> {
        if schema::is_text(&member.schema) {
            let said = schema::text(&member.schema, strict).map_err(inexpressible)?;
            return Ok(self.raw(at, &said, "\n</parameter>"));
        }
        let value = self.json(&format!("value{at}"), member.schema.clone());
        Ok(format!("{value} {}", text("\n</parameter>")))
    }

    /// A rule for a text that ends where `end` first comes.
    fn raw(&mut self, at: &str, said: &Text, end: &str) -> String {
        let terminal = format!("TEXT{}", at.to_uppercase());
        let marker = pattern(end.trim_start());
        self.rule(&terminal, &terminal_of(said, &marker));
        let rule = format!("text{at}");
        self.rule(&format!("{rule}[lazy]"), &format!("{terminal} {}", text(end)));
        rule
    }

    /// A text between two markers.
    fn escaped(&mut self, at: &str, said: &Text) -> String {
        let escape = self.atom(gemma::ESCAPE);
        if !escape.starts_with('<') {
            return format!("{escape} {}", self.raw(at, said, gemma::ESCAPE));
        }
        // Written in letters it would be read as the marker all the same.
        let terminal = format!("TEXT{}", at.to_uppercase());
        self.rule(&terminal, &terminal_of(said, &pattern(gemma::ESCAPE)));
        format!("{escape} {terminal} {escape}")
    }

    fn json(&mut self, rule: &str, schema: Value) -> String {
        self.rule(rule, &format!("%json {}", json_text(schema)));
        rule.to_owned()
    }

    /// Gemma's or Python's value of an argument; of one without a schema, any.
    fn value(
        &mut self,
        format: Format,
        at: &str,
        member: Option<&Member>,
        strict: bool,
    ) -> Result<String, String> {
        let rule = format!("value{at}");
        match member {
            Some(member) if format == Format::Gemma && schema::is_text(&member.schema) => {
                let said = schema::text(&member.schema, strict).map_err(inexpressible)?;
                Ok(self.escaped(at, &said))
            }
            Some(member) => Ok(self.json(&rule, member.schema.clone())),
            None if format == Format::Gemma => {
                let text = self.escaped(at, &Text::default());
                Ok(format!("({text} | {})", self.json(&rule, json!({}))))
            }
            None => Ok(self.json(&rule, json!({}))),
        }
    }

    /// Gemma's and Python's functions, whose arguments are a list: what must come first, then what may.
    ///
    /// # Errors
    /// A sentence that names what of a strict function's schema cannot be said.
    pub(super) fn lists(&mut self, format: Format) -> Result<(), String> {
        let (between, gap) = if format == Format::Gemma { (":", ",") } else { ("=", ", ") };
        let mut calls = Vec::new();
        let gap = text(gap);
        for (at, tool) in self.tools().iter().enumerate() {
            let name = format!("args{at}");
            match self.arguments(tool, format)? {
                Arguments::Any => {
                    let value = self.value(format, "any", None, false)?;
                    self.rule("NAME", NAME);
                    let item = format!("NAME {} {value}", text(between));
                    self.rule(&name, &format!("({item} ({gap} {item})*)?"));
                }
                Arguments::Members(members) => {
                    let mut items = [Vec::new(), Vec::new()];
                    for (n, member) in members.iter().enumerate() {
                        let value = self.value(format, &format!("{at}x{n}"), Some(member), tool.strict)?;
                        let item = format!("{} {value}", text(&format!("{}{between}", member.name)));
                        items[usize::from(!member.required)].push(item);
                    }
                    self.list(&name, &gap, &items);
                }
            }
            calls.push(match format {
                Format::Gemma => format!(r#"{} "{{" {name} "}}""#, text(&format!("call:{}", tool.name))),
                _ => format!(r#"{} {name} ")""#, text(&format!("{}(", tool.name))),
            });
        }
        self.rule("call", &calls.join(" | "));
        Ok(())
    }

    /// The rule `name` of a list with all of the first items and some of the second.
    fn list(&mut self, name: &str, gap: &str, [must, may]: &[Vec<String>; 2]) {
        if !must.is_empty() {
            let mut all = must.join(&format!(" {gap} "));
            for item in may {
                let _ = write!(all, " ({gap} {item})?");
            }
            return self.rule(name, &all);
        }
        // Each may be the first.
        for (n, item) in may.iter().enumerate() {
            let next = n + 1;
            let rest = if next < may.len() {
                format!("({gap} {name}x{next})? | {name}x{next}")
            } else {
                String::new()
            };
            self.rule(&format!("{name}x{n}"), &format!("{item} {rest}"));
        }
        let all = if may.is_empty() { r#""""#.to_owned() } else { format!("{name}x0?") };
        self.rule(name, &all);
    }

    /// What a function takes, as far as it can be written.
    fn arguments(&self, tool: &Tool, format: Format) -> Result<Arguments, String> {
        if self.demand.lenient && !tool.strict {
            return Ok(Arguments::Any);
        }
        let schema = tool.parameters.as_ref().and_then(|text| serde_json::from_str(text).ok());
        let members = match schema::members(&schema.unwrap_or_else(|| json!({}))) {
            Err(keyword) if tool.strict => return Err(inexpressible(keyword)),
            Err(_) => return Ok(Arguments::Any),
            Ok(members) => members,
        };
        match members.iter().find(|member| !is_name(format, &member.name)) {
            Some(member) if tool.strict => Err(format!(
                "an argument's name cannot be written in this model's form of calls: {:?}",
                member.name
            )),
            Some(_) => Ok(Arguments::Any),
            None => Ok(Arguments::Members(members)),
        }
    }
}

/// What the whole of a text must be; `marker` is a regular expression that it must not contain.
fn terminal_of(said: &Text, marker: &str) -> String {
    // Without the first, what is no UTF-8 would be no text with a marker.
    let mut all = vec![format!("/(?s:.*)/ & ~/(?s:.*){marker}(?s:.*)/")];
    if let Some(values) = &said.values {
        let values: Vec<String> = values.iter().map(|value| text(value)).collect();
        all.push(format!("({})", values.join(" | ")));
    }
    if let Some(pattern) = &said.pattern {
        all.push(format!("/{}/", llguidance::regex_to_lark(pattern, "dw")));
    }
    match said.length {
        (0, None) => {}
        (low, high) => {
            all.push(format!("/(?s:.{{{low},{}}})/", high.map_or_else(String::new, |high| high.to_string())));
        }
    }
    all.join(" & ")
}

/// Whether a parser reads this name of an argument as it is.
fn is_name(format: Format, name: &str) -> bool {
    let breaks = |c: char| match format {
        Format::QwenXml => matches!(c, '>' | '<' | '\n'),
        Format::Gemma => matches!(c, ':' | ',' | '{' | '}' | '[' | ']' | '"' | '<'),
        _ => !(c.is_alphanumeric() || c == '_'),
    };
    !name.is_empty() && name.trim() == name && !name.contains(breaks)
}

fn inexpressible(keyword: &str) -> String {
    format!("a function's schema uses a keyword that this model's form of calls cannot follow: \"{keyword}\"")
}
