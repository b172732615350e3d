//! Renders conversations as Transformers' `apply_chat_template` does.
//!
//! Templates are Jinja programs that come with a model, so they are not trusted: what they may compute is bounded, and
//! what they raise is the client's error. They see `messages`, `add_generation_prompt`, the tokenizer's special tokens
//! and whatever extra variables the request brings.

use std::collections::BTreeMap;

use ipc_proto::generate::{ChatPrompt, Message};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value, merge_maps};
use minijinja::{Environment, Error, ErrorKind, context};
use serde::Serialize;
use serde_json::ser::Formatter;

/// Instructions a rendering may take: a thousand times what a long conversation needs.
const FUEL: u64 = 50_000_000;
const NAME: &str = "chat";

/// A model's chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    tokens: BTreeMap<String, String>,
}

/// A message as templates see it.
#[derive(Serialize)]
struct TemplateMessage<'a> {
    role: &'static str,
    content: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

impl ChatTemplate {
    /// Compiles `text`; `tokens` are variables such as `bos_token`.
    ///
    /// # Errors
    /// A sentence, when the template is not valid.
    pub fn new(text: String, tokens: BTreeMap<String, String>) -> Result<Self, String> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|e| e.to_string())?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_filter("tojson", tojson);
        let text = without_generation_blocks(text);
        environment
            .add_template_owned(NAME, text)
            .map_err(|e| format!("the chat template is not valid: {e:#}"))?;
        Ok(Self { environment, tokens })
    }

    /// The prompt of a conversation, ending where the model's turn begins.
    ///
    /// # Errors
    /// A sentence: what the template raised, or what is wrong with the extra variables.
    pub fn render(&self, prompt: &ChatPrompt) -> Result<String, String> {
        let messages: Vec<TemplateMessage> = prompt.messages.iter().map(TemplateMessage::of).collect();
        let extra: BTreeMap<String, serde_json::Value> = match &prompt.template_kwargs {
            Some(text) => serde_json::from_str(text).map_err(|e| e.to_string())?,
            None => BTreeMap::new(),
        };
        let defaults = context! { add_generation_prompt => true, tools => (), documents => () };
        let own = context! { messages => Value::from(Serde(&messages)) };
        // Of two variables of one name the last counts: a client may set any but the messages.
        let values =
            merge_maps([Value::from(Serde(&self.tokens)), defaults, Value::from(Serde(&extra)), own]);
        let rendered = self.environment.get_template(NAME).and_then(|template| template.render(values));
        rendered.map_err(|e| match (e.kind(), e.detail()) {
            (ErrorKind::OutOfFuel, _) => "the chat template took too long".to_owned(),
            (_, Some(detail)) => detail.to_owned(),
            _ => e.to_string(),
        })
    }
}

impl<'a> TemplateMessage<'a> {
    fn of(message: &'a Message) -> Self {
        Self { role: message.role.as_str(), content: &message.content, name: message.name.as_deref() }
    }
}

/// `{% generation %}` marks the model's turns for training; in a rendering it does nothing.
fn without_generation_blocks(mut text: String) -> String {
    for (open, close) in [("{%", "%}"), ("{%-", "%}"), ("{%", "-%}"), ("{%-", "-%}")] {
        text = text.replace(&format!("{open} generation {close}"), &format!("{open} if true {close}"));
        text = text.replace(&format!("{open} endgeneration {close}"), &format!("{open} endif {close}"));
    }
    text
}

fn raise_exception(message: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

fn strftime_now(format: &str) -> Result<String, Error> {
    use std::fmt::Write;
    let mut text = String::new();
    // A format that chrono does not know is an error of `write!`, not a panic.
    write!(text, "{}", chrono::Local::now().format(format)).map_err(|_| {
        Error::new(ErrorKind::InvalidOperation, format!("strftime_now cannot format \"{format}\""))
    })?;
    Ok(text)
}

/// `json.dumps(value, ensure_ascii=False, indent=…)`: Python's separators, and no HTML escapes.
#[expect(clippy::needless_pass_by_value, reason = "the form that minijinja calls")]
fn tojson(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // What Transformers' own filter takes; the other values it could have change nothing here.
    let _: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let problem = |e: serde_json::Error| Error::new(ErrorKind::BadSerialization, e.to_string());
    let mut bytes = Vec::new();
    match indent {
        Some(width) => {
            let indent = " ".repeat(width.min(16));
            let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
            value
                .serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))
                .map_err(problem)?;
        }
        None => value
            .serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, PythonFormatter))
            .map_err(problem)?,
    }
    let text =
        String::from_utf8(bytes).map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string()))?;
    Ok(Value::from_safe_string(text))
}

/// `", "` and `": "` between things, as Python writes.
struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests;
