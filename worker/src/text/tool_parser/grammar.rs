//! Grammars of calls, in each format's syntax and in llguidance's variant of Lark. The parser reads every text that they allow.
//!
//! The text around a call is literal. Its arguments are a nested JSON grammar with the function's schema as its root.

mod members;
mod named;

use std::collections::HashSet;
use std::fmt::Write;

use ipc_proto::generate::{Tool, ToolChoice, ToolInput};
use serde_json::{Map, Value, json};

use super::{ToolFormat, cohere, granite, hermes, minimax, mistral, phi, pythonic, seed};
use crate::text::grammar::{TextForm, function_comment, json_text, text_terminal};

/// The demands on an output.
#[derive(Debug, Clone, Copy)]
pub struct GrammarSpec<'a> {
    /// The functions of the request. Empty if the demands concern only the answer.
    pub tools: &'a [Tool],
    /// Whether the output must call them.
    pub choice: &'a ToolChoice,
    /// Whether several calls are allowed.
    pub parallel: bool,
    /// The tags around the reasoning, and whether the prompt ends with the opening one.
    pub reasoning: Option<(&'a str, &'a str, bool)>,
    /// The answer must match the grammar `@answer`. Otherwise it is any text.
    pub answer: bool,
    /// Functions that are not strict accept any object as arguments.
    pub lenient: bool,
}

/// The grammar in Lark. `marker` converts a marker to Lark: to a special token in some models, to text in others.
///
/// # Errors
/// A sentence that names the problem: a part of a strict function's schema that this format cannot express, or a tool with an
/// unusable grammar.
pub fn lark_grammar(
    format: ToolFormat,
    spec: &GrammarSpec,
    marker: &dyn Fn(&str) -> String,
) -> Result<String, String> {
    let mut builder = LarkBuilder { spec, marker, rules: String::new(), names: HashSet::new() };
    let start = if format == ToolFormat::Harmony { builder.harmony()? } else { builder.start(format)? };
    Ok(format!("start: {start}\n{}", builder.rules))
}

struct LarkBuilder<'a> {
    spec: &'a GrammarSpec<'a>,
    marker: &'a dyn Fn(&str) -> String,
    rules: String,
    names: HashSet<String>,
}

/// The syntax of a format's calls.
#[derive(Default)]
struct CallSyntax {
    /// The marker before the first call.
    open: Option<&'static str>,
    /// The text after `open`: one call, or all of them.
    first: String,
    /// The text after the first call, repeated.
    next: Option<String>,
    /// For formats without `open`: text that is no call.
    no_call: Option<&'static str>,
}

impl LarkBuilder<'_> {
    /// Adds a rule, unless its name exists.
    fn rule(&mut self, name: &str, body: &str) {
        if !self.names.insert(name.to_owned()) {
            return;
        }
        // Writing to a string cannot fail.
        let _ = writeln!(self.rules, "{name}: {body}");
    }

    fn marker(&self, marker: &str) -> String {
        (self.marker)(marker)
    }

    /// The rule `start` of a format with markers.
    fn start(&mut self, format: ToolFormat) -> Result<String, String> {
        let reasoning = self.reasoning();
        let body = if self.spec.tools.is_empty() { "@answer".to_owned() } else { self.calls(format)? };
        Ok(format!("{reasoning} ({body})"))
    }

    /// The reasoning before the answer.
    fn reasoning(&mut self) -> String {
        let Some((open, close, opened)) = self.spec.reasoning else { return String::new() };
        let close_marker = self.marker(close);
        if close_marker.starts_with('<') {
            self.rule("reasoning", &format!("ANYTHING? {close_marker}"));
            self.rule("ANYTHING", "/(?s:.+)/");
        } else {
            self.rule("reasoning[lazy]", &format!("/(?s:.*){}/", escape_pattern(close)));
        }
        self.rule("GAP", r"/[ \n]{1,4}/");
        let open = self.opening_tag(open);
        if opened { "reasoning GAP?".into() } else { format!("({open} reasoning GAP?)?") }
    }

    /// An opening tag: a marker, after which Gemma 4 has the channel's name.
    fn opening_tag(&self, tag: &str) -> String {
        match tag.split_once('>').filter(|(_, name)| !name.is_empty()) {
            Some((marker, name)) => format!("{} {}", self.marker(&format!("{marker}>")), literal(name)),
            None => self.marker(tag),
        }
    }

    /// The calls, or the text or answer that may take their place.
    fn calls(&mut self, format: ToolFormat) -> Result<String, String> {
        let CallSyntax { open, first, next, no_call } = self.call_syntax(format)?;
        self.rule("first", &first);
        let next = match next.filter(|_| self.spec.parallel) {
            Some(next) => {
                self.rule("next", &next);
                " next*"
            }
            None => "",
        };
        let open_marker = open.map_or_else(String::new, |open| self.marker(open));
        let calls = format!("{open_marker} first{next}");
        if !matches!(self.spec.choice, ToolChoice::Auto) {
            return Ok(calls);
        }
        if self.spec.answer {
            return Ok(format!("@answer | {calls}"));
        }
        Ok(match open {
            Some(_) if open_marker.starts_with('<') => {
                self.rule("TEXT", "/(?s:.+)/");
                format!("TEXT? | TEXT? {calls}")
            }
            Some(open) => {
                let marker = escape_pattern(open);
                // The parser reads a text that begins like a call as one, even without the marker. So free text must not
                // begin like one.
                let begin = if format.markers().first.is_empty() { "(?s:.)" } else { r"[^{`\s]" };
                self.rule("TEXT", &format!("/{begin}(?s:.*)/ & ~/(?s:.*){marker}(?s:.*)/"));
                self.rule("before_call[lazy]", &format!("/({begin}(?s:.*))?{marker}/"));
                let bare = if format.markers().first.is_empty() { "" } else { " | call" };
                format!("TEXT? | before_call first{next}{bare}")
            }
            None => {
                self.rule("TEXT", no_call.unwrap_or("/(?s:.+)/"));
                format!("TEXT? | {calls}")
            }
        })
    }

    /// Adds the rules of a format's calls and returns the syntax around them.
    fn call_syntax(&mut self, format: ToolFormat) -> Result<CallSyntax, String> {
        Ok(match format {
            ToolFormat::QwenXml => {
                self.xml_calls(format)?;
                self.tagged_calls(hermes::OPEN, hermes::CLOSE)
            }
            ToolFormat::Seed => {
                self.xml_calls(format)?;
                self.tagged_calls(seed::OPEN, seed::CLOSE)
            }
            ToolFormat::MiniMax => {
                self.xml_calls(format)?;
                let more = if self.spec.parallel { r#" ("\n" call)*"# } else { "" };
                let first = format!(r#""\n" call{more} "\n" {}"#, self.marker(minimax::CLOSE));
                CallSyntax { open: Some(minimax::OPEN), first, ..CallSyntax::default() }
            }
            ToolFormat::Glm => {
                self.xml_calls(format)?;
                let (open, close) = (self.marker(hermes::OPEN), self.marker(hermes::CLOSE));
                let first = format!("call {close}");
                let next = Some(format!(r#""\n" {open} {first}"#));
                CallSyntax { open: Some(hermes::OPEN), first, next, no_call: None }
            }
            ToolFormat::Hermes | ToolFormat::Harmony => {
                self.json_calls("name", "arguments")?;
                self.tagged_calls(hermes::OPEN, hermes::CLOSE)
            }
            ToolFormat::Granite => {
                self.json_calls("name", "arguments")?;
                CallSyntax { open: Some(granite::OPEN), first: self.call_list(), ..CallSyntax::default() }
            }
            ToolFormat::Cohere => {
                self.json_calls("tool_name", "parameters")?;
                let first = format!("{} {}", self.call_list(), self.marker(cohere::CLOSE));
                CallSyntax { open: Some(cohere::OPEN), first, ..CallSyntax::default() }
            }
            ToolFormat::Mistral => {
                self.json_calls("name", "arguments")?;
                CallSyntax { open: Some(mistral::OPEN), first: self.call_list(), ..CallSyntax::default() }
            }
            ToolFormat::Phi => {
                self.json_calls("name", "arguments")?;
                let first = format!("{} {}", self.call_list(), self.marker(phi::CLOSE));
                CallSyntax { open: Some(phi::OPEN), first, ..CallSyntax::default() }
            }
            ToolFormat::MistralArgs => self.mistral_calls()?,
            ToolFormat::DeepSeek | ToolFormat::DeepSeekR1 => self.deepseek_calls(format)?,
            ToolFormat::Kimi => self.kimi_calls()?,
            ToolFormat::Gemma | ToolFormat::Gemma4 => {
                self.argument_lists(format)?;
                let markers = format.markers();
                let (open, close) = (self.marker(markers.open[0]), self.marker(markers.close[0]));
                let first = format!("call {close}");
                let next = Some(format!("{open} {first}"));
                CallSyntax { open: Some(markers.open[0]), first, next, no_call: None }
            }
            ToolFormat::Lfm2 => {
                self.argument_lists(format)?;
                let first = format!("{} {}", self.call_list(), self.marker(pythonic::LFM2_CLOSE));
                CallSyntax { open: Some(pythonic::LFM2_OPEN), first, ..CallSyntax::default() }
            }
            ToolFormat::Pythonic => {
                self.argument_lists(format)?;
                let no_call = Some(r"/[^\[\s](?s:.*)/");
                CallSyntax { first: self.call_list(), no_call, ..CallSyntax::default() }
            }
            ToolFormat::Llama | ToolFormat::Json => {
                self.json_calls(
                    "name",
                    if format == ToolFormat::Llama { "parameters" } else { "arguments" },
                )?;
                let no_call = Some(r"/[^{\[`\s](?s:.*)/");
                CallSyntax { first: "call".into(), no_call, ..CallSyntax::default() }
            }
        })
    }

    /// Calls between two tags, one pair for each.
    fn tagged_calls(&self, open: &'static str, close: &str) -> CallSyntax {
        let (open_marker, close) = (self.marker(open), self.marker(close));
        let first = format!(r#""\n" call "\n" {close}"#);
        let next = Some(format!(r#""\n" {open_marker} "\n" call "\n" {close}"#));
        CallSyntax { open: Some(open), first, next, no_call: None }
    }

    /// A list of calls. It has one element unless several calls are allowed.
    fn call_list(&self) -> String {
        let list = if self.spec.parallel { r#""[" call (", " call)* "]""# } else { r#""[" call "]""# };
        list.to_owned()
    }

    /// The rule `call`, an alternative for each function, and a rule for the arguments of each.
    fn call_rules(&mut self, call: impl Fn(&Self, usize, &Tool) -> String) -> Result<(), String> {
        let tools = self.tools();
        let calls: Vec<String> = tools.iter().enumerate().map(|(at, tool)| call(self, at, tool)).collect();
        for (at, tool) in tools.iter().enumerate() {
            if let Some(text) = self.json_string(&at.to_string(), tool)? {
                let open = literal(&format!("{{{}: ", Value::from(Tool::TEXT_ARGUMENT)));
                self.rule(&format!("args{at}"), &format!(r#"{open} {text} "}}""#));
                continue;
            }
            let schema = self.schema(tool);
            self.rules += &function_comment(&tool.name, "");
            self.rule(&format!("args{at}"), &format!("%json {}", json_text(schema)));
        }
        self.rule("call", &calls.join(" | "));
        Ok(())
    }

    /// The terminal of a JSON string with a text of the tool's grammar, if it has one. One terminal with its quotes: it is never
    /// empty, and the quote ends it.
    ///
    /// # Errors
    /// A sentence that names the tool.
    fn json_string(&mut self, id: &str, tool: &Tool) -> Result<Option<String>, String> {
        let Some(text) = self.text_terminal(id, tool, TextForm::Json)? else { return Ok(None) };
        let name = format!("QUOTED{}", id.to_uppercase());
        self.rule(&name, &format!(r#""\"" {text} "\"""#));
        Ok(Some(name))
    }

    /// The terminal of a text of the tool's grammar, if it has one.
    ///
    /// # Errors
    /// A sentence that names the tool.
    fn text_terminal(&mut self, id: &str, tool: &Tool, form: TextForm) -> Result<Option<String>, String> {
        let ToolInput::Text(Some(grammar)) = &tool.input else { return Ok(None) };
        let name = format!("OF{}", id.to_uppercase());
        self.rules += &text_terminal(&tool.name, grammar, &name, form)?;
        Ok(Some(name))
    }

    /// Calls as JSON objects with these keys of the name and the arguments.
    fn json_calls(&mut self, name_key: &str, key: &str) -> Result<(), String> {
        self.call_rules(|_, at, tool| {
            let name = Value::from(tool.name.as_str());
            format!(r#"{} args{at} "}}""#, literal(&format!(r#"{{"{name_key}": {name}, "{key}": "#)))
        })
    }

    /// gpt-oss' messages. The prompt ends with the assistant's `<|start|>`. The marker that ends the turn is not included.
    fn harmony(&mut self) -> Result<String, String> {
        let [start, channel, message, constrain, end] =
            ["<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|end|>"].map(|m| self.marker(m));
        self.rule("TEXT", "/(?s:.+)/");
        self.rule("reasoning", &format!(r#"{channel} "analysis" {message} TEXT? {end} {start} "assistant""#));
        let answer = if self.spec.answer { "@answer" } else { "TEXT?" };
        let answer = format!(r#"{channel} "final" {message} {answer}"#);
        if self.spec.tools.is_empty() {
            return Ok(format!("reasoning? {answer}"));
        }
        self.call_rules(|_, at, tool| {
            let head = literal(&format!("commentary to=functions.{} ", tool.name));
            format!(r#"{head} {constrain} "json" {message} args{at}"#)
        })?;
        Ok(match self.spec.choice {
            ToolChoice::Auto => format!("reasoning? ({answer} | {channel} call)"),
            _ => format!("reasoning? {channel} call"),
        })
    }

    fn tools(&self) -> Vec<Tool> {
        let named = |tool: &&Tool| match self.spec.choice {
            ToolChoice::Named(name) => tool.name == *name,
            _ => true,
        };
        self.spec.tools.iter().filter(named).cloned().collect()
    }

    /// The schema of a function's arguments. Closes the object to members that it does not name.
    fn schema(&self, tool: &Tool) -> Value {
        if self.spec.lenient && !tool.is_strict() {
            return json!({"type": "object"});
        }
        let given = tool.parameters().and_then(|text| serde_json::from_str(text).ok());
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

/// A text as a Lark string.
fn literal(text: &str) -> String {
    Value::from(text).to_string()
}

/// Escapes a text for a regular expression between slashes.
fn escape_pattern(text: &str) -> String {
    let meta = |c: char| r"\.+*?()|[]{}^$/&~#-".contains(c);
    text.chars().map(|c| if meta(c) { format!(r"\{c}") } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests;
