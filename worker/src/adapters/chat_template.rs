//! Renders conversations as Transformers' `apply_chat_template` does.
//!
//! Templates are Jinja programs that come with a model, so they are not trusted: what they may compute is bounded, and
//! what they raise is the client's error. They see `messages`, `tools`, `add_generation_prompt`, the tokenizer's special
//! tokens and whatever extra variables the request brings.
//!
//! Where a template refuses a conversation it is tried in other forms that say the same: consecutive turns of one role
//! merged, system messages folded into the first user's. One that knows no tools is told of them in text.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use ipc_proto::generate::{ChatPrompt, Message, Role, Tool, ToolCall, ToolChoice};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value, merge_maps};
use minijinja::{Environment, Error, ErrorKind, context};
use serde::Serialize;
use serde_json::json;

mod conversation;
mod dumps;

/// Instructions a rendering may take: a thousand times what a long conversation needs.
const FUEL: u64 = 50_000_000;
const NAME: &str = "chat";
/// Stands where the last turn's text ends that is gone on with: what a template writes after it is cut off.
const HERE: &str = "\u{e000}here\u{e000}";
const TOO_LONG: &str = "the chat template took too long";

/// A model's chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    tokens: BTreeMap<String, String>,
    knows_tools: bool,
    knows_documents: bool,
    /// Ids of calls have nine letters and digits (Mistral).
    short_ids: bool,
}

/// A message as templates see it.
#[derive(Debug, Serialize)]
struct TemplateMessage<'a> {
    role: &'static str,
    /// Null in a turn that only calls functions.
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    /// gpt-oss' name for it, whose template takes it only where there is no content.
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<Vec<serde_json::Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<String>,
}

/// How calls are given to a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arguments {
    Object,
    Text,
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
        environment.add_filter("tojson", dumps::tojson);
        let knows_tools = text.contains("tools");
        let knows_documents = text.contains("documents");
        let short_ids = text.contains("length != 9") || text.contains("length == 9");
        let text = without_generation_blocks(text);
        environment
            .add_template_owned(NAME, text)
            .map_err(|e| format!("the chat template is not valid: {e:#}"))?;
        Ok(Self { environment, tokens, knows_tools, knows_documents, short_ids })
    }

    /// The prompt of a conversation, ending where the model's turn begins, or where the text of its last turn ends.
    ///
    /// # Errors
    /// A sentence: what the template raised, or what is wrong with the extra variables.
    pub fn render(&self, prompt: &ChatPrompt) -> Result<String, String> {
        let text = self.render_whole(prompt)?;
        if !prompt.continues {
            return Ok(text);
        }
        let end =
            text.rfind(HERE).ok_or("the chat template leaves out the turn that is to be gone on with")?;
        Ok(text[..end].to_owned())
    }

    fn render_whole(&self, prompt: &ChatPrompt) -> Result<String, String> {
        let tools = if prompt.tool_choice == ToolChoice::None { &[] } else { prompt.tools.as_slice() };
        let calls = prompt.messages.iter().any(|m| !m.tool_calls.is_empty() || m.role == Role::Tool);
        let spell = !self.knows_tools && (calls || !tools.is_empty());
        let mut messages =
            if spell { conversation::spelled(&prompt.messages, tools) } else { prompt.messages.clone() };
        let mut variables: BTreeMap<String, serde_json::Value> = match &prompt.template_kwargs {
            Some(text) => serde_json::from_str(text).map_err(|e| e.to_string())?,
            None => BTreeMap::new(),
        };
        if !self.knows_documents
            && let Some(serde_json::Value::Array(documents)) = variables.remove("documents")
        {
            messages = conversation::documented(messages, &documents);
        }
        if let Some(last) = messages.last_mut().filter(|_| prompt.continues) {
            last.content.push_str(HERE);
            variables.insert("add_generation_prompt".to_owned(), false.into());
        }
        if !spell && !tools.is_empty() {
            variables.insert("tools".to_owned(), tools.iter().map(tool).collect());
        }
        let mut first = None;
        let mut forgetful = None;
        for messages in forms(messages) {
            for arguments in [Arguments::Object, Arguments::Text] {
                if arguments == Arguments::Text && !calls {
                    continue;
                }
                match self.try_render(&messages, arguments, &variables) {
                    Ok(text) if says_all(&text, &messages) => return Ok(text),
                    // It leaves a system message out: perhaps not in another form.
                    Ok(text) => drop(forgetful.get_or_insert(text)),
                    // The others would take as long.
                    Err(error) if error == TOO_LONG => return Err(error),
                    Err(error) => drop(first.get_or_insert(error)),
                }
            }
        }
        forgetful.ok_or_else(|| first.unwrap_or_default())
    }

    /// As [`Self::render`], in this form only.
    fn try_render(
        &self,
        messages: &[Message],
        arguments: Arguments,
        variables: &BTreeMap<String, serde_json::Value>,
    ) -> Result<String, String> {
        let messages: Vec<TemplateMessage> =
            messages.iter().map(|message| self.message(message, arguments)).collect();
        let defaults = context! { add_generation_prompt => true, tools => (), documents => () };
        let own = context! { messages => Value::from(Serde(&messages)) };
        // Of two variables of one name the last counts: a client may set any but the messages.
        let values =
            merge_maps([Value::from(Serde(&self.tokens)), defaults, Value::from(Serde(variables)), own]);
        let rendered = self.environment.get_template(NAME).and_then(|template| template.render(values));
        rendered.map_err(|e| match (e.kind(), e.detail()) {
            (ErrorKind::OutOfFuel, _) => TOO_LONG.to_owned(),
            (_, Some(detail)) => detail.to_owned(),
            _ => e.to_string(),
        })
    }

    fn message<'a>(&self, message: &'a Message, arguments: Arguments) -> TemplateMessage<'a> {
        let calls = &message.tool_calls;
        let silent = message.content.is_empty() && !calls.is_empty();
        let reasoning = message.reasoning.as_deref();
        TemplateMessage {
            role: message.role.as_str(),
            content: (!silent).then_some(&*message.content),
            name: message.name.as_deref(),
            reasoning_content: reasoning,
            thinking: reasoning.filter(|_| silent || calls.is_empty()),
            tool_calls: (!calls.is_empty())
                .then(|| calls.iter().map(|call| self.call(call, arguments)).collect()),
            tool_call_id: message.tool_call_id.as_deref().map(|id| self.call_id(id)),
        }
    }

    fn call(&self, call: &ToolCall, arguments: Arguments) -> serde_json::Value {
        let parsed = match arguments {
            Arguments::Object => serde_json::from_str(&call.arguments).ok(),
            Arguments::Text => None,
        };
        let arguments = parsed.unwrap_or_else(|| serde_json::Value::from(call.arguments.as_str()));
        let function = json!({"name": call.name, "arguments": arguments});
        json!({"id": self.call_id(&call.id), "type": "function", "function": function})
    }

    /// An id as the template takes it; the same for the same.
    fn call_id(&self, id: &str) -> String {
        let fits = id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !self.short_ids || fits {
            return id.to_owned();
        }
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        format!("{:016x}", hasher.finish())[..9].to_owned()
    }
}

/// A tool as templates see it: OpenAI's form.
fn tool(tool: &Tool) -> serde_json::Value {
    let mut function = json!({"name": tool.name});
    if let Some(description) = &tool.description {
        function["description"] = description.as_str().into();
    }
    let parameters = tool.parameters.as_ref().and_then(|text| serde_json::from_str(text).ok());
    // Many templates read the properties without asking whether there are any.
    function["parameters"] = parameters.unwrap_or_else(|| json!({"type": "object", "properties": {}}));
    json!({"type": "function", "function": function})
}

/// The conversation, and what else says the same.
fn forms(messages: Vec<Message>) -> Vec<Vec<Message>> {
    let merged = conversation::merged(&messages);
    let folded = conversation::folded(&messages);
    let both = conversation::merged(&folded);
    let mut forms = vec![messages];
    for form in [merged, folded, both] {
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms
}

/// Whether the system messages are in a prompt.
fn says_all(text: &str, messages: &[Message]) -> bool {
    let system = messages.iter().filter(|message| message.role == Role::System);
    system.into_iter().all(|message| text.contains(message.content.trim()))
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

#[cfg(test)]
mod tests;
