//! The neutral form of a generation and of its events. Contains no vendor's field names.
//!
//! The gateway translates every client protocol into [`Generation`], and [`Event`] back into the protocol. A worker receives a
//! generation inside a [`Submission`], which adds the fields for the worker only.

use serde::{Deserialize, Serialize};

use crate::Error;

mod content;

pub use content::{Content, ContentPart, Image, ImageDetail, ImageSource};

/// The number of one choice, unique within one step-frame connection; the gateway assigns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct ChoiceId(pub u64);

/// A generation on its way to a worker: one prompt, and one output for each of `choices`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Submission {
    /// The id of the client's request, as the logs of all processes show it.
    pub request_id: String,
    /// Generations of different scopes never share cached text, so that response times reveal nothing about other scopes.
    /// Empty: the scope of all clients that name none.
    pub cache_scope: String,
    /// Whose request it is. Tenants that wait for one model share it fairly. 0 for a request without an API key.
    pub tenant: u64,
    /// The prompt and the parameters. The prompt is rendered and tokenised once.
    pub generation: Generation,
    /// The outputs to generate; at least one. They are admitted together or not at all.
    pub choices: Vec<Choice>,
}

/// One output of a [`Submission`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Choice {
    /// The id of its events on the step-frame connection.
    pub id: ChoiceId,
    /// Its index among the choices of the client's request. It is added to the seed.
    pub index: u32,
    /// Token ids that another worker has generated already. They are the beginning of the output and count as generated. The first
    /// event follows after them.
    pub generated: Vec<u32>,
}

/// One text generation, for any backend.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Generation {
    /// The text or conversation to continue.
    pub prompt: Prompt,
    /// How each token is chosen.
    pub sampling: Sampling,
    /// Texts that end the generation; they are not part of the output.
    pub stop: Vec<String>,
    /// The maximum number of tokens; `None` allows the rest of the context. 0 only where the prompt is scored.
    pub max_tokens: Option<u32>,
    /// Tokens before which the model may not end its turn.
    pub min_tokens: u32,
    /// The model's end of turn is an ordinary token and does not end the generation.
    pub ignore_eos: bool,
    /// Token ids that end the generation besides the model's own; they are not part of the output.
    pub stop_tokens: Vec<u32>,
    /// The maximum number of reasoning tokens; then the reasoning is closed and the model must answer.
    pub reasoning_budget: Option<u32>,
    /// Log probabilities to return, if any.
    pub logprobs: Option<Logprobs>,
    /// The index of the first prompt token to score, if the prompt is scored. Those before it may come from the prefix cache.
    pub scored_from: u32,
    /// The form that the output must have.
    pub constraint: Option<Constraint>,
    /// The class in every queue.
    pub priority: Priority,
    /// Milliseconds after which it fails, counted from its arrival.
    pub time_limit_ms: Option<u32>,
    /// Whether [`Event::Progress`] reports how much of the prompt is computed.
    pub report_progress: bool,
}

/// Log probabilities to return. They are the model's own, before penalties, biases and temperature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Logprobs {
    /// The number of likeliest tokens to return with each token.
    pub top: u8,
    /// Whether the prompt's tokens are scored too, from [`Generation::scored_from`] on, in one [`Event::Prompt`] before any text.
    pub prompt: bool,
}

/// The class of a request or model in a queue. An entry that waits long enough moves to a higher class, so that none starves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schemars", schemars(rename = "ModelPriority"))]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before others; pre-empts lower classes.
    High,
    /// The default class.
    #[default]
    Normal,
    /// Only when no higher class waits.
    Low,
}

/// The form that the output as a whole must have. Every token keeps the output a prefix of that form, and the output ends
/// only where it is complete. `max_tokens` can still cut it short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Constraint {
    /// Any JSON object.
    JsonObject,
    /// A JSON value that matches a schema, given as text (2020-12; unsupported keywords are refused by name). Properties come
    /// in the schema's order.
    JsonSchema(String),
    /// A text that a regular expression matches from beginning to end (Rust's syntax, without look-around).
    Regex(String),
    /// A text of a grammar in llguidance's variant of Lark; its first rule is `start`.
    Lark(String),
}

/// The text or conversation that the model continues.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Prompt {
    /// Plain text, tokenised with the model's special tokens (BOS) as its tokenizer adds them.
    Text(String),
    /// Token ids, taken as they are.
    Tokens(Vec<u32>),
    /// A gap to fill, for models that were trained for it.
    Infill {
        /// The text before the gap.
        before: String,
        /// The text after the gap.
        after: String,
    },
    /// A conversation, rendered with the model's chat template.
    Chat(ChatPrompt),
}

impl Default for Prompt {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

/// A conversation before the chat template.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ChatPrompt {
    /// In order of time.
    pub messages: Vec<Message>,
    /// Functions that the model may call. The head of the prompt lists them.
    pub tools: Vec<Tool>,
    /// Changes of the functions by later turns.
    pub tool_changes: ToolChanges,
    /// Whether the model calls functions.
    pub tool_choice: ToolChoice,
    /// Whether one turn may hold several calls.
    pub parallel_calls: bool,
    /// Extra variables for the template, as a JSON object in text form (`None`: no extras). Text, because
    /// bincode cannot carry self-describing values.
    pub template_kwargs: Option<String>,
    /// The output continues the last turn, which is the assistant's and has text.
    pub continues: bool,
    /// Whether control tokens in the client's text are read as text. `None`: as the model's setting says.
    pub sanitize_control_tokens: Option<bool>,
    /// Whether the oldest turns may be left out if the conversation does not fit the context.
    pub truncates: bool,
}

impl ChatPrompt {
    /// The functions that the model may call at the end of the conversation.
    pub fn callable_tools(&self) -> Vec<Tool> {
        let ToolChanges { added, withdrawn } = &self.tool_changes;
        let listed = self.tools.iter().filter(|tool| !withdrawn.contains(&tool.name));
        listed.chain(added).cloned().collect()
    }
}

/// Changes of the functions during a conversation, as its turns describe them. The head of the prompt does not change with them, so
/// what is cached of the prompt stays valid.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ToolChanges {
    /// Functions that the model may call besides the listed ones. A turn describes each.
    pub added: Vec<Tool>,
    /// Names of listed functions that the model may not call any more.
    pub withdrawn: Vec<String>,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Message {
    /// The speaker's role.
    pub role: Role,
    /// The text and media of the turn.
    pub content: Content,
    /// The speaker's name where several share a role; of a tool's result, the function's name if known.
    pub name: Option<String>,
    /// The model's reasoning before this turn's text.
    pub reasoning: Option<String>,
    /// Functions that the model called.
    pub tool_calls: Vec<ToolCall>,
    /// Of a tool's result: the id of the call that it answers.
    pub tool_call_id: Option<String>,
}

impl Message {
    /// A turn of text.
    pub fn text(role: Role, text: impl Into<Content>) -> Self {
        Self { role, content: text.into(), ..Self::default() }
    }

    /// The result of the call `id` of a function whose name may be known.
    pub fn result(id: Option<String>, name: Option<String>, content: impl Into<Content>) -> Self {
        Self { role: Role::Tool, content: content.into(), name, tool_call_id: id, ..Self::default() }
    }
}

/// A function that the model may call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tool {
    /// The name that calls use.
    pub name: String,
    /// A description for the model.
    pub description: Option<String>,
    /// The form of its input.
    pub input: ToolInput,
}

/// The form of a [`Tool`]'s input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToolInput {
    /// Arguments: a JSON object.
    Json {
        /// Their JSON schema, an object, in text form.
        schema: Option<String>,
        /// Whether arguments must match the schema: calls are constrained then.
        strict: bool,
    },
    /// Free text. Calls carry it as the only argument, [`Tool::TEXT_ARGUMENT`], and are always constrained to that form.
    Text(Option<TextGrammar>),
}

impl Default for ToolInput {
    fn default() -> Self {
        Self::Json { schema: None, strict: false }
    }
}

/// The form of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TextGrammar {
    /// A grammar in Lark; its first rule is `start`.
    Lark(String),
    /// A regular expression that matches the text from beginning to end (Rust's syntax, without look-around).
    Regex(String),
}

impl Tool {
    /// The argument that holds the text of a tool whose input is text.
    pub const TEXT_ARGUMENT: &str = "input";
    const TEXT_PARAMETERS: &str = r#"{"type":"object","properties":{"input":{"type":"string","description":"The whole input, as text."}},"required":["input"],"additionalProperties":false}"#;

    /// JSON schema of the arguments as calls have them, in text form.
    pub fn parameters(&self) -> Option<&str> {
        match &self.input {
            ToolInput::Json { schema, .. } => schema.as_deref(),
            ToolInput::Text(_) => Some(Self::TEXT_PARAMETERS),
        }
    }

    /// Whether calls must match [`Self::parameters`].
    pub fn is_strict(&self) -> bool {
        matches!(self.input, ToolInput::Json { strict: true, .. } | ToolInput::Text(_))
    }
}

/// Whether the model calls functions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// The model calls none.
    None,
    /// The model calls at least one.
    Required,
    /// The model calls this one.
    Named(String),
}

/// A function call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ToolCall {
    /// The id that the call's result refers to.
    pub id: String,
    /// The function's name.
    pub name: String,
    /// Its arguments, a JSON object in text form.
    pub arguments: String,
}

/// A role in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Role {
    /// Instructions for the whole conversation.
    System,
    /// The user of the model.
    #[default]
    User,
    /// The model.
    Assistant,
    /// The result of a tool.
    Tool,
}

impl Role {
    /// The role's name in chat templates.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// How each token is chosen. `None` takes the value of the model's `generation_config.json`, or else the neutral value given
/// at each field. The gateway checks all ranges; a worker checks token ids and the model's own defaults.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 is greedy; neutral 1.
    pub temperature: Option<f32>,
    /// Keep the smallest set of tokens with this probability mass, in (0, 1]; neutral 1.
    pub top_p: Option<f32>,
    /// Keep the k likeliest tokens; neutral 0, which keeps all.
    pub top_k: Option<u32>,
    /// Keep tokens at least this fraction as likely as the likeliest, in [0, 1]; neutral 0.
    pub min_p: Option<f32>,
    /// The same seed gives the same text. `None` draws one.
    pub seed: Option<u64>,
    /// Divides positive logits of tokens in prompt or output, and multiplies negative ones; neutral 1.
    pub repetition_penalty: Option<f32>,
    /// Subtracted from the logit of each token in the output; neutral 0.
    pub presence_penalty: Option<f32>,
    /// Subtracted from the logit for each occurrence in the output; neutral 0.
    pub frequency_penalty: Option<f32>,
    /// Added to the logits of these tokens.
    pub logit_bias: Vec<(u32, f32)>,
}

/// An event of one choice. A choice has any number of `Progress` if it was requested, at most one `Prompt`, and any number of
/// `Delta`. Exactly one `Finished` or `Failed` ends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// More of the prompt is computed, if it was requested.
    Progress(PromptProgress),
    /// The prompt's tokens, if their log probabilities were requested.
    Prompt {
        /// In order.
        tokens: Vec<TokenLogprob>,
    },
    /// More output.
    Delta(Delta),
    /// The generation has completed.
    Finished {
        /// The condition that ended it.
        reason: FinishReason,
        /// Its token counts.
        usage: Usage,
    },
    /// The generation failed.
    Failed(Error),
}

/// How much of a prompt is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PromptProgress {
    /// Tokens of the prompt.
    pub total: u32,
    /// The part of them whose KV came from the prefix cache.
    pub cached: u32,
    /// The part of them that is computed or cached.
    pub processed: u32,
    /// Milliseconds since the prompt's first step began.
    pub elapsed_ms: u32,
}

/// More of an output: the result of some consecutive tokens.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Delta {
    /// Index (from 0) of the last of them among the generated tokens.
    pub index: u32,
    /// Their ids. All deltas' ids together are the output so far, from which another worker can continue.
    pub tokens: Vec<u32>,
    /// Their text; empty only where log probabilities come without any.
    pub parts: Vec<Part>,
    /// Log probabilities of the tokens, if they were requested.
    pub logprobs: Vec<TokenLogprob>,
}

/// A piece of an output; consecutive pieces of one kind belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// More of the answer: whole characters, never part of a stop text or of a marker.
    Text(String),
    /// More of the reasoning before the answer.
    Reasoning(String),
    /// A function call begins; its arguments follow.
    Call {
        /// Unique within the request.
        id: String,
        /// The function's name.
        name: String,
    },
    /// More of the last call's arguments: JSON text.
    Arguments(String),
}

impl Delta {
    /// The text of its answer parts.
    pub fn text(&self) -> String {
        let text = |part: &Part| if let Part::Text(text) = part { Some(text.clone()) } else { None };
        self.parts.iter().filter_map(text).collect()
    }

    /// The log probabilities of the answer's tokens: none if all of it is reasoning or a call.
    pub fn answer_logprobs(&self) -> &[TokenLogprob] {
        let answer = |part: &Part| matches!(part, Part::Text(_));
        if self.parts.is_empty() || self.parts.iter().any(answer) { &self.logprobs } else { &[] }
    }
}

impl Event {
    /// Whether nothing follows.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Finished { .. } | Self::Failed(_))
    }
}

/// A generated token with its log probability and its alternatives.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// The token itself.
    pub token: Alternative,
    /// The likeliest tokens at its position, the likeliest first.
    pub top: Vec<Alternative>,
}

/// A token at some position, with its log probability.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Alternative {
    /// The bytes of its text, which need not be whole characters.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability; `None` for the first token of a prompt.
    pub logprob: Option<f32>,
}

/// The condition that ended a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FinishReason {
    /// The model ended its turn.
    Stop,
    /// A stop text, by its index in the request's list.
    StopText(u8),
    /// The model ended its turn with function calls.
    ToolCalls,
    /// `max_tokens` or the end of the context.
    Length,
    /// A provider withheld the rest.
    Filtered,
}

/// Token counts of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt, template included.
    pub prompt_tokens: u32,
    /// The part of them whose KV came from the prefix cache.
    pub cached_tokens: u32,
    /// The part of the others that was added to the prefix cache.
    pub cache_written_tokens: u32,
    /// Generated tokens, including the ending one.
    pub completion_tokens: u32,
    /// The part of them that is reasoning.
    pub reasoning_tokens: u32,
}

#[cfg(test)]
mod tests;
