//! Grammars of calls, in each format's own form and in llguidance's variant of Lark, so that what is demanded always parses.
//!
//! Around a call the text is literal; its arguments are a nested JSON grammar with the function's schema as its root.

mod members;

use std::collections::HashSet;
use std::fmt::Write;

use ipc_proto::generate::{Tool, ToolChoice};
use serde_json::{Map, Value, json};

use super::{Format, gemma, hermes, mistral, phi};
use crate::adapters::grammar::json_text;

/// What an output must be.
#[derive(Debug, Clone, Copy)]
pub struct Demand<'a> {
    /// The functions there are; none where only an answer is demanded.
    pub tools: &'a [Tool],
    /// Whether they must be called.
    pub choice: &'a ToolChoice,
    /// Whether several calls may come.
    pub parallel: bool,
    /// Tags around what the model thinks, and whether the prompt has opened it.
    pub reasoning: Option<(&'a str, &'a str, bool)>,
    /// An answer is what the grammar `@answer` says; else any text.
    pub answer: bool,
    /// Arguments of functions that are not strict are any object.
    pub lenient: bool,
}

/// The grammar; `atom` gives a marker as Lark, which is a special token in some models and text in others.
///
/// # Errors
/// A sentence that names what of a strict function's schema cannot be demanded in this format.
pub fn lark(format: Format, demand: &Demand, atom: &dyn Fn(&str) -> String) -> Result<String, String> {
    let mut lark = Lark { demand, atom, rules: String::new(), names: HashSet::new() };
    let start = if format == Format::Harmony { lark.harmony() } else { lark.tagged(format)? };
    Ok(format!("start: {start}\n{}", lark.rules))
}

struct Lark<'a> {
    demand: &'a Demand<'a>,
    atom: &'a dyn Fn(&str) -> String,
    rules: String,
    names: HashSet<String>,
}

/// How the calls of a format are written.
struct Shape {
    /// Before the first.
    open: Option<&'static str>,
    /// After `open`: one call, or all.
    first: String,
    /// After the first, repeated.
    more: Option<String>,
    /// Where nothing opens calls: text that is none.
    other: Option<&'static str>,
}

impl Lark<'_> {
    /// A rule, unless there is one of this name.
    fn rule(&mut self, name: &str, body: &str) {
        if !self.names.insert(name.to_owned()) {
            return;
        }
        // A string takes whatever is written.
        let _ = writeln!(self.rules, "{name}: {body}");
    }

    fn atom(&self, marker: &str) -> String {
        (self.atom)(marker)
    }

    fn tagged(&mut self, format: Format) -> Result<String, String> {
        let think = self.think();
        let body = if self.demand.tools.is_empty() { "@answer".to_owned() } else { self.calls(format)? };
        Ok(format!("{think} ({body})"))
    }

    /// What the model may think first.
    fn think(&mut self) -> String {
        let Some((open, close, opened)) = self.demand.reasoning else { return String::new() };
        let close_atom = self.atom(close);
        if close_atom.starts_with('<') {
            self.rule("thought", &format!("ANYTHING? {close_atom}"));
            self.rule("ANYTHING", "/(?s:.+)/");
        } else {
            self.rule("thought[lazy]", &format!("/(?s:.*){}/", pattern(close)));
        }
        self.rule("GAP", r"/[ \n]{1,4}/");
        let open = self.atom(open);
        if opened { "thought GAP?".into() } else { format!("({open} thought GAP?)?") }
    }

    fn calls(&mut self, format: Format) -> Result<String, String> {
        let Shape { open, first, more, other } = self.shape(format)?;
        self.rule("first", &first);
        let more = match more.filter(|_| self.demand.parallel) {
            Some(more) => {
                self.rule("more", &more);
                " more*"
            }
            None => "",
        };
        let open_atom = open.map_or_else(String::new, |open| self.atom(open));
        let calls = format!("{open_atom} first{more}");
        if !matches!(self.demand.choice, ToolChoice::Auto) {
            return Ok(calls);
        }
        if self.demand.answer {
            return Ok(format!("@answer | {calls}"));
        }
        Ok(match open {
            Some(_) if open_atom.starts_with('<') => {
                self.rule("TEXT", "/(?s:.+)/");
                format!("TEXT? | TEXT? {calls}")
            }
            Some(open) => {
                let marker = pattern(open);
                // What begins like a call without its marker is read as one, so it must be one.
                let begin = if format.markers().first.is_empty() { "(?s:.)" } else { r"[^{`\s]" };
                self.rule("TEXT", &format!("/{begin}(?s:.*)/ & ~/(?s:.*){marker}(?s:.*)/"));
                self.rule("said[lazy]", &format!("/({begin}(?s:.*))?{marker}/"));
                let bare = if format.markers().first.is_empty() { "" } else { " | call" };
                format!("TEXT? | said first{more}{bare}")
            }
            None => {
                self.rule("TEXT", other.unwrap_or("/(?s:.+)/"));
                format!("TEXT? | {calls}")
            }
        })
    }

    fn shape(&mut self, format: Format) -> Result<Shape, String> {
        let list =
            |open| Shape { open, first: r#""[" call (", " call)* "]""#.into(), more: None, other: None };
        let one = r#""[" call "]""#;
        Ok(match format {
            Format::QwenXml | Format::Hermes | Format::Harmony => {
                match format {
                    Format::QwenXml => self.elements()?,
                    _ => self.envelopes("arguments"),
                }
                let (open, close) = (self.atom(hermes::OPEN), self.atom(hermes::CLOSE));
                let first = format!(r#""\n" call "\n" {close}"#);
                let more = format!(r#""\n" {open} "\n" call "\n" {close}"#);
                Shape { open: Some(hermes::OPEN), first, more: Some(more), other: None }
            }
            Format::Mistral | Format::Phi => {
                self.envelopes("arguments");
                let open = if format == Format::Phi { phi::OPEN } else { mistral::OPEN };
                let mut shape = list(Some(open));
                if !self.demand.parallel {
                    shape.first = one.into();
                }
                if format == Format::Phi {
                    shape.first = format!("{} {}", shape.first, self.atom(phi::CLOSE));
                }
                shape
            }
            Format::MistralArgs => {
                self.each(|lark, at, tool| {
                    let args = lark.atom(mistral::ARGS);
                    format!("{} {args} args{at}", text(&tool.name))
                });
                let more = format!("{} call", self.atom(mistral::OPEN));
                Shape { open: Some(mistral::OPEN), first: "call".into(), more: Some(more), other: None }
            }
            Format::Gemma => {
                self.lists(format)?;
                let (open, close) = (self.atom(gemma::OPEN), self.atom(gemma::CLOSE));
                let first = format!("call {close}");
                Shape { open: Some(gemma::OPEN), more: Some(format!("{open} {first}")), first, other: None }
            }
            Format::Pythonic => {
                self.lists(format)?;
                let mut shape = list(None);
                shape.other = Some(r"/[^\[\s](?s:.*)/");
                if !self.demand.parallel {
                    shape.first = one.into();
                }
                shape
            }
            Format::Llama | Format::Json => {
                self.envelopes(if format == Format::Llama { "parameters" } else { "arguments" });
                Shape { open: None, first: "call".into(), more: None, other: Some(r"/[^{\[`\s](?s:.*)/") }
            }
        })
    }

    /// `call` as one of the functions, each as `write` gives it.
    fn each(&mut self, write: impl Fn(&Self, usize, &Tool) -> String) {
        let tools = self.tools();
        let calls: Vec<String> = tools.iter().enumerate().map(|(at, tool)| write(self, at, tool)).collect();
        for (at, tool) in tools.iter().enumerate() {
            let schema = self.schema(tool);
            self.rule(&format!("args{at}"), &format!("%json {}", json_text(schema)));
        }
        self.rule("call", &calls.join(" | "));
    }

    fn envelopes(&mut self, key: &str) {
        self.each(|_, at, tool| {
            let name = Value::from(tool.name.as_str());
            format!(r#"{} args{at} "}}""#, text(&format!(r#"{{"name": {name}, "{key}": "#)))
        });
    }

    /// gpt-oss' messages; the prompt has ended with the assistant's `<|start|>`. What ends a turn is not in it.
    fn harmony(&mut self) -> String {
        let [start, channel, message, constrain, end] =
            ["<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|end|>"].map(|m| self.atom(m));
        self.rule("TEXT", "/(?s:.+)/");
        self.rule("thought", &format!(r#"{channel} "analysis" {message} TEXT? {end} {start} "assistant""#));
        let answer = if self.demand.answer { "@answer" } else { "TEXT?" };
        let answer = format!(r#"{channel} "final" {message} {answer}"#);
        if self.demand.tools.is_empty() {
            return format!("thought? {answer}");
        }
        self.each(|_, at, tool| {
            let head = text(&format!("commentary to=functions.{} ", tool.name));
            format!(r#"{head} {constrain} "json" {message} args{at}"#)
        });
        match self.demand.choice {
            ToolChoice::Auto => format!("thought? ({answer} | {channel} call)"),
            _ => format!("thought? {channel} call"),
        }
    }

    fn tools(&self) -> Vec<Tool> {
        let named = |tool: &&Tool| match self.demand.choice {
            ToolChoice::Named(name) => tool.name == *name,
            _ => true,
        };
        self.demand.tools.iter().filter(named).cloned().collect()
    }

    /// The schema of a function's arguments, an object that has no other members than those it names.
    fn schema(&self, tool: &Tool) -> Value {
        if self.demand.lenient && !tool.strict {
            return json!({"type": "object"});
        }
        let given = tool.parameters.as_ref().and_then(|text| serde_json::from_str(text).ok());
        let mut schema: Map<String, Value> = given.unwrap_or_default();
        schema.remove("$schema");
        schema.entry("type").or_insert_with(|| "object".into());
        let open = ["anyOf", "oneOf", "allOf", "$ref", "patternProperties"];
        if !open.iter().any(|keyword| schema.contains_key(*keyword)) {
            schema.entry("properties").or_insert_with(|| json!({}));
            schema.entry("additionalProperties").or_insert(Value::Bool(false));
        }
        Value::Object(schema)
    }
}

/// A text as Lark writes it.
fn text(text: &str) -> String {
    Value::from(text).to_string()
}

/// A text as a part of a regular expression between slashes.
fn pattern(text: &str) -> String {
    let meta = |c: char| r"\.+*?()|[]{}^$/&~#-".contains(c);
    text.chars().map(|c| if meta(c) { format!(r"\{c}") } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests;
