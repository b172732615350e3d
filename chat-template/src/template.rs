//! One chat template, compiled.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ipc_proto::generate::{ChatPrompt, Message, Role, TextGrammar, ToolCall, ToolChoice, ToolInput};
use minijinja::value::{Serde, Value, merge_maps};
use minijinja::{Environment, ErrorKind, context};

use crate::control_tokens::ControlTokens;
use crate::conversation::{self, Adaptation};
use crate::environment::{self, Clock};
use crate::values::{self, Needs, Style};

const NAME: &str = "chat";
/// Marks the end of the last turn's text if the model continues that turn. Everything after it is cut off.
const CONTINUES_HERE: &str = "\u{e000}here\u{e000}";
const TOO_LONG: &str = "the chat template took too long or made too much text";
/// The stack of a rendering, in bytes: a template may nest values as deep as its budget allows. A thread that renders often
/// should have as much. Unused stack costs no memory.
pub const STACK_BYTES: usize = 256 << 20;
/// Stack that such a thread may have used before it renders.
const USED_BYTES: usize = 1 << 20;
/// Limit of trying alternative forms of a conversation.
const TRIAL_LIMIT: Duration = Duration::from_secs(2);

/// Variables of a template by name.
type Variables = BTreeMap<String, serde_json::Value>;

/// A model's chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    tokens: BTreeMap<String, String>,
    knows_tools: bool,
    knows_documents: bool,
    needs: Needs,
    one_call_per_turn: OnceLock<bool>,
    takes_only_parts: OnceLock<bool>,
}

/// A rendered prompt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rendered {
    /// The prompt's text.
    pub text: String,
    /// Byte ranges in `text` of control tokens from the client, which must be tokenised as plain text.
    pub sanitized: Vec<Range<usize>>,
    /// The changes to the conversation that the template required.
    pub adaptations: Vec<Adaptation>,
}

/// One form of a conversation.
struct History {
    messages: Vec<Message>,
    adaptations: Vec<Adaptation>,
}

impl ChatTemplate {
    /// Compiles `text`; `tokens` are variables such as `bos_token`.
    ///
    /// # Errors
    /// A sentence: the template is invalid.
    pub fn new(text: &str, tokens: BTreeMap<String, String>) -> Result<Self, String> {
        Self::with_clock(text, tokens, environment::local_time)
    }

    /// Compiles `text` with a clock for `strftime_now`.
    ///
    /// # Errors
    /// A sentence: the template is invalid.
    pub fn with_clock(text: &str, tokens: BTreeMap<String, String>, clock: Clock) -> Result<Self, String> {
        let mut environment = environment::environment(clock)?;
        environment
            .add_template_owned(NAME, environment::to_minijinja(text))
            .map_err(|e| format!("the chat template is not valid: {e:#}"))?;
        Ok(Self {
            environment,
            tokens,
            knows_tools: text.contains("tools"),
            knows_documents: text.contains("documents"),
            needs: Needs {
                short_ids: text.contains("length != 9") || text.contains("length == 9"),
                parts: false,
            },
            one_call_per_turn: OnceLock::new(),
            takes_only_parts: OnceLock::new(),
        })
    }

    /// Renders a conversation. The prompt ends at the beginning of the model's turn, or at the end of the last turn's text. The result
    /// holds the positions of `sanitize` tokens in the client's text.
    ///
    /// # Errors
    /// A sentence: the error that the template raised, or the problem with the extra variables.
    pub fn render(&self, prompt: &ChatPrompt, sanitize: Option<&ControlTokens>) -> Result<Rendered, String> {
        let Some(control_tokens) = sanitize else { return self.render_marked(prompt) };
        let mut marked = prompt.clone();
        let mark = control_tokens.mark(&mut marked);
        let mut rendered = self.render_marked(&marked)?;
        if let Some(mark) = mark {
            (rendered.text, rendered.sanitized) = mark.remove(&rendered.text, control_tokens);
        }
        Ok(rendered)
    }

    fn render_marked(&self, prompt: &ChatPrompt) -> Result<Rendered, String> {
        let mut rendered = self.render_complete(prompt)?;
        if prompt.continues {
            let end = rendered.text.rfind(CONTINUES_HERE);
            rendered.text.truncate(end.ok_or("the chat template leaves out the turn to be continued")?);
        }
        Ok(rendered)
    }

    fn render_complete(&self, prompt: &ChatPrompt) -> Result<Rendered, String> {
        let mut variables: Variables = match &prompt.template_kwargs {
            Some(text) => serde_json::from_str(text).map_err(|e| e.to_string())?,
            None => Variables::new(),
        };
        let base = self.history(prompt, &mut variables);
        let tools = match variables.get("tools") {
            Some(serde_json::Value::Array(tools)) => tools.clone(),
            _ => Vec::new(),
        };
        let fuel = environment::fuel(bytes(prompt));
        let started = Instant::now();
        let mut first_error = None;
        let mut incomplete = None;
        for history in alternatives(base) {
            for style in Style::all(&history.messages, &tools) {
                match self.try_render(&history.messages, style, &variables, fuel) {
                    Ok(text) => {
                        let complete = has_system_messages(&text, &history.messages);
                        let rendered = Rendered {
                            text,
                            adaptations: adaptations(&history, style),
                            ..Rendered::default()
                        };
                        if complete {
                            return Ok(rendered);
                        }
                        // Another history may keep the system message.
                        incomplete.get_or_insert(rendered);
                        break;
                    }
                    // The other forms would take as long.
                    Err(error) if error == TOO_LONG => return Err(error),
                    Err(error) if started.elapsed() > TRIAL_LIMIT => return Err(first_error.unwrap_or(error)),
                    Err(error) => drop(first_error.get_or_insert(error)),
                }
            }
        }
        incomplete.ok_or_else(|| first_error.unwrap_or_default())
    }

    /// The conversation as this template can take it, with its tools and documents among the variables or as text.
    fn history(&self, prompt: &ChatPrompt, variables: &mut Variables) -> History {
        let tools = if prompt.tool_choice == ToolChoice::None { &[] } else { prompt.tools.as_slice() };
        let calls = prompt.messages.iter().any(|m| !m.tool_calls.is_empty() || m.role == Role::Tool);
        let mut history = History { messages: prompt.messages.clone(), adaptations: Vec::new() };
        if !self.knows_tools && (calls || !tools.is_empty()) {
            history.messages = conversation::tools_as_text(&history.messages, tools);
            history.adaptations.push(Adaptation::ToolsAsText);
        } else if !tools.is_empty() {
            variables.insert("tools".to_owned(), tools.iter().map(values::tool).collect());
        }
        if !self.knows_documents
            && let Some(serde_json::Value::Array(documents)) = variables.remove("documents")
            && !documents.is_empty()
        {
            history.messages = conversation::documents_as_text(history.messages, &documents);
            history.adaptations.push(Adaptation::DocumentsAsText);
        }
        if history.messages.iter().any(|message| message.tool_calls.len() > 1)
            && self.takes_one_call_per_turn()
        {
            history.messages = conversation::one_call_per_turn(history.messages);
            history.adaptations.push(Adaptation::OneCallPerTurn);
        }
        if let Some(last) = history.messages.last_mut().filter(|_| prompt.continues) {
            last.content.push_text(CONTINUES_HERE);
            variables.insert("add_generation_prompt".to_owned(), false.into());
        }
        history
    }

    /// Whether the template drops or refuses a second call in one turn. It is asked once, with a conversation that has two.
    fn takes_one_call_per_turn(&self) -> bool {
        *self.one_call_per_turn.get_or_init(|| {
            let names = ["first_of_two_calls", "second_of_two_calls"];
            let call = |name: &str| ToolCall {
                id: name[..9].replace('_', "x"),
                name: name.into(),
                arguments: "{}".into(),
            };
            let result = |name: &str| Message::result(Some(call(name).id), Some(name.to_owned()), "a result");
            let probe = |names: &[&str]| {
                let asked = Message::text(Role::User, "a question");
                let calls = names.iter().map(|name| call(name)).collect();
                let calling = Message { role: Role::Assistant, tool_calls: calls, ..Message::default() };
                let mut messages = vec![asked, calling];
                messages.extend(names.iter().map(|name| result(name)));
                let styles = Style::all(&messages, &[]);
                let fuel = environment::fuel(0);
                styles
                    .into_iter()
                    .find_map(|style| self.try_render(&messages, style, &Variables::new(), fuel).ok())
            };
            match probe(&names) {
                Some(text) => text.contains(names[0]) && !text.contains(names[1]),
                None => probe(&names[..1]).is_some(),
            }
        })
    }

    /// Whether the template drops content that is a text, and writes that of a list of parts. It is asked once. Those of some
    /// vision-language models do.
    fn takes_only_parts(&self) -> bool {
        *self.takes_only_parts.get_or_init(|| {
            let text = "a question in one text";
            let keeps_text = |parts: bool| {
                let needs = Needs { parts, ..self.needs };
                let messages = [values::message(&Message::text(Role::User, text), Style::default(), needs)];
                let rendered =
                    self.render_values(&messages, Style::default(), &Variables::new(), environment::fuel(0));
                rendered.is_ok_and(|rendered| rendered.contains(text))
            };
            !keeps_text(false) && keeps_text(true)
        })
    }

    /// Renders these messages in this style only.
    fn try_render(
        &self,
        messages: &[Message],
        style: Style,
        variables: &Variables,
        fuel: u64,
    ) -> Result<String, String> {
        let needs = Needs { parts: self.takes_only_parts(), ..self.needs };
        let messages: Vec<_> =
            messages.iter().map(|message| values::message(message, style, needs)).collect();
        self.render_values(&messages, style, variables, fuel)
    }

    fn render_values(
        &self,
        messages: &[serde_json::Value],
        style: Style,
        variables: &Variables,
        fuel: u64,
    ) -> Result<String, String> {
        let defaults = context! { add_generation_prompt => true, tools => (), documents => () };
        let own = context! { messages => Value::from(Serde(messages)) };
        let completed = match variables.get("tools") {
            Some(serde_json::Value::Array(tools)) if style.completes_tools => {
                let tools: Vec<_> = tools.iter().cloned().map(values::complete_tool).collect();
                context! { tools => Value::from(Serde(&tools)) }
            }
            _ => context! {},
        };
        // The last of two variables of one name counts: a client may set any but the messages.
        let tokens = Value::from(Serde(&self.tokens));
        let values = merge_maps([tokens, defaults, Value::from(Serde(variables)), completed, own]);
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(fuel));
        let render = || environment.get_template(NAME).and_then(|template| template.render(values));
        on_large_stack(|| {
            render().map_err(|e| match e.kind() {
                ErrorKind::OutOfFuel => TOO_LONG.to_owned(),
                _ => environment::error_message(&e),
            })
        })
    }
}

/// Runs `render` with [`STACK_BYTES`] of stack: the thread's own if it has them, which spares new pages for each request.
fn on_large_stack(render: impl FnOnce() -> Result<String, String>) -> Result<String, String> {
    let render = || {
        let failed = |_| Err("the chat template failed".into());
        catch_unwind(AssertUnwindSafe(render)).unwrap_or_else(failed)
    };
    stacker::maybe_grow(STACK_BYTES - USED_BYTES, STACK_BYTES, render)
}

/// The bytes that a client sent.
fn bytes(prompt: &ChatPrompt) -> usize {
    let messages = prompt.messages.iter().flat_map(|message| {
        let texts = message.content.texts();
        let calls = message.tool_calls.iter().map(|call| &call.arguments);
        texts.chain(message.reasoning.iter().chain(calls).map(String::as_str))
    });
    let tools = prompt.tools.iter().flat_map(|tool| {
        let input = match &tool.input {
            ToolInput::Json { schema, .. } => schema.as_ref(),
            ToolInput::Text(Some(TextGrammar::Lark(text) | TextGrammar::Regex(text))) => Some(text),
            ToolInput::Text(None) => None,
        };
        tool.description.iter().chain(input).map(String::as_str)
    });
    messages.chain(tools).chain(prompt.template_kwargs.as_deref()).map(str::len).sum()
}

/// The conversation, and other ways to say the same for templates with rules about roles.
fn alternatives(base: History) -> Vec<History> {
    let other = |messages: Vec<Message>, more: &[Adaptation]| {
        let adaptations = base.adaptations.iter().chain(more).copied().collect();
        History { messages, adaptations }
    };
    let later = conversation::later_system_as_user(&base.messages);
    let folded = conversation::fold_system_messages(&base.messages);
    let moved: &[Adaptation] = if later == base.messages { &[] } else { &[Adaptation::LaterSystemAsUser] };
    let with = |last: &[Adaptation]| [moved, last].concat();
    let candidates = [
        other(conversation::merge_turns(&base.messages), &[Adaptation::TurnsMerged]),
        other(later.clone(), moved),
        other(conversation::merge_turns(&later), &with(&[Adaptation::TurnsMerged])),
        other(folded.clone(), &with(&[Adaptation::SystemInFirstUserTurn])),
        other(
            conversation::merge_turns(&folded),
            &with(&[Adaptation::SystemInFirstUserTurn, Adaptation::TurnsMerged]),
        ),
    ];
    let mut all = vec![base];
    for candidate in candidates {
        if !all.iter().any(|known| known.messages == candidate.messages) {
            all.push(candidate);
        }
    }
    all
}

fn adaptations(history: &History, style: Style) -> Vec<Adaptation> {
    let styles = [
        (style.arguments_as_text, Adaptation::ArgumentsAsText),
        (style.omits_empty_content, Adaptation::EmptyContentOmitted),
        (style.omits_thinking, Adaptation::ThinkingOmitted),
        (style.completes_tools, Adaptation::ToolsCompleted),
    ];
    let taken = styles.into_iter().filter_map(|(taken, adaptation)| taken.then_some(adaptation));
    history.adaptations.iter().copied().chain(taken).collect()
}

/// Whether the text of every system message is in a prompt.
fn has_system_messages(text: &str, messages: &[Message]) -> bool {
    let mut system = messages.iter().filter(|message| message.role == Role::System);
    system.all(|message| text.contains(message.content.text().trim()))
}

#[cfg(test)]
mod tests;
