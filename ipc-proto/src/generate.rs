//! What is asked of a model and what comes back, free of any vendor's field names.
//!
//! Every client protocol is translated into [`GenerateRequest`] and out of [`Event`].

use serde::{Deserialize, Serialize};

use crate::Error;

/// A request's number, unique within one step-frame connection; the gateway gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// One text generation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct GenerateRequest {
    /// Names the request on the step-frame connection.
    pub id: RequestId,
    /// What to continue.
    pub prompt: Prompt,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// Texts that end the generation; they are not part of the output.
    pub stop: Vec<String>,
    /// At most this many tokens; `None` goes on to the end of the context. 0 only where the prompt is scored.
    pub max_tokens: Option<u32>,
    /// Tokens before which the model may not end its turn.
    pub min_tokens: u32,
    /// The model's end of turn is a token like any other, and does not end the generation.
    pub ignore_eos: bool,
    /// Tokens that end the generation beside the model's own; they are not part of the output.
    pub stop_tokens: Vec<u32>,
    /// After so many tokens of reasoning it is closed, and the model must answer.
    pub reasoning_budget: Option<u32>,
    /// What is told of the tokens besides their text.
    pub logprobs: Option<Logprobs>,
    /// What the output must be.
    pub constraint: Option<Constraint>,
    /// Who goes first where not all can run.
    pub priority: Priority,
    /// From its arrival on, after so many milliseconds it fails.
    pub time_limit_ms: Option<u32>,
    /// Requests of different scopes never share cached text, so that none can tell by time what another asked. Empty: the scope
    /// of all who name none.
    pub cache_scope: String,
    /// Token ids that a worker that is gone has generated already. They are the beginning of the output, count as generated,
    /// and are not told again: the first event is of what comes after them.
    pub generated: Vec<u32>,
}

/// Which log probabilities are told. They are the model's own, before penalties, biases and temperature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Logprobs {
    /// With each token, those of so many likeliest.
    pub top: u8,
    /// The prompt's tokens too, in one [`Event::Prompt`] before any text.
    pub prompt: bool,
}

/// Who goes first where not all can run. Who waits long enough goes like a higher class, so that nobody waits for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schemars", schemars(rename = "ModelPriority"))]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before others; takes running places of lower classes.
    High,
    /// As usual.
    #[default]
    Normal,
    /// When there is room.
    Low,
}

/// What the output must be as a whole. Every token is chosen so that the output can still become it, and it may end only
/// where it is one; `max_tokens` can cut it short all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Constraint {
    /// Any JSON object.
    JsonObject,
    /// A JSON value that a schema describes, given as the schema's text (2020-12; keywords that are not supported are
    /// refused by name). Properties come in the schema's order.
    JsonSchema(String),
    /// A text that a regular expression matches from beginning to end (Rust's syntax, without look-around).
    Regex(String),
    /// A text of a grammar in llguidance's variant of Lark; its first rule is `start`.
    Lark(String),
}

/// What the model continues.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Prompt {
    /// Plain text, tokenised with the model's special tokens (BOS) as its tokenizer adds them.
    Text(String),
    /// Token ids, taken as they are.
    Tokens(Vec<u32>),
    /// A gap to be filled, for models that were trained to.
    Infill {
        /// What stands before it.
        before: String,
        /// What stands after it.
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
    /// Functions that the model may call.
    pub tools: Vec<Tool>,
    /// Whether it may, must or must not.
    pub tool_choice: ToolChoice,
    /// Whether one turn may hold several calls.
    pub parallel_calls: bool,
    /// Extra variables for the template, as a JSON object in text form (`None`: no extras). Text, because
    /// bincode cannot carry self-describing values.
    pub template_kwargs: Option<String>,
    /// The last turn, which is the model's and has text, is not over: the output goes on where it ends.
    pub continues: bool,
    /// Whether control tokens in the client's text are read as text. `None`: as the model's setting says.
    pub sanitize_control_tokens: Option<bool>,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
    /// The speaker's name where several share a role; of a tool's result, the function's name where it is known.
    pub name: Option<String>,
    /// What the model thought before it spoke.
    pub reasoning: Option<String>,
    /// Functions that the model called.
    pub tool_calls: Vec<ToolCall>,
    /// Of a tool's result: the id of the call that it answers.
    pub tool_call_id: Option<String>,
}

impl Message {
    /// What came of the call `id` of a function whose name may be known.
    pub fn result(id: Option<String>, name: Option<String>, content: String) -> Self {
        Self { role: Role::Tool, content, name, tool_call_id: id, ..Self::default() }
    }
}

/// A function that the model may call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// JSON schema of its arguments, an object, in text form.
    pub parameters: Option<String>,
    /// Whether arguments must fit the schema: the call is constrained then.
    pub strict: bool,
}

/// Whether the model calls functions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ToolChoice {
    /// As it likes.
    #[default]
    Auto,
    /// Not at all.
    None,
    /// At least one.
    Required,
    /// This one.
    Named(String),
}

/// A function call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ToolCall {
    /// What its result will refer to.
    pub id: String,
    /// The function's name.
    pub name: String,
    /// Its arguments, a JSON object in text form.
    pub arguments: String,
}

/// Who speaks in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Role {
    /// Instructions that stand above the conversation.
    System,
    /// The person.
    #[default]
    User,
    /// The model.
    Assistant,
    /// The result of a tool.
    Tool,
}

impl Role {
    /// The name that chat templates compare with.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// How the next token is chosen. `None` takes what the model's `generation_config.json` says, else the neutral
/// value given at each field.
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
    /// Same seed, same text. `None` draws one.
    pub seed: Option<u64>,
    /// Logits of tokens in prompt or output are divided by it where positive, multiplied where negative; neutral 1.
    pub repetition_penalty: Option<f32>,
    /// Taken from the logit of each token in the output; neutral 0.
    pub presence_penalty: Option<f32>,
    /// Taken from it as often as the token is there; neutral 0.
    pub frequency_penalty: Option<f32>,
    /// Added to the logits of these tokens.
    pub logit_bias: Vec<(u32, f32)>,
}

/// What a generation tells while it runs. A request has at most one `Prompt`, any number of `Delta`, then exactly one
/// `Finished` or `Failed`; nothing follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The prompt's tokens, where their log probabilities were asked for.
    Prompt {
        /// In order.
        tokens: Vec<TokenLogprob>,
    },
    /// More output.
    Delta(Delta),
    /// The generation ended as it should.
    Finished {
        /// Why it ended.
        reason: FinishReason,
        /// What it took.
        usage: Usage,
    },
    /// The generation ended by a failure.
    Failed(Error),
}

/// More of an output: what some tokens that came one after another brought.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Delta {
    /// Index (from 0) of the last of them among the generated tokens.
    pub index: u32,
    /// Their ids. All deltas' ids together are the output so far, from which another worker can go on.
    pub tokens: Vec<u32>,
    /// What they say; empty only where log probabilities come without any.
    pub parts: Vec<Part>,
    /// How likely each was, where that was asked for.
    pub logprobs: Vec<TokenLogprob>,
}

/// A piece of an output; pieces of one kind that follow each other belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// More of the answer: whole characters, never part of a stop text or of a marker.
    Text(String),
    /// More of what the model thinks before it answers.
    Reasoning(String),
    /// A function call begins; its arguments follow.
    Call {
        /// Unique within the request.
        id: String,
        /// The function's name.
        name: String,
    },
    /// More of the arguments of the call that began last: JSON text.
    Arguments(String),
}

impl Delta {
    /// The text of the answer in it.
    pub fn text(&self) -> String {
        let text = |part: &Part| if let Part::Text(text) = part { Some(text.clone()) } else { None };
        self.parts.iter().filter_map(text).collect()
    }
}

impl Delta {
    /// The log probabilities of the answer's tokens: none where all of it is thought, or a call.
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

/// A token and how likely it was.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// The token that came.
    pub token: Alternative,
    /// The likeliest ones at its place, the likeliest first.
    pub top: Vec<Alternative>,
}

/// A token that came or could have come.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Alternative {
    /// Its text's bytes, which need not be whole characters.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability; `None` for the first token of a prompt, which nothing comes before.
    pub logprob: Option<f32>,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FinishReason {
    /// The model ended its turn.
    Stop,
    /// A stop text came: its index in the request's list.
    StopText(u8),
    /// The model ended its turn to have functions called.
    ToolCalls,
    /// `max_tokens` or the end of the context.
    Length,
}

/// Token counts of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt, template included.
    pub prompt_tokens: u32,
    /// Of these, tokens whose KV came from the prefix cache.
    pub cached_tokens: u32,
    /// Of the others, those that were entered into it for later requests.
    pub cache_written_tokens: u32,
    /// Tokens generated, the ending one included.
    pub completion_tokens: u32,
    /// Of these, tokens of what the model thought before it answered.
    pub reasoning_tokens: u32,
}
